use proptest::prelude::*;

use super::*;

fn of(from: &str) -> Result<Vec<String>, AuthorError> {
    let section = format!("Subject: x\r\nFrom: {from}\r\nTo: y@to.example\r\n\r\n");
    authors(section.as_bytes()).map(|found| found.iter().map(Domain::to_string).collect())
}

fn one(from: &str) -> String {
    let found = of(from).unwrap();
    assert_eq!(found.len(), 1, "{from}: {found:?}");
    found[0].clone()
}

#[test]
fn ordinary_from_fields_have_one_author_domain() {
    for from in [
        "a@bank.example",
        "<a@bank.example>",
        "Ann Other <a@BANK.example>",
        "\"Other, Ann\" <a@bank.example>",
        "Other, Ann <a@bank.example>",
        "\"ceo@evil.example\" <a@bank.example>",
        "(ceo@evil.example) a@bank.example (Ann (the) \\) Other)",
        "=?utf-8?q?Ann_=40_evil.example?= <a@bank.example>",
        "\"a b\"@bank.example",
        "\"x@evil.example\"@bank.example",
        "a @ bank . example",
        "a@(here)bank.(there)example",
        "a@bank.example.",
        "Ann\r\n\t<a@bank.example>",
        "Authors: a@bank.example, b@bank.example;",
        "Sales @ !! <a@bank.example>",
    ] {
        assert_eq!(one(from), "bank.example", "{from}");
    }
    assert_eq!(one("a@b\u{fc}cher.example"), "xn--bcher-kva.example");
    assert_eq!(one("a@[192.0.2.1]"), "[192.0.2.1]");
    assert_eq!(one("a@[IPv6:2001:db8::1]"), "[IPv6:2001:db8::1]");
}

#[test]
fn every_domain_that_a_reader_might_show_is_an_author() {
    for from in [
        "ceo@bank.example, x@evil.example",
        "<ceo@bank.example>, <x@evil.example>",
        "ceo@bank.example <x@evil.example>",
        "<x@evil.example> ceo@bank.example",
        "<ceo@bank.example><x@evil.example>",
        "<@bank.example:x@evil.example>",
        "<@evil.example,@any.invalid:ceo@bank.example>",
        "ceo@bank.example@evil.example",
        "\"unterminated <ceo@bank.example>, x@evil.example",
        "(unterminated <ceo@bank.example>, x@evil.example",
        "x@evil.example (\r\n ceo@bank.example",
        "ceo@bank.example\\, x@evil.example",
        "a: ceo@bank.example;, b: x@evil.example;",
    ] {
        let found = of(from);
        let found = found.unwrap_or_else(|error| vec![error.to_string()]);
        assert!(
            found.contains(&"bank.example".to_owned()) || found.len() == 1 && found[0].contains("invalid"),
            "{from}: {found:?}"
        );
    }
}

#[test]
fn an_address_that_is_none_is_refused_and_not_passed_over() {
    for from in [
        "a@bank..example",
        "a@=?utf-8?q?bank.example?=",
        "a@\"bank.example\"",
        "x@evil.example, a@-bank.example",
    ] {
        assert!(matches!(of(from), Err(AuthorError::Invalid(_))), "{from}: {:?}", of(from));
    }
    for from in [
        "",
        "Ann Other",
        "<>",
        "undisclosed:;",
        "root",
        "=?utf-8?b?YUBiLmV4YW1wbGU=?=",
        "\"a@b.example\"",
        "a@",
    ] {
        assert_eq!(of(from), Err(AuthorError::NoAddress), "{from}");
    }
    let many = (0..9).map(|n| format!("a@d{n}.example")).collect::<Vec<_>>().join(",");
    assert_eq!(of(&many), Err(AuthorError::TooMany));
}

#[test]
fn not_every_at_sign_of_a_long_field_is_looked_behind() {
    for unit in ["a@bank.example, ", " @ \u{e9}", "@ [", "@<", "@ !! "] {
        assert_ne!(of(&unit.repeat(100)), Err(AuthorError::TooMany), "{unit}");
        for times in [101, 255 * 1024 / unit.len()] {
            assert_eq!(of(&unit.repeat(times)), Err(AuthorError::TooMany), "{unit}");
        }
    }
}

#[test]
fn brackets_that_nothing_closes_are_walked_through_once() {
    for unit in ["@ [", "@ [a:", "@ [ [ <", "@ [IPv6:"] {
        let tokens = token::tokens(unit.repeat(2_000).as_bytes(), SPECIALS).unwrap();
        let starts = (0..tokens.len()).filter(|at| tokens[*at].kind == Kind::Special(b'@'));
        let octets: usize = starts.map(|at| literal(&tokens[at + 2..]).len()).sum();
        assert!(octets <= 2_000 * unit.len(), "{unit}: {octets}");
    }
    assert_eq!(of(&"@ [".repeat(100)), Err(AuthorError::NoAddress));
    assert!(matches!(of("a@[192.0.2.1, x@evil.example]"), Err(AuthorError::Invalid(_))));
    assert_eq!(of("a@ [192.0.2.1 <x@evil.example>").unwrap(), ["evil.example"]);
}

#[test]
fn rfc5322_3_6_there_is_one_from_field_however_it_is_written() {
    let refused = |section: &str, count| {
        assert_eq!(authors(section.as_bytes()), Err(AuthorError::NotOne(count)), "{section:?}");
    };
    refused("To: a@b.example\r\n\r\n", 0);
    refused("From: a@b.example\r\nfrom: c@d.example\r\n\r\n", 2);
    refused("From: a@b.example\r\nFROM : c@d.example\r\n\r\n", 2);
    assert!(authors(b"from : a@b.example\r\nX-From: c@d.example\r\n From: e@f.example\r\n\r\n").is_ok());
}

proptest! {
    #[test]
    fn any_section_is_judged(section in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = authors(&section);
    }

    #[test]
    fn a_bare_address_is_never_lost(prefix in "[a-z ,<>@.;:\"()\\[\\]]{0,20}", suffix in "[a-z ,<>@.;:\"()\\[\\]]{0,20}") {
        // Unless a quote or a comment covers it, which needs both ends.
        if let Ok(found) = of(&format!("{prefix} <ceo@bank.example> {suffix}")) {
            let covered = prefix.contains(['"', '(', '\\']) && suffix.contains(['"', ')']);
            prop_assert!(covered || found.contains(&"bank.example".to_owned()), "{:?}", found);
        }
    }
}
