//! The queue's bytes: messages on disk until every copy of them is settled.
//!
//! # Files, under `DATA/spool`
//!
//! ```text
//! spool.lock            held (flock) by the process that has the spool open
//! segments/NUMBER.log   the log, which is the truth
//! bodies/ULID           bodies past 256 KiB, a file each; ULID.partial: being copied
//! index/                where each message is, its state, and what is due when; made again from the log
//!                       whenever it is missing, damaged, or does not fit
//! index.damaged/        the last index that was not in order
//! quarantine/           octets of the log that could not be read: SEGMENT-OFFSET, and .body
//! ```
//!
//! # Records
//!
//! The log is one of [`crate::wal`], whose frames have three parts, of this magic, version and kinds:
//!
//! ```text
//! magic    8f "PRS" CR LF 1a LF
//! version  2; in 1 no put had a cause
//! kind     1 put, 2 state, 3 done
//! meta     protobuf (proto/postroad/spool/v1: Put, Message, Done)
//! head     the header section (put)
//! body     the body           (put, unless it has a file)
//! ```
//!
//! A notification of ours and the new state of the message that it tells of, its cause, are one `put`: of the two there
//! are both or neither, wherever a crash cuts the log off, so that nobody is told twice of one thing, and nothing ends
//! untold. The message is kept as it is sent on: header section with our fields, and body. It may hold anything, frames
//! too: that frames have a salt keeps its sender from putting records into the queue.
//!
//! # Invariants
//!
//! - `put` returns when its frame, and the name of its file if it has one, are on the disk. One thread
//!   writes; all who wait while it syncs share the next sync, and nobody waits for a timer.
//! - `update` and `remove` return when written, and are on the disk a second later at most. What a power cut
//!   takes of them is a message delivered twice, which is better than never; a kill takes nothing.
//! - Later in the log counts: a `state` replaces that of the message's `put`, a `put` replaces a `put`, a
//!   `done` ends them; of a message that is not there a `state` says nothing. A lost `state` leaves that of
//!   the `put`. The cause in a `put` is a `state`, or without copies a `done`, in that place: where the `put` is moved to,
//!   it is none any more.
//! - Segments go in order, the oldest first: so no `done` is forgotten before the `put` that it ends, and
//!   deleting the index brings nothing back. To let that happen, live records of the oldest segment are put
//!   again at the end (`compactor`). Differs from compacting whichever segment is sparse, because then it
//!   would have to be known of each `done` which segments it still holds down.
//! - A segment, or a body, is removed only when the index that does not need it is durable.
//! - The index is behind the log, and knows how far it is: at most a second at a kill, and that much is read
//!   again. When it is ahead (a power cut took the log's end) it is not believed. Opening counts its
//!   entries against its totals, since the database under it may lose a part without a word.
//! - The end of the last segment that is the beginning of a frame, or zeros, is a write that was cut off and
//!   never acknowledged: it is cut off. All else that cannot be read is kept in `quarantine/`, logged as an
//!   error and counted (`poisoned_messages_total{stage="spool"}`), and reading goes on with the next frame.
//! - A message whose octets are damaged stays in the queue as long as its envelope is known, from the index
//!   or because that part of the record has a sum of its own: whoever loads it tells its sender, and removes
//!   it. What is lost without an envelope only the operator hears of.
//! - Of a failed write only those who waited for it hear, and the log is as it was.
//!   A full disk still takes changes.
//! - Of a failed sync those hear who waited for it, and their records are cut off; all else that was not synced
//!   is written again, so that the next sync is about all of it. Until one succeeds no message is taken.
//! - Nothing is in memory per message: some octets for each client's network and each destination that has any, to bound
//!   what one of them can hold. What is refused for that its client keeps. A notification counts with the client of what it
//!   tells of, and has as many places again: past these it waits, and what it tells of with it.
//!
//! A change of the format gives frames a new version; those of every older one stay readable, with a
//! segment of each in `src/spool/fixtures`.

mod bodies;
mod committer;
mod compactor;
mod error;
mod index;
mod indexer;
mod lock;
mod log;
mod model;
mod quarantine;
mod read;
mod record;
mod recover;
mod threads;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use prost::Message as _;
use tokio::task::spawn_blocking;

pub use error::{SpoolError, is_no_room};
pub use index::{Counts, Crowd};
pub use log::FORMAT;
pub use model::{Bounces, CopyState, Described, Direction, LastAttempt, Queued, QueuedCopy};
pub use quarantine::Quarantined;
pub use recover::Recovered;

