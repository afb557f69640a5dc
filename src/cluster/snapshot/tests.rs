use data_encoding::HEXLOWER;
use tempfile::TempDir;

use super::*;
use crate::cluster::test_state::{create_domain, create_rule, meta, options, replica, staging, stamped};
use crate::routing::{Author, Change, Coverage, Decoded, DeliveryKey, Rebuilt, Replica, Stamped};

/// With some parts of a change.
fn agreed(table: &Table) -> Agreed {
    Agreed { table: table.clone(), staging: staging() }
}

fn octets(meta: &SnapshotMeta, table: &Table) -> Vec<u8> {
    let mut octets = Vec::new();
    format::write(&mut octets, meta, &agreed(table)).unwrap();
    octets
}

fn open(dir: &TempDir) -> (Snapshots, Option<(SnapshotMeta, Agreed)>) {
    Snapshots::open(dir.path(), options()).unwrap()
}

fn fault(octets: &[u8]) -> (u64, Fault) {
    format::read(octets, options()).unwrap_err()
}

fn finished(snapshot: Snapshot) -> FinishedSnapshot {
    let SnapshotFile::Finished(file) = *snapshot.snapshot else { panic!("{snapshot:?}") };
    file
}

fn names(dir: &TempDir) -> Vec<String> {
    let names =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn a_snapshot_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (snapshots, found) = open(&dir);
    assert!(found.is_none() && snapshots.current().is_none());
    let table = replica().table().clone();
    let built = snapshots.build(&meta(9), &agreed(&table)).unwrap();
    assert_eq!((built.meta, snapshots.current().unwrap().meta), (meta(9), meta(9)));
    let (snapshots, found) = open(&dir);
    let (found, Agreed { table: again, staging: parts }) = found.unwrap();
    assert!(parts.parts().eq(staging().parts()) && parts.parts().count() == 2);
    assert_eq!((found, snapshots.current().unwrap().meta), (meta(9), meta(9)));
    assert_eq!(again.digest(), table.digest());
    assert!(again.history().eq(table.history()) && again.history().count() == 8);
    assert_eq!((again.domain_count(), again.rules_count(), again.destination_count()), (2, 2, 1));
    assert_eq!((again.suspension_count(), again.listing_count(), again.coverage()), (2, 2, Coverage::Whole));
    assert_eq!(names(&dir), [NAME]);
}

/// As its version says, so that who does not know of it does not drop it.
#[test]
fn the_key_of_deliveries_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let key = DeliveryKey::new([7; DeliveryKey::OCTETS]);
    let mut replica = Replica::new(options());
    replica.apply(&stamped(1, Change::AgreeOnDeliveryKey(key.clone()))).unwrap();
    open(&dir).0.build(&meta(9), &agreed(replica.table())).unwrap();
    assert_eq!(fs::read(dir.path().join(NAME)).unwrap()[8..12], [0, 0, 0, 3]);
    let (_, Agreed { table, .. }) = open(&dir).1.unwrap();
    assert_eq!((table.delivery_key(), table.digest()), (Some(&key), replica.table().digest()));
}

#[test]
fn a_snapshot_of_nothing_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let table = Replica::new(options()).table().clone();
    open(&dir).0.build(&SnapshotMeta::default(), &Agreed { table, staging: Staging::default() }).unwrap();
    let (meta, Agreed { table: again, staging: parts }) = open(&dir).1.unwrap();
    assert_eq!(parts.parts().count(), 0);
    assert_eq!((meta, again.coverage(), again.revision()), (SnapshotMeta::default(), Coverage::Empty, 0));
}

/// Version 1 as it stands on disks.
#[test]
fn the_format_stays_what_it_is() {
    let expected = [
        // magic, version
        "8f5052540d0a1a0a00000001",
        // the last entry; who is a member: by which entry, two sets of voters, four members; the id
        "000000a2",
        "0a0d0803110700000000000000180912",
        "81010a0d080211070000000000000018011270",
        "0a120a1007000000000000000800000000000000",
        "0a120a1008000000000000000900000000000000",
        "121009070000000000000012056c696e6461",
        "120f0908000000000000001204616d6972",
        "1210090900000000000000120569736161631211090a000000000000001206726f75746531",
        "1a0d736e617073686f74206f662039",
        // the head of the table
        "00000018",
        "0a1608011801221000000000000000000000000000000000",
        // the end of the table; the parts of a change, and their end; the sum
        "00000000",
        "00000014",
        "0a056c617267651080d095ffbc31220470617274",
        "00000013",
        "0a056c617267651080d095ffbc311804220173",
        "00000000",
        "057d1db075e9f367f5ee847b9f6aca5bdde8eb82408d60d15eb30f2c1c5ed3a6",
    ];
    let table = Replica::new(options()).table().clone();
    assert_eq!(HEXLOWER.encode(&octets(&meta(9), &table)), expected.concat());
}

