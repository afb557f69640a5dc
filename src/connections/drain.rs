//! Whether an operator has the node take no new sessions: until it is taken back, or the node starts again.

use std::sync::Arc;

use tokio::sync::watch;

/// The operator's word. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Drain {
    ordered: Arc<watch::Sender<bool>>,
}

impl Drain {
    /// Orders it, or takes it back.
    pub fn order(&self, ordered: bool) {
        self.ordered.send_if_modified(|now| std::mem::replace(now, ordered) != ordered);
    }

    /// Whether it is ordered.
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        *self.ordered.borrow()
    }

    /// Tells when that changes.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<bool> {
        self.ordered.subscribe()
    }
}
