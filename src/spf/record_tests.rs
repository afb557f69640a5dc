use super::super::{Mechanism, PrefixLengths, Qualifier};
use super::*;

fn parse(record: &str) -> Result<Record, SyntaxError> {
    select(&[record.as_bytes().to_vec()]).map(|found| found.expect("an SPF record"))
}

fn mechanisms(record: &str) -> Vec<(Qualifier, Mechanism)> {
    let directives = parse(record).unwrap_or_else(|error| panic!("{record}: {error}")).directives;
    directives.into_iter().map(|directive| (directive.qualifier, directive.mechanism)).collect()
}

/// Every term of `right`, and none of `wrong`, makes a record.
fn hold(right: &[&str], wrong: &[&str]) {
    for term in right {
        parse(&format!("v=spf1 {term} -all")).unwrap_or_else(|error| panic!("{term}: {error}"));
    }
    for term in wrong {
        let parsed = parse(&format!("v=spf1 {term} -all"));
        assert!(parsed.is_err(), "{term} is taken: {parsed:?}");
    }
}

#[test]
fn rfc7208_4_5_a_record_begins_with_its_version_and_a_space_or_ends() {
    let is_record = |text: &[u8]| terms_of(text).is_some();
    for text in ["v=spf1", "v=spf1 ", "v=spf1 -all", "V=SpF1 -all", "v=spf1  mx"] {
        assert!(is_record(text.as_bytes()), "{text}");
    }
    for text in [
        "",
        "v=spf",
        "v=spf10",
        "v=spf1-all",
        " v=spf1",
        "v=spf1\t-all",
        "v=spf1\0",
        "v=spf2.0/pra",
        "\u{FEFF}v=spf1",
    ] {
        assert!(!is_record(text.as_bytes()), "{text:?}");
    }
}

#[test]
fn rfc7208_4_5_of_several_records_none_counts_and_other_texts_do_not_matter() {
    let texts = |texts: &[&[u8]]| select(&texts.iter().map(|text| text.to_vec()).collect::<Vec<_>>());
    assert_eq!(texts(&[b"google-site-verification=x", b"\xFF\xFE"]), Ok(None));
    assert_eq!(texts(&[]), Ok(None));
    assert!(texts(&[b"v=spf1 -all", b"\xE4", b"v=spf10"]).is_ok_and(|found| found.is_some()));
    assert_eq!(texts(&[b"v=spf1 -all", b"v=spf1 -all"]), Err(SyntaxError::SeveralRecords));
    assert_eq!(texts(&[b"v=spf1 broken", b"V=SPF1"]), Err(SyntaxError::SeveralRecords));
}

#[test]
fn rfc7208_4_6_1_terms_qualifiers_and_spaces() {
    let found = mechanisms("v=spf1  +all   -ALL ~All ?all  all ");
    let qualifiers: Vec<Qualifier> = found.iter().map(|(qualifier, _)| *qualifier).collect();
    let expected =
        [Qualifier::Pass, Qualifier::Fail, Qualifier::SoftFail, Qualifier::Neutral, Qualifier::Pass];
    assert_eq!(qualifiers, expected);
    assert!(found.iter().all(|(_, mechanism)| *mechanism == Mechanism::All));
    assert_eq!(mechanisms("v=spf1"), []);
}

#[test]
fn rfc7208_4_6_an_error_anywhere_makes_the_whole_record_one() {
    for record in [
        "v=spf1 ip4:192.0.2.0/24 -all moo",
        "v=spf1 +all include:",
        "v=spf1 all ip4:1.2.3",
        "v=spf1 all a:%{x}.example.com",
        "v=spf1 all\r",
        "v=spf1 all\u{A0}",
        "v=spf1 a\0",
        "v=spf1 all redirect=",
        "v=spf1 all foo=%{z}",
        "v=spf1 all exp=a b",
        "v=spf1 --all",
        "v=spf1 - all",
        "v=spf1 +-all",
        "v=spf1 192.0.2.1",
        "v=spf1 =all",
        "v=spf1 -exp=x.example.com",
        "v=spf1 ~redirect=x.example.com",
        "v=spf1 \ta",
        "v=spf1 mx,a",
        "v=spf1 ipv4:192.0.2.1",
        "v=spf1 \"a\"",
    ] {
        assert!(parse(record).is_err(), "{record:?} is taken");
    }
}

#[test]
fn rfc7208_5_1_all_takes_no_argument() {
    hold(&["all", "?all"], &["all.", "all:", "all:example.com", "all/8", "all=x%"]);
}

#[test]
fn rfc7208_5_2_and_5_7_include_and_exists_need_a_domain_and_take_no_length() {
    for name in ["include", "exists"] {
        let term = |rest: &str| format!("{name}{rest}");
        let right =
            [":example.com", ":example.com.", ":%{d}", ":%{l}.example.com", ":a/24.example.com"].map(term);
        let wrong = ["", ":", "/24", ":example.com/24", ":example.com//64", ":com", ":example.123"].map(term);
        hold(&right.each_ref().map(String::as_str), &wrong.each_ref().map(String::as_str));
    }
}

