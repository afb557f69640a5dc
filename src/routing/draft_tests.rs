use ulid::Ulid;

use super::*;
use crate::routing::RuleAction;
use crate::routing::test_table::{World, forward, rule};

/// A change that is not confirmed is not in the table that the next is tried on, and may be made all the same.
#[test]
fn ids_grow_whatever_became_of_the_changes_before() {
    let mut table = World::new().table;
    // The clock is behind.
    table.raise_greatest_id(Ulid(u128::MAX >> 1));
    let mut draft = Draft::new(&table);
    let create = Change::CreateRule(rule("info@one.example", forward("a@dest.example b@dest.example")));
    let first = draft.attempt(create.clone(), None, None).unwrap().first_id;
    assert!(first > table.greatest_id());
    draft.restart(&table);
    let second = draft.attempt(create, None, None).unwrap().first_id;
    assert!(second.0 >= first.0 + 3, "one for the rule, and one for each destination");
}

#[test]
fn what_is_refused_leaves_the_copy_as_it_was_and_what_is_made_is_there_for_the_next() {
    let table = World::new().table;
    let mut draft = Draft::new(&table);
    let to_two = Change::CreateRule(rule("a@one.example", forward("a@two.example")));
    let back = Change::CreateRule(rule("a@two.example", forward("a@one.example")));
    let drops = Change::CreateRule(rule("a@two.example", RuleAction::Drop));
    let stamped = draft.attempt(to_two, RequestId::parse("a").ok(), None).unwrap();
    assert_eq!(stamped.request_id, RequestId::parse("a").ok());
    let made = draft.table.digest();
    assert_eq!(draft.attempt(back, None, None).unwrap_err().reason(), "RULE_CYCLE");
    assert_eq!(draft.table.digest(), made);
    draft.attempt(drops, None, None).unwrap();
    assert_eq!(draft.table.rules_count(), 2);
    draft.restart(&table);
    assert_eq!(draft.table.digest(), table.digest());
}
