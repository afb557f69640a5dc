use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;

use bytes::Bytes;
use openraft::storage::RaftLogStorageExt as _;
use openraft::{CommittedLeaderId, EntryPayload};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tempfile::TempDir;

use super::super::proposal::Proposal;
use super::super::types::{Member, Membership};
use super::record::FORMAT;
use super::*;
use crate::wal::{HEADER_OCTETS, Piece, Scan, Segments, WalError};

const PAGE: usize = 4096;

/// The segments of a log, and what is in them.
type Files = BTreeMap<String, Vec<u8>>;

/// A log in a folder of its own.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// One whose disk has these files.
    fn of(files: &Files) -> Self {
        let place = Self::new();
        fs::create_dir(place.dir()).unwrap();
        files.iter().for_each(|(name, octets)| fs::write(place.dir().join(name), octets).unwrap());
        place
    }

    fn dir(&self) -> PathBuf {
        self.0.path().join("log")
    }

    fn files(&self) -> Files {
        let entries = fs::read_dir(self.dir()).unwrap().map(|entry| entry.unwrap());
        entries
            .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
            .collect()
    }

    /// A log that is written anew from so many octets on.
    fn create(&self, segment_octets: u64) -> LogStore {
        let (live, log) = open::create(&self.dir()).unwrap();
        let mut writer = Writer::new(log, live.clone());
        writer.segment_octets = segment_octets;
        LogStore::start(live, writer).unwrap()
    }

    /// What the log says when it is opened.
    fn opened(&self) -> Result<Live, LogError> {
        LogStore::open(&self.dir()).map(|store| state(&store))
    }
}

fn state(store: &LogStore) -> Live {
    store.shared.live.lock().clone()
}

fn id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(term, NodeId(7)), index)
}

fn entry(term: u64, index: u64, octets: usize) -> Entry {
    let content = Proposal(Bytes::from(vec![b'x'; octets]));
    Entry { log_id: id(term, index), payload: EntryPayload::Normal(content) }
}

fn vote(term: u64) -> Vote {
    Vote::new(term, NodeId(term % 3))
}

/// Waits until the log has been written anew, if it is to be after a purge.
async fn idle(store: &LogStore) {
    let (answer, answered) = oneshot::channel();
    store.order(Vec::new(), Some(Box::new(|written| answer.send(written).unwrap())));
    answered.await.unwrap().unwrap();
}

/// Something that a node does to its log, and what that says.
async fn perform(store: &mut LogStore, records: &[Record]) {
    let entries = records.iter().filter_map(|record| match record {
        Record::Entry(entry) => Some(entry.clone()),
        _ => None,
    });
    match &records[0] {
        Record::Vote(vote) => store.save_vote(vote).await.unwrap(),
        Record::Truncate(from) => store.truncate(id(0, *from)).await.unwrap(),
        Record::Purge(id) => {
            store.purge(*id).await.unwrap();
            idle(store).await;
        }
        Record::Entry(_) => store.blocking_append(entries).await.unwrap(),
        Record::Committed(_) | Record::Synced(_) => unreachable!(),
    }
}

/// Something to do to a log in this state.
fn random(live: &Live, random: &mut StdRng) -> Vec<Record> {
    let (last, term) = (live.last().map_or(0, |id| id.index), random.random_range(1..9));
    let first = live.range(&.., 0).first().map(|entry| entry.log_id.index);
    match (random.random_range(0..6), first) {
        (0, _) => vec![Record::Vote(vote(term))],
        (1, Some(first)) => vec![Record::Truncate(random.random_range(first + 1..=last + 1))],
        (2, Some(first)) => vec![Record::Purge(id(term, random.random_range(first..=last)))],
        _ => {
            let count = random.random_range(1..5);
            let octets = [10, 700, 9000][random.random_range(0..3)];
            (1..=count).map(|offset| Record::Entry(entry(term, last + offset, octets))).collect()
        }
    }
}

/// What a log says that says what `before` does, and the first so many of these records.
fn after(before: &Live, records: &[Record]) -> Live {
    let mut live = before.clone();
    records.iter().for_each(|record| live.follow(record.clone()).unwrap());
    live
}