/// Version 2 as it stands on disks: that of a table with a history.
#[test]
fn the_format_with_a_history_stays_what_it_is() {
    let mut replica = Replica::new(options());
    let author = Author::new("ana", "192.0.2.7".parse().ok());
    replica.apply(&Stamped { author, ..stamped(1, create_domain("one.example")) }).unwrap();
    let whole = octets(&meta(9), replica.table());
    let history = [
        // revision 1 of the table; the end
        "00000046",
        "08011081d095ffbc31",
        "1a03616e6122093139322e302e322e37",
        "2a16646f6d61696e20616464206f6e652e6578616d706c65",
        "32130a0d3a0b6f6e652e6578616d706c650a023001",
        "00000000",
    ];
    let history = HEXLOWER.decode(history.concat().as_bytes()).unwrap();
    let end = whole.len() - 32;
    assert_eq!(HEXLOWER.encode(&whole[end - history.len()..end]), HEXLOWER.encode(&history));
    assert_eq!(whole[8..12], [0, 0, 0, 2]);
    let (_, Agreed { table, .. }) = format::read(whole.as_slice(), options()).unwrap();
    assert!(table.history().eq(replica.table().history()));
    assert_eq!(table.oldest_revision(), 0);
}

#[test]
fn a_snapshot_of_the_time_before_histories_has_none() {
    let table = replica().table().clone();
    let mut rebuilt = Rebuilt::new(options());
    table.records().for_each(|record| rebuilt.add(Decoded::of(&record).unwrap()).unwrap());
    let whole = octets(&meta(9), &rebuilt.finish().unwrap());
    assert_eq!(whole[8..12], [0, 0, 0, 1]);
    let (_, Agreed { table: again, .. }) = format::read(whole.as_slice(), options()).unwrap();
    assert_eq!((again.digest(), again.history().count()), (table.digest(), 0));
    assert_eq!(again.oldest_revision(), table.revision());
}

#[test]
fn no_octet_can_be_another() {
    let whole = octets(&meta(9), replica().table());
    assert!(format::read(whole.as_slice(), options()).is_ok());
    for offset in 0..whole.len() {
        for mask in [0x01, 0x10, 0x80, 0xff] {
            let mut damaged = whole.clone();
            damaged[offset] ^= mask;
            let (found, _) = fault(&damaged);
            assert!(found <= whole.len() as u64, "offset {offset}, mask {mask}");
        }
    }
}

#[test]
fn nothing_can_be_missing_at_the_end_nor_follow_it() {
    let whole = octets(&meta(9), replica().table());
    for length in 0..whole.len() {
        let (offset, fault) = fault(&whole[..length]);
        assert!(matches!(fault, Fault::Cut) && offset <= length as u64, "{length}: {fault} at {offset}");
    }
    let longer = [whole.as_slice(), &[0]].concat();
    assert!(matches!(fault(&longer), (offset, Fault::Trailing) if offset == whole.len() as u64));
}

#[test]
fn a_length_is_not_believed_past_its_bound() {
    let mut octets = octets(&meta(9), replica().table());
    octets[12..16].copy_from_slice(&u32::MAX.to_be_bytes());
    let (offset, fault) = fault(&octets);
    assert_eq!(
        (offset, fault.to_string()),
        (16, "a piece of 4294967295 octets is past the limit of 1048576".to_owned())
    );
}

