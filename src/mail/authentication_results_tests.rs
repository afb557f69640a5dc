use proptest::prelude::*;

use super::*;

fn ours() -> Domain {
    Domain::parse("email.relay.example").unwrap()
}

fn is_forged(value: &str) -> bool {
    let section = format!("To: a@b.example\r\nAuthentication-Results:{value}\r\nSubject: x\r\n\r\n");
    let found = forged(section.as_bytes(), &ours());
    if let [range] = found.as_slice() {
        let field = &section[range.clone()];
        assert!(field.starts_with("Authentication-Results:") && field.ends_with("\r\n"), "{field:?}");
    }
    !found.is_empty()
}

#[test]
fn rfc8601_5_fields_in_our_name_are_found_in_every_disguise() {
    for value in [
        " email.relay.example; dmarc=pass",
        "email.relay.example",
        " EMAIL.Relay.EXAMPLE ; none",
        " email.relay.example 1; dmarc=pass",
        " email.relay.example. ; dmarc=pass",
        " \"email.relay.example\"; dmarc=pass",
        " \"e\\mail.relay.example\" (x) 1; dmarc=pass",
        " \" email.relay.example \"; dmarc=pass",
        "\r\n\temail.relay.example;\r\n\tdmarc=pass",
        " (a (nested) \\) comment)email.relay.example; dmarc=pass",
        " email(a). (b) relay\r\n .example; dmarc=pass",
        " \u{ff45}mail.relay\u{3002}example; dmarc=pass",
        " (unbalanced email.relay.example; dmarc=pass",
        " \"email.relay.example; dmarc=pass",
        " email.relay.example(; dmarc=pass",
        " email.\r\n relay.example\"; dmarc=pass",
    ] {
        assert!(is_forged(value), "{value}");
    }
}

#[test]
fn rfc8601_5_foreign_fields_are_kept() {
    for value in [
        " mx.google.example; dmarc=pass header.from=email.relay.example",
        " notemail.relay.example; dmarc=pass",
        " email.relay.example.evil.example; spf=pass",
        " mx.example (email.relay.example); spf=pass",
        " mx.example; email.relay.example",
        "",
        ";",
    ] {
        assert!(!is_forged(value), "{value}");
    }
}

#[test]
fn the_name_is_compared_without_case_and_every_forged_field_is_found() {
    let section = b"authentication-results : email.relay.example; a=b\r\nX: y\r\n\
        AUTHENTICATION-RESULTS: email.relay.example\r\n ; c=d\r\nARC-Authentication-Results: i=1; email.relay.example\r\n\r\n";
    let found = forged(section, &ours());
    assert_eq!(found.len(), 2);
    assert!(section[found[0].clone()].starts_with(b"authentication-results :"));
    assert!(section[found[1].clone()].ends_with(b"; c=d\r\n"));
}

#[test]
fn rfc8617_4_1_1_a_sealed_dmarc_pass_is_read() {
    let author = Domain::parse("bank.example").unwrap();
    for (value, expected) in [
        (
            " i=1; list.example; spf=pass smtp.mailfrom=x@y; dmarc=pass (p=reject) header.from=bank.example",
            true,
        ),
        (" i=1; list.example; dmarc = pass header.from=\"BANK.example\"; arc=none", true),
        (" i=1; list.example; dmarc=pass header.from=evil.example", false),
        (" i=1; list.example; dmarc=fail header.from=bank.example", false),
        (" i=1; list.example; dmarc=fail; dkim=pass header.from=bank.example", false),
        (" i=1; list.example; (dmarc=pass header.from=bank.example)", false),
        (" i=1; list.example; dmarc=pass", false),
        (" i=1; list.example; x=\"dmarc=pass header.from=bank.example\"", false),
        ("", false),
    ] {
        assert_eq!(says_dmarc_pass(value.as_bytes(), &author), expected, "{value}");
    }
}

#[test]
fn values_of_peers_stay_one_value() {
    assert_eq!(pvalue("a.b+c@d.example"), "a.b+c@d.example");
    assert_eq!(pvalue("@d.example"), "@d.example");
    assert_eq!(pvalue("d.example"), "d.example");
    assert_eq!(pvalue("x; dmarc=pass"), "\"x; dmarc=pass\"");
    assert_eq!(pvalue("a\"b\\c"), "\"a\\\"b\\\\c\"");
    assert_eq!(pvalue("a\r\nX: y"), "\"a??X: y\"");
    assert_eq!(pvalue("2001:db8::1"), "\"2001:db8::1\"");
    assert_eq!(pvalue(""), "\"\"");
    assert_eq!(pvalue("\u{fc}@d.example"), "\"?@d.example\"");
}

#[test]
fn of_many_ids_only_so_many_are_read_and_the_rest_is_nobodys_word() {
    for (value, words) in [(" mx.third.example; none", 1), (" \u{e9}. \u{e9}. 1; none", 3)] {
        let section = format!("Authentication-Results:{value}\r\n").repeat(MAX_IDS);
        assert_eq!(forged(section.as_bytes(), &ours()).len(), MAX_IDS - MAX_IDS / words, "{value}");
    }
}

#[test]
fn of_a_field_that_says_pass_of_many_the_first_are_read() {
    let others = |count: usize| "dmarc=pass header.from=x.example; ".repeat(count);
    let says = |count| {
        let value = format!("i=1; list.example; {}dmarc=pass header.from=bank.example", others(count));
        says_dmarc_pass(value.as_bytes(), &Domain::parse("bank.example").unwrap())
    };
    assert!(says(MAX_AUTHORS - 1) && !says(MAX_AUTHORS));
}

proptest! {
    #[test]
    fn any_section_is_searched(section in proptest::collection::vec(any::<u8>(), 0..300)) {
        for range in forged(&section, &ours()) {
            prop_assert!(range.start < range.end && range.end <= section.len());
        }
    }

    #[test]
    fn comments_and_folding_never_hide_our_id(gaps in proptest::collection::vec("( |\t|\r\n |\\([a-z;\" ]{0,5}\\)){0,3}", 6)) {
        let parts = ["", "email", ".", "relay", ".", "example", ";dmarc=pass"];
        let value: String = parts.iter().enumerate().map(|(n, part)| format!("{part}{}", gaps.get(n).map_or("", String::as_str))).collect();
        prop_assert!(is_forged(&value), "{}", value);
    }

    #[test]
    fn a_value_of_a_peer_is_one_token_that_says_the_same(text in "[ -~]{0,40}") {
        let value = pvalue(&text);
        let tokens = token::tokens(value.as_bytes(), b";=").unwrap();
        prop_assert_eq!(tokens.len(), 1);
        prop_assert_eq!(super::text(&tokens[0]), Some(text.as_str()));
    }
}
