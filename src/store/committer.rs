//! Group commit: many waiters, one flush. A thread of its own, so that no runtime thread waits for a disk.

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use super::{Store, StoreError};

/// Waiters in the channel; more than this wait in front of it. Each is a transaction that holds a permit.
const MAX_WAITERS: usize = 4096;

type Waiter = oneshot::Sender<Result<(), StoreError>>;

/// A handle to the thread that flushes. Dropping the last one ends the thread and waits for it, so that the
/// store can be opened again.
///
/// There is no timer: while one flush runs, whoever comes waits, and all of them share the next.
#[derive(Debug, Clone)]
pub struct Committer {
    thread: Arc<Thread>,
}

#[derive(Debug)]
struct Thread {
    waiters: Option<mpsc::Sender<Waiter>>,
    handle: Option<JoinHandle<()>>,
}

impl Committer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(store: Store) -> std::io::Result<Self> {
        let (waiters, queue) = mpsc::channel(MAX_WAITERS);
        let run = move || run(&store, queue);
        let handle = std::thread::Builder::new().name("store-committer".to_owned()).spawn(run)?;
        Ok(Self { thread: Arc::new(Thread { waiters: Some(waiters), handle: Some(handle) }) })
    }

    /// Waits until every write that returned before this call is durable.
    ///
    /// # Errors
    /// When the flush failed: then nothing is known of these writes, and the store takes no more.
    pub async fn durable(&self) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        let waiters = self.thread.waiters.as_ref().ok_or(StoreError::Stopped)?;
        waiters.send(answer).await.map_err(|_| StoreError::Stopped)?;
        answered.await.map_err(|_| StoreError::Stopped)?
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.waiters = None;
        if let Some(handle) = self.handle.take() {
            // A panic in the thread has been told to every waiter as a closed channel.
            let _ = handle.join();
        }
    }
}

fn run(store: &Store, mut queue: mpsc::Receiver<Waiter>) {
    let mut waiting = Vec::new();
    while queue.blocking_recv_many(&mut waiting, MAX_WAITERS) > 0 {
        let flushed = store.flush_durably();
        for waiter in waiting.drain(..) {
            // A waiter that has gone away does not need the answer.
            let _ = waiter.send(flushed.clone());
        }
    }
}
