use super::*;

fn record(text: &str) -> Record {
    Record::parse(text.as_bytes()).unwrap()
}

fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

/// A walk from these answers: `?` is none for now, an empty text none at all.
fn walk_of(answers: &[(&str, &str)]) -> Walk {
    let found = |text: &str| match text {
        "?" => Found::Unknown,
        "" => Found::Nothing,
        text => Found::Record(record(text)),
    };
    Walk::new(answers.iter().map(|(name, text)| ((*name).to_owned(), found(text))).collect())
}

fn dkim(name: &str) -> Identifier {
    Identifier { domain: domain(name), method: Method::Dkim, proof: Proof::Proven }
}

fn spf(name: &str) -> Identifier {
    Identifier { method: Method::Spf, ..dkim(name) }
}

fn unknown(identifier: Identifier) -> Identifier {
    Identifier { proof: Proof::Unknown, ..identifier }
}

fn known(names: &[(&str, &str)]) -> HashMap<String, Organization> {
    names.iter().map(|(name, org)| ((*name).to_owned(), Organization::Known((*org).to_owned()))).collect()
}

fn weighed(
    author: &str,
    answers: &[(&str, &str)],
    identifiers: &[Identifier],
    organizations: &[(&str, &str)],
) -> (Evaluation, Policy) {
    let (walk, organizations) = (walk_of(answers), known(organizations));
    let found = weigh(&domain(author), &walk, Existence::Exists, identifiers, &organizations);
    (found.result, found.policy)
}

#[test]
fn rfc9989_4_10_a_walk_asks_at_most_eight_names() {
    assert_eq!(walk_names("a.b.example"), ["a.b.example", "b.example", "example"]);
    assert_eq!(
        walk_names("1.2.3.4.5.6.7"),
        ["1.2.3.4.5.6.7", "2.3.4.5.6.7", "3.4.5.6.7", "4.5.6.7", "5.6.7", "6.7", "7"]
    );
    let long = walk_names("a.b.c.d.e.f.g.h.i.j.mail.example.com");
    assert_eq!(long.len(), 8);
    assert_eq!(long[1], "g.h.i.j.mail.example.com");
    assert_eq!(walk_names("a.b.c.d.e.f.g.h").len(), 8);
}

#[test]
fn rfc9989_4_8_records_begin_with_their_version() {
    for text in [
        "",
        "v=DMARC2; p=reject",
        "p=reject; v=DMARC1",
        "v=dmarc1; p=reject",
        "v=spf1 -all",
        "DMARC1",
        " v=DMARC1; p=reject",
        "v=\u{a0}DMARC1; p=reject",
        "v=DMARC1\r\n; p=reject",
        "v=DMARC1 p=reject",
        "v=DMARC1,p=reject",
        "; v=DMARC1; p=reject",
    ] {
        assert_eq!(Record::parse(text.as_bytes()), None, "{text}");
    }
    for text in ["V=DMARC1;p=reject", "v\t= DMARC1 \t;p=reject;", "v=DMARC1; v=DMARC2; p=reject"] {
        assert_eq!(record(text).policies.unwrap().domain, Policy::Reject, "{text}");
    }
    let found = record("v = DMARC1 ;P=Reject;adkim=S; aspf=s;psd=n; t=y; pct=0; nonsense");
    assert_eq!(found.policies.unwrap().domain, Policy::Reject);
    assert_eq!((found.dkim, found.spf), (Alignment::Strict, Alignment::Strict));
    assert_eq!((found.suffix, found.testing), (Suffix::No, true));
}

#[test]
fn rfc9989_4_8_what_is_no_text_in_one_tag_hides_no_other() {
    for octets in [
        &b"v=DMARC1; p=reject; x=\xe4"[..],
        b"v=DMARC1; x=\xe4; p=reject",
        b"v=DMARC1; \xe4=x; p=reject",
        b"v=DMARC1; \xe4; p=reject",
        b"v=DMARC1; p=reject; rua=mailto:\xe4@b.example",
    ] {
        let policies = Record::parse(octets).unwrap().policies.unwrap();
        assert_eq!(policies.domain, Policy::Reject, "{}", octets.escape_ascii());
    }
    // A policy that is no text is no valid one (§4.10.1).
    assert_eq!(Record::parse(b"v=DMARC1; p=reject\xff").unwrap().policies, None);
}

