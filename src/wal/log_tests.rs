use std::fs;
use std::ops::Range;

use bytes::Bytes;

use super::*;
use crate::wal::{Format, Piece, Scan};

const FORMAT: &Format = &Format {
    magic: *b"\x8fTST\r\n\x1a\n",
    version: 2,
    last_kind: 1,
    max_meta_octets: 100_000,
    max_head_octets: 0,
    max_body_octets: 0,
};
const SEGMENT_OCTETS: u64 = 1000;

/// A folder of segments.
struct Place {
    dir: tempfile::TempDir,
    segments: Segments,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let segments = Segments::open(FORMAT, dir.path().join("log")).unwrap();
        Self { dir, segments }
    }

    fn create(&self) -> Log {
        Log::create(self.segments.clone(), 1, SEGMENT_OCTETS).unwrap()
    }

    /// What whoever opens the log finds in a segment: the numbers that were added.
    fn numbers(&self, segment: u64) -> Vec<u64> {
        let salt = self.segments.salt(segment).unwrap();
        let octets = self.segments.read(Position { segment, offset: 0 }, u64::MAX).unwrap();
        let number = |piece| match piece {
            Piece::Frame(frame, _) => frame.meta.first_chunk().copied().map(u64::from_be_bytes),
            other @ (Piece::Damaged(_) | Piece::Torn(_)) => panic!("{other:?}"),
        };
        Scan::new(FORMAT, &octets, salt).filter_map(number).collect()
    }

    /// Puts other octets where these are.
    fn overwrite(&self, segment: u64, range: Range<u64>) {
        let file = File::options().write(true).open(self.segments.path(segment)).unwrap();
        let octets = usize::try_from(range.end - range.start).unwrap();
        file.write_all_at(&vec![0xee; octets], range.start).unwrap();
    }

    /// A handle on a segment by which nothing can be written.
    fn unwritable(&self, segment: u64) -> File {
        File::open(self.segments.path(segment)).unwrap()
    }
}

/// A handle that takes every write, and refuses every sync.
fn unsyncable() -> File {
    File::options().write(true).open("/dev/null").unwrap()
}

/// Frames with a number each, padded to so many octets.
fn drafts(numbers: Range<u64>, octets: usize) -> Vec<Draft> {
    let draft = |number: u64| {
        let mut meta = number.to_be_bytes().to_vec();
        meta.resize(octets, 0);
        Draft::new(FORMAT, 1, meta, Vec::new(), Bytes::new()).unwrap()
    };
    numbers.map(draft).collect()
}

#[test]
fn what_is_added_is_where_it_is_said_to_be() {
    let place = Place::new();
    let mut log = place.create();
    let locations = log.append(drafts(1..4, 20).iter()).unwrap();
    assert_eq!(locations.iter().map(|location| location.octets).collect::<Vec<_>>(), [60; 3]);
    assert_eq!(locations.iter().map(|location| location.at.offset).collect::<Vec<_>>(), [40, 100, 160]);
    assert_eq!(log.end(), Position { segment: 1, offset: 220 });
    assert_eq!(place.numbers(1), [1, 2, 3]);
}

/// The pages are clean then, and gone: the system says that the next sync is done.
#[test]
fn the_sync_after_a_failed_one_is_about_all_that_was_not_synced() {
    let place = Place::new();
    let mut log = place.create();
    log.append(drafts(1..2, 20).iter()).unwrap();
    log.sync().unwrap();
    let synced = log.end().offset;
    log.append(drafts(2..9, 30_000).iter()).unwrap();
    let file = std::mem::replace(&mut log.file, unsyncable());
    let error = log.sync().unwrap_err();
    assert!(error.to_string().starts_with("cannot sync "), "{error}");
    log.file = file;
    place.overwrite(1, synced..log.end().offset);
    log.sync().unwrap();
    assert_eq!(place.numbers(1), (1..9).collect::<Vec<_>>());
}

/// A disk loses blocks, and the last sync ended within one.
#[test]
fn the_block_that_the_last_sync_ended_in_is_written_again_too() {
    let place = Place::new();
    let mut log = place.create();
    log.append(drafts(1..5, 30_000).iter()).unwrap();
    log.sync().unwrap();
    log.append(drafts(5..6, 20).iter()).unwrap();
    let file = std::mem::replace(&mut log.file, unsyncable());
    log.sync().unwrap_err();
    log.file = file;
    place.overwrite(1, BLOCK_OCTETS..log.end().offset);
    log.append(drafts(6..7, 20).iter()).unwrap();
    assert_eq!(place.numbers(1), (1..7).collect::<Vec<_>>());
}

