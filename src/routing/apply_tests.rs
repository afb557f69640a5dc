use super::*;
use crate::routing::Matcher;
use crate::routing::model::RuleAction;
use crate::routing::test_table::{World, address, domain, forward, rule, verified};

fn create(alias: &str, action: RuleAction) -> Change {
    Change::CreateRule(rule(alias, action))
}

#[test]
fn what_cannot_be_is_refused_with_its_reason() {
    let mut world = World::new();
    world.rule("user@one.example", forward("real@dest.example"));
    let reject = |text: &str| RuleAction::Reject(text.to_owned());
    let labelled = |label: &str| {
        Change::CreateRule(NewRule { label: label.to_owned(), ..rule("x@one.example", RuleAction::Drop) })
    };
    let many: Vec<String> = (0..21).map(|at| format!("d{at}@dest.example")).collect();
    let new_domain = |name: &str| Change::CreateDomain(NewDomain::new(domain(name)));
    let missing = Ulid(7);
    let table = [
        (new_domain("One.example"), "DOMAIN_EXISTS"),
        (new_domain("[192.0.2.1]"), "DOMAIN_IS_LITERAL"),
        (new_domain("linda.mx.relay.example"), "DOMAIN_IS_OURS"),
        (create("user@three.example", RuleAction::Drop), "DOMAIN_NOT_FOUND"),
        (create("SRS0=x@one.example", RuleAction::Drop), "LOCAL_PART_RESERVED"),
        (create("srs1-x@one.example", RuleAction::Drop), "LOCAL_PART_RESERVED"),
        (create(&format!("{}@one.example", "x".repeat(65)), RuleAction::Drop), "LOCAL_PART_INVALID"),
        (create("a@b@one.example", RuleAction::Drop), "LOCAL_PART_IS_ADDRESS"),
        (create("x@one.example", reject("")), "REJECT_TEXT_INVALID"),
        (create("x@one.example", reject("naïve")), "REJECT_TEXT_INVALID"),
        (create("x@one.example", reject("two\r\nlines")), "REJECT_TEXT_INVALID"),
        (create("x@one.example", reject(&"x".repeat(201))), "REJECT_TEXT_INVALID"),
        (labelled(&"x".repeat(201)), "NAME_INVALID"),
        (labelled("two\nlines"), "NAME_INVALID"),
        (create("x@one.example", forward("")), "NO_DESTINATION"),
        (create("x@one.example", forward(&many.join(" "))), "TOO_MANY_DESTINATIONS_IN_RULE"),
        (create("x@one.example", forward("a@linda.mx.relay.example")), "DESTINATION_IS_OURS"),
        (create("x@one.example", forward("a@email.relay.example")), "DESTINATION_IS_OURS"),
        (create("x@one.example", forward("srs0=a=b=c=d@dest.example")), "DESTINATION_IS_SRS"),
        (verified("SRS1+a=b=c=d@dest.example"), "DESTINATION_IS_SRS"),
        (verified("REAL@dest.example"), "DESTINATION_EXISTS"),
        (
            Change::DeleteDestination { address: address("no@dest.example"), etag: None },
            "DESTINATION_NOT_FOUND",
        ),
        (Change::DeleteRule { id: missing, etag: None }, "RULE_NOT_FOUND"),
        (Change::UpdateRule { id: missing, patch: RulePatch::default(), etag: None }, "RULE_NOT_FOUND"),
        (
            Change::UpdateDomain { name: domain("no.example"), patch: DomainPatch::default(), etag: None },
            "DOMAIN_NOT_FOUND",
        ),
        (Change::Batch(vec![Change::Batch(Vec::new())]), "NESTED_BATCH"),
        (Change::Batch(vec![verified("a@dest.example"); MAX_CHANGES_PER_BATCH + 1]), "TOO_MANY_CHANGES"),
    ];
    for (change, reason) in table {
        let before = world.table.revision();
        assert_eq!(world.refused(change.clone()), reason, "{change:?}");
        assert_eq!(world.table.revision(), before);
    }
}

#[test]
fn a_destination_in_use_is_kept_and_the_error_names_the_rules() {
    let mut world = World::new();
    let id = world.rule("user@one.example", forward("real@dest.example"));
    let delete = Change::DeleteDestination { address: address("Real@dest.example"), etag: None };
    let error = world.try_applied(delete.clone()).err().unwrap();
    assert_eq!(
        error.to_string(),
        format!("destination real@dest.example is in use by 1 rules: domains/one.example/rules/{id}")
    );
    world.make(Change::DeleteRule { id, etag: None });
    world.make(delete);
    assert!(world.table.destination(&address("real@dest.example")).is_none());
}