use self::bodies::Bodies;
use self::committer::{Order, Purpose, Write};
use self::index::{Entry, Event, Index};
use self::log::{Kind, MAX_BODY_OCTETS, draft};
use self::quarantine::Quarantine;
use self::read::{Loaded, Reader};
use self::recover::Recovery;
use self::threads::Threads;
use crate::mail::{Body, Domain, Message, TraceId};
use crate::private_files;
use crate::proto::spool::v1;
use crate::telemetry::Metrics;
use crate::wal::{self, Draft, Location, Segments};

/// The name of the lock, in the spool's folder.
const LOCK: &str = "spool.lock";

/// How a spool is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Free octets of the disk below which no new message is taken.
    pub min_free_octets: u64,
    /// Octets at which a segment is sealed and the next begun.
    pub segment_octets: u64,
    /// Messages past which none is taken; an eighth of it of one client's network, a half of it for one destination.
    pub max_messages: usize,
}

impl Default for Options {
    /// 1 GiB free; segments of 64 MiB; a million messages.
    fn default() -> Self {
        Self { min_free_octets: 1 << 30, segment_octets: 64 << 20, max_messages: 1_000_000 }
    }
}

/// The queue on disk. Clones share it; when the last is dropped, its threads end, and all is durable.
#[derive(Debug, Clone)]
pub struct Spool {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    threads: Threads,
    index: Arc<Index>,
    bodies: Bodies,
    reader: Reader,
    max_messages: usize,
    _lock: File,
}

impl Spool {
    /// Opens the spool in a folder, creating it where it is missing. Blocks for as long as recovery takes:
    /// seconds for a million messages, tens of seconds when the index has to be made again.
    ///
    /// # Errors
    /// When another process has it open, the disk fails, or a newer version wrote it.
    pub fn open(
        dir: &Path,
        options: Options,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, Recovered), SpoolError> {
        private_files::folder(dir).map_err(|cause| SpoolError::io("create", dir, cause))?;
        let lock = lock::take(&dir.join(LOCK))?;
        let segments = Segments::open(FORMAT, dir.join("segments"))?;
        let bodies = Bodies::open(dir.join("bodies"))?;
        // A folder whose name is not durable takes all that is in it along when power is lost.
        wal::sync_dir(dir)?;
        dir.parent().map_or(Ok(()), wal::sync_dir)?;
        let quarantine = Quarantine::new(dir.join("quarantine"), metrics.clone());
        let recovery = Recovery {
            dir: dir.to_owned(),
            segments: segments.clone(),
            bodies: bodies.clone(),
            quarantine: quarantine.clone(),
            segment_octets: options.segment_octets,
            found: Recovered::default(),
        };
        let (index, log, recovered) = recovery.run()?;
        let index = Arc::new(index);
        let parts = threads::Parts { log, index: index.clone(), segments, bodies, metrics };
        let reader = Reader::new(&parts, quarantine);
        let bodies = parts.bodies.clone();
        let threads = Threads::start(parts, reader.clone(), options)
            .map_err(|cause| SpoolError::io("serve", dir, cause))?;
        let inner = Inner { threads, index, bodies, reader, max_messages: options.max_messages, _lock: lock };
        Ok((Self { inner: Arc::new(inner) }, recovered))
    }

    /// Looks for what [`Spool::open`] would refuse, as far as that shows without recovery, and changes nothing.
    ///
    /// # Errors
    /// As [`Spool::open`].
    pub fn inspect(dir: &Path) -> Result<(), SpoolError> {
        lock::look(&dir.join(LOCK))?;
        let folder = dir.join("segments");
        if !folder.exists() {
            return Ok(());
        }
        let segments = Segments::at(FORMAT, folder);
        segments.list()?.into_iter().try_for_each(|segment| Ok(segments.header(segment).map(drop)?))
    }

    /// Takes a message: its octets as they are sent on, and what the queue knows of it. Durable when this
    /// returns. Its id is used once: what has left must not come back under it.
    ///
    /// # Errors
    /// [`SpoolError::NoRoom`] when the disk is full or below the floor; [`SpoolError::Crowded`] when there are as many
    /// messages as may be; else when the disk fails. The message is not in the queue then.
    pub async fn put(&self, queued: Queued, message: &Message) -> Result<(), SpoolError> {
        self.admit()?;
        self.has_place(&queued)?;
        self.put_notice(queued, message, None).await
    }

