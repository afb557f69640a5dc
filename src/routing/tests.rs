use super::test_table::{address, domain, forward, in_memory, options, rule, verified};
use super::*;

/// One.example with `count` rules to one verified destination.
fn many_rules(count: usize) -> Vec<Change> {
    let mut changes =
        vec![verified("real@dest.example"), Change::CreateDomain(NewDomain::new(domain("one.example")))];
    let to = forward("real@dest.example");
    changes.extend((0..count).map(|at| Change::CreateRule(rule(&format!("u{at}@one.example"), to.clone()))));
    changes
}

#[tokio::test]
async fn changes_at_the_same_time_are_made_one_after_the_other() {
    let routing = in_memory(options());
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

#[tokio::test]
async fn a_new_configuration_counts_at_once() {
    let routing = in_memory(options());
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
    let routing = in_memory(options());
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
    let routing = in_memory(options());
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
    let routing = in_memory(options());
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
