use std::fs;

use super::basics::rich;
use super::*;
use crate::wal::{Log, Piece, Scan};

/// A segment of version 1: a message that uses every field, one whose state changed, one that left, and one
/// whose body is in a file.
const VERSION_1: &[u8] = include_bytes!("../fixtures/version1.log");
/// A segment of version 2: the same, but what changed and what left did so with notifications, 5 and 6.
const VERSION_2: &[u8] = include_bytes!("../fixtures/version2.log");

/// A spool with this segment and the file that it speaks of.
fn place(segment: &[u8]) -> Place {
    let place = Place::new();
    fs::create_dir_all(place.path("segments")).unwrap();
    fs::create_dir_all(place.path("bodies")).unwrap();
    fs::write(place.segment(1), segment).unwrap();
    fs::write(place.path("bodies").join(id(4).to_string()), "xyzbody\r\n").unwrap();
    place
}

/// Whether the spool has what every fixture has, and these.
async fn holds(place: &Place, others: &[u64]) {
    let (spool, recovered) = place.open();
    assert_eq!((recovered.quarantined.len(), recovered.torn_octets), (0, 0));
    // Neither version knew whose client brought it.
    let mut first = Queued { client: None, ..rich() };
    let mut second = message(2);
    second.copies[0].attempts = 7;
    let content = content(&spool).await;
    assert_eq!(numbers(&spool).await, [&[1, 2, 4], others].concat());
    // It awaited a reply.
    first.copies[2].state = CopyState::Unknown;
    first.copies[2].due = content[&id(1)].0.copies[2].due;
    assert_eq!(content[&id(1)], (first, emitted(&octets(1, 40))));
    assert_eq!(content[&id(2)], (second, emitted(&octets(2, 40))));
    assert_eq!(content[&id(4)], (message(4), b"Subject: 4\r\n\r\nbody\r\n".to_vec()));
    for number in others {
        assert_eq!(content[&id(*number)], (message(*number), emitted(&octets(*number, 40))));
    }
}

#[tokio::test]
async fn a_segment_of_version_1_stays_readable() {
    holds(&place(VERSION_1), &[]).await;
}

#[tokio::test]
async fn a_segment_of_version_2_stays_readable() {
    holds(&place(VERSION_2), &[5, 6]).await;
}

/// The frames of a segment without what its salt decides: that itself, and the sums of their headers.
fn unsalted(segment: &[u8]) -> Vec<Vec<u8>> {
    let unsalted = |piece| match piece {
        Piece::Frame(_, range) => {
            let frame = &segment[range];
            [&frame[..8], &frame[16..36], &frame[40..]].concat()
        }
        other => panic!("{other:?}"),
    };
    Scan::new(FORMAT, segment, None).map(unsalted).collect()
}

#[test]
fn what_is_written_is_a_segment_of_version_2_to_the_octet() {
    let place = Place::new();
    let segments = Segments::open(FORMAT, place.path("segments")).unwrap();
    let mut log = Log::create(segments, 1, place.options.segment_octets).unwrap();
    for piece in Scan::new(FORMAT, VERSION_2, None) {
        let Piece::Frame(frame, _) = piece else { panic!("{piece:?}") };
        let Some(kind) = Kind::of(frame.kind) else { continue };
        let (head, body) = (Bytes::copy_from_slice(frame.head), Bytes::copy_from_slice(frame.body));
        let draft = draft(kind, frame.meta.to_vec(), vec![head], body).unwrap();
        log::append(&mut log, [&draft].into_iter()).unwrap();
    }
    assert_eq!(unsalted(&fs::read(place.segment(1)).unwrap()), unsalted(VERSION_2));
}

/// It would take what it does not know for damage, and only at the start of a segment for a newer version.
#[tokio::test]
async fn what_a_program_of_version_1_goes_on_with_has_no_record_of_version_2() {
    let place = place(VERSION_1);
    let (spool, _) = place.open();
    spool.put(message(5), &octets(5, 40)).await.unwrap();
    drop(spool);
    assert_eq!(fs::read(place.segment(1)).unwrap(), VERSION_1);
    assert_eq!(fs::read(place.segment(2)).unwrap()[16], 2);
    holds(&place, &[5]).await;
    fs::remove_dir_all(place.path("index")).unwrap();
    holds(&place, &[5]).await;
}
