//! When a copy is tried again: pauses that double, give or take a quarter, up to a longest one. Pure.

use std::time::Duration;

/// Doublings after which the longest pause is certainly reached.
const MAX_DOUBLINGS: u32 = 20;

/// `delivery.retry_first` and `delivery.retry_longest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Backoff {
    pub(super) first: Duration,
    pub(super) longest: Duration,
}

impl Backoff {
    /// The pause after so many attempts; `chance` between 0 and 1 spreads it over three to five quarters of
    /// itself, so that what failed together does not come back together.
    pub(super) fn pause(self, attempts: u32, chance: f64) -> Duration {
        let doublings = attempts.saturating_sub(1).min(MAX_DOUBLINGS);
        let pause = self.first.saturating_mul(1 << doublings).min(self.most());
        pause.mul_f64(0.75 + chance.clamp(0.0, 1.0) / 2.0)
    }

    /// What no pause is longer than, but for the quarter.
    pub(super) fn most(self) -> Duration {
        self.longest.max(self.first)
    }

    /// The pause before a destination that does not answer, or wants less, is asked again: as for one message,
    /// but never longer than a sixth of the longest, because all its mail waits for this one.
    pub(super) fn probe(self, troubles: u32, chance: f64) -> Duration {
        let longest = (self.longest / 6).max(self.first);
        Self { longest, ..self }.pause(troubles, chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: Backoff = Backoff { first: Duration::from_secs(60), longest: Duration::from_secs(3600) };

    #[test]
    fn pauses_double_up_to_the_longest() {
        let minutes: Vec<u64> = (1..=9).map(|attempts| DEFAULT.pause(attempts, 0.5).as_secs() / 60).collect();
        assert_eq!(minutes, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(DEFAULT.pause(u32::MAX, 0.5), Duration::from_secs(3600));
    }

    #[test]
    fn chance_spreads_a_pause_by_a_quarter_each_way() {
        assert_eq!(DEFAULT.pause(1, 0.0), Duration::from_secs(45));
        assert_eq!(DEFAULT.pause(1, 1.0), Duration::from_secs(75));
    }

    #[test]
    fn a_silent_destination_is_asked_at_least_every_ten_minutes() {
        assert_eq!(DEFAULT.probe(1, 0.5), Duration::from_secs(60));
        assert_eq!(DEFAULT.probe(30, 0.5), Duration::from_secs(600));
    }
}
