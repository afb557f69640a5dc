//! Places on the processor for reckoning that would hold up an async thread: a thread for each processor, whatever a peer
//! has us reckon. One is held while something is reckoned, and never while anybody is waited for. Who has little to reckon
//! does it where it stands: the way there and back costs some 20 µs.

use std::io;
use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;

/// The processors. A clone is the same ones.
#[derive(Debug, Clone)]
pub struct Cores {
    threads: Handle,
    _kept: Arc<Threads>,
}

/// The blocking threads of a runtime that has nothing else: where their number is the bound, waiting for one costs
/// nothing.
#[derive(Debug)]
struct Threads(Option<Runtime>);

impl Cores {
    /// All of the machine's, as far as this process may use them.
    ///
    /// # Errors
    /// When the system has nothing left for them.
    pub fn of_machine() -> io::Result<Self> {
        Self::new(available_parallelism().map_or(1, NonZero::get))
    }

    fn new(places: usize) -> io::Result<Self> {
        let threads =
            Builder::new_current_thread().max_blocking_threads(places).thread_name("reckoning").build()?;
        Ok(Self { threads: threads.handle().clone(), _kept: Arc::new(Threads(Some(threads))) })
    }

    /// Does the work when a place is free, in the order of asking. Work that was begun is done, whether or not anybody
    /// still waits for it; what nobody waits for any more is not begun.
    ///
    /// # Errors
    /// When the work panics.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        AbortOnDropHandle::new(self.threads.spawn_blocking(work)).await
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Waiting for them would hold up an async thread.
        if let Some(threads) = self.0.take() {
            threads.shutdown_background();
        }
    }
}

#[cfg(test)]
#[path = "cores_tests.rs"]
mod tests;
