//! Suspensions of versions that kept them beside the table, in the tree `suspensions` of the store: the domain, and JSON
//! `{"since":…,"until":…,"reason":…}` with times in seconds since 1970.
//!
//! They are taken over into the table when it is opened, in one write. From then on the table's `state` counts
//! suspensions, which says that it was done; the tree stays as it is, unread. After an earlier version has written to the
//! table again, its `state` counts none, and what stands in the tree is taken over once more: it is what that version
//! obeyed.

use std::time::{Duration, UNIX_EPOCH};

use serde::Deserialize;

use super::error::RoutingError;
use super::model::{MAX_SUSPENSIONS, Suspension};
use super::persist::{Writes, keeps_suspensions};
use super::table::Table;
use crate::mail::Domain;
use crate::store::{Store, Tree};

#[derive(Deserialize)]
struct Stored {
    since: u64,
    until: Option<u64>,
    reason: String,
}

/// Takes them over into the table that was read from `tree`, if that is still to be done. Blocks.
///
/// # Errors
/// When the disk fails.
pub(super) fn take_over(store: &Store, tree: &Tree, table: &mut Table) -> Result<(), RoutingError> {
    if keeps_suspensions(tree)? {
        return Ok(());
    }
    let revision = table.revision() + 1;
    let mut writes = Writes::default();
    for pair in store.tree("suspensions")?.scan(b"") {
        let (name, value) = pair?;
        let Some(entry) = read(&name, &value, revision) else {
            let domain = String::from_utf8_lossy(&name);
            tracing::error!(%domain, "a suspension of an earlier version cannot be read and is ignored");
            continue;
        };
        if table.suspension_count() >= MAX_SUSPENSIONS {
            tracing::error!(domain = %entry.domain, "a suspension of an earlier version is one too many");
            continue;
        }
        writes.put_suspension(&entry)?;
        table.put_suspension(entry.into());
    }
    if writes.is_empty() {
        return Ok(());
    }
    table.set_revision(revision);
    writes.put_state(table)?;
    tree.apply_batch(writes.into_batch())?;
    store.flush_durably()?;
    tracing::info!(suspensions = table.suspension_count(), "suspensions of an earlier version taken over");
    Ok(())
}

fn read(name: &[u8], value: &[u8], revision: u64) -> Option<Suspension> {
    let domain = Domain::parse(std::str::from_utf8(name).ok()?).ok()?;
    let Stored { since, until, reason } = serde_json::from_slice(value).ok()?;
    let time = |seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    let until = match until {
        Some(until) => Some(time(until)?),
        None => None,
    };
    Some(Suspension { domain, since: time(since)?, until, reason, revision })
}

#[cfg(test)]
#[path = "old_suspensions_tests.rs"]
mod tests;
