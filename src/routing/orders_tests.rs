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
    assert_eq!(first.until, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000)));
    assert_eq!(first.since, SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    assert_eq!(
        (first.revision, first.is_over(end - Duration::from_secs(1))),
        (world.table.revision(), false)
    );
    assert!(first.is_over(end));
    assert_eq!(world.table.suspensions_revision(), first.revision);
    let again = suspended(&mut world, suspend("dest.example", Some(end), "it is down"));
    assert_eq!(again.revision, first.revision + 1);
    world.wait(Duration::from_secs(1));
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
fn those_that_are_over_are_ended_together_and_no_others() {
    let mut world = World::new();
    let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    for (name, until) in [
        ("ever.example", None),
        ("later.example", at(1_700_000_001)),
        ("now.example", at(1_700_000_000)),
        ("over.example", at(1)),
    ] {
        world.make(suspend(name, until, ""));
    }
    assert_eq!(world.make(Change::EndSuspensions).changed, Changed::Removed);
    let names = |world: &World| -> Vec<String> {
        world.table.suspensions().map(|found| found.domain.to_string()).collect()
    };
    assert_eq!(names(&world), ["ever.example", "later.example"]);
    assert_eq!(world.table.suspensions_revision(), world.table.revision());
    let revision = world.table.revision();
    assert!(!world.make(Change::EndSuspensions).is_changed);
    assert_eq!(world.table.revision(), revision);
    world.wait(Duration::from_secs(1));
    world.make(Change::EndSuspensions);
    assert_eq!(names(&world), ["ever.example"]);
    let many = (0..=MAX_SUSPENSIONS_ENDED).map(|number| suspend(&format!("d{number}.example"), at(1), ""));
    world.make(Change::Batch(many.collect()));
    world.make(Change::EndSuspensions);
    assert_eq!(world.table.suspension_count(), 2);
    world.make(Change::EndSuspensions);
    assert_eq!(names(&world), ["ever.example"]);
}

#[test]
fn a_suspension_does_not_make_an_empty_table_one_that_refuses_mail() {
    let mut world = World::empty();
    world.make(suspend("dest.example", None, ""));
    assert_eq!((world.table.coverage(), world.table.revision()), (Coverage::Empty, 1));
    world.make(Change::CreateDomain(NewDomain::new(domain("one.example"))));
    assert_eq!(world.table.coverage(), Coverage::Whole);
}

fn block(network: &str, reason: &str) -> Change {
    Change::Block { network: network.parse().unwrap(), until: None, reason: reason.to_owned() }
}

fn allow(network: &str) -> Change {
    Change::Allow { network: network.parse().unwrap(), until: None, reason: String::new() }
}

#[test]
fn a_network_is_blocked_an_address_in_it_allowed_and_both_taken_back_by_their_etags() {
    let mut world = World::new();
    let access = |world: &World, ip: &str| {
        world.table.listing(ip.parse().unwrap(), SystemTime::UNIX_EPOCH).map(|found| found.access)
    };
    let Changed::Listing(blocked) = world.make(block("192.0.2.0/24", "spam")).changed else { panic!() };
    assert_eq!((blocked.revision, &*blocked.reason), (world.table.revision(), "spam"));
    world.make(allow("192.0.2.7/32"));
    assert_eq!(access(&world, "192.0.2.6"), Some(Access::Blocked));
    assert_eq!(access(&world, "192.0.2.7"), Some(Access::Allowed));
    assert!(!world.make(block("192.0.2.0/24", "spam")).is_changed);
    world.make(allow("192.0.2.0/24"));
    assert_eq!((access(&world, "192.0.2.6"), world.table.listing_count()), (Some(Access::Allowed), 2));
    let unlist = |etag| Change::Unlist { network: blocked.network, etag };
    assert_eq!(world.refused(unlist(Some(blocked.revision))), "ETAG_MISMATCH");
    world.make(unlist(Some(world.table.revision())));
    assert_eq!((access(&world, "192.0.2.6"), access(&world, "192.0.2.7")), (None, Some(Access::Allowed)));
    assert_eq!(world.refused(unlist(None)), "LISTING_NOT_FOUND");
    let network = "192.0.2.1/24".parse().unwrap();
    assert_eq!(world.refused(Change::Unlist { network, etag: None }), "NETWORK_INVALID");
}

#[test]
fn a_listing_that_cannot_be_is_refused_with_its_reason() {
    let mut world = World::empty();
    let error = world.try_applied(block("192.0.2.7/24", "")).err().unwrap();
    assert_eq!(
        (error.reason(), &*error.to_string()),
        ("NETWORK_INVALID", "network 192.0.2.7/24 is written 192.0.2.0/24")
    );
    assert_eq!(world.refused(allow("::ffff:192.0.2.0/120")), "NETWORK_INVALID");
    assert_eq!(world.refused(block("192.0.2.0/24", "two\nlines")), "REASON_INVALID");
    let many = (0..MAX_LISTINGS as u32).map(|at| block(&format!("{}/32", std::net::Ipv4Addr::from(at)), ""));
    world.make(Change::Batch(many.collect()));
    assert_eq!(world.refused(block("192.0.2.0/24", "")), "TOO_MANY_LISTINGS");
    world.make(allow("0.0.0.7/32"));
    assert_eq!(world.table.coverage(), Coverage::Empty);
}

/// Of the time of the tests' worlds, whose changes are a millisecond apart from this one on.
fn after_start(elapsed: Duration) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) + elapsed
}

