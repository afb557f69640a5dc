//! Raft, as the steward has it run: started on the folder that counts, looked after, stopped; and who carries out what is
//! ordered meanwhile.

use std::sync::Arc;
use std::time::Duration;

use openraft::Raft;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::super::disk::{Again, Bound, Damage, DiskError, Found, Identity, Remains, Standing, left, read};
use super::super::part::{Keeper, MAX_LOG_ENTRIES, Part, end};
use super::super::propose::{Proposer, refuse};
use super::steward::Steward;
use crate::routing::{Change, Coverage, Orders, RoutingError, Table};

/// How long a node that had a table waits for what the others have, before it shows its own.
const SHOWN_AFTER: Duration = Duration::from_secs(3);
/// How long a leader waits for a majority to say that it leads, before it shows its table; it is asked again.
const LEADS_WITHIN: Duration = Duration::from_millis(300);

/// Whether Raft runs.
pub(super) enum Running {
    Part {
        part: Part,
        keeper: JoinHandle<()>,
    },
    /// It is not wanted now.
    Not,
    /// It failed then, and may be tried again.
    Failed {
        at: Instant,
        again: Again,
    },
}

/// Who carries out what is ordered of the table, and how it is stopped.
pub(super) struct Desk {
    pub(super) stop: CancellationToken,
    pub(super) work: JoinHandle<Orders>,
}

impl Steward {
    /// Shows the table, and takes changes of it, once it is what the cluster has.
    pub(super) async fn catch_up(&mut self) {
        if !self.view.is_held() || !self.has_all().await {
            return;
        }
        if !self.identity.was_shown && self.identity.adopted.is_some() {
            let shown = Identity { was_shown: true, ..self.identity.clone() };
            if let Err(error) = self.become_this(shown).await {
                tracing::error!(%error, "it cannot be noted that this node has the cluster's table");
            }
        }
        self.view.release();
        self.switch().await;
        self.is_noted = !self.identity.was_shown;
    }

    /// Notes in the store that the table is under `raft/`. Where the table that was there is lost, and nobody who founded the
    /// cluster had another, that is said in the cluster first: one domain that is added does not speak for all that there were.
    pub(super) async fn note_table(&mut self) {
        if self.is_noted || self.view.is_held() {
            return;
        }
        let founded = !matches!(self.identity.bound, Bound::Free);
        let may_be_lost = founded && self.view.snapshot().coverage() == Coverage::Empty;
        let mark = self.mark.clone();
        let noted = spawn_blocking(move || {
            let is_lost = may_be_lost && mark.read()? == Standing::Lost;
            if is_lost { Ok(false) } else { mark.take_over().map(|()| true) }
        });
        match noted.await {
            Ok(Ok(true)) => self.is_noted = true,
            Ok(Ok(false)) => self.tell_loss(),
            Ok(Err(error)) => {
                tracing::error!(%error, "it cannot be noted in store/ that raft/ has the table");
                self.is_noted = true;
            }
            Err(error) => tracing::error!(%error, "it cannot be noted in store/ that raft/ has the table"),
        }
    }

    fn tell_loss(&mut self) {
        if self.telling_loss.as_ref().is_some_and(|telling| !telling.is_finished()) {
            return;
        }
        let routing = self.local.routing_of_node();
        self.telling_loss = Some(tokio::spawn(async move {
            if let Err(error) = routing.change(Change::DeclareLost).await {
                tracing::warn!(%error, "it cannot be said in the cluster yet that its table is lost");
            }
        }));
    }

    /// Whether what this node has is what the cluster has, or, where that cannot be said, the table as this node knew it last.
    async fn has_all(&self) -> bool {
        let knew =
            self.identity.was_shown && self.view.latest(Table::revision) >= self.view.snapshot().revision();
        let is_last_known = knew && self.held_since.elapsed() >= SHOWN_AFTER;
        let Running::Part { part, .. } = &self.running else { return is_last_known };
        let metrics = part.raft.metrics().borrow().clone();
        let heard = self.hearing.heard();
        let applied = metrics.last_applied.map_or(0, |id| id.index);
        let has_all_of_leader = match metrics.current_leader {
            // Whoever led when it stopped takes itself for the leader, until others say otherwise.
            Some(leader) if leader == metrics.id => {
                matches!(timeout(LEADS_WITHIN, part.raft.ensure_linearizable()).await, Ok(Ok(_)))
            }
            Some(leader) => {
                let leads = heard.values().find(|heard| heard.answer.disk.id == leader);
                let last = leads.and_then(|heard| heard.answer.disk.settled()).map(|state| state.last.index);
                last.is_some_and(|last| applied >= last)
            }
            None => false,
        };
        let cluster = self.identity.adopted.map(|adopted| adopted.cluster);
        let of_cluster = heard.values().filter_map(|heard| heard.answer.disk.settled());
        let mut of_cluster = of_cluster.filter(|state| Some(state.cluster) == cluster);
        has_all_of_leader || (is_last_known && !of_cluster.any(|state| state.last.index > applied))
    }

    /// Shows what this node has as what is left of the table: it hears of no change any more, so that it can say of nothing
    /// that it does not exist.
    pub(super) fn show_remains(&self) {
        let (shown, latest) = (self.view.snapshot(), self.view.latest(Table::clone));
        let table = if latest.revision() > shown.revision() { latest } else { Table::clone(&shown) };
        let is_shown = table.revision() == shown.revision() && shown.coverage() != Coverage::Whole;
        if !is_shown {
            self.view.show_at_once(table.remains());
        }
    }

    pub(super) fn hold(&mut self) {
        self.view.hold();
        self.held_since = Instant::now();
    }

