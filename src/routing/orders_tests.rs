use std::time::Duration;

use super::*;
use crate::routing::test_table::{World, domain};
use crate::routing::{Change, Coverage, MAX_REASON_CHARS, NewDomain};

fn suspend(name: &str, until: Option<SystemTime>, reason: &str) -> Change {
    Change::Suspend { domain: domain(name), until, reason: reason.to_owned() }
}

fn suspended(world: &mut World, order: Change) -> Arc<Suspension> {
    let Changed::Suspension(suspension) = world.make(order).changed else { panic!() };
    suspension
}

#[test]
fn a_destination_is_suspended_suspended_anew_and_resumed_by_its_etag() {
    let mut world = World::new();
    let end = SystemTime::UNIX_EPOCH + Duration::from_nanos(2_000_000_000_000_000_001);
    let first = suspended(&mut world, suspend("dest.example", Some(end), "it is down"));
    assert_eq!(first.until, Some(wire::to_the_millisecond(end)));
    assert_eq!(
        (first.revision, first.is_over(end - Duration::from_secs(1))),
        (world.table.revision(), false)
    );
    assert!(first.is_over(end));
    assert_eq!(world.table.suspensions_revision(), first.revision);
    let again = world.make(suspend("dest.example", Some(end), "it is down"));
    assert!(again.writes.is_empty());
    let second = suspended(&mut world, suspend("dest.example", None, "it is down"));
    assert!(second.since > first.since && !second.is_over(end));
    assert_eq!(world.table.suspensions().collect::<Vec<_>>(), [&second]);
    let resume = |etag| Change::Resume { domain: domain("dest.example"), etag };
    assert_eq!(world.refused(resume(Some(first.revision))), "ETAG_MISMATCH");
    world.make(resume(Some(second.revision)));
    assert_eq!(world.table.suspension(&domain("dest.example")), None);
    assert_eq!(world.table.suspensions_revision(), world.table.revision());
    assert_eq!(world.refused(resume(None)), "SUSPENSION_NOT_FOUND");
}

#[test]
fn a_suspension_that_cannot_be_is_refused_with_its_reason() {
    let mut world = World::new();
    assert_eq!(world.refused(suspend("dest.example", None, "two\nlines")), "REASON_INVALID");
    let long = "ü".repeat(MAX_REASON_CHARS);
    assert_eq!(world.refused(suspend("dest.example", None, &format!("{long}ü"))), "REASON_INVALID");
    world.make(suspend("dest.example", None, &long));
    let many = (1..MAX_SUSPENSIONS).map(|at| suspend(&format!("d{at}.example"), None, ""));
    world.make(Change::Batch(many.collect()));
    assert_eq!(world.refused(suspend("more.example", None, "")), "TOO_MANY_SUSPENSIONS");
    world.make(suspend("dest.example", None, "anew"));
}

#[test]
fn a_suspension_does_not_make_an_empty_table_one_that_refuses_mail() {
    let mut world = World::empty();
    world.make(suspend("dest.example", None, ""));
    assert_eq!((world.table.coverage(), world.table.revision()), (Coverage::Empty, 1));
    world.make(Change::CreateDomain(NewDomain::new(domain("one.example"))));
    assert_eq!(world.table.coverage(), Coverage::Whole);
}
