use proptest::prelude::*;

use super::*;

const SALT: Salt = *b"saltsalt";

fn frame(kind: Kind, head: &'static [u8], body: &'static [u8]) -> Vec<u8> {
    let head = vec![Bytes::from_static(head)];
    let mut out = Vec::new();
    Draft::new(kind, b"meta".to_vec(), head, Bytes::from_static(body)).unwrap().write(SALT, &mut out);
    out
}

#[test]
fn what_is_written_is_read() {
    let octets = frame(Kind::Put, b"A: b\r\n\r\n", b"text");
    let (read, length) = Frame::read(&octets, Some(SALT)).unwrap();
    assert_eq!(read, Frame { kind: Kind::Put, meta: b"meta", head: b"A: b\r\n\r\n", body: b"text" });
    assert_eq!(length, octets.len());
    assert_eq!(octets.len(), HEADER_OCTETS + 4 + 8 + 4);
    assert_eq!(Frame::read(&octets, Some(*b"pepper__")), None);
}

#[test]
fn a_part_past_its_bound_is_not_written() {
    let body = Bytes::from(vec![0; MAX_BODY_OCTETS + 1]);
    let error = Draft::new(Kind::Put, Vec::new(), Vec::new(), body).unwrap_err();
    assert_eq!(error.to_string(), "a record of 262145 octets is past the limit of 262144");
}

#[test]
fn a_flipped_bit_anywhere_spoils_this_frame_and_no_other() {
    let (one, two) = (frame(Kind::Put, b"A: b\r\n\r\n", b"text"), frame(Kind::Done, b"", b""));
    let whole = [one.as_slice(), &two].concat();
    for at in 0..one.len() {
        for bit in 0..8 {
            let mut octets = whole.clone();
            octets[at] ^= 1 << bit;
            let pieces: Vec<_> = Scan::new(&octets, Some(SALT)).collect();
            assert_eq!(pieces[0], Piece::Damaged(0..one.len()), "bit {bit} of octet {at}");
            assert!(matches!(pieces[1], Piece::Frame(Frame { kind: Kind::Done, .. }, _)));
        }
    }
}

#[test]
fn a_frame_cut_off_anywhere_is_torn() {
    let (one, two) = (frame(Kind::State, b"", b""), frame(Kind::Put, b"A: b\r\n\r\n", b"text"));
    for at in 1..two.len() {
        let octets = [one.as_slice(), &two[..at]].concat();
        let last = Scan::new(&octets, Some(SALT)).last();
        assert_eq!(last, Some(Piece::Torn(one.len()..octets.len())), "cut off at {at}");
    }
}

proptest! {
    #[test]
    fn every_octet_is_in_one_piece(octets in prop::collection::vec(any::<u8>(), 0..400), at in 0..400_usize) {
        let mut octets = octets;
        octets.splice(at.min(octets.len())..at.min(octets.len()), frame(Kind::Put, b"A: b\r\n\r\n", b"text"));
        let mut end = 0;
        for piece in Scan::new(&octets, None) {
            let (Piece::Frame(_, range) | Piece::Damaged(range) | Piece::Torn(range)) = piece;
            prop_assert_eq!(range.start, end);
            prop_assert!(range.end > range.start);
            end = range.end;
        }
        prop_assert_eq!(end, octets.len());
    }
}
