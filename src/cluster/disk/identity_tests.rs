use super::*;

fn identity() -> Identity {
    Identity {
        node: NodeId(7),
        name: "linda".into(),
        number: 3,
        spent: Some(ClusterId(2)),
        bound: Bound::Founding {
            cluster: ClusterId(1 << 100 | 5),
            list: [("amir".into(), NodeId(9)), ("linda".into(), NodeId(7))].into(),
            table: Table::Old,
        },
        adopted: Some(Adopted { cluster: ClusterId(6), origin: Origin::Alone }),
        was_shown: true,
    }
}

fn written() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    identity().write(dir.path()).unwrap();
    let path = dir.path().join(NAME);
    (dir, path)
}

#[test]
fn what_was_written_is_read() {
    let (dir, _) = written();
    assert_eq!(Identity::read(dir.path()).unwrap(), Some(identity()));
}

/// The form of version 1, as it stands on disks: it must be read for ever.
#[test]
fn version_1_is_read() {
    let content = concat!(
        "8f5052490d0a1a0a00000001",
        "090700000000000000",
        "12056c696e6461",
        "1803",
        "221000000000000000000000000000000002",
        "3237",
        "0a1000000010000000000000000000000005",
        "120f0909000000000000001204616d6972",
        "121009070000000000000012056c696e6461",
        "1801",
        "3a14",
        "0a1000000000000000000000000000000006",
        "1001",
        "4001",
    );
    let mut octets = data_encoding::HEXLOWER.decode(content.as_bytes()).unwrap();
    let sum = digest(&SHA256, &octets);
    octets.extend_from_slice(sum.as_ref());
    let (dir, path) = written();
    assert_eq!(
        data_encoding::HEXLOWER.encode(&fs::read(&path).unwrap()),
        data_encoding::HEXLOWER.encode(&octets)
    );
    assert_eq!(Identity::read(dir.path()).unwrap(), Some(identity()));
}

#[test]
fn what_a_node_is_bound_to_is_read() {
    let (dir, _) = written();
    let consent = Bound::Consent { cluster: ClusterId(8), founder: "amir".into() };
    for bound in [Bound::Free, consent] {
        let other = Identity { bound, spent: None, adopted: None, ..identity() };
        other.write(dir.path()).unwrap();
        assert_eq!(Identity::read(dir.path()).unwrap(), Some(other));
    }
}

#[test]
fn a_folder_without_one_has_none() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Identity::read(dir.path()).unwrap(), None);
    assert_eq!(Identity::read(&dir.path().join("raft")).unwrap(), None);
}

#[test]
fn whatever_octet_is_changed_or_missing_it_is_not_believed() {
    let (dir, path) = written();
    let octets = fs::read(&path).unwrap();
    for at in 0..octets.len() {
        let mut flipped = octets.clone();
        flipped[at] ^= 1;
        for changed in [&flipped[..], &octets[..at]] {
            fs::write(&path, changed).unwrap();
            Identity::read(dir.path()).unwrap_err();
        }
    }
}

#[test]
fn that_of_a_later_version_is_not_called_damaged() {
    let (dir, path) = written();
    let mut octets = fs::read(&path).unwrap();
    octets[MAGIC.len() + 3] = 2;
    fs::write(&path, octets).unwrap();
    let error = Identity::read(dir.path()).unwrap_err();
    assert!(matches!(error, IdentityError::Unknown(_)), "{error}");
}
