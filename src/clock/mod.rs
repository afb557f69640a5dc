//! Wall time. The one place that reads the system's clock; monotonic time is `tokio::time`, which tests pause.

use std::time::SystemTime;

/// The wall time now.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the one place that may")]
pub fn now() -> SystemTime {
    SystemTime::now()
}
