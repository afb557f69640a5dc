use std::cell::Cell;

use super::*;

const MIB: usize = 1_048_576;
const LIMITS: Limits = Limits { floor_octets: 0, largest_octets: 0 };

fn temporary() -> (Temporary, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (Temporary::new(directory.path().to_owned()), directory)
}

fn client(ip: &str) -> Share {
    Account::new(0).share(ip.parse().unwrap())
}

/// A disk that this process has for itself.
struct Disk {
    temporary: Temporary,
    free: Cell<u64>,
    limits: Limits,
}

impl Disk {
    fn with_free(octets: usize) -> Self {
        let (temporary, _) = temporary();
        Self { temporary, free: Cell::new(octets as u64), limits: LIMITS }
    }

    /// The file of a message that gets so many octets.
    fn write(&self, ip: &str, octets: usize) -> io::Result<TemporaryFile> {
        let mut file = self.temporary.file(&client(ip));
        self.temporary.announce(&mut file.share, octets, self.limits, || Ok(self.free.get()))?;
        self.free.set(self.free.get() - octets as u64);
        Ok(file)
    }

    /// Messages of a MiB, each from another network; those that got their room.
    fn crowd(&self) -> Vec<TemporaryFile> {
        (0..=u8::MAX).map_while(|number| self.write(&format!("198.51.{number}.1"), MIB).ok()).collect()
    }
}

#[test]
fn temporary_files_leave_half_of_what_is_free_to_the_queue() {
    let disk = Disk::with_free(64 * MIB);
    assert_eq!(disk.crowd().len(), 32);
    let disk =
        Disk { limits: Limits { floor_octets: 32 * MIB as u64, ..LIMITS }, ..Disk::with_free(64 * MIB) };
    let crowd = disk.crowd();
    assert_eq!(crowd.len(), 16);
    // What the queue takes is theirs no more.
    disk.free.set(disk.free.get() - 16 * MIB as u64);
    assert!(is_no_room(&disk.write("192.0.2.1", 1).unwrap_err()));
    drop(crowd);
    disk.free.set(disk.free.get() + 16 * MIB as u64);
    assert!(disk.write("192.0.2.1", MIB).is_ok());
}

#[test]
fn one_network_has_an_eighth_of_that_half() {
    let disk = Disk::with_free(64 * MIB);
    let first = disk.write("192.0.2.1", 3 * MIB).unwrap();
    let second = disk.write("192.0.2.2", MIB).unwrap();
    assert!(is_no_room(&disk.write("192.0.2.3", 1).unwrap_err()), "past the eighth");
    let neighbour = disk.write("192.0.3.1", 4 * MIB).unwrap();
    drop(first);
    assert!(disk.write("192.0.2.3", 2 * MIB).is_ok());
    drop((second, neighbour));
    assert_eq!(disk.temporary.taken.octets(), 0);
}

#[test]
fn a_network_may_have_one_message_of_the_largest_size_on_a_small_disk_too() {
    let limits = Limits { floor_octets: 0, largest_octets: 25 * MIB as u64 };
    let disk = Disk { limits, ..Disk::with_free(64 * MIB) };
    let first = disk.write("192.0.2.1", 25 * MIB).unwrap();
    assert!(disk.write("192.0.2.2", 1).is_err());
    assert!(disk.write("192.0.3.1", 7 * MIB).is_ok());
    drop(first);
    let disk = Disk { limits, ..Disk::with_free(40 * MIB) };
    assert!(disk.write("192.0.2.1", 25 * MIB).is_err(), "never more than the half");
}

#[test]
fn a_file_counts_until_nobody_has_it_open() {
    let (temporary, _directory) = temporary();
    let file = temporary.append(temporary.file(&client("192.0.2.1")), b"octets", LIMITS).unwrap();
    let file = std::sync::Arc::new(file.finish().unwrap());
    let sending = file.clone();
    drop(file);
    assert_eq!(temporary.taken.octets(), 6);
    drop(sending);
    assert_eq!(temporary.taken.octets(), 0);
}

#[test]
fn no_file_takes_the_disk_below_its_floor() {
    let (temporary, _directory) = temporary();
    let file = temporary.append(temporary.file(&client("192.0.2.1")), b"octets", LIMITS).unwrap();
    let full = Limits { floor_octets: u64::MAX, largest_octets: u64::MAX };
    let error = temporary.append(file, b"octets", full).unwrap_err();
    assert!(is_no_room(&error), "{error}");
    assert_eq!((*temporary.writing.lock(), temporary.taken.octets()), (0, 0));
}

#[test]
fn what_others_are_writing_counts_as_taken() {
    let disk = Disk { limits: Limits { largest_octets: u64::MAX, ..LIMITS }, ..Disk::with_free(64 * MIB) };
    let mut others = disk.temporary.file(&client("192.0.2.1"));
    let free = || Ok(disk.free.get());
    let writing = disk.temporary.announce(&mut others.share, 31 * MIB, disk.limits, free).unwrap();
    // They are not on the disk yet: 64 MiB are free as before.
    assert!(disk.write("192.0.3.1", 2 * MIB).is_err());
    assert!(disk.write("192.0.3.1", MIB).is_ok());
    drop(writing);
}

#[test]
fn a_file_is_read_from_its_start() {
    let (temporary, _directory) = temporary();
    let file = temporary.append(temporary.file(&client("192.0.2.1")), b"A: 1\r\n", LIMITS).unwrap();
    let file = temporary.append(file, b"\r\nbody", LIMITS).unwrap().finish().unwrap();
    assert_eq!(&first_octets(&file, 8).unwrap()[..], b"A: 1\r\n\r\n");
    assert!(first_octets(&file, 100).is_err());
}
