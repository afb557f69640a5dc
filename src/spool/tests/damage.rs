use std::fs;

use super::*;
use crate::store::Store;
use crate::telemetry::labels::Contained;
use crate::wal::{Piece, Position, Scan};

/// Three messages, the middle one changed, in a spool that is closed.
async fn three(place: &Place) -> BTreeMap<TraceId, (Queued, Vec<u8>)> {
    let (spool, _) = place.open();
    for number in 1..=3 {
        spool.put(message(number), &octets(number, 40)).await.unwrap();
    }
    content(&spool).await
}

fn remove_index(place: &Place) {
    fs::remove_dir_all(place.path("index")).unwrap();
}

/// Where the frames of a segment are.
fn frames(octets: &[u8]) -> Vec<std::ops::Range<usize>> {
    let frame = |piece| match piece {
        Piece::Frame(_, range) => range,
        other => panic!("{other:?}"),
    };
    Scan::new(FORMAT, octets, None).map(frame).collect()
}

#[tokio::test]
async fn a_segment_cut_off_at_any_octet_of_its_last_record_opens_with_all_else() {
    let place = Place::new();
    let mut whole = three(&place).await;
    whole.remove(&id(3));
    let segment = fs::read(place.segment(1)).unwrap();
    let last = frames(&segment).pop().unwrap();
    for at in last.clone() {
        remove_index(&place);
        fs::write(place.segment(1), &segment[..at]).unwrap();
        let (spool, recovered) = place.open();
        assert_eq!(recovered.torn_octets as usize, at - last.start);
        assert_eq!(recovered.quarantined, []);
        assert_eq!(content(&spool).await, whole, "cut off at {at}");
    }
    let (spool, _) = place.open();
    spool.put(message(4), &octets(4, 40)).await.unwrap();
    drop(spool);
    let (spool, recovered) = place.open();
    assert_eq!(recovered.torn_octets, 0);
    assert_eq!(numbers(&spool).await, [1, 2, 4]);
}

#[tokio::test]
async fn a_bit_flipped_anywhere_in_a_record_is_reported_and_all_else_is_there() {
    let place = Place::new();
    let whole = three(&place).await;
    let segment = fs::read(place.segment(1)).unwrap();
    let frames = frames(&segment);
    // Each octet of the record in the middle, and some of the first frame and of the last record.
    for (frame, damaged, step) in [(0, None, 5), (2, Some(2), 1), (3, Some(3), 11)] {
        let range = frames[frame].clone();
        let meta_octets = u32::from_be_bytes(segment[range.start + 20..][..4].try_into().unwrap()) as usize;
        let envelope = range.start..range.start + 40 + meta_octets;
        for at in range.clone().step_by(step) {
            remove_index(&place);
            // Begun where the first could not be written on.
            let _ = fs::remove_file(place.segment(2));
            let mut flipped = segment.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(place.segment(1), &flipped).unwrap();
            let (spool, recovered) = place.open();
            let [quarantined] = recovered.quarantined.as_slice() else { panic!("{at}: {recovered:?}") };
            assert_eq!(quarantined.offset as usize, range.start, "flipped at {at}");
            assert_eq!(fs::read(&quarantined.kept).unwrap(), flipped[range.clone()]);
            let mut expected = whole.clone();
            if let Some(number) = damaged {
                expected.remove(&id(number));
                let loaded = spool.load(id(number)).await;
                if let Err(SpoolError::Damaged { queued, .. }) = &loaded {
                    assert_eq!(**queued, message(number), "flipped at {at}");
                    spool.remove(id(number)).await.unwrap();
                }
                // What ends the log was perhaps never acknowledged.
                assert!(
                    number == 3 || envelope.contains(&at) || loaded.is_err(),
                    "flipped at {at}: {loaded:?}"
                );
            }
            assert_eq!(content(&spool).await, expected, "flipped at {at}");
        }
    }
    let counted = place.metrics.poisoned_messages_total.of(Contained::Spool).get();
    assert!(counted > 0, "it is counted");
}

