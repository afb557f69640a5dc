use super::*;

#[test]
fn no_file_takes_the_disk_below_its_floor() {
    let directory = tempfile::tempdir().unwrap();
    let temporary = Temporary::new(directory.path().to_owned());
    let file = temporary.append(None, b"octets", 0).unwrap();
    let error = temporary.append(Some(file), b"octets", u64::MAX).unwrap_err();
    assert!(is_no_room(&error), "{error}");
    assert_eq!(temporary.writing.load(Ordering::Acquire), 0);
}

#[test]
fn what_others_are_writing_counts_as_taken() {
    let directory = tempfile::tempdir().unwrap();
    let temporary = Temporary::new(directory.path().to_owned());
    let others = temporary.announce(1 << 60, 0);
    assert!(others.is_err(), "no disk has that much");
    temporary.writing.store(1 << 60, Ordering::Release);
    assert!(is_no_room(&temporary.append(None, b"octets", 0).unwrap_err()));
    temporary.writing.store(0, Ordering::Release);
    temporary.append(None, b"octets", 0).unwrap();
}

#[test]
fn a_file_is_read_from_its_start() {
    let directory = tempfile::tempdir().unwrap();
    let temporary = Temporary::new(directory.path().to_owned());
    let file = temporary.append(None, b"A: 1\r\n", 0).unwrap();
    let file = temporary.append(Some(file), b"\r\nbody", 0).unwrap();
    assert_eq!(&first_octets(&file, 8).unwrap()[..], b"A: 1\r\n\r\n");
    assert!(first_octets(&file, 100).is_err());
}
