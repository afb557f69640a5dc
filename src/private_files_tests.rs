use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn what_is_made_is_for_its_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (upper, lower) = (directory.path().join("upper"), directory.path().join("upper/lower"));
    folder(&lower).unwrap();
    create(&lower.join("file")).unwrap();
    assert_eq!((mode(&upper), mode(&lower), mode(&lower.join("file"))), (0o700, 0o700, 0o600));
}

#[test]
fn a_folder_that_an_older_version_left_open_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("spool");
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    folder(&path).unwrap();
    assert_eq!(mode(&path), 0o700);
}

#[test]
fn a_folder_that_the_operator_made_keeps_its_mode() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    named_folder(&path).unwrap();
    assert_eq!(mode(&path), 0o700);
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    named_folder(&path).unwrap();
    assert_eq!(mode(&path), 0o755);
}

#[test]
fn a_folder_of_another_user_stays_open_and_that_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("spool");
    fs::create_dir(&path).unwrap();
    let owner = fs::metadata(&path).unwrap().uid();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    assert_eq!(close(&path, owner + 1).unwrap(), Some(0o755));
    assert_eq!(close(&path, owner).unwrap(), None);
    assert_eq!(close(&path, owner + 1).unwrap(), None);
}

#[test]
fn a_folder_that_cannot_be_closed_does_not_stop_the_start() {
    // Its owner is refused too: there is no chmod in this part of proc(5).
    let path = Path::new("/proc/sys");
    let found = fs::metadata(path).unwrap();
    assert_eq!(close(path, found.uid()).unwrap(), Some(found.mode() & 0o7777));
    folder(path).unwrap();
}
