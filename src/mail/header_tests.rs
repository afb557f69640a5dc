use proptest::prelude::*;

use super::*;

#[test]
fn rfc5322_2_2_3_folded_lines_belong_to_their_field() {
    let section = b"From: a\r\n b\r\nTo : c\r\nnot a field\r\nX:\r\n\r\nbody: no\r\n";
    let found: Vec<_> = fields(section).map(|f| (f.name.to_vec(), f.value.to_vec())).collect();
    assert_eq!(
        found,
        [
            (b"From".to_vec(), b" a\r\n b\r\n".to_vec()),
            (b"To".to_vec(), b" c\r\n".to_vec()),
            (b"X".to_vec(), b"\r\n".to_vec())
        ]
    );
}

#[test]
fn ranges_cover_the_section() {
    let section = b"A: 1\r\nB: 2\r\n 3\r\n";
    let ranges: Vec<_> = fields(section).map(|f| f.range).collect();
    assert_eq!(ranges, [0..6, 6..16]);
}

#[test]
fn the_body_starts_behind_the_first_empty_line() {
    assert_eq!(section_end(b"A: 1\r\n\r\nbody"), Some(8));
    assert_eq!(section_end(b"\r\nbody"), Some(2));
    assert_eq!(section_end(b"A: 1\r\n"), None);
}

#[test]
fn lines_end_with_crlf_only() {
    let section = b"A: 1\nB: 2\r\nC: 3\r\nD: 4";
    let ranges: Vec<_> = fields(section).map(|f| f.range).collect();
    assert_eq!(ranges, [0..11, 11..17, 17..21]);
}

#[test]
fn every_line_of_a_section_is_part_of_a_field() {
    for section in [
        "A: b\r\n\r\n",
        "A: b\r\n c\r\n\td:\r\nB:\r\n\r\n",
        "\r\n",
        "",
        "A: b\r\n",
        "A: b",
        "!#~(: b\r\n\r\n",
    ] {
        assert_eq!(check(section.as_bytes()), Ok(Vec::new()), "{section:?}");
    }
    for line in [
        "prose",
        "prose with a colon: it is no name",
        "From bob Mon Nov 23 12:00:00 2026",
        ">From bob Mon Nov 23 12:00:00 2026",
        "",
        ": no name",
        "B c : d",
        "B \u{b}: c",
        "B\u{e9}: c",
        "B\u{1}: c",
        "B\u{7f}: c",
        "B\rC: d",
        "\u{feff}From: a@b.example",
        "--boundary",
    ] {
        for section in [
            format!("{line}\r\nA: b\r\n\r\n"),
            format!("A: b\r\n{line}\r\nC: d\r\n\r\n"),
            format!("A: b\r\n{line}"),
        ] {
            let is_end = section.starts_with("\r\n") || line.is_empty();
            assert_eq!(check(section.as_bytes()).is_ok(), is_end, "{section:?}");
        }
    }
}

/// RFC 5322 §2.2.3, §4.2.
#[test]
fn a_folded_line_stands_under_a_field_be_it_blank() {
    for section in ["A: b\r\n \r\nC: d\r\n\r\n", "A: b\r\n \t\r\n c\r\n\r\n"] {
        assert_eq!(check(section.as_bytes()), Ok(Vec::new()), "{section:?}");
    }
    for section in [" fold\r\nA: b\r\n\r\n", "\tA: b\r\n\r\n", " \r\n\r\n"] {
        assert_eq!(check(section.as_bytes()), Err(HeaderFault::NoField), "{section:?}");
    }
}

/// RFC 5322 §4.5.
#[test]
fn white_space_before_a_colon_is_found() {
    let section = "From : a@b.example\r\n x : y\r\nB\t \t: c\r\nC: d : e\r\n\r\nF : g";
    assert_eq!(check(section.as_bytes()), Ok(vec![4..5, 29..32]));
}

#[test]
fn the_fields_of_a_section_are_bounded_and_folded_lines_are_not() {
    let section = |fields| format!("{}\r\n", "A: b\r\n c\r\n".repeat(fields));
    assert_eq!(check(section(MAX_FIELDS).as_bytes()), Ok(Vec::new()));
    assert_eq!(check(section(MAX_FIELDS + 1).as_bytes()), Err(HeaderFault::TooManyFields));
}

#[test]
fn a_from_line_is_found_where_it_is_the_first() {
    for line in
        ["From bob Mon Nov 23 12:00:00 2026\r\n", ">From bob\r\n", "From \r\n", "From a: b\r\n", "From bob"]
    {
        assert_eq!(from_line_octets(line.as_bytes()), line.len(), "{line:?}");
        let section = format!("{line}A: b\r\n\r\n");
        assert_eq!(
            from_line_octets(section.as_bytes()),
            if line.ends_with('\n') { line.len() } else { line.len() + 6 }
        );
    }
    for none in [
        "",
        "\r\n",
        "From: a\r\n",
        "From : a\r\n",
        "From  \t: a\r\n",
        "FROM a\r\n",
        ">>From a\r\n",
        " From a\r\n",
        "A: b\r\nFrom c\r\n",
    ] {
        assert_eq!(from_line_octets(none.as_bytes()), 0, "{none:?}");
    }
}

proptest! {
    /// What everybody behind reception relies on.
    #[test]
    fn the_fields_of_a_checked_section_are_all_of_it(
        pieces in proptest::collection::vec(prop_oneof!["\r\n", "[A:]", "[ \t]", "\r|\n", "A: b\r\n", "From ", ">"], 0..30)
    ) {
        let section = pieces.concat();
        let mut at = 0;
        if check(section.as_bytes()).is_ok() {
            for field in fields(section.as_bytes()) {
                prop_assert_eq!(field.range.start, at);
                at = field.range.end;
            }
            prop_assert!(section[at..].is_empty() || section[at..].starts_with("\r\n"));
        }
        prop_assert!(from_line_octets(section.as_bytes()) <= section.len());
    }
}
