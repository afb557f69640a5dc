use std::fs;
use std::ops::Bound;

use super::*;

fn keys(tree: &Tree, prefix: &[u8]) -> Vec<String> {
    tree.scan(prefix).map(|pair| String::from_utf8(pair.unwrap().0).unwrap()).collect()
}

#[test]
fn what_was_flushed_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = Store::open(dir.path()).unwrap();
        let tree = store.tree("a").unwrap();
        tree.insert(b"k1", b"v1").unwrap();
        tree.insert(b"k2", b"v2").unwrap();
        tree.remove(b"k1").unwrap();
        store.tree("b").unwrap().insert(b"k1", b"other").unwrap();
        store.flush_durably().unwrap();
    }
    let store = Store::open(dir.path()).unwrap();
    let tree = store.tree("a").unwrap();
    assert_eq!(tree.get(b"k1").unwrap(), None);
    assert_eq!(tree.get(b"k2").unwrap(), Some(b"v2".to_vec()));
    assert_eq!(store.tree("b").unwrap().get(b"k1").unwrap(), Some(b"other".to_vec()));
}

#[test]
fn scans_are_in_key_order_and_reversible() {
    let dir = tempfile::tempdir().unwrap();
    let tree = Store::open(dir.path()).unwrap().tree("a").unwrap();
    let mut batch = Batch::default();
    for key in ["b2", "a1", "b1", "c1"] {
        batch.insert(key, "v");
    }
    assert_eq!(batch.len(), 4);
    tree.apply_batch(batch).unwrap();
    assert_eq!(keys(&tree, b"b"), ["b1", "b2"]);
    assert_eq!(keys(&tree, b""), ["a1", "b1", "b2", "c1"]);
    assert_eq!(tree.scan(b"").next_back().unwrap().unwrap().0, b"c1");
    let after = tree.range(Bound::Excluded(b"b1"), Bound::Unbounded);
    assert_eq!(after.map(|pair| pair.unwrap().0).collect::<Vec<_>>(), [b"b2".to_vec(), b"c1".to_vec()]);
}

#[test]
fn a_batch_with_a_value_too_long_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let tree = Store::open(dir.path()).unwrap().tree("a").unwrap();
    let mut batch = Batch::default();
    batch.insert("k1", "v");
    batch.insert("k2", vec![0; MAX_VALUE_OCTETS + 1]);
    let error = tree.apply_batch(batch).unwrap_err();
    assert_eq!(error.to_string(), "a value of 100001 octets is past the limit of 100000");
    assert!(keys(&tree, b"").is_empty());
    tree.insert(b"k2", &vec![0; MAX_VALUE_OCTETS]).unwrap();
    assert!(matches!(tree.insert(&[0; MAX_KEY_OCTETS + 1], b""), Err(StoreError::KeyTooLong(_))));
}

#[test]
fn a_second_opening_is_told_that_the_store_is_locked() {
    let dir = tempfile::tempdir().unwrap();
    let first = Store::open(dir.path()).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(error.to_string().starts_with("another process has the store open ("), "{error}");
    drop(first);
    Store::open(dir.path()).unwrap();
}

#[test]
fn a_snapshot_left_half_written_does_not_stop_the_opening() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path()).unwrap());
    let left = dir.path().join("store/snap.0000000000000000.generating");
    fs::write(&left, b"half").unwrap();
    Store::open(dir.path()).unwrap();
    assert!(!left.exists());
}

/// As sled's threads do for a moment after the last handle of a database is dropped.
#[test]
fn an_opening_waits_for_whoever_still_holds_the_lock_of_the_database() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path()).unwrap());
    let held = File::open(dir.path().join("store/db")).unwrap();
    held.lock().unwrap();
    // It is removed just before the database is opened.
    let left = dir.path().join("store/snap.0000000000000000.generating");
    fs::write(&left, b"half").unwrap();
    std::thread::scope(|scope| {
        let opening = scope.spawn(|| Store::open(dir.path()).map(drop));
        while left.exists() && !opening.is_finished() {
            std::thread::yield_now();
        }
        // Time in which an opening that does not wait has failed.
        for _ in 0..10_000 {
            std::thread::yield_now();
        }
        drop(held);
        opening.join().unwrap().unwrap();
    });
}

#[test]
fn a_lock_of_the_database_that_is_not_given_back_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path()).unwrap());
    let held = File::open(dir.path().join("store/db")).unwrap();
    held.lock().unwrap();
    let error = recover(&dir.path().join("store"), Duration::ZERO).unwrap_err().to_string();
    assert!(error.contains("could not acquire lock"), "{error}");
}

/// A store that was filled and closed, and then spoilt: what opening it says.
fn opened_after(spoil: impl Fn(&Path)) -> String {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = Store::open(dir.path()).unwrap();
        store.tree("a").unwrap().insert(b"k", b"v").unwrap();
        store.flush_durably().unwrap();
    }
    spoil(dir.path());
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    error.to_string()
}

#[test]
fn damage_is_named_and_nothing_is_begun_anew_in_its_place() {
    let garbage = opened_after(|dir| {
        let log = dir.join("store/db");
        let mut octets = fs::read(&log).unwrap();
        octets.fill(0xaa);
        fs::write(log, octets).unwrap();
    });
    assert!(garbage.contains("is damaged: its log cannot be read; restore this folder alone"), "{garbage}");
    let halved = opened_after(|dir| {
        let log = dir.join("store/db");
        let octets = fs::read(&log).unwrap();
        fs::write(log, &octets[..octets.len() / 2]).unwrap();
    });
    assert!(halved.contains("is damaged"), "{halved}");
    let emptied = opened_after(|dir| fs::write(dir.join("store/db"), b"").unwrap());
    assert!(emptied.contains("is damaged: its log is empty"), "{emptied}");
    let removed = opened_after(|dir| fs::remove_file(dir.join("store/db")).unwrap());
    assert!(removed.contains("is damaged: its log is missing"), "{removed}");
}

