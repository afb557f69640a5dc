use proptest::prelude::*;

use super::*;

const SALT: Salt = *b"saltsalt";
const FORMAT: &Format = &Format {
    magic: *b"\x8fTST\r\n\x1a\n",
    version: 2,
    last_kind: 3,
    max_meta_octets: 100,
    max_head_octets: 100,
    max_body_octets: 100,
};

/// A frame of this user.
fn frame_of(format: &Format, kind: u8, head: &'static [u8], body: &'static [u8]) -> Vec<u8> {
    let head = vec![Bytes::from_static(head)];
    let mut out = Vec::new();
    let draft = Draft::new(format, kind, b"meta".to_vec(), head, Bytes::from_static(body)).unwrap();
    draft.write(format, SALT, &mut out);
    out
}

fn frame(kind: u8, head: &'static [u8], body: &'static [u8]) -> Vec<u8> {
    frame_of(FORMAT, kind, head, body)
}

#[test]
fn what_is_written_is_read() {
    let octets = frame(1, b"A: b\r\n\r\n", b"text");
    let (read, length) = Frame::read(FORMAT, &octets, Some(SALT)).unwrap();
    assert_eq!(read, Frame { kind: 1, meta: b"meta", head: b"A: b\r\n\r\n", body: b"text" });
    assert_eq!(length, octets.len());
    assert_eq!(octets.len(), HEADER_OCTETS + 4 + 8 + 4);
    assert_eq!(Frame::read(FORMAT, &octets, Some(*b"pepper__")), None);
}

#[test]
fn a_part_past_its_bound_is_not_written() {
    let long = vec![0; 101];
    let parts = [
        (long.clone(), Vec::new(), Bytes::new()),
        // The bound is that of all slices.
        (Vec::new(), vec![Bytes::from(vec![0; 100]), Bytes::from_static(b"0")], Bytes::new()),
        (Vec::new(), Vec::new(), Bytes::from(long)),
    ];
    for (meta, head, body) in parts {
        let error = Draft::new(FORMAT, 1, meta, head, body).unwrap_err();
        assert_eq!(error.to_string(), "a record of 101 octets is past the limit of 100");
    }
}

/// Sums that are right make no frame of what this version would not write.
#[test]
fn what_its_user_does_not_know_is_damage() {
    const OTHER: &Format = &Format { magic: *b"\x8fOTH\r\n\x1a\n", ..*FORMAT };
    const NEWER: &Format = &Format { version: 3, ..*FORMAT };
    const MORE: &Format = &Format { last_kind: 4, ..*FORMAT };
    const LARGER: &Format = &Format { max_body_octets: 101, ..*FORMAT };
    for octets in [
        frame_of(OTHER, 1, b"", b""),
        frame_of(NEWER, 1, b"", b""),
        frame_of(MORE, 4, b"", b""),
        frame_of(LARGER, 1, b"", &[0; 101]),
    ] {
        let pieces: Vec<_> = Scan::new(FORMAT, &octets, Some(SALT)).collect();
        assert_eq!(pieces, [Piece::Damaged(0..octets.len())]);
    }
}

#[test]
fn a_frame_of_an_older_version_is_read() {
    const OLDER: &Format = &Format { version: 1, ..*FORMAT };
    let octets = frame_of(OLDER, 1, b"A: b\r\n\r\n", b"text");
    let (read, _) = Frame::read(FORMAT, &octets, Some(SALT)).unwrap();
    assert_eq!(read, Frame { kind: 1, meta: b"meta", head: b"A: b\r\n\r\n", body: b"text" });
}

#[test]
fn a_flipped_bit_anywhere_spoils_this_frame_and_no_other() {
    let (one, two) = (frame(1, b"A: b\r\n\r\n", b"text"), frame(3, b"", b""));
    let whole = [one.as_slice(), &two].concat();
    for at in 0..one.len() {
        for bit in 0..8 {
            let mut octets = whole.clone();
            octets[at] ^= 1 << bit;
            let pieces: Vec<_> = Scan::new(FORMAT, &octets, Some(SALT)).collect();
            assert_eq!(pieces[0], Piece::Damaged(0..one.len()), "bit {bit} of octet {at}");
            assert!(matches!(pieces[1], Piece::Frame(Frame { kind: 3, .. }, _)));
        }
    }
}

#[test]
fn a_frame_cut_off_anywhere_is_torn() {
    let (one, two) = (frame(2, b"", b""), frame(1, b"A: b\r\n\r\n", b"text"));
    for at in 1..two.len() {
        let octets = [one.as_slice(), &two[..at]].concat();
        let last = Scan::new(FORMAT, &octets, Some(SALT)).last();
        assert_eq!(last, Some(Piece::Torn(one.len()..octets.len())), "cut off at {at}");
    }
}

proptest! {
    #[test]
    fn every_octet_is_in_one_piece(octets in prop::collection::vec(any::<u8>(), 0..400), at in 0..400_usize) {
        let mut octets = octets;
        octets.splice(at.min(octets.len())..at.min(octets.len()), frame(1, b"A: b\r\n\r\n", b"text"));
        let mut end = 0;
        for piece in Scan::new(FORMAT, &octets, None) {
            let (Piece::Frame(_, range) | Piece::Damaged(range) | Piece::Torn(range)) = piece;
            prop_assert_eq!(range.start, end);
            prop_assert!(range.end > range.start);
            end = range.end;
        }
        prop_assert_eq!(end, octets.len());
    }
}
