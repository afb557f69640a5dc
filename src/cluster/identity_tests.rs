use super::*;

fn identity() -> Identity {
    Identity { cluster: ClusterId(1 << 100 | 5), node: NodeId(7), name: "linda".into(), number: 3 }
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
        "8f5052490d0a1a0a",
        "00000001",
        "0a10",
        "00000010000000000000000000000005",
        "110700000000000000",
        "1a05",
        "6c696e6461",
        "2001",
        "2803",
    );
    let mut octets = data_encoding::HEXLOWER.decode(content.as_bytes()).unwrap();
    let sum = digest(&SHA256, &octets);
    octets.extend_from_slice(sum.as_ref());
    let (dir, path) = written();
    assert_eq!(fs::read(&path).unwrap(), octets);
    assert_eq!(Identity::read(dir.path()).unwrap(), Some(identity()));
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
