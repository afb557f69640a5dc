//! The one thread that writes the log. Whoever comes while one sync runs shares the next: no timer.
//!
//! A put is answered once it is on the disk. A change of state, and a message's leaving, are answered once
//! they are written: what a power cut takes of them is a message delivered twice. They are on the disk
//! with the next put, and within [`TICK`] in any case.
//!
//! After a failed sync no message is taken until a sync succeeds, which is tried at each tick; the log sees
//! to it that success means what it says. Changes are still written, since the queue goes on.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::bodies::Bodies;
use super::error::SpoolError;
use super::index::Event;
use super::indexer::Note;
use super::log;
use crate::mail::TraceId;
use crate::telemetry::{Metrics, free_octets};
use crate::wal::{Draft, Location, Log};

/// Most writes of a batch.
const BATCH_WRITES: usize = 256;
/// Octets at which a batch is closed.
const BATCH_OCTETS: usize = 8 << 20;
/// How long a write may wait for the disk when nobody waits for it; and how often free space is looked at.
const TICK: Duration = Duration::from_secs(1);

/// Who hears what came of an order.
pub(super) type Answer = oneshot::Sender<Result<(), SpoolError>>;

/// What the thread is asked for.
#[derive(Debug)]
pub(super) enum Order {
    /// Add this to the log.
    Write(Box<Write>),
    /// Answer when all that came before is durable.
    Sync(Answer),
    /// Answer when the index knows all that came before.
    Settle(Answer),
    /// Watch these messages until each is moved: one that changes in between is not.
    Watch(Vec<TraceId>, Answer),
}

/// A record to be added.
#[derive(Debug)]
pub(super) struct Write {
    /// The message that it changes, ends or moves, if any is there: a new one is nobody's yet.
    pub(super) id: TraceId,
    pub(super) draft: Draft,
    /// What it tells the index.
    pub(super) events: Vec<Event>,
    pub(super) purpose: Purpose,
    pub(super) answer: Answer,
}

/// What a write is for, which says when it is answered and what becomes of it when the disk is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A new message.
    Put,
    /// A change of one, or its leaving.
    Change,
    /// The copy of a live record, so that its segment can go.
    Move,
}

/// An order on its way, and its place in the channel.
pub(super) type Queued = (Order, OwnedSemaphorePermit);

/// What others may know of the thread without asking it.
#[derive(Debug, Default)]
pub(super) struct Status {
    /// Free octets below which no new message is taken.
    pub(super) floor_octets: AtomicU64,
    /// The disk has less room than the floor.
    pub(super) full: AtomicBool,
    /// The last sync failed.
    pub(super) failed: AtomicBool,
    /// Why the index is behind the log; it stays so until the spool is opened again.
    pub(super) index_failure: OnceLock<SpoolError>,
}

impl Status {
    /// Takes note of how many octets are free.
    pub(super) fn measured(&self, free_octets: u64) {
        self.full.store(free_octets < self.floor_octets.load(Ordering::Acquire), Ordering::Release);
    }
}

/// The thread's state.
#[derive(Debug)]
pub(super) struct Committer {
    pub(super) log: Log,
    pub(super) bodies: Bodies,
    pub(super) status: Arc<Status>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) notes: SyncSender<Note>,
    pub(super) watched: HashMap<TraceId, Watched>,
    pub(super) pending: Pending,
}

/// What became of a message that is about to be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watched {
    Same,
    Changed,
}

/// What is to be done at the next tick.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// The log has writes that are not durable.
    sync: bool,
    /// The index has what is not durable.
    flush: bool,
}

impl Committer {
    /// Works until every sender is gone and the channel is empty; then all is durable.
    pub(super) fn run(mut self, orders: &Receiver<Queued>) {
        let mut tick = Instant::now();
        loop {
            let first = match orders.recv_timeout(TICK.saturating_sub(tick.elapsed())) {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let (writes, other) = collect(first, orders);
            self.write(writes);
            if let Some(other) = other {
                self.obey(other);
            }
            if tick.elapsed() >= TICK {
                self.tick();
                tick = Instant::now();
            }
        }
        self.tick();
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Write(write) => self.write(vec![*write]),
            Order::Sync(answer) => {
                let synced = self.sync();
                // Whoever asked may be gone.
                let _ = answer.send(synced);
            }
            Order::Settle(answer) => self.note(Note::Settle(answer)),
            Order::Watch(ids, answer) => {
                self.watched = ids.into_iter().map(|id| (id, Watched::Same)).collect();
                // Whoever asked may be gone.
                let _ = answer.send(Ok(()));
            }
        }
    }

    fn tick(&mut self) {
        match free_octets(self.log.dir()) {
            Ok(free) => self.status.measured(free),
            Err(error) => tracing::warn!(%error, "the free space of the spool's disk is not known"),
        }
        if (self.pending.sync || self.status.failed.load(Ordering::Acquire)) && self.sync().is_err() {
            return;
        }
        if self.pending.flush {
            self.pending.flush = false;
            self.note(Note::Flush(self.log.end()));
        }
    }

    fn note(&self, note: Note) {
        // The other thread goes before this one only by a panic.
        if self.notes.send(note).is_err() && self.status.index_failure.set(SpoolError::Stopped).is_ok() {
            tracing::error!("the spool's index has stopped: what is queued stays on the disk");
        }
    }

