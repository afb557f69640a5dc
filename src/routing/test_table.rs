//! Tables for tests, built by the changes that operators make.

use std::time::{Duration, SystemTime};

use ulid::Ulid;

use super::admit::admit;
use super::apply::{Applied, apply};
use super::change::{Change, Ids, NewDomain, NewRule, Stamped};
use super::error::RoutingError;
use super::model::{Matcher, RuleAction};
use super::table::{RoutingOptions, Table};
use crate::mail::{Address, Domain};

pub(super) fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

pub(super) fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

pub(super) fn options() -> RoutingOptions {
    RoutingOptions {
        service_domain: domain("email.relay.example"),
        mx_hosts: vec![domain("linda.mx.relay.example")],
        postmaster: address("ops@relay.example"),
    }
}

/// Forward to these, separated by spaces.
pub(super) fn forward(to: &str) -> RuleAction {
    RuleAction::Forward(to.split_whitespace().map(address).collect())
}

/// A rule for `local@domain` or `*@domain`.
pub(super) fn rule(alias: &str, action: RuleAction) -> NewRule {
    let (local, name) = alias.rsplit_once('@').unwrap();
    let matcher = if local == "*" { Matcher::CatchAll } else { Matcher::Local(local.to_owned()) };
    NewRule::new(domain(name), matcher, action)
}

pub(super) fn verified(to: &str) -> Change {
    Change::CreateDestination { address: address(to), verified: true }
}

/// A table under construction, with a clock and ids of its own.
pub(super) struct World {
    pub(super) table: Table,
    ids: Ids,
    at: SystemTime,
}

impl World {
    /// One.example and two.example, a disabled off.example, and `real@dest.example`, verified.
    pub(super) fn new() -> Self {
        let mut world = Self::empty();
        for name in ["one.example", "two.example"] {
            world.make(Change::CreateDomain(NewDomain::new(domain(name))));
        }
        world.make(Change::CreateDomain(NewDomain {
            enabled: false,
            ..NewDomain::new(domain("off.example"))
        }));
        world.make(verified("real@dest.example"));
        world
    }

    pub(super) fn empty() -> Self {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        Self { table: Table::new(options()), ids: Ids::above(Ulid::nil()), at }
    }

    pub(super) fn try_applied(&mut self, change: Change) -> Result<Applied, RoutingError> {
        self.at += Duration::from_millis(1);
        let first_id = self.ids.take(self.at, change.creations());
        let applied = apply(&self.table, &Stamped { at: self.at, first_id, request_id: None, change })?;
        admit(&applied)?;
        self.table = applied.table.clone();
        Ok(applied)
    }

    /// Sets its clock forward.
    pub(super) fn wait(&mut self, time: Duration) {
        self.at += time;
    }

    /// The reason word if the change is refused.
    pub(super) fn refused(&mut self, change: Change) -> &'static str {
        self.try_applied(change).map(|applied| applied.changed).unwrap_err().reason()
    }

    pub(super) fn make(&mut self, change: Change) -> Applied {
        self.try_applied(change).map_err(|error| error.to_string()).unwrap()
    }

    /// Adds a rule whose destinations are all verified.
    pub(super) fn rule(&mut self, alias: &str, action: RuleAction) -> Ulid {
        for to in action.destinations() {
            if self.table.destination(to).is_none() {
                self.make(verified(&to.to_string()));
            }
        }
        self.add(rule(alias, action))
    }

    pub(super) fn add(&mut self, new: NewRule) -> Ulid {
        let changed = self.make(Change::CreateRule(new)).changed;
        let super::Changed::Rule(rule) = changed else { panic!("{changed:?}") };
        rule.id
    }
}
