//! Message octets: the end of DATA does not depend on how the octets are cut, and what the check lets pass
//! holds no bare CR or LF and, stuffed again for the next hop, ends where it ended here.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad::smtp::client::DotStuffer;
use postroad::smtp::data::{ContentCheck, DataDecoder, Progress};

fn decode(pieces: &[&[u8]]) -> (Vec<u8>, Option<usize>) {
    let (mut decoder, mut out, mut before) = (DataDecoder::default(), Vec::new(), 0);
    for piece in pieces {
        match decoder.decode(piece, &mut out) {
            Progress::More => before += piece.len(),
            Progress::End(at) => return (out, Some(before + at)),
        }
    }
    (out, None)
}

fn is_sound(message: &[u8], cut: usize) -> bool {
    let mut check = ContentCheck::default();
    let (head, tail) = message.split_at(cut.min(message.len()));
    check.check(head);
    check.check(tail);
    check.finish().is_none()
}

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, octets) = (usize::from(input.0), input.1);
    let (head, tail) = octets.split_at(cut.min(octets.len()));
    let whole = decode(&[octets]);
    assert_eq!(whole, decode(&[head, tail]));

    let message = whole.0;
    assert_eq!(is_sound(&message, 0), is_sound(&message, cut));
    if !is_sound(&message, cut) {
        return;
    }
    let bare = message.iter().enumerate().any(|(at, octet)| match octet {
        b'\r' => message.get(at + 1) != Some(&b'\n'),
        b'\n' => at == 0 || message[at - 1] != b'\r',
        0 => true,
        _ => false,
    });
    assert!(!bare);
    let (mut stuffer, mut wire) = (DotStuffer::default(), Vec::new());
    stuffer.stuff(&message, &mut wire);
    stuffer.finish(&mut wire);
    let (again, end) = decode(&[&wire]);
    assert_eq!(end, Some(wire.len()));
    assert!(again == message || again == [message.as_slice(), b"\r\n"].concat());
});
