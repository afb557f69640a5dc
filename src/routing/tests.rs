use std::path::Path;

use super::test_table::{address, domain, forward, options, rule, verified};
use super::*;

fn open(dir: &Path) -> Routing {
    Routing::open(&Store::open(dir).unwrap(), options()).unwrap()
}

/// One.example with `count` rules to one verified destination.
fn many_rules(count: usize) -> Vec<Change> {
    let mut changes =
        vec![verified("real@dest.example"), Change::CreateDomain(NewDomain::new(domain("one.example")))];
    let to = forward("real@dest.example");
    changes.extend((0..count).map(|at| Change::CreateRule(rule(&format!("u{at}@one.example"), to.clone()))));
    changes
}

#[tokio::test]
async fn what_was_answered_is_seen_at_once_and_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let before = {
        let routing = open(dir.path());
        routing.change(Change::Batch(many_rules(100))).await.unwrap();
        let Changed::Rule(added) = routing
            .change(Change::CreateRule(rule("*@one.example", forward("new@dest.example"))))
            .await
            .unwrap()
        else {
            panic!()
        };
        assert_eq!(routing.snapshot().rule(&added.id), Some(&added));
        let gone = routing.snapshot().exact(&domain("one.example"), "u7").unwrap().id;
        routing.change(Change::DeleteRule { id: gone, etag: None }).await.unwrap();
        routing.snapshot()
    };
    let routing = open(dir.path());
    let after = routing.snapshot();
    assert_eq!(Document::of(&after), Document::of(&before));
    assert_eq!((after.revision(), after.rules_count()), (3, 100));
    let u8 = address("u8@one.example");
    assert_eq!(after.resolve(&u8), before.resolve(&u8));
}

#[tokio::test]
async fn changes_at_the_same_time_are_made_one_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let routing = open(dir.path());
    routing.change(Change::Batch(many_rules(0))).await.unwrap();
    let create = || routing.change(Change::CreateRule(rule("user@one.example", RuleAction::Drop)));
    let made = futures_util::future::join_all((0..500).map(|_| create())).await;
    assert!(made.iter().all(Result::is_ok));
    let table = routing.snapshot();
    assert_eq!((table.revision(), table.rules_count()), (501, 500));
    let again = (0..50).map(|_| routing.change(verified("same@dest.example")));
    let made = futures_util::future::join_all(again).await;
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1);
}

/// What the disk holds at any moment is a table as it was after some change, never a part of a change, and
/// never older than the last answer.
#[tokio::test]
async fn a_crash_leaves_a_whole_table() {
    let dir = tempfile::tempdir().unwrap();
    let routing = open(dir.path());
    routing.change(Change::Batch(many_rules(0))).await.unwrap();
    for round in 0..20 {
        let batch = (0..50).map(|at| {
            Change::CreateRule(rule(&format!("r{round}x{at}@one.example"), forward("real@dest.example")))
        });
        let answered = routing.snapshot().revision();
        let change = tokio::spawn({
            let routing = routing.clone();
            let batch = Change::Batch(batch.collect());
            async move { routing.change(batch).await }
        });
        tokio::task::yield_now().await;
        let crashed = tempfile::tempdir().unwrap();
        copy(dir.path(), crashed.path());
        change.await.unwrap().unwrap();
        let table = open(crashed.path()).snapshot();
        assert!(table.revision() >= answered, "round {round}");
        assert_eq!(table.rules_count() as u64, (table.revision() - 1) * 50, "round {round}");
    }
}

/// The files as a crash at this moment would leave them; the log last, so that it is not older than the rest.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to.join("store")).unwrap();
    for name in ["store.lock", "store/conf", "store/db"] {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

#[tokio::test]
async fn a_new_configuration_counts_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let routing = open(dir.path());
    routing.change(Change::Batch(many_rules(0))).await.unwrap();
    let to = address("postmaster@one.example");
    routing.configure(RoutingOptions { postmaster: address("new@ops.example"), ..options() });
    assert_eq!(
        routing.snapshot().resolve(&to),
        Resolution::Forward {
            rule: None,
            matcher: MatchedBy::Role,
            destinations: vec![address("new@ops.example")]
        }
    );
}

