//! A disk that does not answer, for the tests of those who write to it.

use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Holds the lock that an owner holds while the disk is written to.
pub(crate) struct StalledDisk {
    release: Sender<()>,
    held: JoinHandle<bool>,
}

impl StalledDisk {
    /// Returns once it is held.
    pub(crate) async fn of<T: Send + Sync + 'static, L: Send + 'static>(
        owner: Arc<T>,
        lock: fn(&T) -> &Mutex<L>,
    ) -> Self {
        let (release, released) = mpsc::channel::<()>();
        let (holds, is_held) = oneshot::channel();
        let held = thread::spawn(move || {
            let _held = lock(&owner).lock();
            holds.send(()).unwrap();
            // Bounded, for a runtime that is held up: it cannot say that it is not.
            released.recv_timeout(Duration::from_secs(5)).is_ok()
        });
        is_held.await.unwrap();
        Self { release, held }
    }

    /// Lets it go. Whoever comes here while it is held was not held up.
    pub(crate) fn release(&self) -> bool {
        self.release.send(()).is_ok()
    }

    /// Whether it was let go, and not given up.
    pub(crate) fn was_released(self) -> bool {
        self.held.join().unwrap()
    }
}