#[test]
fn a_log_that_cannot_be_read_for_the_moment_is_not_missing() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path()).unwrap());
    let (log, kept) = (dir.path().join("store/db"), dir.path().join("kept"));
    fs::rename(&log, &kept).unwrap();
    // A link to itself: ELOOP, as a failing disk says EIO.
    std::os::unix::fs::symlink("db", &log).unwrap();
    let error = Store::open_or_renew(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Io { doing: "read", .. }), "{error}");
    fs::rename(kept, log).unwrap();
    Store::open(dir.path()).unwrap();
}

#[test]
fn a_lock_file_of_zeros_is_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    for octets in [1, MARK.len(), 4096] {
        fs::write(dir.path().join("store.lock"), vec![0; octets]).unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert!(!store.replaces_lost());
        drop(store);
        assert_eq!(fs::read_to_string(dir.path().join("store.lock")).unwrap(), MARK);
    }
}

#[test]
fn what_can_be_done_without_is_begun_anew_and_the_damaged_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    for round in 1..3 {
        let store = Store::open_or_renew(dir.path()).unwrap();
        store.tree("a").unwrap().insert(b"k", b"v").unwrap();
        store.flush_durably().unwrap();
        drop(store);
        let store = Store::open_or_renew(dir.path()).unwrap();
        assert_eq!(store.tree("a").unwrap().get(b"k").unwrap().unwrap(), b"v");
        drop(store);
        let garbage = vec![round; 10_000];
        fs::write(dir.path().join("store/db"), &garbage).unwrap();
        let store = Store::open_or_renew(dir.path()).unwrap();
        assert_eq!(store.tree("a").unwrap().get(b"k").unwrap(), None);
        assert_eq!(fs::read(dir.path().join("store.damaged/db")).unwrap(), garbage);
    }
}

#[test]
fn nothing_is_taken_from_another_process_or_version() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_or_renew(dir.path()).unwrap();
    store.tree("a").unwrap().insert(b"k", b"v").unwrap();
    assert!(matches!(Store::open_or_renew(dir.path()), Err(StoreError::Locked { .. })));
    drop(store);
    let mark = fs::read(dir.path().join("store.lock")).unwrap();
    fs::write(dir.path().join("store.lock"), "postroad store 2\n").unwrap();
    let error = Store::open_or_renew(dir.path()).unwrap_err().to_string();
    assert!(error.contains("store.lock names a format that this version does not know"), "{error}");
    fs::write(dir.path().join("store.lock"), mark).unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.tree("a").unwrap().get(b"k").unwrap().unwrap(), b"v");
}

#[test]
fn a_store_that_is_gone_is_begun_anew_and_says_so_for_as_long_as_it_lives() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.tree("a").unwrap().insert(b"k", b"v").unwrap();
    assert!(!store.replaces_lost());
    drop(store);
    assert!(!Store::open(dir.path()).unwrap().replaces_lost());
    fs::remove_dir_all(dir.path().join("store")).unwrap();
    for _ in 0..2 {
        let store = Store::open(dir.path()).unwrap();
        assert!(store.replaces_lost());
        assert_eq!(store.tree("a").unwrap().get(b"k").unwrap(), None);
    }
}

/// A crash at any point of the first opening after the loss: what the lock file said then.
#[test]
fn a_crash_while_a_lost_store_is_begun_anew_does_not_make_it_a_first_one() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path()).unwrap());
    fs::remove_dir_all(dir.path().join("store")).unwrap();
    fs::write(dir.path().join("store.lock"), LOST).unwrap();
    assert!(Store::open(dir.path()).unwrap().replaces_lost());
    fs::write(dir.path().join("store.lock"), LOST).unwrap();
    assert!(Store::open(dir.path()).unwrap().replaces_lost());
    assert_eq!(fs::read_to_string(dir.path().join("store.lock")).unwrap(), MARK);
    assert_eq!(LOST.len(), MARK.len());
}

#[tokio::test]
async fn many_waiters_share_a_flush() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let flushes = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = flushes.clone();
    store.on_flush(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    let tree = store.tree("a").unwrap();
    let committer = Committer::start(store.clone()).unwrap();
    let waiters = (0..500_u32).map(|key| {
        tree.insert(&key.to_be_bytes(), b"v").unwrap();
        committer.durable()
    });
    for flushed in futures_util::future::join_all(waiters).await {
        flushed.unwrap();
    }
    let flushes = flushes.load(Ordering::Relaxed);
    assert!((1..500).contains(&flushes), "{flushes} flushes for 500 waiters");
}

/// A copy of the files taken while the store is open is what a crash leaves behind.
#[test]
fn a_copy_taken_after_the_flush_has_the_write() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let tree = store.tree("a").unwrap();
    tree.insert(b"k", b"v").unwrap();
    store.flush_durably().unwrap();
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("store")).unwrap();
    for entry in fs::read_dir(dir.path().join("store")).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), copy.path().join("store").join(entry.file_name())).unwrap();
        }
    }
    let copied = Store::open(copy.path()).unwrap();
    assert_eq!(copied.tree("a").unwrap().get(b"k").unwrap(), Some(b"v".to_vec()));
}
