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
//!   is copied to the next. That one counts from when it is durable and says so; until then it takes nothing, and the one
//!   before takes nothing from when it is begun.
//! - A batch begins with how far the segment was durable before it, and a second after a sync the log says so, durably, in
//!   any case.
//!   Damage before the furthest such mark is a hole, and fatal. From there on a power cut may have left any pages of what
//!   was not synced, earlier ones lost and later ones there: the log ends before the first frame that cannot be read. A
//!   flipped bit of a batch that was synced within the last second is taken for such an end: it is promised to nobody else
//!   that this cannot happen.
//! - Entries are purged when the snapshot that has them is durable: the engine asks for it as soon as it has told the
//!   state machine to install one ([`LogStore::after_snapshots`]).
//! - After a failed write or sync the log takes no more, and answers nothing, until it is opened again. Room that is
//!   missing for what nobody waits for, a mark or a copy, is no failure. Opening needs room for a copy.
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
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{oneshot, watch};

pub use error::LogError;
pub use live::Hole;
pub use record::RecordError;

use self::live::Live;
use self::record::Record;
use self::writer::{Answer, Failed, Order, Writer};
use super::founding::NodeId;
use super::types::{Entry, LogId, StorageError, Types, Vote};
use crate::wal::Draft;

/// Octets of entries that one message to a peer has at most, but for its first entry.
const APPEND_OCTETS: usize = 256 << 10;

/// The log. Clones share it; the thread that writes ends with the last. One process opens it at a time: whoever opens
/// sees to that.
#[derive(Clone)]
pub struct LogStore {
    shared: Arc<Shared>,
    snapshots: Option<watch::Receiver<Option<LogId>>>,
}

struct Shared {
    live: Arc<Mutex<Live>>,
    failed: Failed,
    orders: Option<Sender<Order>>,
    writer: Option<JoinHandle<()>>,
}

/// What can be read of a log that takes no part.
#[derive(Debug)]
pub struct Readable {
    /// The entries behind the last that was purged, without a gap.
    pub entries: Vec<Entry>,
    /// The last of them that is known to be agreed on.
    pub committed: Option<LogId>,
    /// The last that was purged.
    pub purged: Option<LogId>,
    /// For whom the node has voted.
    pub vote: Option<Vote>,
    /// Why it is not all.
    pub whole: Result<(), LogError>,
}

/// Reads a log as far as it can be read, and changes nothing. Blocks on the disk.
#[must_use]
pub fn look(dir: &Path) -> Readable {
    let (live, whole) = open::look(dir);
    let (committed, purged, vote) = (live.committed, live.purged, live.vote);
    Readable { entries: live.range(&.., usize::MAX), committed, purged, vote, whole }
}

