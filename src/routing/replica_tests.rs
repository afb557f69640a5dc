use std::time::{Duration, SystemTime};

use ulid::Ulid;

use super::*;
use crate::routing::test_table::{domain, options};
use crate::routing::{Change, NewDomain};

fn stamped(at: u64, change: Change) -> Stamped {
    Stamped {
        at: SystemTime::UNIX_EPOCH + Duration::from_secs(at),
        first_id: Ulid(u128::from(at)),
        request_id: None,
        author: None,
        change,
    }
}

fn suspend(name: &str) -> Change {
    Change::Suspend { domain: domain(name), until: None, reason: String::new() }
}

#[test]
fn readers_see_what_was_published_and_no_more() {
    let mut replica = Replica::new(options());
    let view = replica.view().clone();
    let create = stamped(1, Change::CreateDomain(NewDomain::new(domain("one.example"))));
    replica.apply(&create).unwrap();
    assert_eq!((replica.table().domain_count(), view.snapshot().domain_count()), (1, 0));
    assert_eq!(replica.apply(&create).unwrap_err().reason(), "DOMAIN_EXISTS");
    replica.publish();
    assert_eq!(view.snapshot().digest(), replica.table().digest());
    let mut draft = replica.clone();
    draft.apply(&stamped(2, Change::CreateDomain(NewDomain::new(domain("two.example"))))).unwrap();
    assert_eq!((replica.table().domain_count(), view.snapshot().domain_count()), (1, 1));
    draft.publish();
    assert_eq!(view.snapshot().domain_count(), 2);
}

#[test]
fn who_watches_suspensions_hears_of_those_of_a_change_and_of_a_snapshot_once_they_are_shown() {
    let mut replica = Replica::new(options());
    let mut changes = replica.view().suspension_changes();
    let mut heard = move || changes.has_changed().unwrap().then(|| *changes.borrow_and_update());
    replica.apply(&stamped(1, suspend("a.example"))).unwrap();
    assert_eq!(heard(), None);
    replica.publish();
    assert_eq!(heard(), Some(1));
    replica.apply(&stamped(2, Change::CreateDomain(NewDomain::new(domain("one.example"))))).unwrap();
    replica.publish();
    assert_eq!(heard(), None);
    let mut later = replica.clone();
    later.apply(&stamped(3, suspend("b.example"))).unwrap();
    replica.replace(later.table().clone());
    assert_eq!(heard(), None);
    replica.publish();
    assert_eq!((heard(), replica.view().snapshot().suspension_count()), (Some(3), 2));
}
