use super::*;

fn parsed(text: &str) -> Result<Vec<(&str, &str)>, TagError> {
    Tags::parse(text.as_bytes()).map(|list| list.tags.iter().map(|tag| (tag.name, tag.value)).collect())
}

#[test]
fn rfc6376_3_2_a_tag_list_is_read_with_its_white_space() {
    assert_eq!(
        parsed(" a = b ;\r\n\tc2_x=d\t e\r\n f;D=\r\n"),
        Ok(vec![("a", "b"), ("c2_x", "d\t e\r\n f"), ("D", "")])
    );
    assert_eq!(parsed("a=b=c; n=x;"), Ok(vec![("a", "b=c"), ("n", "x")]));
    assert_eq!(parsed("p=; "), Ok(vec![("p", "")]));
    let list = Tags::parse(b"a=1; A=2").unwrap();
    assert_eq!((list.get("a"), list.get("A"), list.get("b")), (Some("1"), Some("2"), None));
    assert!(list.begins_with("a") && !list.begins_with("A"));
}

#[test]
fn rfc6376_3_2_what_is_no_tag_list_has_no_tags() {
    for text in [
        "",
        " ",
        ";",
        "a",
        "a=1;;b=2",
        ";a=1",
        "a=1;;",
        "=1",
        "_=1",
        "1=1",
        "a-b=1",
        "a b=1",
        "\u{e4}=1",
        "a=\u{7f}",
        "a=\0",
        "a=x\ny",
        "a=x\r\ny",
        "a=x\r y",
        "a=x\r\n\r\n",
        "a=1; b",
    ] {
        assert_eq!(parsed(text), Err(TagError::Syntax), "{text:?}");
    }
    assert_eq!(Tags::parse(b"a=\xe4"), Err(TagError::Syntax));
    assert_eq!(parsed("d=a.example; x=; d=a.example"), Err(TagError::Duplicate));
    let many = |count: usize| (0..count).map(|n| format!("t{n}=")).collect::<Vec<_>>().join(";");
    assert!(parsed(&many(MAX_TAGS)).is_ok());
    assert_eq!(parsed(&many(MAX_TAGS + 1)), Err(TagError::TooMany));
}

#[test]
fn rfc8616_5_values_hold_u_labels() {
    assert_eq!(parsed("d=b\u{fc}cher.example"), Ok(vec![("d", "b\u{fc}cher.example")]));
}

#[test]
fn rfc6376_3_7_a_span_takes_in_the_white_space_around_the_value() {
    let text = "v=1; b =\r\n\tQUJD\r\n\t; z=x\r\n";
    let span = Tags::parse(text.as_bytes()).unwrap().span("b").unwrap();
    assert_eq!(&text[span], "\r\n\tQUJD\r\n\t");
    assert_eq!(Tags::parse(b"b= x \r\n").unwrap().span("b"), Some(2..5));
}

#[test]
fn rfc6376_3_5_numbers_do_not_wrap() {
    assert_eq!(number("0012"), Some(12));
    assert_eq!(number("999999999999"), Some(999_999_999_999));
    for long in ["1000000000000", "4294967297000000000", "18446744073709551617", &"9".repeat(76)] {
        assert_eq!(number(long), Some(u64::MAX), "{long}");
    }
    for none in ["", "-1", "+1", "1 2", "0x1", "\u{661}"] {
        assert_eq!(number(none), None, "{none:?}");
    }
}

#[test]
fn rfc6376_2_11_quoted_printable_has_no_white_space_of_its_own() {
    assert_eq!(unquoted("a=3Bb\r\n c@x.example").as_deref(), Some("a;bc@x.example"));
    assert_eq!(unquoted("=C3=BC").as_deref(), Some("\u{fc}"));
    for wrong in ["=", "=4", "=4g", "=FC"] {
        assert_eq!(unquoted(wrong), None, "{wrong}");
    }
    assert_eq!(items("a : b::\r\n c").collect::<Vec<_>>(), ["a", "b", "", "c"]);
}

proptest::proptest! {
    #[test]
    fn any_octets_are_read_without_a_panic_and_spans_hold_their_values(octets in "[ab=; \t\r\n\u{e4}]{0,24}") {
        if let Ok(list) = Tags::parse(octets.as_bytes()) {
            for tag in &list.tags {
                proptest::prop_assert_eq!(octets[tag.span.clone()].trim_matches(WHITE), tag.value);
            }
        }
    }
}