#[test]
fn rfc9989_4_7_policies_default_to_the_one_above() {
    let policies = |text| {
        let found = record(text).policies.unwrap();
        (found.domain, found.subdomain, found.nonexistent)
    };
    assert_eq!(policies("v=DMARC1;p=reject"), (Policy::Reject, Policy::Reject, Policy::Reject));
    assert_eq!(
        policies("v=DMARC1;p=none;sp=quarantine"),
        (Policy::None, Policy::Quarantine, Policy::Quarantine)
    );
    assert_eq!(policies("v=DMARC1;p=none;np=reject"), (Policy::None, Policy::None, Policy::Reject));
}

#[test]
fn rfc9989_4_10_1_a_record_without_valid_policy_is_none_if_it_wants_reports() {
    assert_eq!(record("v=DMARC1; rua=mailto:a@b.example").policies.unwrap().domain, Policy::None);
    assert_eq!(record("v=DMARC1; p=rejct; rua=mailto:a@b.example").policies.unwrap().domain, Policy::None);
    assert_eq!(
        record("v=DMARC1; p=reject; sp=x; rua=mailto:a@b.example").policies.unwrap().domain,
        Policy::None
    );
    assert_eq!(record("v=DMARC1; p=rejct").policies, None);
    assert_eq!(record("v=DMARC1").policies, None);
}

#[test]
fn rfc9989_4_10_of_several_records_none_counts() {
    let texts = |texts: &[&str]| select(&texts.iter().map(|t| t.as_bytes().to_vec()).collect::<Vec<_>>());
    assert_eq!(texts(&["v=DMARC1;p=reject", "v=DMARC1;p=none"]), Found::Nothing);
    assert_eq!(
        texts(&["google-site-verification=x", "v=DMARC1;p=none"]),
        Found::Record(record("v=DMARC1;p=none"))
    );
    assert_eq!(texts(&["x"]), Found::Nothing);
}

#[test]
fn rfc9989_4_10_2_organizational_domains() {
    let organization = |answers: &[(&str, &str)]| walk_of(answers).organization();
    let is = |name: &str| Organization::Known(name.to_owned());
    // The shortest name with a record.
    assert_eq!(
        organization(&[
            ("a.b.example.com", ""),
            ("b.example.com", "v=DMARC1;p=none"),
            ("example.com", "v=DMARC1;p=none"),
            ("com", "")
        ]),
        is("example.com")
    );
    // psd=n ends it; psd=y below the start means one label more.
    assert_eq!(
        organization(&[("a.example.com", "v=DMARC1;p=none;psd=n"), ("example.com", "v=DMARC1;p=none")]),
        is("a.example.com")
    );
    assert_eq!(
        organization(&[
            ("a.giant.bank.example", ""),
            ("giant.bank.example", ""),
            ("bank.example", "v=DMARC1;p=none;psd=y")
        ]),
        is("giant.bank.example")
    );
    assert_eq!(organization(&[("bank.example", "v=DMARC1;p=none;psd=y")]), is("bank.example"));
    // Without any record, the name itself.
    assert_eq!(organization(&[("a.example.com", ""), ("example.com", ""), ("com", "")]), is("a.example.com"));
    assert_eq!(
        organization(&[("a.example.com", ""), ("example.com", "?"), ("com", "")]),
        Organization::Unknown
    );
    assert_eq!(organization(&[("example.com", "v=DMARC1;p=none"), ("com", "?")]), is("example.com"));
}

#[test]
fn rfc9989_4_10_1_the_record_that_applies() {
    let policy = |author: &str, answers: &[(&str, &str)], existence| {
        weigh(&domain(author), &walk_of(answers), existence, &[], &HashMap::new()).policy
    };
    let parent = ("example.com", "v=DMARC1;p=reject;sp=quarantine;np=reject");
    assert_eq!(policy("example.com", &[parent, ("com", "")], Existence::Exists), Policy::Reject);
    assert_eq!(
        policy("a.example.com", &[("a.example.com", ""), parent, ("com", "")], Existence::Exists),
        Policy::Quarantine
    );
    assert_eq!(
        policy("a.example.com", &[("a.example.com", ""), parent, ("com", "")], Existence::Missing),
        Policy::Reject
    );
    let own = ("a.example.com", "v=DMARC1;p=none");
    assert_eq!(policy("a.example.com", &[own, parent, ("com", "")], Existence::Exists), Policy::None);
    let suffix = ("bank.example", "v=DMARC1;p=none;sp=reject;psd=y");
    assert_eq!(
        policy("giant.bank.example", &[("giant.bank.example", ""), suffix], Existence::Exists),
        Policy::Reject
    );
    // t=y: one level lower.
    let testing = |p: &str| format!("v=DMARC1;p={p};t=y");
    assert_eq!(
        policy("example.com", &[("example.com", &testing("reject"))], Existence::Exists),
        Policy::Quarantine
    );
    assert_eq!(
        policy("example.com", &[("example.com", &testing("quarantine"))], Existence::Exists),
        Policy::None
    );
}

