//! How a node ends.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a drain waits for transactions in flight and late replies.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(300);

/// What ends a node, and what must have ended before it does.
#[derive(Default)]
pub(super) struct Life {
    /// Cancelled when a stage is found gone.
    pub(super) broken: CancellationToken,
    /// Cancelled when the databases must be opened anew, and can be.
    pub(super) stale: CancellationToken,
    /// Cancelled first: nothing new is taken.
    pub(super) draining: CancellationToken,
    pub(super) sessions: TaskTracker,
    pub(super) settling: TaskTracker,
    pub(super) late: TaskTracker,
    /// Cancelled last: what watches and serves in the background.
    pub(super) background: CancellationToken,
    pub(super) tasks: TaskTracker,
}
