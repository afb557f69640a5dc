use proptest::prelude::*;

use super::*;

/// Feeds the input in pieces of the given size; the message, and what follows its end.
fn decode(input: &[u8], piece: usize) -> (Vec<u8>, Option<Vec<u8>>) {
    let (mut decoder, mut out, mut offset) = (DataDecoder::default(), Vec::new(), 0);
    for chunk in input.chunks(piece.max(1)) {
        if let Progress::End(consumed) = decoder.decode(chunk, &mut out) {
            return (out, Some(input[offset + consumed..].to_vec()));
        }
        offset += chunk.len();
    }
    (out, None)
}

fn fault(content: &[u8], piece: usize) -> Option<Fault> {
    let mut check = ContentCheck::default();
    content.chunks(piece.max(1)).for_each(|chunk| check.check(chunk));
    check.finish()
}

#[test]
fn rfc5321_4_5_2_leading_dots_are_removed() {
    let (message, rest) = decode(b"..a\r\n.b\r\nc.\r\n.\r\nQUIT\r\n", 1);
    assert_eq!(message, b".a\r\nb\r\nc.\r\n");
    assert_eq!(rest.as_deref(), Some(&b"QUIT\r\n"[..]));
}

#[test]
fn an_empty_message_ends_at_once() {
    assert_eq!(decode(b".\r\nX", 9), (vec![], Some(b"X".to_vec())));
}

#[test]
fn no_other_sequence_ends_the_message() {
    for smuggled in [
        "a\n.\n",
        "a\r.\r",
        "a\n.\r\n",
        "a\r\n.\n",
        "a\r\n.\r",
        "a\r.\r\n",
        "a\r\n\0.\r\n",
        "a\r\n.\r\r\n",
        "a\r\n. \r\n",
    ] {
        for piece in 1..6 {
            let input = [smuggled.as_bytes(), b"MAIL FROM:<x@y>\r\n.\r\n"].concat();
            let (message, rest) = decode(&input, piece);
            assert_eq!(rest.as_deref(), Some(&b""[..]), "{smuggled:?}");
            assert!(message.ends_with(b"MAIL FROM:<x@y>\r\n"), "{smuggled:?}");
        }
    }
}

#[test]
fn bare_line_endings_and_nul_are_faults_wherever_they_stand() {
    for content in ["\n", "a\nb\r\n", "a\rb\r\n", "a\r", "\r\r\n", "a\0\r\n", "a\r\n\n"] {
        for piece in 1..4 {
            assert_eq!(fault(content.as_bytes(), piece), Some(Fault::BareLineEnding), "{content:?}");
        }
    }
    for content in ["", "a", "a\r\n", "\r\n\r\n", "é\r\n"] {
        assert_eq!(fault(content.as_bytes(), 1), None, "{content:?}");
    }
}

#[test]
fn lines_up_to_65536_octets_pass() {
    let line = |octets: usize| [&vec![b'x'; octets][..], b"\r\n"].concat();
    assert_eq!(fault(&line(65_536), 1000), None);
    assert_eq!(fault(&line(65_537), 1000), Some(Fault::LineTooLong));
    assert_eq!(fault(&[line(65_536), line(65_536)].concat(), 7777), None);
}

fn messages() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(
        prop_oneof![Just("\r\n"), Just("."), Just("a"), Just("\r"), Just("\n"), Just("..")],
        0..40,
    )
    .prop_map(|parts| parts.concat().into_bytes())
}

proptest! {
    #[test]
    fn pieces_of_any_size_give_the_same(content in messages(), piece in 1usize..9) {
        let input = [&content[..], b"\r\n.\r\nrest"].concat();
        prop_assert_eq!(decode(&input, piece), decode(&input, usize::MAX));
        prop_assert_eq!(fault(&content, piece), fault(&content, usize::MAX));
    }

    #[test]
    fn stuffing_is_undone(lines in proptest::collection::vec("[.a-z]{0,6}", 0..12), piece in 1usize..9) {
        let message: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let stuffed: String =
            lines.iter().map(|line| if line.starts_with('.') { format!(".{line}\r\n") } else { format!("{line}\r\n") }).collect();
        let (decoded, rest) = decode(format!("{stuffed}.\r\nQUIT").as_bytes(), piece);
        prop_assert_eq!(decoded, message.into_bytes());
        prop_assert_eq!(rest.as_deref(), Some(&b"QUIT"[..]));
    }
}
