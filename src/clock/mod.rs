//! Wall time: the one place that reads the system's clock; and what is left until an instant. Monotonic time is `tokio::time`
//! where tests pause it.

use std::time::{Duration, Instant, SystemTime};

/// The wall time now.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the one place that may")]
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// How long it is until then; nothing when it is past.
#[must_use]
pub fn until(then: Instant) -> Option<Duration> {
    Some(then.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
}
