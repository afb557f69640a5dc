use super::*;
use crate::routing::test_table::{World, address, domain, forward, options};
use crate::routing::{Change, Matcher};
use crate::store::Store;

fn loaded(batches: Vec<Batch>) -> Result<Table, RoutingError> {
    let dir = tempfile::tempdir().unwrap();
    let tree = Store::open(dir.path()).unwrap().tree(TREE).unwrap();
    for batch in batches {
        tree.apply_batch(batch).unwrap();
    }
    load(&tree, options(), Coverage::Empty)
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

#[test]
fn format_1_is_written() {
    let mut world = World::new();
    let applied = world.make(Change::CreateRule(crate::routing::test_table::rule(
        "info@one.example",
        forward("Real@dest.example"),
    )));
    let id = applied.touched_rules[0];
    let rule = format!(
        r#"{{"id":"{id}","domain":"one.example","matcher":{{"Local":"info"}},"action":{{"Forward":["Real@dest.example"]}},"priority":0,"label":"","enabled":true,"created_at":1700000000005,"updated_at":1700000000005,"revision":5}}"#
    );
    let mut expected = Batch::default();
    expected.insert(format!("r/{id}"), rule);
    let state = format!(
        r#"{{"format":1,"revision":5,"domains":3,"rules":1,"destinations":1,"greatest_id":"{id}","suspensions":0,"listings":0}}"#
    );
    expected.insert("state", state);
    assert_eq!(applied.writes.into_batch(), expected);
}

#[test]
fn a_suspension_and_a_listing_are_written() {
    let mut world = World::empty();
    let until = Some(std::time::UNIX_EPOCH + std::time::Duration::from_millis(1_800_000_000_005));
    let suspend = Change::Suspend { domain: domain("dest.example"), until, reason: "moving".to_owned() };
    let block =
        Change::Block { network: "192.0.2.0/24".parse().unwrap(), until: None, reason: "spam".to_owned() };
    let allow = Change::Allow { network: "2001:db8::/32".parse().unwrap(), until, reason: String::new() };
    let applied = world.make(Change::Batch(vec![suspend, block, allow]));
    let mut expected = Batch::default();
    expected.insert(
        "s/dest.example",
        r#"{"domain":"dest.example","since":1700000000001,"until":1800000000005,"reason":"moving","revision":1}"#,
    );
    expected.insert(
        "n/192.0.2.0/24",
        r#"{"network":"192.0.2.0/24","access":"Blocked","reason":"spam","since":1700000000001,"revision":1}"#,
    );
    expected.insert(
        "n/2001:db8::/32",
        concat!(
            r#"{"network":"2001:db8::/32","access":"Allowed","reason":"","since":1700000000001,"#,
            r#""until":1800000000005,"revision":1}"#
        ),
    );
    // The table is empty all the same, which earlier versions take for lost.
    let state = concat!(
        r#"{"format":1,"revision":1,"domains":0,"rules":0,"destinations":0,"#,
        r#""greatest_id":"00000000000000000000000000","suspensions":1,"listings":2,"lost":true,"empty":true}"#
    );
    expected.insert("state", state);
    assert_eq!(applied.writes.into_batch(), expected);
    let unlist = Change::Unlist { network: "192.0.2.0/24".parse().unwrap(), etag: Some(1) };
    let resume = Change::Resume { domain: domain("dest.example"), etag: Some(1) };
    let applied = world.make(Change::Batch(vec![unlist, resume]));
    let mut expected = Batch::default();
    expected.remove("n/192.0.2.0/24");
    expected.remove("s/dest.example");
    let state = concat!(
        r#"{"format":1,"revision":2,"domains":0,"rules":0,"destinations":0,"#,
        r#""greatest_id":"00000000000000000000000000","suspensions":0,"listings":1,"lost":true,"empty":true}"#
    );
    expected.insert("state", state);
    assert_eq!(applied.writes.into_batch(), expected);
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
