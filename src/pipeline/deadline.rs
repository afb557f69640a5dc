//! Until when something must be done, and what follows for those who are asked meanwhile: whether there is time to
//! ask anybody, and whether silence by then says anything of who was asked.
//!
//! Blame goes only to whoever had the time to answer. A message may come to a stage with little of its time left,
//! and none of that is the doing of those who are asked last: their failure counts for this message, and is not
//! remembered of them.

use std::time::Duration;

use tokio::time::Instant;

/// Below it nothing is begun: TCP alone takes a round trip, which is about 300 ms to the far side of the earth.
const LEAST_TO_TRY: Duration = Duration::from_millis(300);
/// Below it a silence is nobody's fault. From TCP to the reply to DATA there are some eight round trips, 2.4 s to
/// the far side of the earth; a lost SYN is sent again after one second, and once more after three (RFC 6298 §2).
/// RFC 5321 §4.5.3.2 gives minutes, which nobody has while a client waits.
const LEAST_TO_BLAME: Duration = Duration::from_secs(3);
/// For a TCP connection alone: a SYN without an answer was sent again after one second (RFC 6298 §2).
const LEAST_TO_BLAME_CONNECTING: Duration = Duration::from_secs(2);

/// Whether who was asked then has had the time to answer.
#[must_use]
pub fn had_time(asked_at: Instant) -> bool {
    asked_at.elapsed() >= LEAST_TO_BLAME
}

/// Whether who was called then has had the time to take the connection.
#[must_use]
pub fn had_time_to_connect(called_at: Instant) -> bool {
    called_at.elapsed() >= LEAST_TO_BLAME_CONNECTING
}

/// The end of the time that something has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline(Instant);

impl Deadline {
    /// So much later than now.
    #[must_use]
    pub fn after(limit: Duration) -> Self {
        Self(Instant::now() + limit)
    }

    /// When it is.
    #[must_use]
    pub fn at(self) -> Instant {
        self.0
    }

    /// The end of the first half of the time that is left.
    #[must_use]
    pub fn half(self) -> Self {
        Self::after(self.remaining() / 2)
    }

    /// Whether there is time to connect to anybody.
    #[must_use]
    pub fn is_enough_to_try(self) -> bool {
        self.remaining() >= LEAST_TO_TRY
    }

    /// Whether somebody who was asked then, and whose time is up now, is to blame for it: the time that is up is not
    /// this one, but a limit of its own, or it was long enough.
    #[must_use]
    pub fn is_enough_to_blame(self, asked_at: Instant) -> bool {
        !self.is_over() || had_time(asked_at)
    }

    /// Whether it has passed.
    #[must_use]
    pub fn is_over(self) -> bool {
        self.remaining().is_zero()
    }

    fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

#[cfg(test)]
#[path = "deadline_tests.rs"]
mod tests;