    /// As [`Spool::put`], below the floor and up to twice the bounds of messages: for what has been admitted, and for a word
    /// to the sender of a message that leaves then. That message's new
    /// state, its `cause`, is part of the same record: after a crash both are there or neither is. Without copies it has
    /// left.
    ///
    /// # Errors
    /// As [`Spool::put`], with [`SpoolError::NoRoom`] for a disk that is full to the last octet. The former state of the
    /// cause holds then.
    pub async fn put_notice(
        &self,
        queued: Queued,
        message: &Message,
        cause: Option<&Queued>,
    ) -> Result<(), SpoolError> {
        self.has_places(&queued, self.inner.max_messages.saturating_mul(2))?;
        let id = queued.id;
        let (inline, file) = self.place_body(id, message.body()).await?;
        let in_file = file.is_some();
        let changed = cause.map_or(id, |cause| cause.id);
        let cause = cause.map(record::encode);
        let put = v1::Put { cause: cause.clone(), ..record::put(record::encode(&queued), file) };
        let result = match draft(Kind::Put, put.encode_to_vec(), message.emitted_head(), inline) {
            Ok(draft) => {
                let entry = Entry {
                    location: Location::default(),
                    message_octets: message.emitted_octets(),
                    in_file,
                    message: put.message.unwrap_or_default(),
                };
                let cause = cause.map(Event::change).transpose().map_err(SpoolError::Entry)?;
                let events = [Event::New(Box::new(entry))].into_iter().chain(cause).collect();
                self.write(changed, draft, events, Purpose::Put).await
            }
            Err(error) => Err(error),
        };
        if result.is_err() && in_file {
            let bodies = self.inner.bodies.clone();
            blocking(move || {
                bodies.remove(id);
                Ok(())
            })
            .await?;
        }
        result
    }

    /// Where the body goes: into the record, or into a file of its own.
    async fn place_body(
        &self,
        id: TraceId,
        body: &Body,
    ) -> Result<(Bytes, Option<v1::BodyFile>), SpoolError> {
        if let Body::Memory(octets) = body
            && octets.len() <= MAX_BODY_OCTETS
        {
            return Ok((octets.clone(), None));
        }
        let (bodies, body) = (self.inner.bodies.clone(), body.clone());
        let file = blocking(move || bodies.keep(id, &body)).await?;
        Ok((Bytes::new(), Some(file)))
    }

    /// Notes the new state of a message's copies. Written when this returns, and durable within a second.
    /// Of a message that is not in the queue nothing is noted.
    ///
    /// # Errors
    /// When it cannot be written; the former state holds then. A full disk is told by [`SpoolError::NoRoom`]
    /// although there is no floor for this: ask again.
    pub async fn update(&self, queued: Queued) -> Result<(), SpoolError> {
        let message = record::encode(&queued);
        let draft = draft(Kind::State, message.encode_to_vec(), Vec::new(), Bytes::new())?;
        self.write(queued.id, draft, vec![Event::State(message)], Purpose::Change).await
    }

    /// Takes a message out of the queue. Written when this returns, and durable within a second; a power cut
    /// before that brings the message back, to be delivered twice.
    ///
    /// # Errors
    /// As [`Spool::update`]: the message is still in the queue then.
    pub async fn remove(&self, id: TraceId) -> Result<(), SpoolError> {
        self.write(id, recover::done(id)?, vec![Event::Done(id)], Purpose::Change).await
    }

    /// Moves the floor below which no new message is taken: [`Options::min_free_octets`]. Blocks on the disk.
    pub fn set_floor(&self, octets: u64) {
        self.inner.threads.set_floor(octets);
    }