    /// Starts Raft again where it has failed and may run again.
    pub(super) async fn look_after_raft(&mut self) {
        let failed = match &self.running {
            Running::Part { part, .. } => {
                let told = part.raft.metrics();
                told.borrow().running_state.is_err() || told.has_changed().is_err()
            }
            Running::Failed { at, again: Again::Later } => {
                // Whoever of the last time still applies, or writes a snapshot, has the lock too.
                if at.elapsed() >= self.place.tried_every && Arc::strong_count(&self.lock) == 1 {
                    self.start().await;
                }
                return;
            }
            Running::Failed { again: Again::Never, .. } | Running::Not => return,
        };
        if failed {
            let Running::Part { part, .. } = &self.running else { return };
            let (cause, again) = (part.cause(), part.again());
            tracing::error!(
                cause,
                ?again,
                "Raft has stopped: this node forwards by the table that it has, and takes no changes"
            );
            self.stop().await;
            self.metrics.cluster_stopped.set(1);
            self.running = Running::Failed { at: Instant::now(), again };
            if again == Again::Never {
                self.show_remains();
            }
        }
    }

    /// Starts Raft on what the folder has.
    pub(super) async fn start(&mut self) {
        match self.begin().await {
            Ok(Ok(part)) => {
                self.metrics.cluster_stopped.set(0);
                self.local.runs(part.raft.clone(), part.log.clone());
                let keeper = Keeper::new(&part, MAX_LOG_ENTRIES);
                let keeper = tokio::spawn(async move { match keeper.run().await {} });
                self.running = Running::Part { part, keeper };
                self.switch().await;
            }
            Ok(Err(remains)) => {
                self.remember().await;
                let Remains { damage, table, again } = *remains;
                tracing::error!(%damage, "this node takes no part in the cluster: it forwards by what is left of the table");
                self.metrics.cluster_stopped.set(1);
                if self.view.snapshot().revision() < table.revision() {
                    self.view.show(table);
                    self.view.release();
                    self.hold();
                }
                self.running = Running::Failed { at: Instant::now(), again };
                if again == Again::Never {
                    self.show_remains();
                }
            }
            Err(error) => {
                self.remember().await;
                tracing::error!(%error, "this node takes no part in the cluster yet");
                self.metrics.cluster_stopped.set(1);
                self.running = Running::Failed { at: Instant::now(), again: Again::Later };
            }
        }
    }

    /// Notes what the log has that Raft could not be started on.
    async fn remember(&self) {
        if let Err(error) = self.local.read_log(self.place.folder()).await {
            tracing::error!(%error, "the cluster's log cannot be looked at");
        }
    }

    pub(super) async fn begin(&mut self) -> Result<Result<Part, Box<Remains>>, DiskError> {
        self.hold();
        let (dir, identity) = (self.identity.dir(&self.place.folder()), self.identity.clone());
        let (view, lock) = (self.view.clone(), self.lock.clone());
        let found = {
            let dir = dir.clone();
            spawn_blocking(move || read(dir, identity, &view, lock)).await??
        };
        let whole = match found {
            Found::Whole(whole) => *whole,
            Found::Stopped(remains) => return Ok(Err(remains)),
        };
        let (unwritten, unreadable, log) = (whole.machine.unwritten(), whole.machine.unreadable(), whole.log);
        let id = self.identity.node;
        let config = self.timing.engine_config().map_err(DiskError::Engine)?;
        let network = self.peers.network(id);
        let started = Raft::new(id, config, network, log.clone(), whole.machine).await;
        let raft = match started {
            Ok(raft) => raft,
            Err(fatal) => {
                end(log).await;
                let options = self.place.options.clone();
                let table = spawn_blocking(move || left(&dir, options)).await?;
                let (damage, again) = (Damage::Raft(fatal.to_string()), Again::Later);
                return Ok(Err(Box::new(Remains { damage, table, again })));
            }
        };
        Ok(Ok(Part { raft, log, unwritten, unreadable }))
    }

    /// Stops Raft.
    pub(super) async fn stop(&mut self) {
        let running = std::mem::replace(&mut self.running, Running::Not);
        let Running::Part { part, keeper } = running else { return };
        self.local.stops();
        keeper.abort();
        // First: what waits for it hears so, and nothing is sent any more.
        part.shut_down().await;
        self.switch().await;
    }

    /// Has what is ordered carried out by whoever is to, now.
    pub(super) async fn switch(&mut self) {
        let Some(Desk { stop, work }) = self.desk.take() else { return };
        stop.cancel();
        match work.await {
            Ok(orders) => self.serve(orders),
            Err(error) => {
                tracing::error!(%error, "changes are taken no more: the task for them did not end well")
            }
        }
    }

    pub(super) fn serve(&mut self, mut orders: Orders) {
        let stop = CancellationToken::new();
        let (stopped, view) = (stop.clone(), self.view.clone());
        let silent = self.hearing.watch_silent();
        let (runs, proposer) = match &self.running {
            Running::Part { part, .. } if !self.view.is_held() => {
                let proposer = Proposer::new(part.raft.clone(), view.clone(), silent.clone());
                (false, Some(proposer.forwarding(self.peers.clone())))
            }
            Running::Part { .. } => (true, None),
            Running::Not | Running::Failed { .. } => (false, None),
        };
        let work = tokio::spawn(async move {
            if let Some(proposer) = proposer {
                proposer.run(&mut orders, &stopped).await;
            }
            let why = || match runs {
                // Readers have not what this node would change.
                true => RoutingError::NoLeader { missing: silent.borrow().clone() },
                false => RoutingError::ClusterStopped,
            };
            stopped.run_until_cancelled(refuse(&mut orders, &view, why)).await;
            orders
        });
        self.desk = Some(Desk { stop, work });
    }
}