#[test]
fn what_is_taken_back_after_a_failed_sync_is_not_there() {
    let place = Place::new();
    let mut log = place.create();
    log.append(drafts(1..3, 20).iter()).unwrap();
    let taken_back = log.append(drafts(3..5, 20).iter()).unwrap();
    let file = std::mem::replace(&mut log.file, unsyncable());
    log.sync().unwrap_err();
    log.file = file;
    log.cut_back(taken_back[0].at);
    assert_eq!(log.end(), taken_back[0].at);
    assert_eq!(place.numbers(1), [1, 2]);
    log.append(drafts(5..6, 20).iter()).unwrap();
    assert_eq!(place.numbers(1), [1, 2, 5]);
}

#[test]
fn of_a_failed_write_nothing_is_left_once_the_disk_is_well() {
    let place = Place::new();
    let mut log = place.create();
    log.append(drafts(1..2, 20).iter()).unwrap();
    let end = log.end();
    let file = std::mem::replace(&mut log.file, place.unwritable(1));
    let error = log.append(drafts(2..3, 20).iter()).unwrap_err();
    assert!(error.to_string().starts_with("cannot write "), "{error}");
    assert_eq!(log.end(), end);
    log.file = file;
    // What a disk took of it before it was full.
    place.overwrite(1, end.offset..end.offset + 90);
    log.append(drafts(3..4, 20).iter()).unwrap();
    assert_eq!(place.numbers(1), [1, 3]);
}

#[test]
fn a_sealed_segment_ends_and_the_next_has_a_salt_of_its_own() {
    let place = Place::new();
    let mut log = place.create();
    log.append(drafts(1..3, 20).iter()).unwrap();
    log.seal().unwrap();
    log.append(drafts(3..4, 20).iter()).unwrap();
    assert_eq!(place.segments.list().unwrap(), [1, 2]);
    assert_eq!((place.numbers(1), place.numbers(2)), (vec![1, 2], vec![3]));
    assert_ne!(place.segments.salt(1).unwrap(), place.segments.salt(2).unwrap());
    place.segments.remove(1).unwrap();
    assert_eq!(place.segments.list().unwrap(), [2]);
}

#[test]
fn a_segment_is_full_at_its_bound_and_a_little_later_when_it_could_not_be_sealed() {
    let place = Place::new();
    let mut log = place.create();
    log.append(drafts(1..2, 880).iter()).unwrap();
    assert!(!log.is_full());
    log.append(drafts(2..3, 8).iter()).unwrap();
    assert!(log.is_full());
    // The name of the next is taken.
    fs::write(place.segments.path(2), "").unwrap();
    let error = log.seal().unwrap_err();
    assert!(error.to_string().starts_with("cannot create "), "{error}");
    assert_eq!((log.is_full(), log.end().segment), (false, 1));
    log.append(drafts(3..4, 22).iter()).unwrap();
    assert!(log.is_full());
    assert_eq!(place.numbers(1), [1, 2, 3]);
}

#[test]
fn a_log_goes_on_where_it_was_cut_off() {
    let place = Place::new();
    let mut log = place.create();
    let locations = log.append(drafts(1..6, 30_000).iter()).unwrap();
    log.sync().unwrap();
    drop(log);
    let cut = locations[4].at;
    place.segments.cut(cut).unwrap();
    let salt = place.segments.salt(1).unwrap().unwrap();
    let mut log = Log::resume(place.segments.clone(), cut, salt, SEGMENT_OCTETS).unwrap();
    log.append(drafts(6..7, 20).iter()).unwrap();
    log.sync().unwrap();
    assert_eq!(place.numbers(1), [1, 2, 3, 4, 6]);
}

#[test]
fn a_segment_of_a_newer_version_is_refused_by_name() {
    const NEWER: &Format = &Format { version: 3, ..*FORMAT };
    let place = Place::new();
    let segments = Segments::at(NEWER, place.dir.path().join("log"));
    drop(Log::create(segments, 1, SEGMENT_OCTETS).unwrap());
    let error = place.segments.salt(1).unwrap_err();
    assert!(
        error.to_string().ends_with(
            "0000000000000001.log is of format version 3, which this version of Postroad does not know"
        ),
        "{error}"
    );
}

#[test]
fn a_segment_of_another_user_has_nothing_that_is_read() {
    const OTHER: &Format = &Format { magic: *b"\x8fOTH\r\n\x1a\n", ..*FORMAT };
    let place = Place::new();
    let segments = Segments::at(OTHER, place.dir.path().join("log"));
    let mut log = Log::create(segments, 1, SEGMENT_OCTETS).unwrap();
    log.append(drafts(1..3, 20).iter()).unwrap();
    assert_eq!(place.segments.salt(1).unwrap(), None);
    let octets = place.segments.read(Position { segment: 1, offset: 0 }, u64::MAX).unwrap();
    let pieces: Vec<_> = Scan::new(FORMAT, &octets, None).collect();
    assert_eq!(pieces, [Piece::Damaged(0..octets.len())]);
}