#[tokio::test]
async fn a_record_damaged_behind_the_indexs_back_is_found_when_it_is_loaded() {
    let place = Place::new();
    three(&place).await;
    let mut segment = fs::read(place.segment(1)).unwrap();
    let range = frames(&segment)[2].clone();
    segment[range.end - 1] ^= 1;
    fs::write(place.segment(1), &segment).unwrap();
    let (spool, recovered) = place.open();
    assert_eq!((recovered.rebuilt, recovered.quarantined.len()), (None, 0));
    assert_eq!(spool.quarantined().await.unwrap(), 0);
    let counted = || place.metrics.poisoned_messages_total.of(Contained::Spool).get();
    // Whoever tells its sender may be killed before it is removed.
    for _ in 0..2 {
        let error = spool.load(id(2)).await.unwrap_err();
        let SpoolError::Damaged { queued, head, kept, .. } = &error else { panic!("{error}") };
        assert_eq!((&**queued, head.as_ref()), (&message(2), &octets(2, 40).emitted_head().concat()[..]));
        assert_eq!(fs::read(kept).unwrap(), segment[range.clone()]);
        assert_eq!(numbers(&spool).await, [1, 2, 3]);
        assert_eq!((counted(), spool.quarantined().await.unwrap()), (1, 1));
    }
    spool.remove(id(2)).await.unwrap();
    assert_eq!(content(&spool).await.len(), 2);
}

#[tokio::test]
async fn octets_that_cannot_be_had_now_are_not_lost() {
    let place = Place::new();
    three(&place).await;
    let (spool, _) = place.open();
    let (segment, aside) = (place.segment(1), place.path("aside"));
    fs::rename(&segment, &aside).unwrap();
    // A loop of links is none of the errors that say that a file is gone.
    std::os::unix::fs::symlink(&segment, &segment).unwrap();
    assert!(matches!(spool.load(id(2)).await, Err(SpoolError::Io { .. })));
    fs::rename(&aside, &segment).unwrap();
    assert!(spool.load(id(2)).await.unwrap().is_some());
    assert!(!place.path("quarantine").exists());
}

#[tokio::test]
async fn neighbours_that_are_damaged_are_each_told_of() {
    let place = Place::new();
    three(&place).await;
    let mut segment = fs::read(place.segment(1)).unwrap();
    for frame in [1, 2] {
        let end = frames(&fs::read(place.segment(1)).unwrap())[frame].end;
        segment[end - 1] ^= 1;
    }
    fs::write(place.segment(1), &segment).unwrap();
    remove_index(&place);
    let (spool, recovered) = place.open();
    assert_eq!(recovered.quarantined.len(), 1);
    for number in [1, 2] {
        let error = spool.load(id(number)).await.unwrap_err();
        let SpoolError::Damaged { queued, .. } = error else { panic!("{error}") };
        assert_eq!(*queued, message(number));
    }
    assert_eq!(numbers(&spool).await, [1, 2, 3]);
}

#[tokio::test]
async fn a_lost_state_record_leaves_the_state_of_the_put() {
    let place = Place::new();
    let (spool, _) = place.open();
    spool.put(message(1), &octets(1, 40)).await.unwrap();
    let mut changed = message(1);
    changed.copies[0].attempts = 7;
    spool.update(changed).await.unwrap();
    spool.put(message(2), &octets(2, 40)).await.unwrap();
    drop(spool);
    let mut segment = fs::read(place.segment(1)).unwrap();
    let state = frames(&segment)[2].clone();
    segment[state.end - 1] ^= 1;
    fs::write(place.segment(1), &segment).unwrap();
    remove_index(&place);
    let (spool, recovered) = place.open();
    assert_eq!(recovered.quarantined.len(), 1);
    assert_eq!(spool.list(None, 9).await.unwrap(), [message(1), message(2)]);
}

#[tokio::test]
async fn an_index_that_is_gone_or_spoilt_is_made_again_from_the_log() {
    type Spoil = fn(&Place);
    let spoils: [(&str, Spoil); 4] = [
        ("it is missing", |place| remove_index(place)),
        ("its log is missing", |place| fs::remove_file(place.path("index/store/db")).unwrap()),
        ("", |place| fs::write(place.path("index/store/db"), [7; 100_000]).unwrap()),
        ("store.lock names", |place| fs::write(place.path("index/store.lock"), "other").unwrap()),
    ];
    for (reason, spoil) in spoils {
        let place = Place::new();
        let whole = three(&place).await;
        let (spool, _) = place.open();
        spool.put(message(4), &octets(4, 40)).await.unwrap();
        spool.remove(id(4)).await.unwrap();
        drop(spool);
        spoil(&place);
        let (spool, recovered) = place.open();
        let rebuilt = recovered.rebuilt.unwrap();
        assert!(rebuilt.contains(reason), "{rebuilt}");
        assert_eq!(recovered.messages, 3);
        assert_eq!(content(&spool).await, whole);
        assert_eq!(place.path("index.damaged").exists(), reason != "it is missing");
        drop(spool);
        assert_eq!(place.open().1.rebuilt, None, "once is enough");
    }
}