#[test]
fn a_damaged_file_and_one_of_a_later_version_are_named_and_left_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(NAME);
    let whole = octets(&meta(9), replica().table());
    let refused = |octets: &[u8]| {
        fs::write(&path, octets).unwrap();
        let error = Snapshots::open(dir.path(), options()).unwrap_err().to_string();
        assert_eq!(fs::read(&path).unwrap(), octets);
        error.replace(path.to_str().unwrap(), "PATH")
    };
    let mut damaged = whole.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    let end = whole.len();
    assert_eq!(
        refused(&damaged),
        format!("PATH cannot be read at offset {end}: its sum is not that of its content")
    );
    assert_eq!(refused(b"a note"), "PATH cannot be read at offset 0: it ends in the middle");
    assert_eq!(refused(b"a longer note"), "PATH cannot be read at offset 8: it is no snapshot");
    let mut later = whole;
    later[11] = 4;
    assert_eq!(
        refused(&later),
        "PATH cannot be read at offset 12: it is of format version 4, which this version of Postroad does not know"
    );
}

#[test]
fn what_a_crash_left_unfinished_goes_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    open(&dir).0.build(&meta(9), &agreed(replica().table())).unwrap();
    fs::write(dir.path().join("snapshot.partial-Ab3"), "half").unwrap();
    fs::create_dir(dir.path().join("log")).unwrap();
    fs::write(dir.path().join("identity"), "me").unwrap();
    assert!(open(&dir).1.is_some());
    assert_eq!(names(&dir), ["identity", "log", NAME]);
}

#[test]
fn what_arrives_goes_when_nobody_has_it_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let (snapshots, _) = open(&dir);
    let mut arriving = snapshots.receive().unwrap();
    arriving.append(b"half").unwrap();
    assert_eq!(names(&dir).len(), 1);
    drop(arriving);
    assert!(names(&dir).is_empty());
}

#[test]
fn a_snapshot_that_takes_its_place_does_not_disturb_a_transfer() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ((snapshots, _), (others, _)) = (open(&from), open(&to));
    let mut replica = replica();
    snapshots.build(&meta(9), &agreed(replica.table())).unwrap();
    let sent = finished(snapshots.current().unwrap());
    let digest = replica.table().digest();
    let mut arriving = others.receive().unwrap();
    let half = usize::try_from(sent.octets()).unwrap() / 2;
    arriving.append(&sent.read(0, half).unwrap()).unwrap();
    replica.apply(&stamped(99, create_rule("later"))).unwrap();
    snapshots.build(&meta(10), &agreed(replica.table())).unwrap();
    arriving.append(&sent.read(half as u64, usize::MAX).unwrap()).unwrap();
    let Agreed { table, .. } = others.install(SnapshotFile::Arriving(arriving), &meta(9), options()).unwrap();
    assert_eq!((table.digest(), others.current().unwrap().meta), (digest, meta(9)));
    assert_eq!(open(&to).1.unwrap().0, meta(9));
    let (found, Agreed { table, .. }) = open(&from).1.unwrap();
    assert_eq!((found, table.digest()), (meta(10), replica.table().digest()));
}

#[test]
fn an_earlier_snapshot_does_not_take_the_place_of_a_later_one() {
    let dir = tempfile::tempdir().unwrap();
    let (snapshots, _) = open(&dir);
    snapshots.build(&meta(10), &agreed(replica().table())).unwrap();
    let built = snapshots.build(&meta(9), &agreed(Replica::new(options()).table())).unwrap();
    assert_eq!(built.meta, meta(10));
    let (found, Agreed { table, .. }) = open(&dir).1.unwrap();
    assert_eq!((found, table.digest()), (meta(10), replica().table().digest()));
    assert_eq!(names(&dir), [NAME]);
}

#[test]
fn what_arrives_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let mut arriving = open(&dir).0.receive().unwrap();
    arriving.octets = MAX_RECEIVED_OCTETS - 2;
    arriving.append(&[0; 2]).unwrap();
    assert_eq!(
        arriving.append(&[0]).unwrap_err().to_string(),
        "a snapshot that arrives is past the limit of 1073741824 octets"
    );
}

#[test]
fn what_was_announced_is_what_must_arrive() {
    let dir = tempfile::tempdir().unwrap();
    let (snapshots, _) = open(&dir);
    let mut arriving = snapshots.receive().unwrap();
    arriving.append(&octets(&meta(9), replica().table())).unwrap();
    let error = snapshots.install(SnapshotFile::Arriving(arriving), &meta(10), options()).unwrap_err();
    assert!(matches!(error, SnapshotError::Other { .. }), "{error}");
    assert!(snapshots.current().is_none() && names(&dir).is_empty());
}
