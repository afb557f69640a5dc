//! Which messages somebody is working on: nobody else changes them meanwhile.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::mail::TraceId;

/// The messages in hand.
#[derive(Debug, Default)]
pub(super) struct Hands {
    held: Mutex<HashSet<TraceId>>,
    released: Notify,
}

/// A message in hand, until dropped.
#[derive(Debug)]
pub(super) struct Hold {
    hands: Arc<Hands>,
    id: TraceId,
}

impl Hold {
    /// The message in hand.
    pub(super) fn id(&self) -> TraceId {
        self.id
    }
}

impl Hands {
    /// How many messages are in hand: those of attempts, which are bounded by their permits, and one for each order of an
    /// operator and each late reply that is being written down.
    pub(super) fn len(&self) -> usize {
        self.held.lock().len()
    }

    /// Takes a message, unless somebody has it.
    pub(super) fn try_take(self: &Arc<Self>, id: TraceId) -> Option<Hold> {
        self.held.lock().insert(id).then(|| Hold { hands: self.clone(), id })
    }

    /// Takes a message, waiting for whoever has it.
    pub(super) async fn take(self: &Arc<Self>, id: TraceId) -> Hold {
        loop {
            let released = self.released.notified();
            tokio::pin!(released);
            released.as_mut().enable();
            if let Some(hold) = self.try_take(id) {
                return hold;
            }
            released.await;
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.hands.held.lock().remove(&self.id);
        self.hands.released.notify_waiters();
    }
}