#[tokio::test]
async fn an_index_with_a_bit_flipped_somewhere_loses_no_message() {
    let place = Place::new();
    let whole = three(&place).await;
    let database = fs::read(place.path("index/store/db")).unwrap();
    let copied = tempfile::tempdir().unwrap();
    copy_folder(&place.path("index"), copied.path());
    let written: Vec<usize> = (0..database.len()).filter(|at| database[*at] != 0).collect();
    for at in written.iter().step_by(written.len() / 40 + 1) {
        remove_index(&place);
        copy_folder(copied.path(), &place.path("index"));
        let mut flipped = database.clone();
        flipped[*at] ^= 1 << (at % 8);
        fs::write(place.path("index/store/db"), flipped).unwrap();
        let (spool, _) = place.open();
        assert_eq!(content(&spool).await, whole, "flipped at {at}");
        let due = spool.due(&domain("b.example"), at_end(), 9).await.unwrap();
        assert_eq!(due.len(), 3, "flipped at {at}");
    }
}

/// What the database under the index may do without a word.
#[tokio::test]
async fn an_index_that_has_lost_or_changed_a_page_is_made_again() {
    type Damage = fn(&[u8]) -> Option<Vec<u8>>;
    let cut: Damage = |value| value.get(..value.len() - 1).map(<[u8]>::to_vec);
    let not_a_due_time: Damage = |value| {
        let zero = b"b.example".len() + value.windows(9).position(|name| name == b"b.example").unwrap();
        let mut changed = value.to_vec();
        changed[zero] = 1;
        Some(changed)
    };
    let lost: Damage = |_| None;
    for (kind, damage) in [(b'm', lost), (b'm', cut), (b'd', lost), (b'd', cut), (b'd', not_a_due_time)] {
        let place = Place::new();
        let whole = three(&place).await;
        {
            let tree = Store::open(&place.path("index")).unwrap().tree("spool").unwrap();
            let (key, value) = tree.scan(&[kind]).next().unwrap().unwrap();
            match damage(&value) {
                Some(value) => tree.insert(&key, &value).unwrap(),
                None => tree.remove(&key).unwrap(),
            }
        }
        let (spool, recovered) = place.open();
        assert!(recovered.rebuilt.is_some(), "{kind} {recovered:?}");
        assert_eq!(content(&spool).await, whole);
        assert_eq!(spool.due(&domain("b.example"), at_end(), 9).await.unwrap().len(), 3);
    }
}

fn at_end() -> SystemTime {
    at(1_000_000)
}

#[tokio::test]
async fn an_index_that_is_ahead_of_the_log_is_made_again() {
    let place = Place::new();
    let mut whole = three(&place).await;
    let segment = fs::read(place.segment(1)).unwrap();
    let last = frames(&segment).pop().unwrap();
    fs::write(place.segment(1), &segment[..last.start]).unwrap();
    let (spool, recovered) = place.open();
    assert_eq!(recovered.rebuilt.as_deref(), Some("it is ahead of the log"));
    whole.remove(&id(3));
    assert_eq!(content(&spool).await, whole);
}

/// What is written after the last sync may come to the disk in any order, or in part.
#[tokio::test]
async fn an_index_that_knows_of_a_hole_in_the_log_is_made_again() {
    let place = Place::new();
    let whole = three(&place).await;
    let mut segment = fs::read(place.segment(1)).unwrap();
    segment.extend([0; 64]);
    fs::write(place.segment(1), &segment).unwrap();
    let index = Index::open(&place.path("index")).unwrap();
    let end = Position { segment: 1, offset: segment.len() as u64 };
    index.apply(vec![Event::Done(id(1))], end).unwrap();
    drop(index);
    let (spool, recovered) = place.open();
    assert_eq!(recovered.rebuilt.as_deref(), Some("it is ahead of the log"));
    assert_eq!(content(&spool).await, whole);
}

