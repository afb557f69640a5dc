//! The table on disk: trees of the store, one record a resource, JSON.
//!
//! ```text
//! tree routing
//!   state         {"format":1,"revision":R,"domains":N,"rules":N,"destinations":N,"greatest_id":ULID}, and "lost":true
//!                 while it is
//!   d/NAME        a DomainEntry
//!   r/ULID        a Rule
//!   a/ADDRESS     a Destination, the address in lower case
//! tree suspensions
//!   DOMAIN        {"since":SECONDS,"until":SECONDS or null,"reason":TEXT}, of a Suspension, in seconds since 1970
//! tree listings
//!   NETWORK       a Listing
//! ```
//!
//! A change is one batch in each tree that it writes to, that of `routing` last and with `state`. A crash may leave the
//! first without the last, of a change that was not answered: they say nothing of each other.
//!
//! The counts in `state` tell when records of `routing` have gone: the store may lose some to damage without a word, and a
//! table with holes would refuse mail for good. For the same reason a table that is gone as a whole is not taken for an
//! empty one, see [`Coverage`]; while it is [`Coverage::Empty`] there is no `state`. Without a suspension or a listing
//! mail still goes: they are not counted, and one that cannot be read is skipped. Their revisions are not kept: at an
//! opening each has the table's.
//!
//! Version 0.1 reads and writes `suspensions` and `routing` in just this form but for `greatest_id`, which it skips and
//! leaves out, and knows no `listings`: either version goes on where the other has stopped.

use std::time::SystemTime;

use ipnet::IpNet;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::error::RoutingError;
use super::model::{Destination, DomainEntry, Listing, Matcher, Rule, Suspension};
use super::table::{Coverage, RoutingOptions, Table};
use super::wire;
use crate::mail::{Address, Domain};
use crate::store::{Batch, Store, StoreError, Tree};

/// The format that is written; others are refused.
const FORMAT: u32 = 1;
const STATE: &[u8] = b"state";

#[derive(Debug, Serialize, Deserialize)]
struct State {
    format: u32,
    revision: u64,
    domains: usize,
    rules: usize,
    destinations: usize,
    /// See [`Table::greatest_id`]; earlier versions did not write it.
    #[serde(default = "Ulid::nil")]
    greatest_id: Ulid,
    /// See [`Coverage::Lost`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    lost: bool,
}

impl State {
    fn of(table: &Table) -> Self {
        Self {
            format: FORMAT,
            revision: table.revision(),
            domains: table.domain_count(),
            rules: table.rules_count(),
            destinations: table.destination_count(),
            greatest_id: table.greatest_id(),
            lost: table.coverage() == Coverage::Lost,
        }
    }
}

/// A suspension as it is written; the key is its domain.
#[derive(Debug, Serialize, Deserialize)]
struct Suspended {
    since: u64,
    until: Option<u64>,
    reason: String,
}

/// What a change writes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Writes {
    routing: Batch,
    suspensions: Batch,
    listings: Batch,
}

impl Writes {
    /// Puts `state`, unless the table is empty: there is none then.
    pub(super) fn put_state(&mut self, table: &Table) -> Result<(), RoutingError> {
        if table.coverage() == Coverage::Empty {
            return Ok(());
        }
        self.routing.insert(STATE, json(&State::of(table))?);
        Ok(())
    }

    pub(super) fn put_domain(&mut self, entry: &DomainEntry) -> Result<(), RoutingError> {
        self.routing.insert(domain_key(&entry.name), json(entry)?);
        Ok(())
    }

    pub(super) fn put_rule(&mut self, rule: &Rule) -> Result<(), RoutingError> {
        self.routing.insert(rule_key(&rule.id), json(rule)?);
        Ok(())
    }

    pub(super) fn put_destination(&mut self, entry: &Destination) -> Result<(), RoutingError> {
        self.routing.insert(destination_key(&entry.address), json(entry)?);
        Ok(())
    }

    pub(super) fn put_suspension(&mut self, entry: &Suspension) -> Result<(), RoutingError> {
        let suspended = Suspended {
            since: seconds(entry.since),
            until: entry.until.map(seconds),
            reason: entry.reason.clone(),
        };
        self.suspensions.insert(entry.domain.as_str(), json(&suspended)?);
        Ok(())
    }

    pub(super) fn put_listing(&mut self, entry: &Listing) -> Result<(), RoutingError> {
        self.listings.insert(entry.network.to_string(), json(entry)?);
        Ok(())
    }

    pub(super) fn remove_domain(&mut self, name: &Domain) {
        self.routing.remove(domain_key(name));
    }

    pub(super) fn remove_rule(&mut self, id: &Ulid) {
        self.routing.remove(rule_key(id));
    }

    pub(super) fn remove_destination(&mut self, address: &Address) {
        self.routing.remove(destination_key(address));
    }

    pub(super) fn remove_suspension(&mut self, domain: &Domain) {
        self.suspensions.remove(domain.as_str());
    }

    pub(super) fn remove_listing(&mut self, network: &IpNet) {
        self.listings.remove(network.to_string());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.routing.is_empty() && self.suspensions.is_empty() && self.listings.is_empty()
    }

    /// Puts another change's writes behind these.
    pub(super) fn append(&mut self, other: Self) {
        self.routing.append(other.routing);
        self.suspensions.append(other.suspensions);
        self.listings.append(other.listings);
    }
}

fn json(record: &impl Serialize) -> Result<Vec<u8>, RoutingError> {
    serde_json::to_vec(record).map_err(|cause| RoutingError::NoForm(cause.to_string()))
}

fn seconds(time: SystemTime) -> u64 {
    wire::to_millis(time) / 1000
}