/// What a power cut may leave of a file that was durable like that and is being written to be like this: any of the pages
/// that were written since, in any length.
fn cut(durable: &[u8], written: &[u8], random: &mut StdRng) -> Vec<u8> {
    let octets = random.random_range(durable.len()..=written.len());
    let mut left = durable.to_vec();
    left.resize(octets, 0);
    for page in (durable.len() / PAGE)..octets.div_ceil(PAGE) {
        if random.random() {
            let range = page * PAGE..octets.min((page + 1) * PAGE);
            left[range.clone()].copy_from_slice(&written[range]);
        }
    }
    left
}

/// Where the last frame of a segment starts.
fn last_frame(octets: &[u8]) -> usize {
    match Scan::new(FORMAT, octets, None).last() {
        Some(Piece::Frame(_, range)) => range.start,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_was_promised_is_there_when_the_log_is_opened_again() {
    let place = Place::new();
    let mut store = place.create(u64::MAX);
    store.save_vote(&Vote::new_committed(3, NodeId(u64::MAX))).await.unwrap();
    let membership = Membership::new(
        vec![[NodeId(1), NodeId(2)].into(), [NodeId(3)].into()],
        BTreeMap::from([1, 2, 3, 4].map(|node| (NodeId(node), Member { name: format!("n{node}") }))),
    );
    let members = Entry { log_id: id(1, 1), payload: EntryPayload::Membership(membership) };
    let blank = Entry { log_id: id(1, 0), payload: EntryPayload::Blank };
    store.blocking_append([blank, members, entry(2, 2, 5), entry(2, 3, 6)]).await.unwrap();
    store.truncate(id(2, 3)).await.unwrap();
    store.save_committed(Some(id(1, 1))).await.unwrap();
    store.purge(id(1, 0)).await.unwrap();
    let left = state(&store);
    assert_eq!((left.purged, left.last()), (Some(id(1, 0)), Some(id(2, 2))));
    drop(store);
    let opened = place.opened().unwrap();
    assert_eq!(opened, left);
    assert_eq!(opened.committed, Some(id(1, 1)));
    // And of what was copied when it was opened.
    assert_eq!(place.opened().unwrap(), left);
    assert_eq!(place.files().len(), 1);
}

#[tokio::test]
async fn a_power_cut_at_any_sync_leaves_what_was_promised_and_a_beginning_of_what_was_not() {
    let mut copies = 0;
    for seed in 0..4 {
        let mut dice = StdRng::seed_from_u64(seed);
        let place = Place::new();
        let mut store = place.create(20_000);
        for _ in 0..30 {
            let (before, durable) = (state(&store), place.files());
            let records = random(&before, &mut dice);
            perform(&mut store, &records).await;
            let written = place.files();
            for _ in 0..4 {
                let files = torn(&durable, &written, &mut dice);
                let opened = Place::of(&files).opened().unwrap();
                let mut possible = (0..=records.len()).map(|count| after(&before, &records[..count]));
                assert!(
                    possible.any(|live| live == opened),
                    "seed {seed}: {records:?} on {before:?}: {opened:?}"
                );
                assert!(
                    files.len() == 1 || opened == before,
                    "seed {seed}: a copy that was not finished counted"
                );
            }
            assert_eq!(Place::of(&written).opened().unwrap(), after(&before, &records), "seed {seed}");
        }
        copies += usize::from(!place.files().contains_key("0000000000000001.log"));
    }
    assert!(copies > 0, "no log was ever written anew");
}

/// What a power cut may leave of these files, on the way from one to the other. Where one is a copy, it is before that was
/// durable: what says that it is comes later, and is not there.
fn torn(durable: &Files, written: &Files, dice: &mut StdRng) -> Files {
    let mut files = durable.clone();
    let (name, octets) = written.last_key_value().unwrap();
    let left = match durable.get(name) {
        Some(from) => cut(from, octets, dice),
        None => cut(&octets[..HEADER_OCTETS], &octets[..last_frame(octets)], dice),
    };
    files.insert(name.clone(), left);
    files
}

#[tokio::test]
async fn damage_before_the_last_mark_is_fatal_and_behind_it_the_end() {
    let place = Place::new();
    let mut store = place.create(u64::MAX);
    store.save_vote(&vote(1)).await.unwrap();
    store.blocking_append([entry(1, 0, 30), entry(1, 1, 30)]).await.unwrap();
    store.truncate(id(1, 1)).await.unwrap();
    let (mark, before) = (place.files().first_key_value().unwrap().1.len(), state(&store));
    store.blocking_append([entry(2, 1, 30), entry(2, 2, 30)]).await.unwrap();
    let end = state(&store);
    drop(store);

    let whole = place.files();
    let (name, octets) = whole.first_key_value().unwrap();
    let segments = Segments::at(FORMAT, place.dir());
    // As without the mark of a clean end.
    let Some(Piece::Frame(_, last)) = Scan::new(FORMAT, octets, segments.salt(1).unwrap()).last() else {
        panic!()
    };
    let octets = &octets[..last.start].to_vec();
    for offset in 0..octets.len() {
        let mut flipped = octets.clone();
        flipped[offset] ^= 1 << (offset % 8);
        fs::write(place.dir().join(name), flipped).unwrap();
        match open::replay(&segments, 1) {
            Err(LogError::Damaged { offset: at, .. }) => {
                assert!(offset < mark && at <= offset as u64, "offset {offset} of {mark}: damaged at {at}");
            }
            Ok(live) => {
                assert!(offset >= mark, "offset {offset} of {mark} went unnoticed");
                let first = after(&before, &[Record::Entry(entry(2, 1, 30))]);
                assert!([&before, &first].contains(&&live), "offset {offset}");
            }
            Err(other) => panic!("offset {offset}: {other}"),
        }
    }
    for length in mark..octets.len() {
        fs::write(place.dir().join(name), &octets[..length]).unwrap();
        assert_ne!(open::replay(&segments, 1).unwrap(), end, "cut at {length}");
    }
    fs::write(place.dir().join(name), &octets[..mark - 1]).unwrap();
    assert_ne!(open::replay(&segments, 1).unwrap(), before);
}

#[tokio::test]
async fn within_a_second_the_log_says_how_far_it_was_synced() {
    let place = Place::new();
    let mut store = place.create(u64::MAX);
    store.save_vote(&vote(1)).await.unwrap();
    let promised = place.files().first_key_value().unwrap().1.len();
    let marked = async || {
        while place.files().first_key_value().unwrap().1.len() == promised {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), marked()).await.unwrap();
    drop(store);
    let (name, mut octets) = place.files().pop_first().unwrap();
    octets[promised - 1] ^= 1;
    fs::write(place.dir().join(name), octets).unwrap();
    assert!(matches!(place.opened(), Err(LogError::Damaged { .. })));
}

#[tokio::test]
async fn a_failed_sync_of_a_vote_is_the_end_and_nothing_is_tried_again() {
    let place = Place::new();
    let (live, log) = open::create(&place.dir()).unwrap();
    // It takes every write, and refuses every sync.
    let broken = log.over(File::options().write(true).open("/dev/null").unwrap());
    let mut store = LogStore::start(live.clone(), Writer::new(broken, live)).unwrap();
    store.save_vote(&vote(1)).await.unwrap_err();
    store.read_vote().await.unwrap_err();
    store.get_log_state().await.unwrap_err();
    let entries = store.blocking_append([entry(1, 0, 1)]).await.unwrap_err();
    assert!(entries.to_string().contains("cannot sync"), "{entries}");
    let purge = store.purge(id(1, 0)).await.unwrap_err();
    assert!(purge.to_string().contains("cannot sync"), "{purge}");
}

#[tokio::test]
async fn a_full_disk_is_the_end_and_what_was_promised_stays() {
    let place = Place::new();
    let mut store = place.create(u64::MAX);
    store.save_vote(&vote(1)).await.unwrap();
    drop(store);
    let (live, log) = open::open(&place.dir()).unwrap();
    let full = log.over(File::options().write(true).open("/dev/full").unwrap());
    let mut store = LogStore::start(live.clone(), Writer::new(full, live)).unwrap();
    let refused = store.save_vote(&vote(2)).await.unwrap_err();
    assert!(refused.to_string().contains("No space left"), "{refused}");
    drop(store);
    assert_eq!(place.opened().unwrap().vote, Some(vote(1)));
}

#[tokio::test]
async fn a_log_that_is_gone_or_there_already_is_told() {
    let place = Place::new();
    assert!(matches!(place.opened(), Err(LogError::Missing(_))));
    drop(place.create(u64::MAX));
    assert!(matches!(LogStore::create(&place.dir()), Err(LogError::Exists(_))));
    fs::remove_file(place.dir().join("0000000000000001.log")).unwrap();
    assert!(matches!(place.opened(), Err(LogError::Missing(_))));
}

#[tokio::test]
async fn entries_follow_each_other_without_a_gap() {
    let place = Place::new();
    let mut store = place.create(u64::MAX);
    store.blocking_append([entry(1, 0, 1)]).await.unwrap();
    let refused = store.blocking_append([entry(1, 2, 1)]).await.unwrap_err();
    assert!(refused.to_string().contains("entry 2 stands where 1 should"), "{refused}");
    drop(store);

    let (_, mut log) = open::open(&place.dir()).unwrap();
    log.append([Record::Entry(entry(1, 2, 1)).draft().unwrap()].iter()).unwrap();
    assert!(matches!(place.opened(), Err(LogError::Hole { cause: Hole { expected: 1, found: 2 }, .. })));
}

#[tokio::test]
async fn what_a_later_version_wrote_stops_the_opening() {
    let place = Place::new();
    drop(place.create(u64::MAX));
    let (name, mut octets) = place.files().pop_first().unwrap();
    // The version, and the header's sum over it.
    octets[16] = 2;
    let sum = crc32fast::hash(&octets[..36]).to_be_bytes();
    octets[36..40].copy_from_slice(&sum);
    fs::write(place.dir().join(name), octets).unwrap();
    assert!(matches!(place.opened(), Err(LogError::Wal(WalError::Newer { version: 2, .. }))));
}

#[tokio::test]
async fn an_entry_too_large_for_a_frame_is_refused() {
    let place = Place::new();
    let mut store = place.create(u64::MAX);
    let refused = store.blocking_append([entry(1, 0, 2 << 20)]).await.unwrap_err();
    assert!(refused.to_string().contains("past the limit"), "{refused}");
    store.save_vote(&vote(1)).await.unwrap();
    store.blocking_append([entry(1, 0, 1)]).await.unwrap();
}

#[tokio::test]
async fn a_purge_waits_for_the_snapshot_that_has_what_goes() {
    let place = Place::new();
    let (durable, snapshots) = watch::channel(Some(id(1, 0)));
    let mut store = place.create(u64::MAX).after_snapshots(snapshots);
    store.blocking_append((0..5).map(|index| entry(1, index, 1))).await.unwrap();
    store.purge(id(1, 0)).await.unwrap();
    let mut other = store.clone();
    let purge = tokio::spawn(async move { other.purge(id(1, 3)).await });
    // What is asked for meanwhile is not held up, and finds all that is there.
    store.save_vote(&vote(2)).await.unwrap();
    assert_eq!(store.get_log_state().await.unwrap().last_purged_log_id, Some(id(1, 0)));
    assert!(!purge.is_finished());
    durable.send(Some(id(1, 4))).unwrap();
    purge.await.unwrap().unwrap();
    assert_eq!(store.get_log_state().await.unwrap().last_purged_log_id, Some(id(1, 3)));
    drop(durable);
    store.purge(id(1, 4)).await.unwrap();
    store.blocking_append([entry(1, 5, 1)]).await.unwrap();
    store.purge(id(1, 5)).await.unwrap_err();
}

#[tokio::test]
async fn a_log_that_was_begun_and_never_written_to_is_begun_again() {
    let place = Place::new();
    for octets in [0, 39] {
        fs::create_dir_all(place.dir()).unwrap();
        fs::write(place.dir().join("0000000000000001.log"), vec![0; octets]).unwrap();
        let mut store = LogStore::create(&place.dir()).unwrap();
        store.save_vote(&vote(1)).await.unwrap();
        drop(store);
        fs::remove_dir_all(place.dir()).unwrap();
    }
}

#[tokio::test]
async fn of_a_segment_and_its_finished_copy_the_copy_counts() {
    let place = Place::new();
    let mut store = place.create(u64::MAX);
    store.save_vote(&vote(1)).await.unwrap();
    drop(store);
    let first = place.files();
    let mut store = LogStore::open(&place.dir()).unwrap();
    store.save_vote(&vote(2)).await.unwrap();
    drop(store);
    // It was removed, and the disk forgot that.
    let both: Files = first.into_iter().chain(place.files()).collect();
    assert_eq!(both.len(), 2);
    let place = Place::of(&both);
    assert_eq!(place.opened().unwrap().vote, Some(vote(2)));
    assert_eq!(place.files().len(), 1);
}

#[tokio::test]
async fn where_a_copy_cannot_be_removed_nothing_more_is_promised() {
    let place = Place::new();
    let mut store = place.create(10_000);
    store.blocking_append((0..9).map(|index| entry(1, index, 3000))).await.unwrap();
    // Where the copy would be is something else.
    fs::create_dir(place.dir().join("0000000000000002.log")).unwrap();
    store.purge(id(1, 7)).await.unwrap();
    store.save_vote(&vote(1)).await.unwrap_err();
    fs::remove_dir(place.dir().join("0000000000000002.log")).unwrap();
    drop(store);
    let opened = place.opened().unwrap();
    assert_eq!((opened.purged, opened.last()), (Some(id(1, 7)), Some(id(1, 8))));
}

#[tokio::test]
async fn one_message_to_a_peer_has_few_entries_but_at_least_one() {
    let place = Place::new();
    let mut store = place.create(u64::MAX);
    let large = APPEND_OCTETS / 2;
    store.blocking_append((0..4).map(|index| entry(1, index, large))).await.unwrap();
    let mut reader = store.get_log_reader().await;
    let indices = async |reader: &mut LogReader, start, end| {
        let entries = reader.limited_get_log_entries(start, end).await.unwrap();
        entries.iter().map(|entry| entry.log_id.index).collect::<Vec<_>>()
    };
    assert_eq!(indices(&mut reader, 0, 4).await, [0]);
    assert_eq!(indices(&mut reader, 3, 4).await, [3]);
    store.purge(id(1, 1)).await.unwrap();
    store.blocking_append((4..9).map(|index| entry(1, index, 10))).await.unwrap();
    assert_eq!(indices(&mut reader, 4, 7).await, [4, 5, 6]);
    assert_eq!(indices(&mut reader, 1, 7).await, [] as [u64; 0]);
    let all = reader.try_get_log_entries(..).await.unwrap();
    assert_eq!(all.len(), 7);
}

/// Prints how long opening takes, of a million entries and of what is left of them once they are purged.
#[tokio::test]
#[ignore = "half a minute: cargo test --release --lib a_million_entries -- --ignored --nocapture"]
async fn a_million_entries_are_opened_and_purged() {
    let place = Place::new();
    let mut store = LogStore::create(&place.dir()).unwrap();
    for batch in 0..1000 {
        store
            .blocking_append((batch * 1000..(batch + 1) * 1000).map(|index| entry(1, index, 60)))
            .await
            .unwrap();
    }
    drop(store);
    for purged in [None, Some(999_000)] {
        let begun = std::time::Instant::now();
        let mut store = LogStore::open(&place.dir()).unwrap();
        let on_disk: usize = place.files().values().map(Vec::len).sum();
        println!(
            "opened in {:?}: {} octets in memory, {on_disk} on the disk",
            begun.elapsed(),
            store.octets()
        );
        assert_eq!(state(&store).last(), Some(id(1, 999_999)));
        if let Some(purged) = purged {
            store.purge(id(1, purged)).await.unwrap();
            idle(&store).await;
            assert!(place.files().values().map(Vec::len).sum::<usize>() < 1 << 20);
        }
    }
    let begun = std::time::Instant::now();
    assert_eq!(place.opened().unwrap().last(), Some(id(1, 999_999)));
    println!("opened purged in {:?}", begun.elapsed());
}
