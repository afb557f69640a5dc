//! Wall time against monotonic time, which stands still while a machine sleeps and which nobody sets. After a start, and
//! when the two part, the times that were written down are not believed: nothing expires by them that was not tried
//! since, and nothing waits for them longer than for the longest pause.

use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Inner;
use super::expire::{Look, PAGE};
use crate::clock;
use crate::mail::TraceId;
use crate::spool::{QueuedCopy, SpoolError};

/// How far they may part. The kernel slews a clock by at most 500 ppm (adjtimex(2)), which is as much in a fortnight.
const MOST_APART: Duration = Duration::from_secs(10 * 60);

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub(super) wall: SystemTime,
    pub(super) monotonic: Instant,
}

impl Reading {
    pub(super) fn now() -> Self {
        Self { wall: clock::now(), monotonic: Instant::now() }
    }

    /// By how much they have parted since this reading.
    fn apart(self, now: Self) -> Duration {
        let expected = self.wall + now.monotonic.duration_since(self.monotonic);
        now.wall.duration_since(expected).unwrap_or_else(|behind| behind.duration())
    }
}

/// How the clocks stood at the start, or when they were last found to have parted.
#[derive(Debug)]
pub(super) struct Clocks {
    since: Mutex<Reading>,
}

impl Clocks {
    pub(super) fn start(now: Reading) -> Self {
        Self { since: Mutex::new(now) }
    }

    /// Since when, by the wall, times are believed.
    pub(super) fn since(&self, now: Reading) -> SystemTime {
        let mut since = self.since.lock();
        let apart = since.apart(now);
        if apart > MOST_APART {
            tracing::warn!(
                seconds = apart.as_secs(),
                "the clock was set, or the machine slept: queued messages are tried once more before they expire"
            );
            *since = now;
        }
        since.wall
    }
}

impl Inner {
    /// Cuts pauses to the longest one, once after the start and after each parting of the clocks: `done` says after
    /// which it was done last.
    pub(super) async fn cut_pauses(
        &self,
        done: &mut Option<SystemTime>,
        stop: &CancellationToken,
    ) -> Result<(), SpoolError> {
        let now = Reading::now();
        let since = self.clocks.since(now);
        if *done == Some(since) {
            return Ok(());
        }
        let latest = now.wall + self.settings.load().backoff.most();
        self.notes.cut(latest);
        self.schedule.lock().cut(now.wall, latest);
        if self.cut_written(latest, stop).await? == Look::Done {
            *done = Some(since);
        }
        Ok(())
    }

    async fn cut_written(&self, latest: SystemTime, stop: &CancellationToken) -> Result<Look, SpoolError> {
        let (mut look, mut after) = (Look::Done, None);
        loop {
            let page = self.spool.list(after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(look) };
            after = Some(last.id);
            for queued in page.iter().filter(|queued| queued.copies.iter().any(|copy| copy.due > latest)) {
                if stop.is_cancelled() {
                    return Ok(Look::Again);
                }
                if self.cut_one(queued.id, latest).await? == Look::Again {
                    look = Look::Again;
                }
            }
        }
    }

    async fn cut_one(&self, id: TraceId, latest: SystemTime) -> Result<Look, SpoolError> {
        let Some(_hold) = self.hands.try_take(id) else { return Ok(Look::Again) };
        let Some(mut queued) = self.spool.get(id).await? else { return Ok(Look::Done) };
        let cut = |copy: &mut QueuedCopy| copy.due = copy.due.min(latest);
        queued.copies.iter_mut().for_each(cut);
        self.write(&queued).await?;
        Ok(Look::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn clocks_that_part_by_over_ten_minutes_either_way_are_believed_from_then_on() {
        let start = Reading { wall: SystemTime::UNIX_EPOCH + 1000 * MINUTE, monotonic: Instant::now() };
        let after = |wall, monotonic| Reading {
            wall: SystemTime::UNIX_EPOCH + wall * MINUTE,
            monotonic: start.monotonic + monotonic * MINUTE,
        };
        let clocks = Clocks::start(start);
        for (wall, monotonic, since) in [
            (1000, 0, 1000),
            (1110, 100, 1000),
            (1090, 100, 1000),
            (1111, 100, 1111),
            (1123, 101, 1123),
            (1124, 102, 1123),
            (900, 103, 900),
            (911, 104, 900),
            (912, 104, 912),
        ] {
            let since = SystemTime::UNIX_EPOCH + since * MINUTE;
            assert_eq!(clocks.since(after(wall, monotonic)), since, "{wall} {monotonic}");
        }
    }
}
