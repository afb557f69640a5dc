use super::*;

fn selected(fields: &[(&str, &str)]) -> (String, String) {
    let fields: Vec<Field<'_>> =
        fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let (names, canonical) = select(&fields, Signatures::Excluded);
    (names, String::from_utf8(canonical).unwrap())
}

#[test]
fn rfc6376_3_4_4_blank_lines_at_the_end_do_not_change_the_body_hash() {
    // Known good, of "text\r\n"; mail-auth 0.13 alone gives DBJnKPm2… for some of these (its issue 62).
    let expected = "eDCyaw7m810RhFf0TmGWGkTYiT/1GwL4/PCOGIr3ew4=";
    for body in ["text\r\n", "text", "text\r\n  \r\n\t\r\n", "text \r\n\r\n", "text\r\n "] {
        assert_eq!(body_hash(body.as_bytes()).to_string(), expected, "{body:?}");
    }
    // RFC 6376 §3.4.4: an empty body is the empty text.
    for body in ["", "\r\n", " \r\n\t\r\n"] {
        assert_eq!(
            body_hash(body.as_bytes()).to_string(),
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            "{body:?}"
        );
    }
}

#[test]
fn rfc6376_5_4_2_fields_are_signed_from_the_bottom_and_from_once_more() {
    let (names, canonical) = selected(&[
        ("Received", " x"),
        ("Subject", " a"),
        ("FROM ", " Bob  <b@c>\r\n"),
        ("DKIM-Signature", " v=1"),
        ("Subject", " b"),
        ("Authentication-Results", " x"),
        ("List-Id", " l"),
    ]);
    // A name with the white space of obsolete syntax does not come here: `header::fields` takes it off.
    assert_eq!(names, "list-id:subject:subject:from");
    assert_eq!(canonical, "list-id:l\r\nsubject:b\r\nsubject:a\r\n");
    let (names, canonical) = selected(&[("From", " Bob  <b@c>\r\n"), ("Cc", " d")]);
    assert_eq!((names.as_str(), canonical.as_str()), ("from:cc:from", "from:Bob <b@c>\r\ncc:d\r\n"));
}

#[test]
fn rfc6376_3_2_a_name_that_would_be_more_than_one_in_the_tag_is_not_signed() {
    for name in [
        "List-Id;x=y",
        "Content-;d=evil.example",
        "List-=",
        "Content-(x)",
        "List-\"",
        "content-a,b",
        "List-A_b",
    ] {
        let (names, canonical) = selected(&[("From", " a"), (name, " x"), ("List-Id2", " b")]);
        assert_eq!((names.as_str(), canonical.as_str()), ("from:list-id2:from", "from:a\r\nlist-id2:b\r\n"));
    }
}

#[test]
fn a_signature_covers_a_bounded_number_of_fields() {
    let many: Vec<_> = std::iter::repeat_n(("To", " a"), 500).chain([("From", " b")]).collect();
    let (names, _) = selected(&many);
    assert_eq!(names.matches("to").count(), MAX_SIGNED_FIELDS);
    assert!(names.split("\r\n").all(|line| line.len() < 78));
}