/// Reads entries. Clones share the log, and do not keep its thread.
#[derive(Clone)]
pub struct LogReader {
    live: Arc<Mutex<Live>>,
    failed: Failed,
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
        let (live, failed) = (Arc::new(Mutex::new(live)), writer.failed());
        let thread = std::thread::Builder::new().name("cluster-log".to_owned());
        let writer = thread.spawn(move || writer.run(&ordered)).map_err(|_| LogError::Stopped)?;
        let shared = Shared { live, failed, orders: Some(orders), writer: Some(writer) };
        Ok(Self { shared: Arc::new(shared), snapshots: None })
    }

    /// Has purges wait until the last entry of a snapshot that is durable, as it is told here, is not before theirs.
    #[must_use]
    pub fn after_snapshots(self, last: watch::Receiver<Option<LogId>>) -> Self {
        Self { snapshots: Some(last), ..self }
    }

    /// Octets of the entries that are not purged: in memory, and about as many on the disk.
    #[must_use]
    pub fn octets(&self) -> usize {
        self.shared.live.lock().octets()
    }

    /// The last entry that was purged.
    #[must_use]
    pub fn purged(&self) -> Option<LogId> {
        self.shared.live.lock().purged
    }

    /// The last entry, or the last that was purged where there is none.
    #[must_use]
    pub fn last(&self) -> Option<LogId> {
        self.shared.live.lock().last()
    }

    /// For whom this node has voted.
    #[must_use]
    pub fn vote(&self) -> Option<Vote> {
        self.shared.live.lock().vote
    }

    /// Why it takes no more, once it does not.
    #[must_use]
    pub fn failure(&self) -> Option<LogError> {
        self.shared.failed.get().cloned()
    }

    fn reader(&self) -> LogReader {
        LogReader { live: self.shared.live.clone(), failed: self.shared.failed.clone() }
    }

    fn order(&self, records: Vec<(Record, Draft)>, answer: Option<Answer>) {
        let order = Order { records, answer };
        // Where the thread is gone, what is dropped here says so: the channel of its answer closes.
        let _gone = self.shared.orders.as_ref().map(|orders| orders.send(order));
    }

    /// Writes a record, and waits until it is durable.
    async fn write(&self, record: Record) -> Result<(), LogError> {
        let (answer, answered) = oneshot::channel();
        let draft = record.draft()?;
        // Whoever asked may be gone.
        let answer: Answer = Box::new(move |written| drop(answer.send(written)));
        self.order(vec![(record, draft)], Some(answer));
        answered.await.unwrap_or(Err(LogError::Stopped))
    }

    /// Changes what is in memory at once, and waits until it is durable.
    async fn follow(&self, record: Record) -> Result<(), StorageError> {
        self.reader().live()?.follow(record.clone()).map_err(|hole| failed(&hole))?;
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
        let reader = self.reader();
        let live = reader.live()?;
        Ok(LogState { last_purged_log_id: live.purged, last_log_id: live.last() })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        self.reader()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let written = self.write(Record::Vote(*vote)).await;
        written.map_err(|error| StorageError::from(StorageIOError::write_vote(AnyError::new(&error))))?;
        self.shared.live.lock().vote = Some(*vote);
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        Ok(self.reader().live()?.vote)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        if let Some(committed) = committed {
            let record = Record::Committed(committed);
            let draft = record.draft().map_err(|error| failed(&error))?;
            self.reader().live()?.committed = Some(committed);
            self.order(vec![(record, draft)], None);
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        Ok(self.reader().live()?.committed)
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let framed = |entry| {
            let record = Record::Entry(entry);
            record.draft().map(|draft| (record, draft))
        };
        let records = entries.into_iter().map(framed).collect::<Result<Vec<_>, _>>();
        let records = records.map_err(|error| failed(&error))?;
        self.reader()
            .live()?
            .extend(records.iter().map(|(record, _)| record))
            .map_err(|hole| failed(&hole))?;
        let answer: Answer =
            Box::new(|written| callback.log_io_completed(written.map_err(std::io::Error::other)));
        self.order(records, Some(answer));
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        self.follow(Record::Truncate(log_id.index)).await
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        if let Some(snapshots) = &mut self.snapshots {
            let is_in = |last: &Option<LogId>| last.is_some_and(|last| last.index >= log_id.index);
            // Whoever tells is gone when the state machine has stopped: nothing more is durable then.
            snapshots.wait_for(is_in).await.map_err(|_| failed(&LogError::Stopped))?;
        }
        self.follow(Record::Purge(log_id)).await
    }
}

impl LogReader {
    /// The log as it stands, as long as that is what the disk has or will have.
    #[allow(clippy::result_large_err, reason = "the engine's own error, which its callers hand on")]
    fn live(&self) -> Result<MutexGuard<'_, Live>, StorageError> {
        match self.failed.get() {
            Some(error) => Err(StorageIOError::read_logs(AnyError::new(error)).into()),
            None => Ok(self.live.lock()),
        }
    }
}

impl RaftLogReader<Types> for LogReader {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry>, StorageError> {
        Ok(self.live()?.range(&range, usize::MAX))
    }

    /// None where the first is purged: what follows would seem to follow what the caller has.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, StorageError> {
        let mut entries = self.live()?.range(&(start..end), APPEND_OCTETS);
        if entries.first().is_some_and(|first| first.log_id.index != start) {
            entries.clear();
        }
        Ok(entries)
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry>, StorageError> {
        self.reader().try_get_log_entries(range).await
    }
}

fn failed(error: &(impl std::error::Error + 'static)) -> StorageError {
    StorageIOError::<NodeId>::write_logs(AnyError::new(error)).into()
}

#[cfg(test)]
mod tests;
