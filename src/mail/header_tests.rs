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
fn folded_lines_before_the_first_field_are_orphans() {
    assert_eq!(orphans(b" ; dkim=pass\r\n\tmore\r\nFrom: a\r\n\r\n"), 0..21);
    assert_eq!(orphans(b"From: a\r\n b\r\n"), 0..0);
    assert_eq!(orphans(b"\r\n"), 0..0);
    assert_eq!(orphans(b" \r\n\r\nbody"), 0..3);
}

#[test]
fn a_section_with_a_line_that_is_no_field_is_not_well_formed() {
    for section in ["A: b\r\n\r\n", "A: b\r\n c\r\nB : d\r\n\r\n", "\r\n", "A: b\r\n"] {
        assert!(is_well_formed(section.as_bytes()), "{section:?}");
    }
    for section in [
        " fold\r\nA: b\r\n\r\n",
        "A: b\r\nno field\r\nB: c\r\n\r\n",
        "A: b\r\nno field\r\n\r\n",
        ": x\r\n\r\n",
    ] {
        assert!(!is_well_formed(section.as_bytes()), "{section:?}");
    }
}
