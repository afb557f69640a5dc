//! Places on the processor for reckoning that would hold up an async thread: on the blocking pool, as many at a time as
//! there are processors, whatever a peer has us reckon. A place is held while something is reckoned, and never while
//! anybody is waited for. Who has little to reckon does it where it stands: a place costs some 20 µs.

use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::sync::Semaphore;
use tokio::task::{JoinError, spawn_blocking};

/// The processors. A clone is the same ones.
#[derive(Debug, Clone)]
pub struct Cores(Arc<Semaphore>);

impl Cores {
    /// All of the machine's, as far as this process may use them.
    #[must_use]
    pub fn of_machine() -> Self {
        Self::new(available_parallelism().map_or(1, usize::from))
    }

    fn new(places: usize) -> Self {
        Self(Arc::new(Semaphore::new(places)))
    }

    /// Does the work when a place is free, in the order of asking. Work that was begun is done, whether or not anybody
    /// still waits for it.
    ///
    /// # Errors
    /// When the work panics.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        // Nobody closes it.
        let place = self.0.clone().acquire_owned().await;
        spawn_blocking(move || {
            let done = work();
            drop(place);
            done
        })
        .await
    }
}

#[cfg(test)]
#[path = "cores_tests.rs"]
mod tests;
