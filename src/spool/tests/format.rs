use std::fs;

use super::basics::rich;
use super::*;

/// A segment of version 1: a message that uses every field, one whose state changed, one that left, and one
/// whose body is in a file.
const VERSION_1: &[u8] = include_bytes!("../fixtures/version1.log");

#[tokio::test]
async fn a_segment_of_version_1_stays_readable() {
    let place = Place::new();
    fs::create_dir_all(place.path("segments")).unwrap();
    fs::create_dir_all(place.path("bodies")).unwrap();
    fs::write(place.segment(1), VERSION_1).unwrap();
    fs::write(place.path("bodies").join(id(4).to_string()), "xyzbody\r\n").unwrap();
    let (spool, recovered) = place.open();
    assert_eq!((recovered.quarantined.len(), recovered.torn_octets), (0, 0));
    let mut first = rich();
    let mut second = message(2);
    second.copies[0].attempts = 7;
    let content = content(&spool).await;
    assert_eq!(content.keys().copied().collect::<Vec<_>>(), [id(1), id(2), id(4)]);
    // It awaited a reply.
    first.copies[2].state = CopyState::Unknown;
    first.copies[2].due = content[&id(1)].0.copies[2].due;
    assert_eq!(content[&id(1)], (first, emitted(&octets(1, 40))));
    assert_eq!(content[&id(2)], (second, emitted(&octets(2, 40))));
    assert_eq!(content[&id(4)], (message(4), b"Subject: 4\r\n\r\nbody\r\n".to_vec()));
}