const REJECT: &str = "v=DMARC1;p=reject";
const STRICT: &str = "v=DMARC1;p=reject;adkim=s;aspf=s";

#[test]
fn rfc9989_4_4_alignment() {
    let own = [("example.com", REJECT), ("com", "")];
    let strict = [("example.com", STRICT), ("com", "")];
    let org = [("mail.example.com", "example.com")];
    for (answers, identifiers, organizations, expected) in [
        (&own, vec![dkim("example.com")], &[][..], Evaluation::Pass),
        (&own, vec![spf("example.com")], &[], Evaluation::Pass),
        (&own, vec![dkim("mail.example.com")], &org, Evaluation::Pass),
        (&own, vec![spf("mail.example.com")], &org, Evaluation::Pass),
        (&strict, vec![dkim("example.com")], &[], Evaluation::Pass),
        (&strict, vec![dkim("mail.example.com")], &org, Evaluation::Fail),
        (&strict, vec![spf("mail.example.com")], &org, Evaluation::Fail),
        (&own, vec![dkim("evil.example"), spf("badexample.com")], &[], Evaluation::Fail),
        (&own, vec![], &[], Evaluation::Fail),
        // A subdomain that is an organisation of its own.
        (&own, vec![dkim("mail.example.com")], &[("mail.example.com", "mail.example.com")], Evaluation::Fail),
    ] {
        assert_eq!(
            weighed("example.com", answers, &identifiers, organizations),
            (expected, Policy::Reject),
            "{identifiers:?}"
        );
    }
}

#[test]
fn without_a_record_there_is_no_dmarc() {
    let nothing = [("a.example.com", ""), ("example.com", ""), ("com", "?")];
    assert_eq!(
        weighed("a.example.com", &nothing, &[dkim("a.example.com")], &[]),
        (Evaluation::None, Policy::None)
    );
    let idle = [("example.com", "v=DMARC1"), ("com", "")];
    assert_eq!(weighed("example.com", &idle, &[], &[]), (Evaluation::None, Policy::None));
}

#[test]
fn a_missing_answer_matters_only_where_it_may_change_the_result() {
    let own = [("example.com", REJECT), ("com", "")];
    let no_policy = [("example.com", "?"), ("com", "")];
    let no_parent = [("a.example.com", ""), ("example.com", "?"), ("com", "")];
    let own_no_parent = [("a.example.com", REJECT), ("example.com", "?"), ("com", "")];
    for (author, answers, identifiers, expected) in [
        // A third party's selector that cannot be looked up changes nothing.
        ("example.com", &own[..], vec![unknown(dkim("list.example"))], (Evaluation::Fail, Policy::Reject)),
        (
            "example.com",
            &own,
            vec![unknown(dkim("list.example")), dkim("example.com")],
            (Evaluation::Pass, Policy::Reject),
        ),
        ("example.com", &own, vec![unknown(dkim("example.com"))], (Evaluation::TempError, Policy::Reject)),
        ("example.com", &own, vec![unknown(spf("example.com"))], (Evaluation::TempError, Policy::Reject)),
        // Without the policy, reject is what may be at stake, unless it passes under any.
        ("example.com", &no_policy, vec![], (Evaluation::TempError, Policy::Reject)),
        ("example.com", &no_policy, vec![dkim("example.com")], (Evaluation::TempError, Policy::None)),
        ("a.example.com", &no_parent, vec![dkim("example.com")], (Evaluation::TempError, Policy::Reject)),
        // The policy is known; who belongs to the organisation is not.
        ("a.example.com", &own_no_parent, vec![], (Evaluation::Fail, Policy::Reject)),
        ("a.example.com", &own_no_parent, vec![dkim("a.example.com")], (Evaluation::Pass, Policy::Reject)),
        (
            "a.example.com",
            &own_no_parent,
            vec![dkim("b.example.com")],
            (Evaluation::TempError, Policy::Reject),
        ),
        ("a.example.com", &own_no_parent, vec![dkim("evil.example")], (Evaluation::Fail, Policy::Reject)),
    ] {
        assert_eq!(
            weighed(author, answers, &identifiers, &[]),
            expected,
            "{author} {answers:?} {identifiers:?}"
        );
    }
    let organizations = HashMap::from([("mail.example.com".to_owned(), Organization::Unknown)]);
    let found = weigh(
        &domain("example.com"),
        &walk_of(&own),
        Existence::Exists,
        &[dkim("mail.example.com")],
        &organizations,
    );
    assert_eq!(found.result, Evaluation::TempError);
}
