//! The table as version 0.1 kept it: trees of the store, one record a resource, JSON. It is read, once, by a node that takes
//! it over, and never written.
//!
//! ```text
//! tree routing
//!   state         {"format":1,"revision":R,"domains":N,"rules":N,"destinations":N}, and "lost":true while it is
//!   d/NAME        a DomainEntry
//!   r/ULID        a Rule
//!   a/ADDRESS     a Destination, the address in lower case
//! tree suspensions
//!   DOMAIN        {"since":SECONDS,"until":SECONDS or null,"reason":TEXT}, of a Suspension, in seconds since 1970
//! ```
//!
//! The counts in `state` tell when records of `routing` have gone: the store may lose some to damage without a word, and a
//! table with holes would refuse mail for good. For the same reason a table that is gone as a whole is not taken for an
//! empty one, see [`Coverage`]; while it is [`Coverage::Empty`] there is no `state`. Without a suspension mail still goes:
//! they are not counted, and one that cannot be read is skipped. Their revisions are not kept: each has the table's.

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::HEXLOWER;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::RoutingError;
use super::model::{Destination, DomainEntry, Matcher, Rule, Suspension};
use super::table::{Coverage, RoutingOptions, Table};
use super::wire;
use crate::mail::{Address, Domain};
use crate::store::{Store, Tree};

/// The format that is read; others are refused.
const FORMAT: u32 = 1;
const STATE: &[u8] = b"state";

#[derive(Debug, Deserialize)]
struct State {
    format: u32,
    revision: u64,
    domains: usize,
    rules: usize,
    destinations: usize,
    /// See [`Coverage::Lost`].
    #[serde(default)]
    lost: bool,
}

/// A suspension as it is written; the key is its domain.
#[derive(Debug, Deserialize)]
struct Suspended {
    since: u64,
    until: Option<u64>,
    reason: String,
}

/// Reads the table that stands in the store. An empty tree `routing` is an empty table, or what is left of one with its
/// store. Blocks while every record is read.
///
/// # Errors
/// [`RoutingError::Store`] when the disk fails, [`RoutingError::Damaged`] when a record of `routing` cannot be read or is
/// missing.
pub fn read_store(store: &Store, options: RoutingOptions) -> Result<Table, RoutingError> {
    let empty = if store.replaces_lost() { Coverage::Lost } else { Coverage::Empty };
    let mut table = read_routes(&store.tree("routing")?, options, empty)?;
    let revision = table.revision();
    for pair in store.tree("suspensions")?.scan(b"") {
        let (name, value) = pair?;
        match read_suspension(&name, &value, revision) {
            Some(entry) => table.put_suspension(entry.into()),
            None => {
                let domain = String::from_utf8_lossy(&name);
                tracing::error!(%domain, "a suspension cannot be read and is ignored");
            }
        }
    }
    Ok(table)
}

/// Tells one table in the store from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// The table's revision; 0 while there is none.
    pub revision: u64,
    /// SHA-256 of what says so, and of the suspensions, which have no revision there.
    pub digest: String,
}

/// The fingerprint of the table that stands in the store. Blocks on the disk.
///
/// # Errors
/// When the disk fails, or the record of the revision cannot be read.
pub fn fingerprint(store: &Store) -> Result<Fingerprint, RoutingError> {
    let mut sum = Context::new(&SHA256);
    let mut revision = 0;
    if let Some(state) = store.tree("routing")?.get(STATE)? {
        revision = parse::<State>(STATE, &state)?.revision;
        sum.update(&state);
    }
    for pair in store.tree("suspensions")?.scan(b"") {
        let (name, value) = pair?;
        sum.update(&name);
        sum.update(&value);
    }
    Ok(Fingerprint { revision, digest: HEXLOWER.encode(sum.finish().as_ref()) })
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
fn read_routes(tree: &Tree, options: RoutingOptions, empty: Coverage) -> Result<Table, RoutingError> {
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
    check_counts(&state, &table)?;
    Ok(table)
}

fn check_counts(said: &State, found: &Table) -> Result<(), RoutingError> {
    for (what, said, found) in [
        ("domains", said.domains, found.domain_count()),
        ("rules", said.rules, found.rules_count()),
        ("destinations", said.destinations, found.destination_count()),
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
#[path = "earlier_tests.rs"]
mod tests;
