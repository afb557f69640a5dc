use std::time::{Duration, SystemTime};

use ulid::Ulid;

use super::*;
use crate::routing::apply::apply;
use crate::routing::test_table::{World, address, domain, forward, options, rule};
use crate::routing::{Change, Decoded, DomainPatch, NewDomain, Rebuilt, Stamped, Table};

const START: SystemTime = SystemTime::UNIX_EPOCH;
const HOUR: Duration = REQUEST_REMEMBERED;
const MOMENT: Duration = Duration::from_millis(1);

fn id(text: &str) -> RequestId {
    RequestId::parse(text).unwrap()
}

/// What a request does to a table, so long after the start.
fn request(table: &mut Table, after: Duration, of: &str, change: Change) -> Result<Changed, RoutingError> {
    let first_id = Ulid(table.greatest_id().0 + 1);
    let stamped = Stamped { at: START + after, first_id, request_id: Some(id(of)), author: None, change };
    let applied = apply(table, &stamped)?;
    *table = applied.table;
    Ok(applied.changed)
}

fn create(name: &str) -> Change {
    Change::CreateDomain(NewDomain::new(domain(name)))
}

fn enable(enabled: bool) -> Change {
    let patch = DomainPatch { enabled: Some(enabled), ..DomainPatch::default() };
    Change::UpdateDomain { name: domain("one.example"), patch, etag: None }
}

fn enabled(table: &Table) -> bool {
    table.domain(&domain("one.example")).unwrap().enabled
}

fn rebuilt(table: &Table) -> Table {
    let mut rebuilt = Rebuilt::new(options());
    table.records().for_each(|record| rebuilt.add(Decoded::of(&record).unwrap()).unwrap());
    rebuilt.finish().unwrap()
}

#[test]
fn a_repeat_is_answered_as_the_first_and_changes_nothing() {
    let mut table = World::empty().table;
    let first = request(&mut table, HOUR, "a", create("one.example")).unwrap();
    request(&mut table, HOUR, "b", enable(false)).unwrap();
    let before = table.digest();
    assert_eq!(request(&mut table, HOUR * 2 - MOMENT, "a", create("one.example")).unwrap(), first);
    let reused = request(&mut table, HOUR, "a", enable(true)).unwrap_err();
    assert_eq!(reused.reason(), "REQUEST_ID_REUSED");
    // The clock of another leader may be behind.
    assert_eq!(request(&mut table, MOMENT, "a", create("one.example")).unwrap(), first);
    assert_eq!(table.digest(), before);
}

#[test]
fn after_an_hour_a_request_is_carried_out_again_and_remembered_anew() {
    let mut table = World::empty().table;
    request(&mut table, MOMENT, "a", create("one.example")).unwrap();
    request(&mut table, HOUR, "b", enable(false)).unwrap();
    let again = request(&mut table, HOUR + MOMENT, "a", create("one.example")).unwrap_err();
    assert_eq!(again.reason(), "DOMAIN_EXISTS");
    assert_eq!(table.request_count(), 2, "what is refused is not the time to forget");
    request(&mut table, HOUR + MOMENT, "a", enable(true)).unwrap();
    assert_eq!((table.request_count(), enabled(&table)), (2, true));
    let repeated = request(&mut table, HOUR * 2, "a", enable(true)).unwrap();
    assert!(matches!(repeated, Changed::Domain(entry) if entry.enabled) && enabled(&table));
    let left = |at| table.left_by(&id("b"), &enable(false), at).unwrap();
    assert!(left(START + HOUR * 2 - MOMENT).is_some());
    assert!(left(START + HOUR * 2).is_none());
    request(&mut table, HOUR * 2, "c", enable(true)).unwrap();
    assert_eq!(table.request_count(), 2);
}

#[test]
fn what_was_refused_may_be_tried_again() {
    let mut table = World::empty().table;
    assert_eq!(request(&mut table, MOMENT, "a", enable(true)).unwrap_err().reason(), "DOMAIN_NOT_FOUND");
    assert_eq!((table.request_count(), table.revision()), (0, 0));
    request(&mut table, MOMENT, "b", create("one.example")).unwrap();
    request(&mut table, MOMENT, "a", enable(false)).unwrap();
    assert!(!enabled(&table));
}

/// Two nodes at one revision compare their tables: to remember it would be a revision, in a history of changes.
#[test]
fn a_request_that_changed_nothing_is_not_remembered() {
    let mut table = World::empty().table;
    request(&mut table, MOMENT, "a", create("one.example")).unwrap();
    let before = (table.revision(), table.digest());
    request(&mut table, MOMENT, "b", enable(true)).unwrap();
    assert_eq!((table.revision(), table.digest()), before);
    request(&mut table, MOMENT, "b", enable(false)).unwrap();
    assert!(!enabled(&table));
}