    /// Waits until everything that was written is durable.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn sync(&self) -> Result<(), SpoolError> {
        self.inner.threads.ask(Order::Sync).await
    }

    /// What the queue knows of a message.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn get(&self, id: TraceId) -> Result<Option<Queued>, SpoolError> {
        self.query(move |index| index.entry(id)?.map(|entry| entry.queued()).transpose()).await
    }

    /// A message with its octets, which are those that were put, or an error.
    ///
    /// # Errors
    /// [`SpoolError::Damaged`] when they are not: its octets are kept aside then, and it is in the queue
    /// until its sender is told and it is removed. Else when disk or index fail.
    pub async fn load(&self, id: TraceId) -> Result<Option<(Queued, Message)>, SpoolError> {
        let reader = self.inner.reader.clone();
        self.settle().await?;
        match blocking(move || reader.load(id)).await? {
            Loaded::Whole(queued, message) => Ok(Some((*queued, message))),
            Loaded::Gone => Ok(None),
            Loaded::Damaged(error) => Err(error),
        }
    }

    /// Messages with a copy for this domain that is due, the earliest first.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn due(
        &self,
        domain: &Domain,
        until: SystemTime,
        limit: usize,
    ) -> Result<Vec<(SystemTime, TraceId)>, SpoolError> {
        let domain = domain.clone();
        self.query(move |index| index.due(&domain, until, limit)).await
    }

    /// Each domain that copies go to and wait for their time, with the earliest of these times. Costs a look
    /// a domain, not one a message.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn domains(&self) -> Result<Vec<(Domain, SystemTime)>, SpoolError> {
        self.query(Index::domains).await
    }

    /// Messages behind an id, in the order of ids, which is that of their coming: as many as wanted, or fewer
    /// when their states are long. Behind an empty list there are no more.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn list(&self, after: Option<TraceId>, limit: usize) -> Result<Vec<Queued>, SpoolError> {
        self.query(move |index| index.entries(after, limit)?.iter().map(Entry::queued).collect()).await
    }

    /// As [`Spool::get`], with the message's size.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn describe(&self, id: TraceId) -> Result<Option<Described>, SpoolError> {
        self.query(move |index| index.entry(id)?.as_ref().map(Entry::described).transpose()).await
    }

    /// As [`Spool::list`], with the messages' sizes.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn describe_all(
        &self,
        after: Option<TraceId>,
        limit: usize,
    ) -> Result<Vec<Described>, SpoolError> {
        self.query(move |index| index.entries(after, limit)?.iter().map(Entry::described).collect()).await
    }

    /// How many messages there are; what was written a moment ago may not be counted yet.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.inner.index.counts()
    }

    /// Removes from `quarantine/` what is past the bounds of [`crate::kept_aside`], the oldest first.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn expire_quarantined(&self, now: SystemTime) -> Result<(), SpoolError> {
        let reader = self.inner.reader.clone();
        blocking(move || reader.quarantine.expire(now)).await
    }

    /// How many records are in `quarantine/`: what could not be read, until the operator removes it or it is too old.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub async fn quarantined(&self) -> Result<u64, SpoolError> {
        let reader = self.inner.reader.clone();
        blocking(move || reader.quarantine.count()).await
    }

    /// When the oldest message was received.
    ///
    /// # Errors
    /// When the index fails.
    pub async fn oldest(&self) -> Result<Option<SystemTime>, SpoolError> {
        self.query(Index::oldest).await
    }

    /// Whether a message would be taken now. Looked at once a second.
    ///
    /// # Errors
    /// What [`Spool::put`] would say.
    pub fn admit(&self) -> Result<(), SpoolError> {
        self.inner.threads.admit()
    }

    /// Whether the queue takes one more message of this client and for these destinations. What was written a moment ago may
    /// not be counted yet, so that a few more than may be are let in at once.
    ///
    /// # Errors
    /// [`SpoolError::Crowded`].
    pub fn has_place(&self, queued: &Queued) -> Result<(), SpoolError> {
        self.has_places(queued, self.inner.max_messages)
    }

    fn has_places(&self, queued: &Queued, most: usize) -> Result<(), SpoolError> {
        let crowd = self.inner.index.crowded(most, queued);
        crowd.map_or(Ok(()), |crowd| Err(SpoolError::Crowded(crowd)))
    }

    /// Whether the disk has failed the index. Messages are still taken and changes noted, but nothing is found
    /// again until the spool is opened anew.
    #[must_use]
    pub fn index_has_failed(&self) -> bool {
        self.inner.threads.index_has_failed()
    }

    async fn write(
        &self,
        id: TraceId,
        draft: Draft,
        events: Vec<Event>,
        purpose: Purpose,
    ) -> Result<(), SpoolError> {
        let write = |answer| Order::Write(Box::new(Write { id, draft, events, purpose, answer }));
        self.inner.threads.ask(write).await
    }

    /// Waits until the index knows all that was written before.
    async fn settle(&self) -> Result<(), SpoolError> {
        self.inner.threads.ask(Order::Settle).await
    }

    /// Asks the index, which knows all that was written before.
    async fn query<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Index) -> Result<T, SpoolError> + Send + 'static,
    ) -> Result<T, SpoolError> {
        self.settle().await?;
        let index = self.inner.index.clone();
        blocking(move || ask(&index)).await
    }
}

/// Runs what waits for a disk where that holds nobody up.
async fn blocking<T: Send + 'static>(
    run: impl FnOnce() -> Result<T, SpoolError> + Send + 'static,
) -> Result<T, SpoolError> {
    spawn_blocking(run).await.map_err(|_| SpoolError::Stopped)?
}

#[cfg(test)]
mod tests;