#[tokio::test]
async fn a_repeated_request_is_carried_out_once() {
    let dir = tempfile::tempdir().unwrap();
    let routing = open(dir.path());
    routing.change(Change::Batch(many_rules(0))).await.unwrap();
    let ask = || {
        let id = RequestId::parse("a").unwrap();
        routing.change_once(id, Change::CreateRule(rule("user@one.example", RuleAction::Drop)))
    };
    let (first, second) = tokio::join!(ask(), ask());
    let first = first.unwrap();
    assert_eq!((second.unwrap(), ask().await.unwrap()), (first.clone(), first));
    assert_eq!(routing.snapshot().rules_count(), 1);
}

#[tokio::test]
async fn pages_follow_each_other_without_gaps() {
    let dir = tempfile::tempdir().unwrap();
    let routing = open(dir.path());
    routing.change(Change::Batch(many_rules(10))).await.unwrap();
    let more =
        ["two.example", "three.example"].map(|name| Change::CreateDomain(NewDomain::new(domain(name))));
    routing.change(Change::Batch(more.to_vec())).await.unwrap();
    let table = routing.snapshot();
    let name = domain("one.example");
    let all: Vec<_> = table.rules(&name).map(|rule| rule.id).collect();
    let fourth = table.rule(&all[3]).unwrap().rank();
    let rest: Vec<_> = table.rules_after(&name, &fourth).map(|rule| rule.id).collect();
    assert_eq!(rest, all[4..]);
    let names: Vec<_> = table.domains_after(&name).map(|domain| domain.name.to_string()).collect();
    assert_eq!(names, ["three.example", "two.example"]);
    assert_eq!(table.destinations_after(&address("a@a.example")).count(), 1);
    assert_eq!(table.destinations_after(&address("real@dest.example")).count(), 0);
}

/// The same with a million is in `benches/routing.rs`.
#[test]
fn a_snapshot_stays_as_it_was_while_a_large_table_changes() {
    let mut world = test_table::World::empty();
    world.make(Change::Batch(many_rules(50_000)));
    let old = world.table.clone();
    for at in (0..50_000).step_by(50) {
        let id = world.table.exact(&domain("one.example"), &format!("u{at}")).unwrap().id;
        world.make(Change::DeleteRule { id, etag: None });
    }
    assert_eq!((old.rules_count(), world.table.rules_count()), (50_000, 49_000));
    for at in 0..50_000 {
        let to = address(&format!("U{at}+tag@one.example"));
        assert!(matches!(old.resolve(&to), Resolution::Forward { .. }), "{to}");
        let gone = world.table.resolve(&to) == Resolution::UnknownRecipient;
        assert_eq!(gone, at % 50 == 0, "{to}");
    }
}

#[tokio::test]
async fn changes_of_suspensions_are_told_once_they_are_seen_and_others_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let routing = open(dir.path());
    let mut changes = routing.suspension_changes();
    routing.change(Change::Batch(many_rules(3))).await.unwrap();
    assert!(!changes.has_changed().unwrap());
    let name = domain("dest.example");
    let suspend = Change::Suspend { domain: name.clone(), until: None, reason: String::new() };
    routing.change(suspend).await.unwrap();
    changes.changed().await.unwrap();
    assert_eq!(*changes.borrow_and_update(), 2);
    assert!(routing.snapshot().suspension(&name).is_some());
    routing.change(Change::Resume { domain: name, etag: None }).await.unwrap();
    changes.changed().await.unwrap();
    assert_eq!(*changes.borrow_and_update(), 3);
}

#[tokio::test]
async fn suspensions_and_listings_are_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let routing = open(dir.path());
    let until = Some(crate::clock::now() + std::time::Duration::from_secs(3600));
    let networks = ["192.0.2.0/24", "2001:db8::/32"].map(|network| network.parse().unwrap());
    let changes = [
        Change::Suspend { domain: domain("dest.example"), until, reason: "it is down".to_owned() },
        Change::Suspend { domain: domain("gone.example"), until: None, reason: String::new() },
        Change::Resume { domain: domain("gone.example"), etag: None },
        Change::Block { network: networks[0], until: None, reason: "spam".to_owned() },
        Change::Allow { network: networks[1], until: None, reason: String::new() },
        Change::Unlist { network: networks[1], etag: None },
    ];
    // All of the same revision, which is what they have after an opening.
    routing.change(Change::Batch([many_rules(1), changes.to_vec()].concat())).await.unwrap();
    let before = routing.snapshot();
    drop(routing);
    let after = open(dir.path()).snapshot();
    assert_eq!((after.suspension_count(), after.listing_count()), (1, 1));
    assert_eq!(after.digest(), before.digest());
}
