use std::time::{Duration, SystemTime};

use super::*;
use crate::routing::test_table::{World, domain, rule, verified};
use crate::routing::{Change, Coverage, Decoded, Rebuilt, RuleAction, Stamped, Table};

/// One that found as many octets.
fn revision(number: u64, found: usize) -> Revision {
    let (at, what) = (SystemTime::UNIX_EPOCH + Duration::from_secs(number), String::new());
    Revision { number, at, author: None, what, before: Some(vec![0; found]) }
}

fn numbers(history: &History) -> Vec<u64> {
    history.revisions.keys().copied().collect()
}

fn rebuilt(table: &Table, history: &[Vec<u8>]) -> Result<Table, EncodingError> {
    let mut rebuilt = Rebuilt::new(table.options().clone());
    table.records().try_for_each(|record| rebuilt.add(Decoded::of(&record)?))?;
    history.iter().try_for_each(|record| rebuilt.add_revision(record))?;
    rebuilt.finish()
}

#[test]
fn each_change_leaves_who_made_it_from_where_and_what_it_was() {
    let mut world = World::new();
    let author = Author::new("ana\n", "192.0.2.7".parse().ok());
    let change = Change::CreateRule(rule("info@one.example", RuleAction::Drop));
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let first_id = ulid::Ulid(u128::MAX >> 1);
    let stamped = Stamped { at, first_id, request_id: None, author: author.clone(), change };
    world.table = crate::routing::apply::apply(&world.table, &stamped).unwrap().table;
    let last = world.table.history().next().unwrap();
    assert_eq!((last.number, last.at, &last.author), (world.table.revision(), at, &author));
    assert_eq!((author.unwrap().name(), last.what.as_str()), ("ana ", "rule add one.example info -> drop"));
    let before = world.table.history().nth(1).unwrap();
    assert_eq!((&before.author, before.what.as_str()), (&None, "destination add real@dest.example verified"));
    assert_eq!(world.table.history().count() as u64, world.table.revision());
    assert_eq!(world.table.history_before(3).map(|one| one.number).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn what_changes_nothing_is_no_revision() {
    let mut world = World::new();
    let length = world.table.history().count();
    assert!(!world.make(Change::EndSuspensions).is_changed);
    world.refused(verified("real@dest.example"));
    assert_eq!(world.table.history().count(), length);
}

#[test]
fn the_oldest_go_past_10_000_and_past_64_mib() {
    let mut history = History::new();
    (1..=MAX_REVISIONS as u64 + 5).for_each(|number| history.push(revision(number, 1)));
    assert_eq!((history.len(), numbers(&history)[0], history.octets), (MAX_REVISIONS, 6, MAX_REVISIONS));
    let mut history = History::new();
    (1..=5).for_each(|number| history.push(revision(number, MAX_HISTORY_OCTETS / 3)));
    assert_eq!((numbers(&history), history.octets), (vec![3, 4, 5], MAX_HISTORY_OCTETS / 3 * 3));
    history.push(revision(6, MAX_HISTORY_OCTETS));
    assert_eq!((numbers(&history), history.octets), (vec![6], MAX_HISTORY_OCTETS));
}

#[test]
fn a_change_that_found_too_much_begins_the_history_anew() {
    let mut table = World::new().table;
    let next = table.revision() + 1;
    table.set_revision(next);
    table.record(revision(next, MAX_HISTORY_OCTETS + 1));
    assert_eq!((numbers(&table.history), table.history.octets), (vec![next], 0));
    assert_eq!(table.oldest_revision(), next);
    let records: Vec<_> = table.history_records().collect();
    assert_eq!(rebuilt(&table, &records).unwrap().oldest_revision(), next);
}

#[test]
fn history_comes_back_from_its_records_and_is_no_part_of_the_digest() {
    let world = World::new();
    let records: Vec<_> = world.table.history_records().collect();
    let again = rebuilt(&world.table, &records).unwrap();
    assert!(again.history().eq(world.table.history()));
    assert_eq!((again.oldest_revision(), again.history.octets), (0, world.table.history.octets));
    let without = rebuilt(&world.table, &[]).unwrap();
    assert_eq!(without.digest(), world.table.digest());
    assert_eq!((without.history().count(), without.oldest_revision()), (0, world.table.revision()));
}

#[test]
fn a_history_with_a_gap_or_of_another_table_is_refused() {
    let world = World::new();
    let records: Vec<_> = world.table.history_records().collect();
    let refused = |records: &[Vec<u8>]| rebuilt(&world.table, records).unwrap_err().to_string();
    let gap = [&records[..1], &records[2..]].concat();
    assert_eq!(refused(&gap), "the history of the table cannot be read: 3 follows 1");
    let end = refused(&records[..2]);
    assert_eq!(end, "the history of the table cannot be read: it does not end with revision 4");
    assert!(rebuilt(&world.table, &records[1..]).is_ok());
    assert!(refused(&[vec![0xff]]).starts_with("a revision of the table cannot be decoded: "));
}

#[test]
fn a_revision_says_where_it_wrote_and_nothing_of_what_came_and_went() {
    let mut world = World::empty();
    let name = domain("one.example");
    let create = Change::CreateDomain(crate::routing::NewDomain::new(name.clone()));
    let rules = crate::routing::RulesOfDeleted::Keep;
    let delete = Change::DeleteDomain { name: name.clone(), rules, etag: None };
    world.make(Change::Batch(vec![create.clone(), delete, create]));
    let found = world.table.history().next().unwrap().images().unwrap();
    assert_eq!(found, [Image::Domain(name, None), Image::Coverage(Coverage::Empty)]);
    let came_and_went = [
        verified("a@dest.example"),
        Change::DeleteDestination {
            address: crate::routing::test_table::address("a@dest.example"),
            etag: None,
        },
    ];
    world.make(Change::Batch(came_and_went.to_vec()));
    let last = world.table.history().next().unwrap();
    assert_eq!(last.images().unwrap(), []);
    assert_eq!(
        last.what,
        "2 changes: destination add a@dest.example verified; destination remove a@dest.example"
    );
}
