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
fn lines_that_are_no_field_are_left_out_of_a_well_formed_section() {
    for good in [&b"A: 1\r\nB: 2\r\n 3\r\n\r\n"[..], b"A: 1\r\n", b"\r\n"] {
        assert!(matches!(well_formed(good), Cow::Borrowed(same) if same == good), "{good:?}");
    }
    let bad = b" x\r\nA: 1\r\nnot a field\r\n at all\r\nB: 2\r\nno field\r\n\r\n";
    assert_eq!(well_formed(bad), b"A: 1\r\nB: 2\r\n\r\n".as_slice());
    assert_eq!(well_formed(b"none\r\n"), b"\r\n".as_slice());
}

proptest::proptest! {
    #[test]
    fn a_section_made_well_formed_is_well_formed(section in "([A-Za-z: \t]{0,6}(\r\n)?){0,8}") {
        let clean = well_formed(section.as_bytes()).into_owned();
        proptest::prop_assert_eq!(well_formed(&clean).into_owned(), clean);
    }
}
