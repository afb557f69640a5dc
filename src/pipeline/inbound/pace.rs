//! How fast a message comes. Only the time in which its client was waited for counts: what our disk takes is not its.

use std::time::Duration;

/// Octets a second that a message has at least while memory or the disk is short: Postfix's `smtpd_min_data_rate`.
const LEAST_OCTETS_PER_SECOND: u64 = 500;
/// How far a message may be behind: Postfix's `smtpd_timeout` under stress. Its deadline for DATA and BDAT is that, and a
/// second more for each 500 octets, as ours is (`smtpd_per_request_deadline`).
const GRACE: Duration = Duration::from_secs(10);

/// The pace of one message.
#[derive(Debug, Default)]
pub(super) struct Pace {
    waited: Duration,
}

impl Pace {
    /// Its client was waited for.
    pub(super) fn waited(&mut self, time: Duration) {
        self.waited += time;
    }

    /// How much longer its client may be waited for before a message of so many octets is too slow.
    pub(super) fn left(&self, octets: u64) -> Duration {
        (GRACE + Duration::from_secs(octets / LEAST_OCTETS_PER_SECOND)).saturating_sub(self.waited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_may_take_ten_seconds_and_one_more_for_each_500_octets() {
        let mut pace = Pace::default();
        assert_eq!(pace.left(0), Duration::from_secs(10));
        pace.waited(Duration::from_secs(8));
        assert_eq!(pace.left(499), Duration::from_secs(2));
        assert_eq!(pace.left(5000), Duration::from_secs(12));
        pace.waited(Duration::from_secs(5));
        assert_eq!(pace.left(499), Duration::ZERO);
    }
}
