//! Whether the node takes mail: told by the node, asked by `/readyz`.

use std::sync::Arc;

use tokio::sync::watch;

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
pub struct Readiness(Arc<watch::Sender<Phase>>);

impl Readiness {
    /// Says what phase the node is in from now on.
    pub fn set(&self, phase: Phase) {
        self.0.send_replace(phase);
    }

    /// The phase now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Phase::Starting)))
    }
}
