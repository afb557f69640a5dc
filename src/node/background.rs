//! What goes on beside the mail: the queue's scheduler, gauges, records that end.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::life::Life;
use super::state::{State, poison, temporary};
use crate::aliases::Aliases;
use crate::clock;
use crate::config::Config;
use crate::kept_aside;
use crate::ledger::Ledger;
use crate::pipeline::deliver::Upstreams;
use crate::pipeline::queue::Queue;
use crate::routing::Routing;
use crate::spool::Spool;
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::telemetry::labels::QueueState;
use crate::tls::{Ending, Endings, Reporter};

/// How often records that are over are forgotten.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(600);
/// How often return address aliases that are over are forgotten: they last for days, and all of them are looked at.
const ALIAS_EXPIRY_INTERVAL: Duration = Duration::from_secs(6 * 3600);
/// How often finished days are looked for that a TLS report is due on.
const REPORT_INTERVAL: Duration = Duration::from_secs(3600);
/// How often what is kept aside for the operator is looked at.
const KEPT_ASIDE_INTERVAL: Duration = Duration::from_secs(3600);
/// How often certificates at their end are told of.
const CERTIFICATE_INTERVAL: Duration = Duration::from_secs(86_400);
/// How often the databases are looked at.
const STORAGE_INTERVAL: Duration = Duration::from_secs(1);
/// What a disk must take to be well again: two of the pieces by which a database grows.
const PROBE_OCTETS: usize = 1 << 20;
/// How often gauges that nobody writes to are read off.
const GAUGE_INTERVAL: Duration = Duration::from_secs(5);

/// What works in the background.
pub(super) struct Background<'a> {
    pub(super) state: &'a State,
    pub(super) metrics: &'a Arc<Metrics>,
    pub(super) queue: &'a Queue,
    pub(super) upstreams: &'a Arc<Upstreams>,
    pub(super) config: &'a watch::Receiver<Arc<Config>>,
}

impl Background<'_> {
    /// Starts all of it.
    pub(super) fn start(&self, endings: Endings, life: &Life) {
        let Life { tasks, background, draining, broken, stale, .. } = life;
        let Self { state, metrics, queue, upstreams, config } = *self;
        tasks.spawn(expire(state.ledger.clone(), background.clone()));
        let data_dir = config.borrow().node.data_dir.clone();
        tasks.spawn(expire_kept_aside(poison(&data_dir), state.spool.clone(), background.clone()));
        tasks.spawn(tell_endings(endings, background.clone()));
        tasks.spawn(expire_aliases(state.aliases.clone(), background.clone()));
        let (routing, spool) = (state.routing.clone(), state.spool.clone());
        tasks.spawn(Gauges { metrics: metrics.clone(), routing, spool }.keep(background.clone()));
        let drained = state.door.drain.changes();
        tasks.spawn(try_when_drained(queue.clone(), drained, draining.clone()));
        tasks.spawn(run_queue(queue.clone(), draining.clone(), broken.clone()));
        tasks.spawn(queue.clone().watch_ages(draining.clone()));
        tasks.spawn(queue.clone().watch_suspensions(draining.clone()));
        tasks.spawn(queue.clone().end_suspensions(draining.clone()));
        let folder = temporary(&data_dir);
        let stores = [state.store.clone(), state.history.clone()];
        let storage = Storage { stores, spool: state.spool.clone(), folder };
        tasks.spawn(storage.watch(background.clone(), stale.clone()));
        tasks.spawn(report_tls(upstreams.clone(), config.clone(), queue.clone(), draining.clone()));
    }
}

/// Sends the reports on TLS sessions of days that are over (RFC 8460), until told to stop.
async fn report_tls(
    upstreams: Arc<Upstreams>,
    config: watch::Receiver<Arc<Config>>,
    queue: Queue,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(REPORT_INTERVAL);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let reporter = Reporter { organization: config.borrow().service.domain.clone() };
        for report in upstreams.policies().due_reports(clock::now(), &reporter).await {
            match queue.send(&report.to, report.octets).await {
                Ok(()) => tracing::info!(domain = %report.domain, "TLS report queued"),
                Err(error) => tracing::error!(domain = %report.domain, %error, "TLS report lost"),
            }
        }
    }
}

/// What nobody counts while it changes.
struct Gauges {
    metrics: Arc<Metrics>,
    routing: Routing,
    spool: Spool,
}

