use proptest::prelude::*;

use super::*;

fn stuff(chunks: &[&[u8]]) -> Vec<u8> {
    let (mut out, mut stuffer) = (Vec::new(), DotStuffer::default());
    chunks.iter().for_each(|chunk| stuffer.stuff(chunk, &mut out));
    stuffer.finish(&mut out);
    out
}

/// The receiver's half of RFC 5321 §4.5.2.
fn unstuff(wire: &[u8]) -> Vec<u8> {
    let text = wire.strip_suffix(b".\r\n").unwrap();
    let lines = text.split_inclusive(|&b| b == b'\n');
    lines.flat_map(|line| line.strip_prefix(b".").unwrap_or(line).to_vec()).collect()
}

#[test]
fn rfc5321_4_5_2_a_leading_dot_is_doubled() {
    assert_eq!(stuff(&[b".a\r\n..\r\nb.\r\n"]), b"..a\r\n...\r\nb.\r\n.\r\n");
}

#[test]
fn a_missing_last_line_ending_is_added() {
    assert_eq!(stuff(&[b"a"]), b"a\r\n.\r\n");
    assert_eq!(stuff(&[b"a\r"]), b"a\r\n.\r\n");
    assert_eq!(stuff(&[b"a\r\n"]), b"a\r\n.\r\n");
}

#[test]
fn the_empty_message_is_a_dot() {
    assert_eq!(stuff(&[]), b".\r\n");
    assert_eq!(stuff(&[b""]), b".\r\n");
}

#[test]
fn bare_line_endings_never_leave() {
    assert_eq!(stuff(&[b"a\n.\nb\r.\rc"]), b"a\r\n..\r\nb\r\n..\r\nc\r\n.\r\n");
    assert_eq!(stuff(&[b"a\r\r\nb"]), b"a\r\n\r\nb\r\n.\r\n");
}

proptest! {
    #[test]
    fn unstuffing_gives_the_message_back(lines in proptest::collection::vec("[.a\t]{0,6}", 0..20)) {
        let message: Vec<u8> = lines.iter().flat_map(|line| format!("{line}\r\n").into_bytes()).collect();
        prop_assert_eq!(unstuff(&stuff(&[&message])), message);
    }

    #[test]
    fn any_chunking_gives_the_same(octets in "[.a\r\n]{0,60}", cuts in proptest::collection::vec(0usize..60, 0..5)) {
        let octets = octets.as_bytes();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(octets.len())).collect();
        cuts.extend([0, octets.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &octets[pair[0]..pair[1]]).collect();
        prop_assert_eq!(stuff(&chunks), stuff(&[octets]));
    }

    #[test]
    fn only_the_end_looks_like_the_end(octets in proptest::collection::vec(
        prop_oneof![Just(b'.'), Just(b'\r'), Just(b'\n'), any::<u8>()], 0..80)) {
        let wire = stuff(&[&octets]);
        let ends = wire.windows(5).filter(|w| w == b"\r\n.\r\n").count() + usize::from(wire.starts_with(b".\r\n"));
        prop_assert_eq!(ends, 1);
        let mut previous = 0;
        for (at, &octet) in wire.iter().enumerate() {
            prop_assert!(octet != b'\n' || previous == b'\r', "bare LF at {}", at);
            prop_assert!(previous != b'\r' || octet == b'\n', "bare CR before {}", at);
            previous = octet;
        }
    }
}
