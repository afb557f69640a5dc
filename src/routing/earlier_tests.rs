use std::path::Path;

use super::*;
use crate::routing::test_table::{address, domain, options};
use crate::routing::{MAX_SUSPENSIONS, Matcher};
use crate::store::Batch;

fn loaded(batches: Vec<Batch>) -> Result<Table, RoutingError> {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for batch in batches {
        store.tree("routing").unwrap().apply_batch(batch).unwrap();
    }
    read_store(&store, options())
}

fn read(dir: &Path) -> Table {
    read_store(&Store::open(dir).unwrap(), options()).unwrap()
}

fn record(key: &str, value: &str) -> Batch {
    let mut batch = Batch::default();
    batch.insert(key, value);
    batch
}

/// The form of version 1, as it stands on disks: it must be read for ever.
fn version_1() -> Vec<Batch> {
    vec![
        record("state", r#"{"format":1,"revision":9,"domains":1,"rules":2,"destinations":1}"#),
        record(
            "d/one.example",
            r#"{"id":"01HF7YAT00000000000000000A","name":"one.example","enabled":true,"on_tempfail":"queue",
                "subaddressing":false,"created_at":1700000000000,"updated_at":1700000000001,"revision":1}"#,
        ),
        record(
            "r/01HF7YAT00000000000000000B",
            r#"{"id":"01HF7YAT00000000000000000B","domain":"one.example","matcher":{"Local":"info"},
                "action":{"Forward":["real@dest.example"]},"priority":-5,"label":"desk","enabled":true,
                "created_at":1700000000000,"updated_at":1700000000000,"revision":7}"#,
        ),
        record(
            "r/01HF7YAT00000000000000000C",
            r#"{"id":"01HF7YAT00000000000000000C","domain":"one.example","matcher":"CatchAll",
                "action":{"Reject":"No"},"priority":0,"label":"","enabled":false,
                "created_at":1700000000000,"updated_at":1700000000000,"revision":8}"#,
        ),
        record(
            "a/real@dest.example",
            r#"{"id":"01HF7YAT00000000000000000D","address":"Real@dest.example","verified_at":1700000000000,
                "created_at":1700000000000,"revision":6}"#,
        ),
    ]
}

#[test]
fn format_1_is_read() {
    let table = loaded(version_1()).unwrap();
    assert_eq!(table.revision(), 9);
    let entry = table.domain(&domain("one.example")).unwrap();
    assert_eq!((entry.on_tempfail, entry.subaddressing), (Some(crate::config::OnTempfail::Queue), false));
    let rules: Vec<_> = table.rules(&domain("one.example")).collect();
    assert_eq!(rules[0].matcher, Matcher::Local("info".to_owned()));
    assert_eq!((rules[0].priority, rules[0].label.as_str()), (-5, "desk"));
    assert_eq!(rules[1].action, crate::routing::RuleAction::Reject("No".to_owned()));
    assert!(table.destination(&address("real@dest.example")).unwrap().verified_at.is_some());
    assert_eq!(table.user_count(&address("REAL@dest.example")), 1);
    assert_eq!(table.greatest_id().to_string(), "01HF7YAT00000000000000000D");
}

/// Does to a tree what version 0.1 does.
fn write(dir: &Path, tree: &str, batch: Batch) {
    let store = Store::open(dir).unwrap();
    store.tree(tree).unwrap().apply_batch(batch).unwrap();
    store.flush_durably().unwrap();
}

fn suspended(table: &Table) -> Vec<(&str, &str)> {
    table.suspensions().map(|found| (found.domain.as_str(), &*found.reason)).collect()
}

#[test]
fn a_suspension_of_version_0_1_is_read() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "routing", {
        record("state", r#"{"format":1,"revision":7,"domains":0,"rules":0,"destinations":0,"lost":true}"#)
    });
    write(dir.path(), "suspensions", {
        record("a.example", r#"{"since":1700000000,"until":1700000002,"reason":"moving"}"#)
    });
    let table = read(dir.path());
    let at = |seconds| std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    let expected = Suspension {
        domain: domain("a.example"),
        since: at(1_700_000_000),
        until: Some(at(1_700_000_002)),
        reason: "moving".to_owned(),
        revision: 7,
    };
    assert_eq!(table.suspension(&expected.domain).unwrap().as_ref(), &expected);
    assert_eq!((table.revision(), table.coverage()), (7, Coverage::Lost));
}

#[test]
fn a_suspension_that_cannot_be_read_does_not_stop_the_opening() {
    let dir = tempfile::tempdir().unwrap();
    let mut suspensions = record("a.example", r#"{"since":1,"until":null,"reason":""}"#);
    suspensions.insert("b.example", "{");
    suspensions.insert("c.example", r#"{"since":1,"until":18446744073709551615,"reason":""}"#);
    suspensions.insert("no domain", r#"{"since":1,"until":null,"reason":""}"#);
    suspensions.insert(b"\xff.example", r#"{"since":1,"until":null,"reason":""}"#);
    write(dir.path(), "suspensions", suspensions);
    let table = read(dir.path());
    assert_eq!(suspended(&table), [("a.example", "")]);
}

#[test]
fn more_suspensions_than_may_be_added_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut many = Batch::default();
    for at in 0..=MAX_SUSPENSIONS {
        many.insert(format!("d{at}.example"), r#"{"since":1,"until":null,"reason":""}"#);
    }
    write(dir.path(), "suspensions", many);
    assert_eq!(read(dir.path()).suspension_count(), MAX_SUSPENSIONS + 1);
}

#[test]
fn records_that_have_gone_are_missed() {
    let mut lost = version_1();
    lost.remove(2);
    let error = loaded(lost).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the routing table on disk is damaged: it should hold 2 rules, and holds 1"
    );
    let mut lost = version_1();
    lost.remove(0);
    assert!(loaded(lost).unwrap_err().to_string().ends_with("there are records, and no state"));
    let mut newer = version_1();
    newer[0] = record("state", r#"{"format":2,"revision":9,"domains":1,"rules":2,"destinations":1}"#);
    assert!(loaded(newer).unwrap_err().to_string().ends_with("its format is 2, this version reads 1"));
    let mut spoilt = version_1();
    spoilt[1] = record("d/one.example", r#"{"id":7}"#);
    let error = loaded(spoilt).unwrap_err().to_string();
    assert!(error.contains("record d/one.example cannot be read"), "{error}");
    assert_eq!(loaded(Vec::new()).unwrap().revision(), 0);
}
