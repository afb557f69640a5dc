//! Whether the node takes mail: told by the node, asked by `/readyz`.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::connections::Drain;

/// Where the node is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Its listeners do not greet yet.
    Starting,
    /// SMTP greets.
    Serving,
    /// It finishes what it has and takes nothing new.
    Draining,
}

/// The node's phase, shared.
#[derive(Debug, Clone)]
pub struct Readiness {
    phase: Arc<watch::Sender<Phase>>,
    /// What keeps the cluster from being as it should be.
    reason: Arc<ArcSwapOption<String>>,
    drain: Drain,
}

impl Readiness {
    /// That of a node that starts.
    #[must_use]
    pub fn new(drain: Drain) -> Self {
        Self { phase: Arc::new(watch::Sender::new(Phase::Starting)), reason: Arc::default(), drain }
    }

    /// Whether an operator has the node take no new sessions.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.drain.is_ordered()
    }

    /// Says what phase the node is in from now on.
    pub fn set(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// The phase now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// What keeps the cluster from being as it should be, if anything does.
    #[must_use]
    pub fn reason(&self) -> Option<Arc<String>> {
        self.reason.load_full()
    }

    /// Repeats what the node's part in the cluster says, until told to stop.
    pub async fn repeat(self, mut reason: watch::Receiver<Option<String>>, stop: CancellationToken) {
        loop {
            let said = reason.borrow_and_update().clone();
            self.reason.store(said.map(Arc::new));
            let Some(Ok(())) = stop.run_until_cancelled(reason.changed()).await else { return };
        }
    }
}