fn domain_key(name: &Domain) -> Vec<u8> {
    format!("d/{name}").into_bytes()
}

fn rule_key(id: &Ulid) -> Vec<u8> {
    format!("r/{id}").into_bytes()
}

fn destination_key(address: &Address) -> Vec<u8> {
    format!("a/{}", address.folded()).into_bytes()
}

/// The trees that are ours.
pub(super) struct Trees {
    routing: Tree,
    suspensions: Tree,
    listings: Tree,
}

impl Trees {
    /// # Errors
    /// When the disk fails.
    pub(super) fn open(store: &Store) -> Result<Self, StoreError> {
        Ok(Self {
            routing: store.tree("routing")?,
            suspensions: store.tree("suspensions")?,
            listings: store.tree("listings")?,
        })
    }

    /// Writes what changes have left to be written; it is durable after the next flush.
    ///
    /// # Errors
    /// When the disk fails, or failed earlier.
    pub(super) fn write(&self, writes: Writes) -> Result<(), StoreError> {
        let Writes { routing, suspensions, listings } = writes;
        for (tree, batch) in
            [(&self.suspensions, suspensions), (&self.listings, listings), (&self.routing, routing)]
        {
            if !batch.is_empty() {
                tree.apply_batch(batch)?;
            }
        }
        Ok(())
    }

    /// Reads the table. An empty tree `routing` is an empty table, of the coverage that the caller knows.
    ///
    /// # Errors
    /// When the disk fails, or a record of `routing` cannot be read or is missing.
    pub(super) fn load(&self, options: RoutingOptions, empty: Coverage) -> Result<Table, RoutingError> {
        let mut table = load_routes(&self.routing, options, empty)?;
        let revision = table.revision();
        for pair in self.suspensions.scan(b"") {
            let (name, value) = pair?;
            match read_suspension(&name, &value, revision) {
                Some(entry) => table.put_suspension(entry.into()),
                None => {
                    let domain = String::from_utf8_lossy(&name);
                    tracing::error!(%domain, "a suspension cannot be read and is ignored");
                }
            }
        }
        for pair in self.listings.scan(b"") {
            let (network, value) = pair?;
            match serde_json::from_slice::<Listing>(&value) {
                Ok(entry) => table.put_listing(Listing { revision, ..entry }.into()),
                Err(cause) => {
                    let network = String::from_utf8_lossy(&network);
                    tracing::error!(%network, %cause, "a listing cannot be read and is ignored");
                }
            }
        }
        Ok(table)
    }
}

fn read_suspension(name: &[u8], value: &[u8], revision: u64) -> Option<Suspension> {
    let domain = Domain::parse(std::str::from_utf8(name).ok()?).ok()?;
    let Suspended { since, until, reason } = serde_json::from_slice(value).ok()?;
    let time = |seconds: u64| wire::from_millis(seconds.checked_mul(1000)?);
    let until = match until {
        Some(until) => Some(time(until)?),
        None => None,
    };
    Some(Suspension { domain, since: time(since)?, until, reason, revision })
}

/// Reads what stands in the tree `routing`.
fn load_routes(tree: &Tree, options: RoutingOptions, empty: Coverage) -> Result<Table, RoutingError> {
    let mut table = Table::new(options);
    let Some(state) = tree.get(STATE)? else {
        table.set_coverage(empty);
        return match tree.scan(b"").next() {
            None => Ok(table),
            Some(_) => Err(RoutingError::Damaged("there are records, and no state".to_owned())),
        };
    };
    let state: State = parse(STATE, &state)?;
    if state.format != FORMAT {
        let detail = format!("its format is {}, this version reads {FORMAT}", state.format);
        return Err(RoutingError::Damaged(detail));
    }
    each(tree, b"a/", |entry: Destination| table.put_destination(entry.into()))?;
    each(tree, b"d/", |entry: DomainEntry| table.put_domain(entry.into()))?;
    each(tree, b"r/", |mut rule: Rule| {
        // One name for all rules of a domain, not a copy each.
        if let Some(domain) = table.domain(&rule.domain) {
            rule.domain = domain.name.clone();
        }
        // Earlier versions kept it as it was composed.
        if let Matcher::Local(local) = &rule.matcher
            && let Ok(alias) = Address::from_parts(local, rule.domain.clone())
        {
            rule.matcher = Matcher::Local(alias.lookup_form().local().to_owned());
        }
        table.put_rule(rule.into());
    })?;
    table.set_revision(state.revision);
    table.set_coverage(if state.lost { Coverage::Lost } else { Coverage::Whole });
    table.raise_greatest_id(state.greatest_id);
    check_counts(&state, &State::of(&table))?;
    Ok(table)
}

fn check_counts(said: &State, found: &State) -> Result<(), RoutingError> {
    for (what, said, found) in [
        ("domains", said.domains, found.domains),
        ("rules", said.rules, found.rules),
        ("destinations", said.destinations, found.destinations),
    ] {
        if said != found {
            return Err(RoutingError::Damaged(format!("it should hold {said} {what}, and holds {found}")));
        }
    }
    Ok(())
}

fn each<T: DeserializeOwned>(
    tree: &Tree,
    prefix: &[u8],
    mut take: impl FnMut(T),
) -> Result<(), RoutingError> {
    for pair in tree.scan(prefix) {
        let (key, value) = pair?;
        take(parse(&key, &value)?);
    }
    Ok(())
}

fn parse<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> Result<T, RoutingError> {
    serde_json::from_slice(value).map_err(|cause| {
        RoutingError::Damaged(format!("record {} cannot be read: {cause}", String::from_utf8_lossy(key)))
    })
}

#[cfg(test)]
#[path = "persist_tests.rs"]
mod tests;