#[tokio::test]
async fn what_an_index_does_not_know_yet_is_read_from_the_log() {
    let place = Place::new();
    three(&place).await;
    let copied = tempfile::tempdir().unwrap();
    copy_folder(&place.path("index"), copied.path());
    let (spool, _) = place.open();
    spool.put(message(4), &octets(4, 40)).await.unwrap();
    spool.remove(id(1)).await.unwrap();
    let now = content(&spool).await;
    drop(spool);
    remove_index(&place);
    copy_folder(copied.path(), &place.path("index"));
    let (spool, recovered) = place.open();
    assert_eq!((recovered.rebuilt, recovered.replayed), (None, 2));
    assert_eq!(content(&spool).await, now);
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &to)
        } else {
            fs::copy(entry.path(), to).map(drop).unwrap()
        }
    }
}

#[tokio::test]
async fn garbage_behind_the_last_record_is_kept_aside_and_cut_off() {
    let place = Place::new();
    let whole = three(&place).await;
    let mut segment = fs::read(place.segment(1)).unwrap();
    let end = segment.len();
    segment.extend_from_slice(b"garbage of a disk that wrote something else");
    fs::write(place.segment(1), &segment).unwrap();
    let (spool, recovered) = place.open();
    assert_eq!(recovered.quarantined.len(), 1);
    assert_eq!(content(&spool).await, whole);
    drop(spool);
    assert_eq!(fs::metadata(place.segment(1)).unwrap().len() as usize, end);
    fs::write(place.segment(1), [&segment[..end], &[0; 5000]].concat()).unwrap();
    let (_, recovered) = place.open();
    assert_eq!((recovered.quarantined.len(), recovered.torn_octets), (0, 5000), "nothing was written there");
}

#[tokio::test]
async fn a_message_that_holds_records_is_never_taken_for_them() {
    let place = Place::new();
    let (spool, _) = place.open();
    spool.put(message(1), &octets(1, 40)).await.unwrap();
    drop(spool);
    let forged = fs::read(place.segment(1)).unwrap();
    let other = Place::new();
    let (spool, _) = other.open();
    let carrier = Message::new("A: b\r\n\r\n".into(), Body::Memory(forged.into()));
    spool.put(message(2), &carrier).await.unwrap();
    spool.put(message(3), &octets(3, 40)).await.unwrap();
    drop(spool);
    let mut segment = fs::read(other.segment(1)).unwrap();
    let carrier = frames(&segment)[1].clone();
    segment[carrier.start + 20] ^= 1;
    fs::write(other.segment(1), segment).unwrap();
    remove_index(&other);
    let (spool, recovered) = other.open();
    assert_eq!(recovered.quarantined.len(), 1);
    assert_eq!(numbers(&spool).await, [3]);
}

#[tokio::test]
async fn a_segment_that_was_only_begun_is_no_obstacle() {
    for octets_there in [0, 17] {
        let place = Place::new();
        let whole = three(&place).await;
        fs::write(place.segment(2), &fs::read(place.segment(1)).unwrap()[..octets_there]).unwrap();
        let (spool, recovered) = place.open();
        assert_eq!((recovered.rebuilt, recovered.quarantined.len()), (None, 0));
        spool.put(message(4), &octets(4, 40)).await.unwrap();
        drop(spool);
        remove_index(&place);
        let (spool, recovered) = place.open();
        assert_eq!(recovered.quarantined.len(), 0);
        assert_eq!(content(&spool).await.len(), whole.len() + 1);
    }
}

#[tokio::test]
async fn a_newer_format_is_refused_by_name() {
    let place = Place::new();
    three(&place).await;
    let mut segment = fs::read(place.segment(1)).unwrap();
    segment[16] = 3;
    let sum = crc32fast::hash(&segment[..36]).to_be_bytes();
    segment[36..40].copy_from_slice(&sum);
    fs::write(place.segment(1), segment).unwrap();
    let error = Spool::open(place.dir.path(), place.options, place.metrics.clone()).unwrap_err();
    assert!(error.to_string().contains("format version 3"), "{error}");
}
