use std::path::Path;

use super::*;
use crate::routing::test_table::{World, address, domain, forward, options, verified};
use crate::routing::{Change, MAX_SUSPENSIONS, Matcher, NewDomain, Routing};

fn loaded(batches: Vec<Batch>) -> Result<Table, RoutingError> {
    let dir = tempfile::tempdir().unwrap();
    let trees = Trees::open(&Store::open(dir.path()).unwrap()).unwrap();
    for batch in batches {
        trees.routing.apply_batch(batch).unwrap();
    }
    trees.load(options(), Coverage::Empty)
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
    let mut expected = Writes::default();
    expected.routing.insert(format!("r/{id}"), rule);
    let state =
        format!(r#"{{"format":1,"revision":5,"domains":3,"rules":1,"destinations":1,"greatest_id":"{id}"}}"#);
    expected.routing.insert("state", state);
    assert_eq!(applied.writes, expected);
}

/// The octets of a suspension are those that version 0.1 writes and reads.
#[test]
fn a_suspension_and_a_listing_are_written_to_trees_of_their_own() {
    let mut world = World::new();
    let until = Some(std::time::UNIX_EPOCH + std::time::Duration::from_millis(1_800_000_000_005));
    let suspend = |name, until, reason: &str| Change::Suspend {
        domain: domain(name),
        until,
        reason: reason.to_owned(),
    };
    let block =
        Change::Block { network: "192.0.2.0/24".parse().unwrap(), until: None, reason: "spam".to_owned() };
    let allow = Change::Allow { network: "2001:db8::/32".parse().unwrap(), until, reason: String::new() };
    let ever = suspend("[192.0.2.1]", None, "it \"is\" dówn");
    let applied =
        world.make(Change::Batch(vec![suspend("dest.example", until, "moving"), ever, block, allow]));
    let mut expected = Writes::default();
    expected
        .suspensions
        .insert("dest.example", r#"{"since":1700000000,"until":1800000000,"reason":"moving"}"#);
    expected
        .suspensions
        .insert("[192.0.2.1]", r#"{"since":1700000000,"until":null,"reason":"it \"is\" dówn"}"#);
    expected.listings.insert(
        "192.0.2.0/24",
        r#"{"network":"192.0.2.0/24","access":"Blocked","reason":"spam","since":1700000000005}"#,
    );
    expected.listings.insert(
        "2001:db8::/32",
        r#"{"network":"2001:db8::/32","access":"Allowed","reason":"","since":1700000000005,"until":1800000000005}"#,
    );
    let greatest_id = world.table.greatest_id();
    let state = |revision| {
        format!(
            r#"{{"format":1,"revision":{revision},"domains":3,"rules":0,"destinations":1,"greatest_id":"{greatest_id}"}}"#
        )
    };
    expected.routing.insert("state", state(5));
    assert_eq!(applied.writes, expected);
    let unlist = Change::Unlist { network: "192.0.2.0/24".parse().unwrap(), etag: Some(5) };
    let resume = Change::Resume { domain: domain("dest.example"), etag: Some(5) };
    let applied = world.make(Change::Batch(vec![unlist, resume]));
    let mut expected = Writes::default();
    expected.listings.remove("192.0.2.0/24");
    expected.suspensions.remove("dest.example");
    expected.routing.insert("state", state(6));
    assert_eq!(applied.writes, expected);
}

fn open(dir: &Path) -> Routing {
    Routing::open(&Store::open(dir).unwrap(), options()).unwrap()
}

/// What stands on the disk in a tree.
fn found(dir: &Path, tree: &str) -> Vec<(String, String)> {
    let pairs = Store::open(dir).unwrap().tree(tree).unwrap().scan(b"");
    let text = |octets| String::from_utf8(octets).unwrap();
    pairs.map(|pair| pair.map(|(key, value)| (text(key), text(value))).unwrap()).collect()
}

/// Does to a tree what another version does.
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
    let table = open(dir.path()).snapshot();
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

#[tokio::test]
async fn versions_go_on_where_the_other_has_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let old = |reason| format!(r#"{{"since":1700000000,"until":null,"reason":"{reason}"}}"#);
    let suspend = |name| Change::Suspend { domain: domain(name), until: None, reason: "new".to_owned() };
    let mut before = Batch::default();
    for name in ["a.example", "b.example", "c.example"] {
        before.insert(name, old("first"));
    }
    write(dir.path(), "suspensions", before);
    let routing = open(dir.path());
    assert_eq!(routing.snapshot().suspension_count(), 3);
    let resume = Change::Resume { domain: domain("a.example"), etag: None };
    routing.change(Change::Batch(vec![resume, suspend("b.example"), suspend("d.example")])).await.unwrap();
    drop(routing);
    // What version 0.1 finds; then it resumes one, suspends one anew, and adds one and a destination.
    let names: Vec<_> = found(dir.path(), "suspensions").into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["b.example", "c.example", "d.example"]);
    assert_eq!(found(dir.path(), "routing"), []);
    let mut meanwhile = Batch::default();
    meanwhile.remove("b.example");
    for name in ["a.example", "d.example"] {
        meanwhile.insert(name, old("second"));
    }
    write(dir.path(), "suspensions", meanwhile);
    let mut routes = record("state", r#"{"format":1,"revision":9,"domains":0,"rules":0,"destinations":1}"#);
    routes.append(version_1().remove(4));
    write(dir.path(), "routing", routes);
    let routing = open(dir.path());
    let table = routing.snapshot();
    assert_eq!(suspended(&table), [("a.example", "second"), ("c.example", "first"), ("d.example", "second")]);
    assert_eq!((table.revision(), table.coverage()), (9, Coverage::Whole));
    assert_eq!(table.greatest_id().to_string(), "01HF7YAT00000000000000000D");
    routing.change(verified("b@dest.example")).await.unwrap();
    drop(routing);
    assert_eq!(open(dir.path()).snapshot().revision(), 10);
}

#[tokio::test]
async fn an_empty_table_stays_empty_after_a_suspension_a_listing_and_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let routing = open(dir.path());
    let block =
        Change::Block { network: "192.0.2.0/24".parse().unwrap(), until: None, reason: String::new() };
    let suspend = Change::Suspend { domain: domain("a.example"), until: None, reason: String::new() };
    for change in [block, suspend] {
        routing.change(change).await.unwrap();
    }
    assert_eq!((routing.snapshot().revision(), routing.snapshot().coverage()), (2, Coverage::Empty));
    drop(routing);
    // As version 0.1 leaves a table that it has written nothing to.
    assert_eq!(found(dir.path(), "routing"), []);
    let routing = open(dir.path());
    let table = routing.snapshot();
    assert_eq!(table.coverage(), Coverage::Empty);
    assert_eq!((table.suspension_count(), table.listing_count()), (1, 1));
    routing.change(Change::CreateDomain(NewDomain::new(domain("one.example")))).await.unwrap();
    drop(routing);
    let table = open(dir.path()).snapshot();
    assert_eq!((table.coverage(), table.suspension_count()), (Coverage::Whole, 1));
}

#[test]
fn what_cannot_be_read_of_suspensions_and_listings_does_not_stop_the_opening() {
    let dir = tempfile::tempdir().unwrap();
    let mut suspensions = record("a.example", r#"{"since":1,"until":null,"reason":""}"#);
    suspensions.insert("b.example", "{");
    suspensions.insert("c.example", r#"{"since":1,"until":18446744073709551615,"reason":""}"#);
    suspensions.insert("no domain", r#"{"since":1,"until":null,"reason":""}"#);
    suspensions.insert(b"\xff.example", r#"{"since":1,"until":null,"reason":""}"#);
    write(dir.path(), "suspensions", suspensions);
    let listing =
        |access| format!(r#"{{"network":"192.0.2.0/24","access":"{access}","reason":"","since":1}}"#);
    let mut listings = record("192.0.2.0/24", &listing("Blocked"));
    listings.insert("192.0.3.0/24", listing("Greylisted"));
    write(dir.path(), "listings", listings);
    let table = open(dir.path()).snapshot();
    assert_eq!(suspended(&table), [("a.example", "")]);
    assert_eq!(table.listing_count(), 1);
}

#[test]
fn more_suspensions_than_may_be_added_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut many = Batch::default();
    for at in 0..=MAX_SUSPENSIONS {
        many.insert(format!("d{at}.example"), r#"{"since":1,"until":null,"reason":""}"#);
    }
    write(dir.path(), "suspensions", many);
    assert_eq!(open(dir.path()).snapshot().suspension_count(), MAX_SUSPENSIONS + 1);
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
