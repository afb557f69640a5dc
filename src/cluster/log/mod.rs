//! The log of what the nodes agree on, on this node's disk: votes and entries, under `raft/log`. Stands on [`crate::wal`].
//!
//! A node that forgets its vote can vote twice in a term, and one that forgets an entry can help to drop what was agreed
//! on: so nothing of it is in `sled`, and what cannot be read ends this node's part in the cluster.
//!
//! # Records
//!
//! `postroad.cluster.v1`, one a frame, in one stream, so that vote and entries stand in the order in which they were
//! promised: vote, entry, truncate, purge, committed, synced. Replaying them is the state, which is in memory too: the
//! entries that are not purged, [`Octets`](LogStore::octets) of them for whoever purges.
//!
//! # Invariants
//!
//! - A vote, an end cut off and a purge are on the disk when the call returns; entries when the callback is called, and
//!   can be read when `append` returns. How far entries are agreed on goes along with the next sync.
//! - There is one segment. When entries are purged and most of it would go, and whenever the log is opened, what it says
//!   is copied to the next, which is durable before the first is removed, and takes nothing before that: of two segments
//!   the first is the log, the other a copy that was not finished.
//! - A batch begins with how far the segment was durable before it, and a second after a sync the log says so in any case.
//!   Damage before the furthest such mark is a hole, and fatal. From there on a power cut may have left any pages of what
//!   was not synced, earlier ones lost and later ones there: the log ends before the first frame that cannot be read. A
//!   flipped bit of a batch that was synced within the last second is taken for such an end: it is promised to nobody else
//!   that this cannot happen.
//! - After a failed write or sync the log takes no more until it is opened again.
//! - Entries follow each other without a gap, on the disk and in memory, or the log fails. One that was purged, and comes
//!   again, is passed over.

mod error;
mod live;
mod open;
mod record;
mod writer;

use std::fmt::Debug;
use std::ops::RangeBounds;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{AnyError, LogState, OptionalSend, RaftLogReader, StorageIOError};
use parking_lot::Mutex;
use tokio::sync::oneshot;

pub use error::LogError;
pub use live::Hole;
pub use record::RecordError;

use self::live::Live;
use self::record::Record;
use self::writer::{Answer, Order, Writer};
use super::founding::NodeId;
use super::types::{Entry, LogId, StorageError, Types, Vote};

/// Octets of entries that one message to a peer has at most, but for its first entry.
const APPEND_OCTETS: usize = 256 << 10;

/// The log. Clones share it; the thread that writes ends with the last.
#[derive(Clone)]
pub struct LogStore {
    shared: Arc<Shared>,
}

struct Shared {
    live: Arc<Mutex<Live>>,
    orders: Option<Sender<Order>>,
    writer: Option<JoinHandle<()>>,
}

/// Reads entries. Clones share the log, and do not keep its thread.
#[derive(Clone)]
pub struct LogReader {
    live: Arc<Mutex<Live>>,
}

impl LogStore {
    /// Begins the log of a new node. Blocks on the disk.
    ///
    /// # Errors
    /// When there is one, or the disk fails.
    pub fn create(dir: &Path) -> Result<Self, LogError> {
        let (live, log) = open::create(dir)?;
        Self::start(live.clone(), Writer::new(log, live))
    }

    /// Opens the log of a node. Blocks while it is read and copied: up to 64 MiB, or what was not purged.
    ///
    /// # Errors
    /// When there is none, it is damaged, or the disk fails: this node must not vote under its id any more.
    pub fn open(dir: &Path) -> Result<Self, LogError> {
        let (live, log) = open::open(dir)?;
        Self::start(live.clone(), Writer::new(log, live))
    }

    fn start(live: Live, writer: Writer) -> Result<Self, LogError> {
        let (orders, ordered) = channel();
        let thread = std::thread::Builder::new().name("cluster-log".to_owned());
        let writer = thread.spawn(move || writer.run(&ordered)).map_err(|_| LogError::Stopped)?;
        let live = Arc::new(Mutex::new(live));
        Ok(Self { shared: Arc::new(Shared { live, orders: Some(orders), writer: Some(writer) }) })
    }

    /// Octets of the entries that are not purged: in memory, and about as many on the disk.
    #[must_use]
    pub fn octets(&self) -> usize {
        self.shared.live.lock().octets()
    }

    fn order(&self, records: Vec<Record>, answer: Option<Answer>) {
        let order = Order { records, answer };
        // Where the thread is gone, what is dropped here says so: the channel of its answer closes.
        let _gone = self.shared.orders.as_ref().map(|orders| orders.send(order));
    }

    /// Writes a record, and waits until it is durable.
    async fn write(&self, record: Record) -> Result<(), LogError> {
        let (answer, answered) = oneshot::channel();
        // Whoever asked may be gone.
        let answer: Answer = Box::new(move |written| drop(answer.send(written)));
        self.order(vec![record], Some(answer));
        answered.await.unwrap_or(Err(LogError::Stopped))
    }

    /// Changes what is in memory at once, and waits until it is durable.
    async fn follow(&self, record: Record) -> Result<(), StorageError> {
        self.shared.live.lock().follow(record.clone()).map_err(|hole| failed(&hole))?;
        self.write(record).await.map_err(|error| failed(&error))
    }
}

/// Waits until what was ordered is durable, so that the log can be opened again.
impl Drop for Shared {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(writer) = self.writer.take() {
            // A panic in it has been told to every waiter as a closed channel.
            let _ = writer.join();
        }
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, StorageError> {
        let live = self.shared.live.lock();
        Ok(LogState { last_purged_log_id: live.purged, last_log_id: live.last() })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        LogReader { live: self.shared.live.clone() }
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let written = self.write(Record::Vote(*vote)).await;
        written.map_err(|error| StorageError::from(StorageIOError::write_vote(AnyError::new(&error))))?;
        self.shared.live.lock().vote = Some(*vote);
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        Ok(self.shared.live.lock().vote)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        if let Some(committed) = committed {
            self.shared.live.lock().committed = Some(committed);
            self.order(vec![Record::Committed(committed)], None);
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        Ok(self.shared.live.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let records: Vec<Record> = entries.into_iter().map(Record::Entry).collect();
        {
            let mut live = self.shared.live.lock();
            records
                .iter()
                .try_for_each(|record| live.follow(record.clone()))
                .map_err(|hole| failed(&hole))?;
        }
        let answer: Answer =
            Box::new(|written| callback.log_io_completed(written.map_err(std::io::Error::other)));
        self.order(records, Some(answer));
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        self.follow(Record::Truncate(log_id.index)).await
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        self.follow(Record::Purge(log_id)).await
    }
}

impl RaftLogReader<Types> for LogReader {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry>, StorageError> {
        Ok(self.live.lock().range(&range, usize::MAX))
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, StorageError> {
        Ok(self.live.lock().range(&(start..end), APPEND_OCTETS))
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry>, StorageError> {
        Ok(self.shared.live.lock().range(&range, usize::MAX))
    }
}

fn failed(error: &(impl std::error::Error + 'static)) -> StorageError {
    StorageIOError::<NodeId>::write_logs(AnyError::new(error)).into()
}

#[cfg(test)]
mod tests;
