//! Agreed state for tests: changes as a leader would stamp them, and a table with a resource of every kind.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use openraft::CommittedLeaderId;
use ulid::Ulid;

use super::founding::NodeId;
use super::network::Report;
use super::proposal::Part;
use super::staging::Staging;
use super::status::Shown;
use super::types::{LogId, Member, Membership, SnapshotMeta, StoredMembership};
use crate::connections::Drain;
use crate::mail::{Address, Domain};
use crate::routing::{
    Change, Matcher, NewDomain, NewRule, Replica, RequestId, RoutingOptions, RuleAction, Stamped,
};

pub(super) fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

pub(super) fn options() -> RoutingOptions {
    RoutingOptions {
        service_domain: domain("email.relay.example"),
        mx_hosts: vec![domain("linda.mx.relay.example")],
        postmaster: Address::parse("ops@relay.example").unwrap(),
    }
}

/// The change that a leader stamps as its `number`th.
pub(super) fn stamped(number: u32, change: Change) -> Stamped {
    let at =
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) + Duration::from_millis(number.into());
    Stamped { at, first_id: Ulid(u128::from(number) << 32), request_id: None, author: None, change }
}

pub(super) fn create_domain(name: &str) -> Change {
    Change::CreateDomain(NewDomain::new(domain(name)))
}

/// In one.example: forwards to `name@dest.example`.
pub(super) fn create_rule(name: &str) -> Change {
    let to = RuleAction::Forward(vec![Address::parse(&format!("{name}@dest.example")).unwrap()]);
    Change::CreateRule(NewRule::new(domain("one.example"), Matcher::Local(name.to_owned()), to))
}

pub(super) fn suspend(name: &str) -> Change {
    Change::Suspend { domain: domain(name), until: None, reason: "it is down".to_owned() }
}

/// A change of every kind that leaves something.
pub(super) fn changes() -> Vec<Stamped> {
    let until = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000));
    let reject = RuleAction::Reject("Nobody is here".to_owned());
    let changes = [
        create_domain("one.example"),
        Change::CreateDomain(NewDomain { enabled: false, ..NewDomain::new(domain("off.example")) }),
        create_rule("sales"),
        Change::CreateRule(NewRule::new(domain("one.example"), Matcher::CatchAll, reject)),
        suspend("dest.example"),
        Change::Suspend { domain: domain("later.example"), until, reason: String::new() },
        Change::Block { network: "192.0.2.0/24".parse().unwrap(), until, reason: "spam".to_owned() },
        Change::Allow { network: "2001:db8::/32".parse().unwrap(), until: None, reason: String::new() },
    ];
    (1..).zip(changes).map(|(number, change)| stamped(number, change)).collect()
}

/// What [`changes`] come to.
pub(super) fn replica() -> Replica {
    let mut replica = Replica::new(options());
    for change in changes() {
        replica.apply(&change).unwrap();
    }
    replica
}

pub(super) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(term, NodeId(7)), index)
}

/// Two voters of old, two of new, and one who learns.
pub(super) fn membership() -> Membership {
    let voters = [[7, 8], [8, 9]].map(|ids| ids.map(NodeId).into());
    let names = [(7, "linda"), (8, "amir"), (9, "isaac"), (10, "route1")];
    let members: BTreeMap<NodeId, Member> =
        names.map(|(id, name)| (NodeId(id), Member { name: name.to_owned() })).into();
    Membership::new(voters.to_vec(), members)
}

pub(super) fn meta(index: u64) -> SnapshotMeta {
    SnapshotMeta {
        last_log_id: Some(log_id(3, index)),
        last_membership: StoredMembership::new(Some(log_id(2, 1)), membership()),
        snapshot_id: format!("snapshot of {index}"),
    }
}

/// Two parts of a change.
pub(super) fn staging() -> Staging {
    let mut staging = Staging::default();
    let request_id = RequestId::parse("large").unwrap();
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    for (offset, octets) in [(0, "part"), (4, "s")] {
        let octets = Bytes::from_static(octets.as_bytes());
        staging.add(Part { request_id: request_id.clone(), at, offset, octets }).unwrap();
    }
    staging
}

/// What a node shows that has nothing to show.
pub(super) fn shown() -> Shown {
    Shown { report: Box::new(Report::default), drain: Drain::default() }
}
