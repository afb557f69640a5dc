//! What a node takes part with: Raft, on its log. And what keeps the log small.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use openraft::error::Fatal;
use openraft::{Config, Raft, SnapshotPolicy};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::disk::Again;
use super::founding::NodeId;
use super::log::LogStore;
use super::types::{Member, Types};

/// How long the end of a part is waited for: that of a change in flight.
const ENDS_WITHIN: Duration = Duration::from_secs(20);
/// Octets of live log from which on a snapshot takes their place: some 300,000 rules, which a start makes again in 3 s, and a
/// new node as well. From a snapshot they take half of that.
const MAX_LOG_OCTETS: usize = 16 << 20;
/// Entries of live log from which on a snapshot takes their place.
pub(super) const MAX_LOG_ENTRIES: u64 = 5000;
/// How long a snapshot may take: that of a large table on a slow disk.
const SNAPSHOT_WITHIN: Duration = Duration::from_secs(600);
/// How long after a snapshot that could not be written the next is tried.
const TRIED_AFTER: Duration = Duration::from_secs(60);

pub(super) type RaftMetrics = openraft::RaftMetrics<NodeId, Member>;

/// How often a leader says that it leads, and how long nobody is heard before somebody asks to lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// In milliseconds: more than a round trip and the sync of a batch.
    pub heartbeat: u64,
    /// In milliseconds, from and to.
    pub election: (u64, u64),
}

impl Timing {
    /// For nodes in one place.
    pub const LAN: Self = Self { heartbeat: 250, election: (500, 1000) };
    /// For nodes far apart: tried at 100 ms and 10 Mbit/s.
    pub const WAN: Self = Self { heartbeat: 500, election: (1000, 2000) };

    /// What the engine is told.
    pub(super) fn engine_config(self) -> Result<Arc<Config>, String> {
        let config = Config {
            cluster_name: "postroad".to_owned(),
            heartbeat_interval: self.heartbeat,
            election_timeout_min: self.election.0,
            election_timeout_max: self.election.1,
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: 0,
            ..Config::default()
        };
        config.validate().map(Arc::new).map_err(|error| error.to_string())
    }
}

/// What a node takes part with.
pub(super) struct Part {
    pub(super) raft: Raft<Types>,
    pub(super) log: LogStore,
    pub(super) unwritten: watch::Receiver<u64>,
    pub(super) unreadable: Arc<AtomicBool>,
}

impl Part {
    /// Whether it may go on later, once Raft has stopped: where it was the disk that refused, or a snapshot that came damaged.
    pub(super) fn again(&self) -> Again {
        let is_of_the_log = self.log.failure().is_none_or(|failure| failure.is_of_the_disk());
        let state = self.raft.metrics().borrow().running_state.clone();
        let is_of_storage = matches!(state, Err(Fatal::StorageError(_)));
        let is_readable = !self.unreadable.load(Ordering::Acquire);
        if is_of_storage && is_of_the_log && is_readable { Again::Later } else { Again::Never }
    }

    /// Why Raft has stopped.
    pub(super) fn cause(&self) -> String {
        let state = self.raft.metrics().borrow().running_state.clone();
        state.err().map_or_else(|| "its task has ended".to_owned(), |fatal| fatal.to_string())
    }

    /// Ends it. What was answered is durable.
    pub(super) async fn shut_down(self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::error!(%error, "Raft did not end well");
        }
        drop(self.raft);
        end(self.log).await;
    }
}

/// Waits for the log's thread, which ends with the last who has the log.
pub(super) async fn end(log: LogStore) {
    if let Err(error) = spawn_blocking(move || drop(log)).await {
        tracing::error!(%error, "the cluster's log did not end well");
    }
}

/// Has a node's part end, and waits for it.
pub(super) async fn wind_up(stop: &CancellationToken, mut work: JoinHandle<()>) {
    stop.cancel();
    match timeout(ENDS_WITHIN, &mut work).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "the node's part in the cluster did not end well"),
        Err(_) => {
            tracing::warn!(limit = ?ENDS_WITHIN, "the node's part in the cluster is not waited for");
        }
    }
}

/// What keeps the log small.
pub(super) struct Keeper {
    raft: Raft<Types>,
    log: LogStore,
    unwritten: watch::Receiver<u64>,
    max_entries: u64,
}

impl Keeper {
    pub(super) fn new(part: &Part, max_entries: u64) -> Self {
        let Part { raft, log, unwritten, .. } = part;
        Self { raft: raft.clone(), log: log.clone(), unwritten: unwritten.clone(), max_entries }
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