#[test]
fn rfc7208_5_3_prefix_lengths_of_hosts() {
    let lengths = |term: &str| match mechanisms(&format!("v=spf1 {term}")).remove(0).1 {
        Mechanism::A(domain, lengths) | Mechanism::Mx(domain, lengths) => {
            (domain.is_some(), lengths.ipv4, lengths.ipv6)
        }
        other => panic!("{other:?}"),
    };
    for name in ["a", "mx", "A", "Mx"] {
        assert_eq!(lengths(name), (false, 32, 128));
        assert_eq!(lengths(&format!("{name}/0")), (false, 0, 128));
        assert_eq!(lengths(&format!("{name}//0")), (false, 32, 0));
        assert_eq!(lengths(&format!("{name}/24//64")), (false, 24, 64));
        assert_eq!(lengths(&format!("{name}:example.com/24//64")), (true, 24, 64));
        assert_eq!(lengths(&format!("{name}:foo:bar/baz.example.com")), (true, 32, 128));
        assert_eq!(lengths(&format!("{name}:%{{d}}//7")), (true, 32, 7));
    }
    hold(
        &["a:f/24.example.com/24"],
        &[
            "a/",
            "a//",
            "a/33",
            "a/024",
            "a/00",
            "a/-1",
            "a/+1",
            "a//129",
            "a//064",
            "a/24/64",
            "a///64",
            "a/24//",
            "a//64/24",
            "a:example.com/",
            "a:example.com//",
            "a:example.com/33",
            "a:example.com/024",
            "a/ 24",
            "a/4294967328",
            "a//256",
            "a:/24",
            "mx/x",
            "mx:example.com/2a",
        ],
    );
}

#[test]
fn rfc7208_5_5_ptr_takes_a_domain_and_no_length() {
    hold(
        &["ptr", "ptr:example.com", "PTR:%{d2}"],
        &["ptr/24", "ptr:", "ptr:example.com/24", "ptr:example.com//0"],
    );
}

#[test]
fn rfc7208_5_6_networks_are_read_strictly() {
    hold(
        &[
            "ip4:192.0.2.1",
            "IP4:0.0.0.0/0",
            "ip4:192.0.2.1/32",
            "ip6:::",
            "ip6:::/0",
            "ip6:2001:DB8::1/128",
            "ip6:::ffff:192.0.2.1",
            "ip6:1:2:3:4:5:6:7:8",
        ],
        &[
            "ip4",
            "ip4:",
            "ip4/24",
            "ip4:192.0.2",
            "ip4:192.0.2.1.1",
            "ip4:192.0.2.300",
            "ip4:192..2.10",
            "ip4:192.0.2.01",
            "ip4:192.0.2.1/",
            "ip4:192.0.2.1/33",
            "ip4:192.0.2.1/024",
            "ip4:192.0.2.1//24",
            "ip4:192.0.2.1:25",
            "ip4:example.com",
            "ip4:2001:db8::1",
            "ip4:%{i}",
            "ip4:0x7f.0.0.1",
            "ip4:192.0.2.0-192.0.2.9",
            "ip4: 192.0.2.1",
            "ip4:+1.2.3.4",
            "ip6:1:2:3:4:5:6:7",
            "ip6:::1/129",
            "ip6:::1/",
            "ip6:::1/064",
            "ip6:::1//64",
            "ip6:1::2::3",
            "ip6:12345::",
            "ip6:192.0.2.1",
            "ip6:fe80::1%eth0",
            "ip6:[::1]",
            "ip6",
        ],
    );
    let net = |text: &str| text.parse().unwrap();
    let found =
        mechanisms("v=spf1 ip4:192.0.2.77/24 ip6:2001:db8::/32").into_iter().map(|(_, mechanism)| mechanism);
    let expected = [Mechanism::Network(net("192.0.2.77/24")), Mechanism::Network(net("2001:db8::/32"))];
    assert_eq!(found.collect::<Vec<_>>(), expected);
}

#[test]
fn rfc7208_5_addresses_of_two_families_never_agree() {
    let lengths = PrefixLengths { ipv4: 0, ipv6: 0 };
    let ip = |text: &str| text.parse().unwrap();
    assert!(lengths.agree(ip("192.0.2.1"), ip("203.0.113.9")));
    assert!(!lengths.agree(ip("::ffff:192.0.2.1"), ip("192.0.2.1")));
    assert!(!lengths.agree(ip("192.0.2.1"), ip("2001:db8::1")));
}

#[test]
fn rfc7208_6_modifiers_once_each_and_unknown_ones_by_syntax_only() {
    let record =
        parse("v=spf1 redirect=%{d}.example.com exp=why.example.com x-y_z.1=any:thing/%{d}~ moo= moo=")
            .unwrap();
    assert!(record.redirect.is_some() && record.explanation.is_some() && record.directives.is_empty());
    assert!(
        parse("v=spf1 REDIRECT=example.com Exp=example.com").is_ok_and(|record| record.redirect.is_some())
    );
    assert_eq!(
        parse("v=spf1 redirect=example.com redirect=example.com"),
        Err(SyntaxError::Twice("redirect"))
    );
    assert_eq!(parse("v=spf1 exp=a.example.com EXP=b.example.com"), Err(SyntaxError::Twice("exp")));
    hold(
        &["include=x", "a=1", "default=pass"],
        &["1x=y", "_x=y", "x*y=z", "x=%", "x=%{c}", "redirect=com", "exp=", "redirect:example.com"],
    );
}

#[test]
fn an_error_names_the_term_and_shows_no_octet_that_is_not_printable() {
    assert_eq!(parse("v=spf1 a\u{1}b:\u{E4}").unwrap_err(), SyntaxError::Mechanism("a?b:??".into()));
    let long = format!("v=spf1 {}", "x".repeat(500));
    assert_eq!(parse(&long).unwrap_err(), SyntaxError::Mechanism("x".repeat(80)));
}

#[test]
fn a_record_has_at_most_8192_octets() {
    let of = |octets: usize| format!("v=spf1 {}", "a ".repeat(octets)).get(..octets).unwrap().to_owned();
    assert!(parse(&of(MAX_RECORD_OCTETS)).is_ok());
    assert_eq!(parse(&of(MAX_RECORD_OCTETS + 1)), Err(SyntaxError::TooLong));
}
