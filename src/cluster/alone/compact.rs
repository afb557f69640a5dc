//! Keeps the log small.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use openraft::Raft;
use tokio::sync::watch;
use tokio::time::sleep;

use super::super::founding::NodeId;
use super::super::log::LogStore;
use super::super::types::{Member, Types};
use super::Part;

/// Octets of live log from which on a snapshot takes their place.
const MAX_LOG_OCTETS: usize = 64 << 20;
/// Entries of live log from which on a snapshot takes their place.
const MAX_LOG_ENTRIES: u64 = 5000;
/// How long a snapshot may take: that of a large table on a slow disk.
const SNAPSHOT_WITHIN: Duration = Duration::from_secs(600);
/// How long after a snapshot that could not be written the next is tried.
const TRIED_AFTER: Duration = Duration::from_secs(60);

type RaftMetrics = openraft::RaftMetrics<NodeId, Member>;

/// What keeps the log small.
pub(super) struct Keeper {
    raft: Raft<Types>,
    log: LogStore,
    unwritten: watch::Receiver<u64>,
    max_entries: u64,
}

impl Keeper {
    pub(super) fn new(part: &Part) -> Self {
        let Part { raft, log, unwritten } = part;
        Self {
            raft: raft.clone(),
            log: log.clone(),
            unwritten: unwritten.clone(),
            max_entries: MAX_LOG_ENTRIES,
        }
    }

    /// Works for as long as it is wanted.
    pub(super) async fn run(mut self) -> Infallible {
        let mut told = self.raft.metrics();
        while told.changed().await.is_ok() {
            let now = told.borrow_and_update().clone();
            if self.is_long(&now) && !self.compact(&now).await {
                sleep(TRIED_AFTER).await;
            }
        }
        // Raft has ended, which others tell.
        pending().await
    }

    fn is_long(&self, now: &RaftMetrics) -> bool {
        let purged = now.purged.map_or(0, |id| id.index);
        let applied = now.last_applied.map_or(0, |id| id.index);
        let live = applied.saturating_sub(purged);
        live >= self.max_entries || (live > 0 && self.log.octets() >= MAX_LOG_OCTETS)
    }

    /// Has a snapshot take the place of what is applied now; whether it did.
    async fn compact(&mut self, now: &RaftMetrics) -> bool {
        let Some(applied) = now.last_applied else { return false };
        self.unwritten.mark_unchanged();
        let Self { raft, unwritten, .. } = self;
        let compacted = async {
            raft.trigger().snapshot().await.map_err(|error| error.to_string())?;
            let wait = || raft.wait(Some(SNAPSHOT_WITHIN));
            let built = wait();
            tokio::select! {
                built = built.metrics(|now| now.snapshot >= Some(applied), "a snapshot") => {
                    drop(built.map_err(|error| error.to_string())?);
                }
                _ = unwritten.changed() => return Err("no snapshot could be written".to_owned()),
            }
            raft.trigger().purge_log(applied.index).await.map_err(|error| error.to_string())?;
            let purged = wait().metrics(|now| now.purged >= Some(applied), "a purge").await;
            purged.map_err(|error| error.to_string())
        };
        let compacted = compacted.await;
        match &compacted {
            Ok(now) => {
                tracing::info!(purged = ?now.purged.map(|id| id.index), "the cluster's log is compacted")
            }
            Err(error) => tracing::error!(error, "the cluster's log cannot be compacted, and grows"),
        }
        compacted.is_ok()
    }
}

#[cfg(test)]
#[path = "compact_tests.rs"]
mod tests;
