use super::*;

fn identity() -> Identity {
    Identity { cluster: ClusterId(1 << 100 | 5), node: NodeId(7), name: "linda".into() }
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