impl Gauges {
    async fn keep(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(GAUGE_INTERVAL);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let table = self.routing.snapshot();
            let gauge = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
            self.metrics.cluster_state_revision.set(gauge(table.revision()));
            self.metrics.suspended_destinations.set(gauge(table.suspension_count() as u64));
            drop(table);
            self.read_queue().await;
        }
    }

    async fn read_queue(&self) {
        let counts = self.spool.counts();
        let states = [
            (QueueState::Waiting, counts.waiting),
            (QueueState::AwaitingReply, counts.awaiting_reply),
            (QueueState::Unknown, counts.unknown),
        ];
        for (state, count) in states {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.metrics.queue_messages.of(state).set(count);
        }
        if let Ok(count) = self.spool.quarantined().await {
            self.metrics.queue_quarantined_records.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        let oldest = self.spool.oldest().await.unwrap_or_default();
        let since = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let seconds = oldest.map_or(0, |time| i64::try_from(since(time).as_secs()).unwrap_or(i64::MAX));
        self.metrics.queue_oldest_message_timestamp_seconds.set(seconds);
    }
}

/// Tries what is due until the drain; a queue that cannot is a node that must end.
async fn run_queue(queue: Queue, stop: CancellationToken, broken: CancellationToken) {
    if let Err(error) = queue.run(stop).await {
        tracing::error!(%error, "the queue cannot be read");
        broken.cancel();
    }
}

/// Tries what waits in the queue at once when an operator drains the node, whatever the back-off.
async fn try_when_drained(queue: Queue, mut drained: watch::Receiver<bool>, stop: CancellationToken) {
    while let Some(Ok(())) = stop.run_until_cancelled(drained.changed()).await {
        if *drained.borrow_and_update()
            && let Err(error) = stop.run_until_cancelled(queue.retry_all()).await.unwrap_or(Ok(()))
        {
            tracing::error!(%error, "what waits in the queue is not tried at once");
        }
    }
}

/// The databases, and the folder whose disk they are on.
struct Storage {
    stores: [Store; 2],
    spool: Spool,
    folder: PathBuf,
}

impl Storage {
    /// Ends a node whose databases the disk has failed, once it takes writes again: only opened anew do they. Until
    /// then the node goes on, for the mail that needs no disk.
    async fn watch(self, stop: CancellationToken, stale: CancellationToken) {
        let mut ticks = tokio::time::interval(STORAGE_INTERVAL);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            if self.has_failed() && self.is_well().await {
                return stale.cancel();
            }
        }
    }

    fn has_failed(&self) -> bool {
        self.stores.iter().any(Store::has_failed) || self.spool.index_has_failed()
    }

    /// Whether the disk has room, and takes what it is given.
    async fn is_well(&self) -> bool {
        if self.spool.admit().is_err() {
            return false;
        }
        let folder = self.folder.clone();
        let probe = move || {
            let mut file = tempfile::tempfile_in(folder)?;
            file.write_all(&vec![0; PROBE_OCTETS])?;
            file.sync_all()
        };
        matches!(spawn_blocking(probe).await, Ok(Ok(())))
    }
}

/// Bounds what is kept aside for the operator, at the start and as long as the node runs.
async fn expire_kept_aside(poison: PathBuf, spool: Spool, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(KEPT_ASIDE_INTERVAL);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let folder = poison.clone();
        let expire = move || kept_aside::expire(&folder, kept_aside::BOUNDS, clock::now());
        if let Ok(Err(error)) = spawn_blocking(expire).await {
            tracing::error!(%error, "poison messages cannot be removed");
        }
        if let Err(error) = spool.expire_quarantined(clock::now()).await {
            tracing::error!(%error, "quarantined records cannot be removed");
        }
    }
}

/// Tells of certificates at their end once a day; of a new one, it was told when it was taken.
async fn tell_endings(endings: Endings, stop: CancellationToken) {
    let mut ticks = tokio::time::interval_at(Instant::now() + CERTIFICATE_INTERVAL, CERTIFICATE_INTERVAL);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        endings(clock::now()).iter().for_each(Ending::tell);
    }
}

async fn expire_aliases(aliases: Arc<Aliases>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(ALIAS_EXPIRY_INTERVAL);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let aliases = aliases.clone();
        if let Ok(Err(error)) = spawn_blocking(move || aliases.expire()).await {
            tracing::error!(%error, "return address aliases cannot be forgotten");
        }
    }
}

async fn expire(ledger: Ledger, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(EXPIRY_INTERVAL);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Err(error) = ledger.expire().await {
            tracing::error!(%error, "idempotence records cannot be forgotten");
        }
    }
}
