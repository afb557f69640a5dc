use std::path::Path;

use super::*;
use crate::routing::test_table::{domain, options, verified};
use crate::routing::{Change, Coverage, Routing};

fn open(dir: &Path) -> Routing {
    Routing::open(&Store::open(dir).unwrap(), options()).unwrap()
}

/// Puts these into the trees of a store, by the names of trees.
fn write(dir: &Path, records: &[(&str, &str, &str)]) {
    let store = Store::open(dir).unwrap();
    for (tree, key, value) in records {
        store.tree(tree).unwrap().insert(key.as_bytes(), value.as_bytes()).unwrap();
    }
    store.flush_durably().unwrap();
}

/// As version 0.1 left them.
const OLD: [(&str, &str, &str); 3] = [
    ("suspensions", "a.example", r#"{"since":1700000000,"until":null,"reason":"moving"}"#),
    ("suspensions", "b.example", r#"{"since":1700000001,"until":1700000002,"reason":""}"#),
    ("suspensions", "c.example", "{"),
];

#[tokio::test]
async fn they_are_taken_over_once_and_those_resumed_do_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &OLD);
    let routing = open(dir.path());
    let table = routing.snapshot();
    assert_eq!((table.revision(), table.suspension_count(), table.coverage()), (1, 2, Coverage::Empty));
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    let moving = table.suspension(&domain("a.example")).unwrap();
    assert_eq!((moving.since, moving.until, &*moving.reason), (at(1_700_000_000), None, "moving"));
    let ended = table.suspension(&domain("b.example")).unwrap();
    assert_eq!((ended.until, ended.revision), (Some(at(1_700_000_002)), 1));
    routing.change(Change::Resume { domain: domain("a.example"), etag: Some(1) }).await.unwrap();
    drop(routing);
    let table = open(dir.path()).snapshot();
    assert_eq!((table.revision(), table.suspension_count(), table.coverage()), (2, 1, Coverage::Empty));
}

#[tokio::test]
async fn a_table_of_an_earlier_version_keeps_its_coverage_and_gets_them() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &OLD);
    write(
        dir.path(),
        &[(
            "routing",
            "state",
            r#"{"format":1,"revision":7,"domains":0,"rules":0,"destinations":0,"lost":true}"#,
        )],
    );
    let table = open(dir.path()).snapshot();
    assert_eq!((table.revision(), table.suspension_count(), table.coverage()), (8, 2, Coverage::Lost));
}

#[tokio::test]
async fn what_an_earlier_version_obeyed_meanwhile_is_taken_over_again() {
    let dir = tempfile::tempdir().unwrap();
    let suspend = |name| Change::Suspend { domain: domain(name), until: None, reason: "new".to_owned() };
    open(dir.path()).change(suspend("new.example")).await.unwrap();
    write(dir.path(), &OLD[..1]);
    assert_eq!(open(dir.path()).snapshot().suspension_count(), 1);
    write(
        dir.path(),
        &[("routing", "state", r#"{"format":1,"revision":9,"domains":0,"rules":0,"destinations":0}"#)],
    );
    let routing = open(dir.path());
    routing.change(verified("a@dest.example")).await.unwrap();
    drop(routing);
    let table = open(dir.path()).snapshot();
    assert_eq!((table.revision(), table.suspension_count()), (11, 2));
}

#[tokio::test]
async fn a_suspension_that_has_gone_from_the_disk_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    let suspend = Change::Suspend { domain: domain("dest.example"), until: None, reason: String::new() };
    open(dir.path()).change(suspend).await.unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.tree("routing").unwrap().remove(b"s/dest.example").unwrap();
    store.flush_durably().unwrap();
    let error = Routing::open(&store, options()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the routing table on disk is damaged: it should hold 1 suspensions, and holds 0"
    );
}
