//! Segments of the spool: every octet is in one piece, in order, whatever stands in the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad::spool::FORMAT;
use postroad::wal::{Piece, Scan};

fuzz_target!(|octets: &[u8]| {
    let mut end = 0;
    for piece in Scan::new(FORMAT, octets, None) {
        let (Piece::Frame(_, range) | Piece::Damaged(range) | Piece::Torn(range)) = piece;
        assert!(range.start == end && range.end > end);
        end = range.end;
    }
    assert_eq!(end, octets.len());
});
