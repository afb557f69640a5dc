//! The scheduler's task: starts attempts when their time has come.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use super::schedule::Turn;
use super::{Inner, Queue};
use crate::clock;
use crate::spool::SpoolError;

/// The longest sleep: wall time may be set.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);
/// When a lane is looked at again whose next message somebody has in hand, or whose index could not be read.
const SOON: Duration = Duration::from_secs(1);

impl Queue {
    /// Tries what is due until told to stop; then starts nothing more, and waits for nothing.
    ///
    /// # Errors
    /// When the spool cannot say what is in it.
    pub async fn run(self, stop: CancellationToken) -> Result<(), SpoolError> {
        let inner = self.inner;
        for (domain, due) in inner.spool.domains().await? {
            inner.schedule.lock().note(&domain, due);
        }
        while let Some(()) = stop.run_until_cancelled(inner.sleep()).await {
            while !stop.is_cancelled()
                && inner.permits.has_one()
                && let Some(turn) = inner.next_turn()
            {
                inner.clone().start(turn, &stop).await;
            }
        }
        Ok(())
    }

    /// Waits until no attempt is under way and no late reply is waited for.
    pub async fn idle(&self) {
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// Attempts and late replies that are under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.inner.tasks.len()
    }
}

impl Inner {
    /// Until a lane may run and there is a permit, or something changes.
    async fn sleep(&self) {
        let wake_at = self.schedule.lock().wake_at().filter(|_| self.permits.has_one());
        let wait = wake_at.map_or(LONGEST_SLEEP, |at| at.duration_since(clock::now()).unwrap_or_default());
        let changed = tokio::time::timeout(wait.min(LONGEST_SLEEP), self.changed.notified());
        // Either way it is time to look.
        let _changed_or_not = changed.await;
    }

    fn next_turn(&self) -> Option<Turn> {
        self.schedule.lock().next(clock::now())
    }

    /// Starts as many attempts as the lane has room for, but none once the queue is told to stop.
    async fn start(self: Arc<Self>, turn: Turn, stop: &CancellationToken) {
        let now = clock::now();
        // One more than can be started, so that the time of the next is known; and as many as somebody has in hand,
        // for this lane or another, or are put off in memory: they may all stand in the index before the first that
        // may be started.
        let wanted = turn.room + 1 + self.hands.len() + self.notes.len();
        let far = now + Duration::from_secs(100 * 365 * 86_400);
        let due = match self.spool.due(&turn.domain, far, wanted).await {
            Ok(due) => due,
            Err(error) => {
                tracing::error!(domain = %turn.domain, %error, "the queue's index cannot be read");
                return self.schedule.lock().taken(&turn.domain, 0, Some(now + SOON));
            }
        };
        let mut started = 0;
        let mut next: Option<SystemTime> = None;
        for (at, id) in due {
            if at > now {
                next = sooner(next, at);
                break;
            }
            if let Some(until) = self.notes.until(id, now) {
                next = sooner(next, until);
                continue;
            }
            if started == turn.room || stop.is_cancelled() {
                next = Some(now);
                break;
            }
            let Some(permit) = self.permits.try_take() else {
                next = Some(now);
                break;
            };
            let Some(hold) = self.hands.try_take(id) else {
                next = sooner(next, now + SOON);
                continue;
            };
            started += 1;
            self.schedule.lock().taken(&turn.domain, 1, None);
            let attempt = self.clone().attempt(hold, turn.domain.clone());
            let inner = self.clone();
            self.tasks.spawn(async move { inner.permits.spend(permit, attempt, &inner.changed).await });
        }
        self.schedule.lock().taken(&turn.domain, 0, next);
    }
}

fn sooner(next: Option<SystemTime>, at: SystemTime) -> Option<SystemTime> {
    Some(next.map_or(at, |next| next.min(at)))
}