    /// Makes the log durable.
    fn sync(&mut self) -> Result<(), SpoolError> {
        let started = Instant::now();
        let synced = self.log.sync().map_err(SpoolError::from);
        self.metrics.storage_flush_duration_seconds.observe(started.elapsed().as_secs_f64());
        self.pending.sync = synced.is_err();
        let failed_before = self.status.failed.swap(synced.is_err(), Ordering::AcqRel);
        match &synced {
            Err(error) if !failed_before => tracing::error!(
                error = error as &dyn std::error::Error,
                "the queue takes no new messages: what is written to the spool cannot be synced to the disk"
            ),
            Ok(()) if failed_before => tracing::warn!("the queue takes messages again: the spool is synced"),
            Ok(()) | Err(_) => {}
        }
        synced
    }

    /// Writes a batch and answers it.
    fn write(&mut self, mut writes: Vec<Write>) {
        self.leave_changed(&mut writes);
        // New messages last, so that they alone are cut off again if they cannot be synced. No other record
        // of theirs can be among these: nobody has heard of them yet. Nor a later one of what they tell of:
        // whoever has that in hand waits for the answer.
        writes.sort_by_key(|write| write.purpose == Purpose::Put);
        let written = self.append(writes);
        if written.is_empty() {
            return;
        }
        self.pending = Pending { sync: true, flush: true };
        let mut events = Vec::with_capacity(written.len());
        let mut waiting = Vec::new();
        for (write, location) in written {
            if write.purpose == Purpose::Put {
                waiting.push((located(write.events, location), location.at, write.answer));
            } else {
                events.extend(located(write.events, location));
                // Whoever asked may be gone.
                let _ = write.answer.send(Ok(()));
            }
        }
        if let Some(first) = waiting.first().map(|(_, at, _)| *at) {
            let synced = self.sync();
            if synced.is_err() {
                self.log.cut_back(first);
            }
            for (put, _, answer) in waiting {
                events.extend(synced.is_ok().then_some(put).into_iter().flatten());
                let _ = answer.send(synced.clone());
            }
        }
        self.note(Note::Apply { events, checkpoint: self.log.end() });
    }

    /// Leaves out moves of messages that have changed since they were read, and notes what changes.
    fn leave_changed(&mut self, writes: &mut Vec<Write>) {
        if self.watched.is_empty() {
            return;
        }
        let mut kept = Vec::with_capacity(writes.len());
        for write in writes.drain(..) {
            match (write.purpose, self.watched.get_mut(&write.id)) {
                (Purpose::Move, Some(Watched::Same)) => kept.push(write),
                (Purpose::Move, Some(Watched::Changed) | None) => {
                    let _ = write.answer.send(Ok(()));
                }
                (Purpose::Put | Purpose::Change, watched) => {
                    if let Some(watched) = watched {
                        *watched = Watched::Changed;
                    }
                    kept.push(write);
                }
            }
        }
        *writes = kept;
    }

    /// Adds what there is room for, and answers the rest: a full disk still takes changes, which are small
    /// and without which what was delivered is delivered again.
    fn append(&mut self, mut writes: Vec<Write>) -> Vec<(Write, Location)> {
        if self.status.failed.load(Ordering::Acquire) {
            let others = writes.extract_if(.., |write| write.purpose != Purpose::Change).collect();
            refuse(others, &SpoolError::Failed);
        }
        if writes.is_empty() {
            return Vec::new();
        }
        let named = writes.iter().flat_map(|write| &write.events).any(Event::is_put_in_file);
        let names = if named { self.bodies.sync_names() } else { Ok(()) };
        let appended =
            names.and_then(|()| log::append(&mut self.log, writes.iter().map(|write| &write.draft)));
        let error = match appended {
            Ok(locations) => return writes.into_iter().zip(locations).collect(),
            Err(error) => error,
        };
        tracing::error!(
            error = &error as &dyn std::error::Error,
            writes = writes.len(),
            "the spool cannot write"
        );
        let changes = writes.extract_if(.., |write| write.purpose == Purpose::Change).collect::<Vec<_>>();
        let tried = !writes.is_empty();
        refuse(writes, &error);
        if !tried || changes.is_empty() {
            refuse(changes, &error);
            return Vec::new();
        }
        match log::append(&mut self.log, changes.iter().map(|write| &write.draft)) {
            Ok(locations) => changes.into_iter().zip(locations).collect(),
            Err(error) => {
                refuse(changes, &error);
                Vec::new()
            }
        }
    }
}

fn refuse(writes: Vec<Write>, error: &SpoolError) {
    for write in writes {
        // Whoever asked may be gone.
        let _ = write.answer.send(Err(error.clone()));
    }
}

fn located(mut events: Vec<Event>, location: Location) -> Vec<Event> {
    for event in &mut events {
        if let Event::New(entry) | Event::Put(entry) = event {
            entry.location = location;
        }
    }
    events
}

/// A batch: what is in the channel now, up to the bounds, or up to an order that is no write.
fn collect(first: Option<Queued>, orders: &Receiver<Queued>) -> (Vec<Write>, Option<Order>) {
    let mut writes: Vec<Write> = Vec::new();
    let mut octets = 0;
    let mut next = first;
    while let Some((order, _place)) = next {
        match order {
            Order::Write(write) => {
                octets += write.draft.octets();
                writes.push(*write);
            }
            Order::Sync(_) | Order::Settle(_) | Order::Watch(..) => return (writes, Some(order)),
        }
        if writes.len() == BATCH_WRITES || octets >= BATCH_OCTETS {
            break;
        }
        next = orders.try_recv().ok();
    }
    (writes, None)
}

#[cfg(test)]
#[path = "committer_tests.rs"]
mod tests;
