//! How many attempts are under way at a time, over all destinations. An attempt has one of a few permits; if it takes
//! long it changes that for one of many others, so that destinations that hang do not hold up those that answer.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// How many there are. Each attempt holds a message of up to 256 KiB in memory (what is larger is in a file), and a
/// connection: all of them 300 MiB at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Attempts that have not taken long yet.
    pub(super) quick: usize,
    /// Attempts that have.
    pub(super) slow: usize,
    /// What is long: most destinations have answered by then.
    pub(super) slow_after: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { quick: 200, slow: 1000, slow_after: Duration::from_secs(60) }
    }
}

/// The permits of this node's attempts.
#[derive(Debug)]
pub(super) struct Permits {
    quick: Arc<Semaphore>,
    slow: Arc<Semaphore>,
    slow_after: Duration,
}

impl Permits {
    pub(super) fn new(limits: Limits) -> Self {
        let Limits { quick, slow, slow_after } = limits;
        Self { quick: Arc::new(Semaphore::new(quick)), slow: Arc::new(Semaphore::new(slow)), slow_after }
    }

    /// Whether an attempt may be started.
    pub(super) fn has_one(&self) -> bool {
        self.quick.available_permits() > 0
    }

    /// A permit for an attempt, if there is one left: nobody waits for it with a message in hand.
    pub(super) fn try_take(&self) -> Option<OwnedSemaphorePermit> {
        self.quick.clone().try_acquire_owned().ok()
    }

    /// Makes an attempt under its permit, and says on `back` when that is there for others. When there are too many
    /// slow ones already, a slow attempt keeps what it has.
    pub(super) async fn spend(
        &self,
        permit: OwnedSemaphorePermit,
        attempt: impl Future<Output = ()>,
        back: &Notify,
    ) {
        let (mut permit, mut attempt) = (permit, pin!(attempt));
        if timeout(self.slow_after, &mut attempt).await.is_err() {
            if let Ok(slow) = self.slow.clone().try_acquire_owned() {
                permit = slow;
                back.notify_one();
            }
            attempt.await;
        }
        drop(permit);
        back.notify_one();
    }
}
