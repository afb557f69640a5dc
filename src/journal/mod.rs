//! Owns the journal: what became of each transaction, for `postroadctl trace` and `events`. It is no queue and no
//! ledger: nothing is decided by it, it is never flushed for anyone, and what a crash takes is gone.
//!
//! # Invariants
//! - [`Journal::record`] never waits: it puts the entry in a bounded channel, and counts what does not fit.
//! - One writer thread writes in batches, tells subscribers after an entry can be found, and removes the oldest
//!   as it goes: older than 72 hours, past the number of entries, or past the octets.
//!
//! # On disk
//! The store's tree `journal`, four kinds of key, numbers big-endian so that they sort:
//!
//! | key | value |
//! |---|---|
//! | `e` sequence (8) | a version octet and a `postroad.journal.v1.Entry` |
//! | `i` trace id (16) | sequence (8) |
//! | `d` trace id (16), microseconds since 1970 (8), number (2) | a version octet and a `postroad.journal.v1.Delivery` |
//! | `m` hour since 1970 (4), SHA-256 of the Message-ID (8), sequence (8) | empty |
//!
//! Sequences have no gaps, so the first and the last say how many entries there are; each entry carries the
//! octets of all before it, so the same two say how many octets. The hour keeps the writes of the Message-ID
//! index together: random keys would make the store rewrite pages all over.
//!
//! Deliveries, what comes later of a queued message, are kept as long as its transaction is, and only if it is:
//! so they need no end of their own, and their octets count with those of the entries around them. Who records
//! them says only what is new: an hour in which a million messages find nobody at home writes nothing.

mod delivery;
mod entry;
mod records;
mod search;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{broadcast, oneshot};

pub use delivery::{Delivery, DeliveryResult};
pub use entry::{Entry, EntryError, MAX_RECIPIENTS, MAX_STEPS, Outcome};
pub use search::{Criteria, Page, SCAN_LIMIT, SEARCH_LIMIT};

use crate::mail::TraceId;
use crate::store::{Store, StoreError};
use records::Records;
use writer::{Order, Writer};

/// Entries that wait for the writer; at 1 KB each they are a few MB at most.
const CHANNEL_ENTRIES: usize = 4096;
/// Entries that a subscriber may be behind before it misses some.
const SUBSCRIBER_ENTRIES: usize = 1024;
/// Deliveries that are told of one transaction: the newest.
pub const MAX_DELIVERIES: usize = 200;

/// How much the journal keeps; whichever bound is reached first counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long an entry is kept.
    pub age: Duration,
    /// How many entries.
    pub entries: u64,
    /// Octets of all entries.
    pub octets: u64,
}

impl Default for Limits {
    /// 72 hours, 1,000,000 entries, 512 MiB.
    fn default() -> Self {
        Self { age: Duration::from_hours(72), entries: 1_000_000, octets: 512 << 20 }
    }
}

/// Why the journal could not answer.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The store failed.
    #[error("journal cannot use the store")]
    Store(#[from] StoreError),
    /// A stored entry cannot be read.
    #[error("journal holds an unreadable entry")]
    Entry(#[from] EntryError),
    /// The thread that writes, or one that reads, could not run.
    #[error("journal thread cannot run")]
    Thread(#[source] std::io::Error),
}

/// An entry in its place among all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Grows by one with every entry, across restarts.
    pub sequence: u64,
    /// What became of the transaction.
    pub entry: Entry,
}

/// What subscribers hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    /// A transaction ended.
    Ended(Arc<Recorded>),
    /// Something came of a queued copy of this transaction.
    Later(TraceId, Arc<Delivery>),
}

/// The journal. Clones share it; the writer ends with the last clone, after writing what it was given.
#[derive(Clone, Debug)]
pub struct Journal {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    orders: Option<SyncSender<Order>>,
    records: Records,
    events: broadcast::Sender<Happened>,
    dropped: Arc<AtomicU64>,
    writer: Option<JoinHandle<()>>,
}

/// Waits until the writer has written what it was given, so that the store can be closed.
impl Drop for Shared {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(writer) = self.writer.take() {
            writer.thread().unpark();
            // A panic in the writer has been seen as a closed channel.
            let _ = writer.join();
        }
    }
}