#[test]
fn a_request_is_known_by_what_was_asked_where_that_is_told() {
    let mut table = World::empty().table;
    let mut of = |id: RequestId, change| {
        let first_id = Ulid(table.greatest_id().0 + 1);
        let stamped = Stamped { at: START, first_id, request_id: Some(id), author: None, change };
        let stamped = Stamped::decode(&stamped.encode().unwrap()).unwrap();
        let applied = apply(&table, &stamped)?;
        table = rebuilt(&applied.table);
        Ok::<_, RoutingError>(applied.changed)
    };
    let first = of(id("a").of(b"asked"), create("one.example")).unwrap();
    assert_eq!(of(id("a").of(b"asked"), create("two.example")).unwrap(), first);
    for other in [id("a").of(b"other"), id("a")] {
        assert_eq!(of(other, create("one.example")).unwrap_err().reason(), "REQUEST_ID_REUSED");
    }
    let left = |id: RequestId| table.left_by_asked(&id, START).map(|left| left.cloned());
    assert_eq!(left(id("a").of(b"asked")).unwrap(), Some(first));
    assert_eq!(left(id("b").of(b"asked")).unwrap(), None);
    assert_eq!(left(id("a")).unwrap(), None, "it is not told what was asked");
    assert_eq!(left(id("a").of(b"other")).unwrap_err().reason(), "REQUEST_ID_REUSED");
    assert_eq!((table.domain_count(), table.revision()), (1, 1));
}

#[test]
fn each_step_of_a_request_has_an_id_of_its_own_that_fits() {
    assert_eq!(id("a").step(2).as_str(), "a/2");
    let long = id(&"x".repeat(62));
    assert_eq!(long.step(9).as_str().len(), MAX_REQUEST_ID_OCTETS);
    let steps = [long.step(10), long.step(11), id(&"y".repeat(62)).step(10)];
    for (number, step) in steps.iter().enumerate() {
        assert_eq!(&id(step.as_str()), step);
        assert!(!steps[..number].contains(step));
    }
}

#[test]
fn the_oldest_of_too_many_are_forgotten() {
    let mut table = World::empty().table;
    let listing = |number: &str| Change::Block {
        network: "192.0.2.0/24".parse().unwrap(),
        until: None,
        reason: number.to_owned(),
    };
    for number in 0..u32::try_from(MAX_REQUESTS).unwrap() + 2 {
        let name = number.to_string();
        request(&mut table, MOMENT * number, &name, listing(&name)).unwrap();
    }
    assert_eq!(table.request_count(), MAX_REQUESTS);
    let known =
        |number: &str| table.left_by(&id(number), &listing(number), START + HOUR / 2).unwrap().is_some();
    assert_eq!([known("0"), known("1"), known("2"), known("10001")], [false, false, true, true]);
}

#[test]
fn requests_come_back_from_their_records_whatever_they_left_behind() {
    let mut table = World::empty().table;
    let network = "192.0.2.0/24".parse().unwrap();
    let until = Some(START + HOUR);
    let rules =
        (0..3).map(|number| Change::CreateRule(rule(&format!("{number}@one.example"), forward("b@c.d"))));
    let changes = [
        create("one.example"),
        Change::CreateRule(rule("info@one.example", forward("a@dest.example"))),
        Change::CreateDestination { address: address("b@dest.example"), verified: true },
        Change::Suspend { domain: domain("dest.example"), until, reason: "down".to_owned() },
        Change::Block { network, until, reason: "spam".to_owned() },
        Change::Unlist { network, etag: None },
        Change::BarNode { name: "linda".to_owned() },
        Change::Batch(rules.collect()),
    ];
    let mut left = Vec::new();
    for (number, change) in (0..).zip(&changes) {
        // Each older than the one before.
        let at = HOUR * 4 - HOUR * number / 2;
        left.push(request(&mut table, at, &format!("r{number}"), change.clone()).unwrap());
    }
    let again = rebuilt(&table);
    assert!(again.records().eq(table.records()) && again.digest() == table.digest());
    assert_eq!(again.request_count(), changes.len());
    let left_by = |number: usize| again.left_by(&id(&format!("r{number}")), &changes[number], START).unwrap();
    for (number, left) in left.iter().enumerate().take(7) {
        assert_eq!(left_by(number), Some(left));
    }
    assert_eq!(left_by(7), Some(&Changed::Batch(Vec::new())));
    let most = table.records().filter(|record| record.len() > crate::routing::MAX_RECORD_OCTETS).count();
    assert_eq!(most, 0);
}

#[test]
fn an_id_is_printable_and_short() {
    for fits in ["a", "with a space", "~", &"x".repeat(64)] {
        assert_eq!(RequestId::parse(fits).unwrap().as_str(), fits);
    }
    for not in ["", "é", "tab\t", "\u{7f}", &"x".repeat(65)] {
        assert_eq!(RequestId::parse(not).unwrap_err().reason(), "REQUEST_ID_INVALID");
    }
    assert_ne!(RequestId::draw(), RequestId::draw());
    assert_eq!(RequestId::parse(RequestId::draw().as_str()).unwrap().as_str().len(), 32);
}