#[test]
fn a_rule_creates_its_missing_destinations_unverified() {
    let mut world = World::new();
    let id =
        world.add(rule("user@one.example", forward("new@dest.example REAL@dest.example New@dest.example")));
    let stored = world.table.rule(&id).unwrap();
    assert_eq!(stored.action, forward("new@dest.example REAL@dest.example"));
    let new = world.table.destination(&address("new@dest.example")).unwrap();
    assert_eq!((new.verified_at, new.revision), (None, world.table.revision()));
    assert!(world.table.is_waiting(stored));
    assert_eq!(world.table.user_count(&address("real@dest.example")), 1);
    let patch = RulePatch { action: Some(forward("other@dest.example")), ..RulePatch::default() };
    world.make(Change::UpdateRule { id, patch, etag: None });
    assert_eq!(world.table.user_count(&address("real@dest.example")), 0);
    assert!(world.table.destination(&address("other@dest.example")).is_some());
}

#[test]
fn the_etag_of_another_revision_is_refused_and_the_right_one_is_taken() {
    let mut world = World::new();
    let id = world.rule("user@one.example", RuleAction::Drop);
    let seen = world.table.rule(&id).unwrap().revision;
    let later = |priority, etag| Change::UpdateRule {
        id,
        patch: RulePatch { priority: Some(priority), ..RulePatch::default() },
        etag,
    };
    world.make(later(5, Some(seen)));
    assert_eq!(world.refused(later(6, Some(seen))), "ETAG_MISMATCH");
    assert_eq!(world.refused(Change::DeleteRule { id, etag: Some(seen) }), "ETAG_MISMATCH");
    let name = domain("one.example");
    let etag = Some(world.table.domain(&name).unwrap().revision + 1);
    assert_eq!(
        world.refused(Change::DeleteDomain { name, rules: RulesOfDeleted::Delete, etag }),
        "ETAG_MISMATCH"
    );
    let etag = Some(world.table.rule(&id).unwrap().revision);
    world.make(Change::DeleteRule { id, etag });
}

#[test]
fn a_change_that_changes_nothing_writes_nothing() {
    let mut world = World::new();
    let id = world.rule("user@one.example", RuleAction::Drop);
    let before = world.table.revision();
    let patch = RulePatch { enabled: Some(true), action: Some(RuleAction::Drop), ..RulePatch::default() };
    let applied = world.make(Change::UpdateRule { id, patch, etag: None });
    assert!(!applied.is_changed);
    let address = address("real@dest.example");
    assert!(!world.make(Change::UpdateDestination { address, verified: true, etag: None }).is_changed);
    assert_eq!(world.table.revision(), before);
}

#[test]
fn a_domain_with_rules_goes_only_with_them() {
    let mut world = World::new();
    let id = world.rule("user@one.example", forward("real@dest.example"));
    let delete = |rules| Change::DeleteDomain { name: domain("one.example"), rules, etag: None };
    assert_eq!(world.refused(delete(RulesOfDeleted::Keep)), "DOMAIN_NOT_EMPTY");
    world.make(delete(RulesOfDeleted::Delete));
    assert!(world.table.rule(&id).is_none());
    assert!(!world.table.hosts(&domain("one.example")));
    assert_eq!(world.table.user_count(&address("real@dest.example")), 0);
}

#[test]
fn a_batch_is_made_wholly_or_not_at_all() {
    let mut world = World::new();
    let before = world.table.revision();
    let batch = Change::Batch(vec![verified("a@dest.example"), verified("real@dest.example")]);
    assert_eq!(world.refused(batch), "DESTINATION_EXISTS");
    assert!(world.table.destination(&address("a@dest.example")).is_none());
    let batch = Change::Batch(vec![
        verified("a@dest.example"),
        Change::CreateDomain(NewDomain::new(domain("three.example"))),
        create("user@three.example", forward("a@dest.example")),
    ]);
    let Changed::Batch(changed) = world.make(batch).changed else { panic!() };
    assert_eq!(changed.len(), 3);
    assert_eq!(world.table.revision(), before + 1);
}

