use super::*;

fn parse(text: &str) -> Address {
    Address::parse(text).unwrap()
}

#[test]
fn rfc5321_4_1_2_quoted_local_part_is_kept_unquoted_and_written_quoted() {
    let address = parse(r#""a \"b\" c"@Example.COM"#);
    assert_eq!(address.local(), r#"a "b" c"#);
    assert_eq!(address.to_string(), r#""a \"b\" c"@example.com"#);
}

#[test]
fn needless_quotes_are_dropped() {
    assert_eq!(parse(r#""ana"@example.com"#), parse("ana@example.com"));
}

#[test]
fn rfc5891_u_labels_become_a_labels() {
    assert_eq!(parse("ana@bücher.example").domain().as_str(), "xn--bcher-kva.example");
}

#[test]
fn rfc5321_4_1_3_address_literals_are_domains() {
    assert_eq!(parse("a@[192.0.2.1]").domain().as_str(), "[192.0.2.1]");
    assert_eq!(parse("a@[ipv6:2001:db8::1]").domain().as_str(), "[IPv6:2001:db8::1]");
    assert!(Address::parse("a@[300.1.1.1]").is_err());
}

#[test]
fn malformed_addresses_are_refused() {
    for text in [
        "", "@", "a@", "@b", "a", "a..b@c", ".a@b", "a b@c", "\"a@b", "\"a\"b@c", "a@-b", "a@b..c", "a@b c",
        "a\u{0}@b",
    ] {
        assert!(Address::parse(text).is_err(), "{text:?} was taken");
    }
}

#[test]
fn rfc5321_4_5_3_1_lengths_are_bounded() {
    assert!(Address::parse(&format!("{}@b.example", "a".repeat(64))).is_ok());
    assert!(Address::parse(&format!("{}@b.example", "a".repeat(65))).is_err());
    assert!(Domain::parse(&format!("{}.example", "a".repeat(64))).is_err());
    assert!(Domain::parse(&"a.".repeat(200)).is_err());
}

#[test]
fn subaddress_is_what_follows_the_first_plus() {
    assert_eq!(parse("ana+news+x@b.example").without_subaddress(), Some(parse("ana@b.example")));
    assert_eq!(parse("+x@b.example").without_subaddress(), None);
    assert_eq!(parse("ana@b.example").without_subaddress(), None);
}

#[test]
fn rfc6532_3_1_one_name_has_one_lookup_form_however_it_is_composed() {
    let (composed, decomposed) = (parse("Jos\u{e9}@b.example"), parse("JOSE\u{301}@b.example"));
    assert_eq!(composed.lookup_form(), decomposed.lookup_form());
    assert_eq!(composed.lookup_form().local(), "jos\u{e9}");
    assert_eq!(parse("ANA@b.example").lookup_form(), parse("ana@b.example"));
    // Hangul, which is composed by rule.
    assert_eq!(parse("\u{1112}\u{1161}\u{11ab}@b.example").lookup_form().local(), "\u{d55c}");
}
