use super::*;

const NOW: Duration = Duration::from_secs(1_795_456_800);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + NOW
}

/// A folder with files of these days of age, of 10 octets each, named by their age.
fn folder(ages: &[u64]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for age in ages {
        let path = folder.path().join(age.to_string());
        fs::write(&path, "0123456789").unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(now() - Duration::from_secs(age * 86_400)).unwrap();
    }
    folder
}

/// The ages that are left, the youngest first.
fn left(ages: &[u64], bounds: Bounds) -> Vec<u64> {
    let folder = folder(ages);
    let removed = expire(folder.path(), bounds, now()).unwrap();
    let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut left: Vec<u64> = names.map(|name| name.to_str().unwrap().parse().unwrap()).collect();
    left.sort_unstable();
    assert_eq!(removed + left.len(), ages.len());
    left
}

#[test]
fn the_oldest_go_by_number_by_octets_and_by_age() {
    let ages = [31, 1, 30, 2, 3];
    assert_eq!(left(&ages, BOUNDS), [1, 2, 3, 30]);
    assert_eq!(left(&ages, Bounds { files: 2, ..BOUNDS }), [1, 2]);
    assert_eq!(left(&ages, Bounds { octets: 35, ..BOUNDS }), [1, 2, 3]);
    assert_eq!(left(&ages, Bounds { octets: 5, ..BOUNDS }), [0; 0]);
    assert_eq!(left(&ages, Bounds { files: 3, ..BOUNDS }.with_room_for(0)), [1, 2]);
    assert_eq!(left(&ages, Bounds { octets: 35, ..BOUNDS }.with_room_for(10)), [1, 2]);
    assert_eq!(left(&ages, BOUNDS.with_room_for(u64::MAX)), [0; 0]);
}

/// Two messages may break at once.
#[test]
fn what_another_has_removed_is_no_failure() {
    let ages: Vec<u64> = (0..500).collect();
    let folder = folder(&ages);
    let expire = || expire(folder.path(), Bounds { files: 1, ..BOUNDS }, now()).unwrap();
    let removed: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(expire)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(removed, ages.len() - 1);
}

#[test]
fn a_folder_that_is_not_there_has_nothing_to_remove() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(expire(&folder.path().join("none"), BOUNDS, now()).unwrap(), 0);
}

#[test]
fn a_file_that_is_gone_or_cannot_be_removed_does_not_keep_the_others() {
    let folder = folder(&[1, 2]);
    let [gone, stuck, first, second] = ["gone", "stuck", "1", "2"].map(|name| folder.path().join(name));
    // What is no file cannot be removed as one, whoever asks.
    fs::create_dir(&stuck).unwrap();
    let mut failed = Ok(());
    assert_eq!(remove([gone.as_path(), &first].into_iter(), &mut failed), 1);
    assert!(failed.is_ok(), "{failed:?}");
    assert_eq!(remove([stuck.as_path(), &gone, &second].into_iter(), &mut failed), 1);
    let refused = fs::remove_file(&stuck).unwrap_err();
    assert_eq!(failed.unwrap_err().kind(), refused.kind());
    assert_eq!((first.exists(), second.exists(), stuck.exists()), (false, false, true));
}