#[test]
fn cycles_are_refused_with_their_chain_and_looked_for_at_the_end_of_a_batch() {
    let mut world = World::new();
    let a = world.rule("a@one.example", forward("b@two.example"));
    world.make(verified("a@one.example"));
    let error = world.try_applied(create("b@two.example", forward("A+tag@one.example"))).err().unwrap();
    assert_eq!(error.reason(), "RULE_CYCLE");
    assert_eq!(error.to_string(), "rules form a cycle: b@two.example -> A+tag@one.example -> b@two.example");
    assert_eq!(world.refused(create("*@two.example", forward("a@one.example"))), "RULE_CYCLE");
    assert_eq!(world.refused(create("self@one.example", forward("SELF@one.example"))), "RULE_CYCLE");
    assert_eq!(world.refused(create("b@two.example", forward("no@two.example a@one.example"))), "RULE_CYCLE");
    let disabled = NewRule { enabled: false, ..rule("b@two.example", forward("a@one.example")) };
    let b = world.add(disabled);
    let enable = RulePatch { enabled: Some(true), ..RulePatch::default() };
    let enable = Change::UpdateRule { id: b, patch: enable, etag: None };
    assert_eq!(world.refused(enable.clone()), "RULE_CYCLE");
    let turn = RulePatch { action: Some(forward("real@dest.example")), ..RulePatch::default() };
    world.make(Change::Batch(vec![enable, Change::UpdateRule { id: a, patch: turn, etag: None }]));
}

#[test]
fn replaying_the_stamped_changes_gives_the_same_table() {
    let changes = [
        Change::CreateDomain(NewDomain::new(domain("one.example"))),
        create("user@one.example", forward("a@dest.example b@dest.example")),
        Change::Batch(vec![
            verified("c@dest.example"),
            create("*@one.example", forward("c@dest.example d@dest.example")),
            Change::UpdateDestination { address: address("a@dest.example"), verified: true, etag: None },
        ]),
    ];
    let mut ids = crate::routing::change::Ids::above(Ulid::nil());
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_millis(1_700_000_000_123);
    let log: Vec<Vec<u8>> = changes
        .into_iter()
        .map(|change| Stamped {
            at,
            first_id: ids.take(at, change.creations()),
            request_id: None,
            author: None,
            change,
        })
        .map(|stamped| stamped.encode().unwrap())
        .collect();
    let replay = || {
        let mut table = World::empty().table;
        for entry in &log {
            table = apply(&table, &Stamped::decode(entry).unwrap()).unwrap().table;
        }
        (table.digest(), table.revision())
    };
    assert_eq!(replay(), replay());
    assert_eq!(replay().1, 3);
}

#[test]
fn ids_grow_even_when_the_clock_goes_back() {
    let mut ids = crate::routing::change::Ids::above(Ulid::nil());
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    let first = ids.take(at, 5);
    let second = ids.take(at - std::time::Duration::from_secs(3600), 1);
    assert!(second.0 >= first.0 + 5);
    assert!(ids.take(at, 1) > second);
}

#[test]
fn an_id_is_above_the_greatest_of_the_table_though_its_resource_is_gone_and_the_clock_behind() {
    let mut world = World::new();
    let id = world.rule("user@one.example", RuleAction::Drop);
    world.make(Change::DeleteRule { id, etag: None });
    assert_eq!(world.table.greatest_id(), id);
    let mut ids = crate::routing::change::Ids::above(world.table.greatest_id());
    assert!(ids.take(std::time::UNIX_EPOCH, 1) > id);
}

/// Two leaders, one after the other, whose clocks are behind the table: the second has not seen what the first stamped.
#[test]
fn an_id_that_was_stamped_twice_is_given_once() {
    let mut world = World::new();
    let first = world.rule("user@one.example", RuleAction::Drop);
    let new = NewRule::new(domain("one.example"), Matcher::Local("other".to_owned()), RuleAction::Drop);
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1);
    let again =
        Stamped { at, first_id: first, request_id: None, author: None, change: Change::CreateRule(new) };
    let table = apply(&world.table, &again).unwrap().table;
    assert_eq!(table.rules(&domain("one.example")).count(), 2);
    assert_eq!(table.rule(&first), world.table.rule(&first));
}

#[test]
fn times_of_a_change_are_kept_to_the_millisecond_as_a_log_keeps_them() {
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_nanos(1_700_000_000_123_456_789);
    let stamped =
        Stamped { at, first_id: Ulid(7), request_id: None, author: None, change: verified("a@dest.example") };
    let logged = Stamped::decode(&stamped.encode().unwrap()).unwrap();
    let table = World::empty().table;
    let made = |stamped| {
        let table = apply(&table, stamped).unwrap().table;
        table.destination(&address("a@dest.example")).unwrap().clone()
    };
    assert_eq!(made(&stamped), made(&logged));
}
