//! Command lines: how the octets are cut into reads changes nothing.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use postroad::smtp::line::{Line, LineDecoder};

fn decode(pieces: &[&[u8]]) -> Vec<Line> {
    let (mut decoder, mut buffer, mut lines) = (LineDecoder::default(), BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        while let Some(line) = decoder.decode(&mut buffer) {
            let over = line == Line::Endless;
            lines.push(line);
            if over {
                return lines;
            }
        }
    }
    lines
}

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, octets) = input;
    let (head, tail) = octets.split_at(usize::from(cut).min(octets.len()));
    assert_eq!(decode(&[octets]), decode(&[head, tail]));
});
