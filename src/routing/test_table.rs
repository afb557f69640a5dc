//! Tables for tests, built by the changes that operators make.

use std::time::{Duration, SystemTime};

use ulid::Ulid;

use super::Routing;
use super::admit::admit;
use super::apply::{Applied, apply};
use super::change::{Change, Ids, NewDomain, NewRule, Stamped};
use super::draft::Draft;
use super::error::RoutingError;
use super::model::{Matcher, RuleAction};
use super::replica::Replica;
use super::table::{RoutingOptions, Table};
use super::waiting::Order;
use crate::mail::{Address, Domain};
use crate::store::{Batch, Store};

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

/// A table in memory alone. Its orders are carried out, as those of a node are, on the runtime of whoever calls this.
pub(crate) fn in_memory(options: RoutingOptions) -> Routing {
    let mut replica = Replica::new(options);
    let mut draft = Draft::new(replica.table());
    let (routing, mut orders) = Routing::agreed(replica.view().clone());
    tokio::spawn(async move {
        loop {
            let taken = orders.take(1).await;
            if taken.is_empty() {
                return;
            }
            for Order { change, request_id, author, answer, .. } in taken {
                draft.restart(replica.table());
                let changed =
                    draft.attempt(change, request_id, author).and_then(|stamped| replica.apply(&stamped));
                replica.publish();
                answer.give(changed);
            }
        }
    });
    routing
}

/// Puts a table into the store as version 0.1 left it, at revision 4: one.example with the rule sales, which forwards, and
/// dest.example suspended.
pub(crate) fn write_earlier(store: &Store) {
    let record = |key: &str, value: &str| {
        let mut batch = Batch::default();
        batch.insert(key, value);
        batch
    };
    let routing = [
        record("state", r#"{"format":1,"revision":4,"domains":1,"rules":1,"destinations":1}"#),
        record(
            "d/one.example",
            r#"{"id":"01HF7YAT00000000000000000A","name":"one.example","enabled":true,"on_tempfail":null,
                "subaddressing":true,"created_at":1700000000000,"updated_at":1700000000000,"revision":1}"#,
        ),
        record(
            "r/01HF7YAT00000000000000000B",
            r#"{"id":"01HF7YAT00000000000000000B","domain":"one.example","matcher":{"Local":"sales"},
                "action":{"Forward":["sales@dest.example"]},"priority":0,"label":"","enabled":true,
                "created_at":1700000000000,"updated_at":1700000000000,"revision":2}"#,
        ),
        record(
            "a/sales@dest.example",
            r#"{"id":"01HF7YAT00000000000000000C","address":"sales@dest.example","verified_at":1700000000000,
                "created_at":1700000000000,"revision":3}"#,
        ),
    ];
    for batch in routing {
        store.tree("routing").unwrap().apply_batch(batch).unwrap();
    }
    let suspension = record("dest.example", r#"{"since":1700000000,"until":null,"reason":"it is down"}"#);
    store.tree("suspensions").unwrap().apply_batch(suspension).unwrap();
    store.flush_durably().unwrap();
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
        let applied =
            apply(&self.table, &Stamped { at: self.at, first_id, request_id: None, author: None, change })?;
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