impl Journal {
    /// Opens the journal and starts its writer. Blocks on the disk.
    ///
    /// # Errors
    /// When the store fails or the thread cannot be started.
    pub fn open(store: &Store, limits: Limits) -> Result<Self, JournalError> {
        let records = Records::new(store.tree("journal")?);
        let (orders, receiver) = sync_channel(CHANNEL_ENTRIES);
        let (events, _) = broadcast::channel(SUBSCRIBER_ENTRIES);
        let dropped = Arc::new(AtomicU64::new(0));
        let writer = Writer::new(records.clone(), limits, events.clone(), Arc::clone(&dropped))?;
        let writer = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || writer.run(&receiver))
            .map_err(JournalError::Thread)?;
        let shared = Shared { orders: Some(orders), records, events, dropped, writer: Some(writer) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Records what became of a transaction. Never waits; what does not fit is counted and gone.
    pub fn record(&self, entry: Entry) {
        self.give(Order::Record(Box::new(entry)));
    }

    /// Records what came later of a message that was queued; of a transaction that is not kept, nothing. Never
    /// waits, as [`Self::record`].
    pub fn record_delivery(&self, id: TraceId, delivery: Delivery) {
        self.give(Order::Deliver(Box::new((id, delivery))));
    }

    fn give(&self, order: Order) {
        let sent = self.shared.orders.as_ref().map(|orders| orders.try_send(order));
        if !matches!(sent, Some(Ok(()))) {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Entries that were not kept since the start: the channel was full, or the store failed.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Entries and deliveries from now on, in order, each after it can be found. A receiver that falls behind by more than
    /// 1024 is told how many it missed.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Happened> {
        self.shared.events.subscribe()
    }

    /// The entry of a trace id.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn find(&self, id: TraceId) -> Result<Option<Recorded>, JournalError> {
        self.settled().await;
        let records = self.shared.records.clone();
        blocking(move || match records.sequence_of(id)? {
            Some(sequence) => records.read(sequence),
            None => Ok(None),
        })
        .await
    }

    /// What came later of transactions, in their order: of each the newest [`MAX_DELIVERIES`], the oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn deliveries(&self, ids: Vec<TraceId>) -> Result<Vec<Vec<Delivery>>, JournalError> {
        self.settled().await;
        let records = self.shared.records.clone();
        blocking(move || ids.iter().map(|id| records.deliveries(*id)).collect()).await
    }

    /// Entries that meet all criteria, newest first. Reads at most [`SCAN_LIMIT`] entries, so a page can be
    /// short, or empty, and still have a next one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn search(&self, criteria: Criteria) -> Result<Page, JournalError> {
        self.settled().await;
        let records = self.shared.records.clone();
        blocking(move || search::run(&records, &criteria)).await
    }

    /// Entries after a sequence, oldest first, at most [`SEARCH_LIMIT`].
    ///
    /// # Errors
    /// When the store fails.
    pub async fn after(&self, sequence: u64) -> Result<Vec<Recorded>, JournalError> {
        let records = self.shared.records.clone();
        blocking(move || records.after(sequence).take(SEARCH_LIMIT).collect()).await
    }

    /// Resolves when all that was recorded before can be found; every question asks for it first.
    pub async fn settled(&self) {
        let (done, settled) = oneshot::channel();
        let Some(orders) = self.shared.orders.clone() else { return };
        let sent = tokio::task::spawn_blocking(move || orders.send(Order::Settle(done))).await;
        if matches!(sent, Ok(Ok(()))) {
            if let Some(writer) = &self.shared.writer {
                writer.thread().unpark();
            }
            // An error means that the writer is gone: then nothing is left to wait for.
            let _ = settled.await;
        }
    }
}

async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, JournalError> + Send + 'static,
) -> Result<T, JournalError> {
    match tokio::task::spawn_blocking(read).await {
        Ok(result) => result,
        Err(error) => Err(JournalError::Thread(std::io::Error::other(error))),
    }
}

#[cfg(test)]
mod tests;
