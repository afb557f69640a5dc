//! Keeps the log small, and tells when Raft stops.

use std::sync::Arc;
use std::time::Duration;

use openraft::Raft;
use tokio_util::sync::CancellationToken;

use super::super::log::LogStore;
use super::super::types::{Member, Types};
use crate::cluster::founding::NodeId;
use crate::telemetry::Metrics;

/// Octets of live log from which on a snapshot takes their place.
const MAX_LOG_OCTETS: usize = 64 << 20;
/// Entries of live log from which on a snapshot takes their place.
const MAX_LOG_ENTRIES: u64 = 5000;
/// How long a snapshot may take: that of a large table on a slow disk.
const SNAPSHOT_WITHIN: Duration = Duration::from_secs(600);

type RaftMetrics = openraft::RaftMetrics<NodeId, Member>;

/// What keeps the log small.
pub struct Keeper {
    raft: Raft<Types>,
    log: LogStore,
    metrics: Arc<Metrics>,
    max_entries: u64,
}

impl Keeper {
    pub(super) fn new(raft: Raft<Types>, log: LogStore, metrics: Arc<Metrics>) -> Self {
        Self { raft, log, metrics, max_entries: MAX_LOG_ENTRIES }
    }

    /// Works until told to stop, or until Raft does.
    pub async fn run(self, stop: CancellationToken) {
        let mut told = self.raft.metrics();
        while let Some(Ok(())) = stop.run_until_cancelled(told.changed()).await {
            let now = told.borrow_and_update().clone();
            if let Err(fatal) = &now.running_state {
                tracing::error!(%fatal, "Raft has stopped: the node forwards by the table that it has, and takes no changes");
                self.metrics.cluster_stopped.set(1);
                return;
            }
            if self.is_long(&now) && stop.run_until_cancelled(self.compact(&now)).await.is_none() {
                return;
            }
        }
    }

    fn is_long(&self, now: &RaftMetrics) -> bool {
        let purged = now.purged.map_or(0, |id| id.index);
        let applied = now.last_applied.map_or(0, |id| id.index);
        let live = applied.saturating_sub(purged);
        live >= self.max_entries || (live > 0 && self.log.octets() >= MAX_LOG_OCTETS)
    }

    /// Has a snapshot take the place of what is applied now.
    async fn compact(&self, now: &RaftMetrics) {
        let Some(applied) = now.last_applied else { return };
        let compacted = async {
            self.raft.trigger().snapshot().await.map_err(|error| error.to_string())?;
            let wait = || self.raft.wait(Some(SNAPSHOT_WITHIN));
            let built = wait().metrics(|now| now.snapshot >= Some(applied), "a snapshot").await;
            built.map_err(|error| error.to_string())?;
            self.raft.trigger().purge_log(applied.index).await.map_err(|error| error.to_string())?;
            let purged = wait().metrics(|now| now.purged >= Some(applied), "a purge").await;
            purged.map_err(|error| error.to_string())
        };
        match compacted.await {
            Ok(now) => {
                tracing::info!(purged = ?now.purged.map(|id| id.index), "the cluster's log is compacted")
            }
            Err(error) => tracing::error!(error, "the cluster's log cannot be compacted, and grows"),
        }
    }
}

#[cfg(test)]
#[path = "compact_tests.rs"]
mod tests;
