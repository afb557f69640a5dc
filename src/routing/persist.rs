//! The table on disk: tree `routing` of the store, one record a resource, JSON.
//!
//! ```text
//! state           {"format":1,"revision":R,"domains":N,"rules":N,"destinations":N,"greatest_id":ULID,
//!                  "suspensions":N,"listings":N}, and "lost":true while it is not whole, "empty":true before it is
//!                  anything
//! d/NAME          a DomainEntry
//! r/ULID          a Rule
//! a/ADDRESS       a Destination, the address in lower case
//! s/DOMAIN        a Suspension
//! n/NETWORK       a Listing
//! ```
//!
//! A change is one batch that holds `state` too. The counts tell when records have gone: the store may lose
//! some to damage without a word, and a table with holes would refuse mail for good. For the same reason a table
//! that is gone as a whole is not taken for an empty one: see [`Coverage`].
//!
//! The format stays 1 for what was added to it, since earlier versions skip it: they neither read nor write records that
//! they do not know, and they write a `state` without the counts of these, which are then not checked. A `state`
//! without `suspensions` is also how [`super::old_suspensions`] tells that their take-over is still to be done. Earlier
//! versions take an empty table for a lost one, and so refuse no mail for want of a domain.

use ipnet::IpNet;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::error::RoutingError;
use super::model::{Destination, DomainEntry, Listing, Matcher, Rule, Suspension};
use super::table::{Coverage, RoutingOptions, Table};
use crate::mail::{Address, Domain};
use crate::store::{Batch, Tree};

/// The tree that is ours.
pub(super) const TREE: &str = "routing";
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
    /// Earlier versions did not write it.
    suspensions: Option<usize>,
    /// Earlier versions did not write it.
    listings: Option<usize>,
    /// See [`Coverage::Lost`], and [`Coverage::Empty`] with the next.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    lost: bool,
    /// See [`Coverage::Empty`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    empty: bool,
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
            suspensions: Some(table.suspension_count()),
            listings: Some(table.listing_count()),
            lost: table.coverage() != Coverage::Whole,
            empty: table.coverage() == Coverage::Empty,
        }
    }
}

/// What a change writes.
#[derive(Debug, Default)]
pub(super) struct Writes {
    batch: Batch,
}

impl Writes {
    pub(super) fn put_state(&mut self, table: &Table) -> Result<(), RoutingError> {
        self.put(STATE.to_vec(), &State::of(table))
    }

    pub(super) fn put_domain(&mut self, entry: &DomainEntry) -> Result<(), RoutingError> {
        self.put(domain_key(&entry.name), entry)
    }

    pub(super) fn put_rule(&mut self, rule: &Rule) -> Result<(), RoutingError> {
        self.put(rule_key(&rule.id), rule)
    }

    pub(super) fn put_destination(&mut self, entry: &Destination) -> Result<(), RoutingError> {
        self.put(destination_key(&entry.address), entry)
    }

    pub(super) fn put_suspension(&mut self, entry: &Suspension) -> Result<(), RoutingError> {
        self.put(suspension_key(&entry.domain), entry)
    }

    pub(super) fn put_listing(&mut self, entry: &Listing) -> Result<(), RoutingError> {
        self.put(listing_key(&entry.network), entry)
    }

    pub(super) fn remove_domain(&mut self, name: &Domain) {
        self.batch.remove(domain_key(name));
    }

    pub(super) fn remove_rule(&mut self, id: &Ulid) {
        self.batch.remove(rule_key(id));
    }

    pub(super) fn remove_destination(&mut self, address: &Address) {
        self.batch.remove(destination_key(address));
    }

    pub(super) fn remove_suspension(&mut self, domain: &Domain) {
        self.batch.remove(suspension_key(domain));
    }

    pub(super) fn remove_listing(&mut self, network: &IpNet) {
        self.batch.remove(listing_key(network));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    pub(super) fn into_batch(self) -> Batch {
        self.batch
    }

    fn put(&mut self, key: Vec<u8>, record: &impl Serialize) -> Result<(), RoutingError> {
        let record = serde_json::to_vec(record).map_err(|cause| RoutingError::NoForm(cause.to_string()))?;
        self.batch.insert(key, record);
        Ok(())
    }
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

fn suspension_key(domain: &Domain) -> Vec<u8> {
    format!("s/{domain}").into_bytes()
}

fn listing_key(network: &IpNet) -> Vec<u8> {
    format!("n/{network}").into_bytes()
}

/// Whether the table on disk is of a version that kept suspensions in it.
pub(super) fn keeps_suspensions(tree: &Tree) -> Result<bool, RoutingError> {
    let Some(state) = tree.get(STATE)? else { return Ok(false) };
    parse(STATE, &state).map(|state: State| state.suspensions.is_some())
}

/// Reads the table. An empty tree is an empty table, of the coverage that the caller knows.
///
/// # Errors
/// When the disk fails, a record cannot be read, or records are missing.
pub(super) fn load(tree: &Tree, options: RoutingOptions, empty: Coverage) -> Result<Table, RoutingError> {
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
    each(tree, b"s/", |entry: Suspension| table.put_suspension(entry.into()))?;
    each(tree, b"n/", |entry: Listing| table.put_listing(entry.into()))?;
    table.set_revision(state.revision);
    table.set_coverage(match () {
        () if state.empty => Coverage::Empty,
        () if state.lost => Coverage::Lost,
        () => Coverage::Whole,
    });
    table.raise_greatest_id(state.greatest_id);
    check_counts(&state, &State::of(&table))?;
    Ok(table)
}

fn check_counts(said: &State, found: &State) -> Result<(), RoutingError> {
    for (what, said, found) in [
        ("domains", Some(said.domains), Some(found.domains)),
        ("rules", Some(said.rules), Some(found.rules)),
        ("destinations", Some(said.destinations), Some(found.destinations)),
        ("suspensions", said.suspensions, found.suspensions),
        ("listings", said.listings, found.listings),
    ] {
        if let (Some(said), Some(found)) = (said, found)
            && said != found
        {
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