fn block_until(last_octets: u16, until: SystemTime) -> Change {
    let [third, fourth] = last_octets.to_be_bytes();
    let network = format!("10.0.{third}.{fourth}/32").parse().unwrap();
    Change::Block { network, until: Some(until), reason: String::new() }
}

#[test]
fn listings_that_are_over_go_with_the_next_changes_of_listings_a_hundred_at_a_time() {
    let mut world = World::empty();
    let soon = after_start(Duration::from_millis(2));
    world.make(Change::Batch((0..250).map(|at| block_until(at, soon)).collect()));
    assert_eq!(world.table.listing_count(), 250);
    world.make(suspend("dest.example", None, ""));
    assert_eq!(world.table.listing_count(), 250, "no change of listings");
    world.make(block("192.0.2.0/24", ""));
    assert_eq!(world.table.listing_count(), 151);
    // What is over can be taken back while it is there.
    let last =
        world.table.listings().map(|listing| listing.network).find(|network| network.prefix_len() == 32);
    world.make(Change::Unlist { network: last.unwrap(), etag: None });
    assert_eq!(world.table.listing_count(), 50);
    // Nothing new is said, and what is over goes all the same.
    let again = world.make(block("192.0.2.0/24", ""));
    assert_eq!((world.table.listing_count(), again.is_changed), (1, true));
    assert!(!world.make(block("192.0.2.0/24", "")).is_changed);
}

#[test]
fn listings_that_are_over_do_not_count_against_the_limit() {
    let mut world = World::empty();
    let soon = after_start(Duration::from_millis(2));
    let many = (1..MAX_LISTINGS as u32).map(|at| block(&format!("{}/32", std::net::Ipv4Addr::from(at)), ""));
    world.make(Change::Batch(many.chain([block_until(0, soon)]).collect()));
    world.make(allow("192.0.2.0/24"));
    assert_eq!(world.refused(allow("192.0.3.0/24")), "TOO_MANY_LISTINGS");
}

#[test]
fn a_network_that_is_blocked_anew_has_the_new_end() {
    let mut world = World::empty();
    let (sooner, later) = (after_start(Duration::from_secs(60)), after_start(Duration::from_secs(120)));
    world.make(block_until(7, sooner));
    assert!(!world.make(block_until(7, sooner)).is_changed);
    world.make(block_until(7, later + Duration::from_nanos(1)));
    let ip = "10.0.0.7".parse().unwrap();
    assert_eq!(world.table.listing(ip, sooner).and_then(|listing| listing.until), Some(later));
    assert_eq!(world.table.listing(ip, later), None);
}

fn bar(name: &str) -> Change {
    Change::BarNode { name: name.to_owned() }
}

#[test]
fn a_node_is_barred_once_and_admitted_again() {
    let mut world = World::empty();
    world.make(bar("linda"));
    let revision = world.table.revision();
    world.make(bar("linda"));
    assert_eq!(world.table.revision(), revision);
    assert_eq!(world.table.barred().collect::<Vec<_>>(), ["linda"]);
    let admit = |name: &str| Change::AdmitNode { name: name.to_owned() };
    assert_eq!(world.refused(admit("amir")), "NODE_NOT_REMOVED");
    world.make(admit("linda"));
    assert!(!world.table.is_barred("linda"));
    world.make(bar("linda"));
    assert_eq!(world.table.clone().for_another_cluster().barred().count(), 0);
}

#[test]
fn one_node_too_many_is_not_barred() {
    let mut world = World::new();
    (0..MAX_BARRED).for_each(|at| drop(world.make(bar(&format!("n{at}")))));
    assert_eq!(world.refused(bar("more")), "TOO_MANY_REMOVED_NODES");
    world.make(bar("n0"));
}

#[test]
fn only_a_table_that_was_never_told_anything_can_be_said_to_be_lost() {
    let mut world = World::new();
    world.make(Change::DeclareLost);
    assert_eq!(world.table.coverage(), Coverage::Whole);
    let mut world = World::empty();
    world.make(bar("linda"));
    // Who may be a member says nothing of what there is to route.
    assert_eq!(world.table.coverage(), Coverage::Empty);
    world.make(Change::DeclareLost);
    world.make(Change::CreateDomain(NewDomain::new(domain("another.example"))));
    assert_eq!(world.table.coverage(), Coverage::Lost);
    world.make(Change::DeclareWhole);
    assert_eq!(world.table.coverage(), Coverage::Whole);
}
