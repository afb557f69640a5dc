//! The index: where each message is in the log, its newest state, and what is due when. All of it can be
//! made again from the log; the log never needs it. Owns the database under `index/`.
//!
//! Each batch carries the place in the log up to which the index knows it, so that what is applied twice
//! or not at all after a crash is nothing. One thread writes; counts, checkpoint and shares are also in memory.

mod entry;
mod keys;
mod pages;
mod queries;
mod shares;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;

use bytes::Bytes;
use parking_lot::Mutex;

pub(super) use entry::{Entry, Event};
pub use shares::Crowd;

use self::entry::Prefix;
use self::pages::Pages;
use self::shares::{Shares, Step};
use super::error::SpoolError;
use super::model::{CopyState, Queued};
use crate::mail::TraceId;
use crate::store::{Batch, Store, StoreError, Tree};
use crate::wal::Position;

/// The form of keys and values; another one is made again from the log.
const FORMAT: u64 = 6;
/// Octets of a page of messages: five with one copy each. New ones come in the order of ids, many at once.
const MESSAGE_PAGE_OCTETS: usize = 2048;
/// Octets of a page of due times: a dozen. New ones come to every domain, a few at once.
const DUE_PAGE_OCTETS: usize = 512;

/// How many messages are in the queue, and their octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Messages whose copies all wait for their time.
    pub waiting: u64,
    /// Messages with a copy whose upstream owes a reply.
    pub awaiting_reply: u64,
    /// Other messages with a copy that was delivered or not, nobody knows.
    pub unknown: u64,
    /// Octets of all messages as they are sent.
    pub octets: u64,
}

impl Counts {
    /// Messages in any state.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.waiting + self.awaiting_reply + self.unknown
    }

    fn of_state(&mut self, state: CopyState) -> &mut u64 {
        match state {
            CopyState::Waiting => &mut self.waiting,
            CopyState::AwaitingReply => &mut self.awaiting_reply,
            CopyState::Unknown => &mut self.unknown,
        }
    }
}

/// Octets of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Usage {
    /// In records of messages that are in the queue.
    pub(super) live: u64,
    /// In all records.
    pub(super) all: u64,
}

/// What is known of the whole without looking.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Totals {
    pub(super) counts: Counts,
    /// Times when a copy is due.
    due: u64,
    pub(super) segments: BTreeMap<u64, Usage>,
    /// The log is applied up to here; `None`: nothing of it is.
    pub(super) checkpoint: Option<Position>,
    /// The log was durable up to here when the index was told so last: from here to the checkpoint, a loss of
    /// power may have left anything of it.
    pub(super) durable: Position,
}

/// The index of a spool.
#[derive(Debug)]
pub(super) struct Index {
    store: Store,
    tree: Tree,
    totals: Mutex<Totals>,
    shares: Mutex<Shares>,
}

impl Index {
    /// Opens the database in a folder, and reads the totals.
    pub(super) fn open(dir: &Path) -> Result<Self, SpoolError> {
        let store = Store::open(dir)?;
        let tree = store.tree("spool")?;
        let totals = Mutex::new(read_totals(&tree)?);
        Ok(Self { store, tree, totals, shares: Mutex::default() })
    }

    /// What is known without looking.
    pub(super) fn totals(&self) -> Totals {
        self.totals.lock().clone()
    }

    /// How many messages there are.
    pub(super) fn counts(&self) -> Counts {
        self.totals.lock().counts
    }

    /// A change in the making. One at a time, and nothing else is written until it is applied.
    pub(super) fn change(&self) -> Change<'_> {
        Change {
            index: self,
            messages: self.messages().change(),
            due_times: self.due_times().change(),
            batch: Batch::default(),
            totals: self.totals(),
            steps: Vec::new(),
            without_file: Vec::new(),
        }
    }

    /// Applies operations of the log; see [`Change`].
    pub(super) fn apply(&self, events: Vec<Event>, checkpoint: Position) -> Result<Vec<TraceId>, SpoolError> {
        let mut change = self.change();
        change.add(events)?;
        change.apply(checkpoint)
    }

    /// Notes how far the log is durable, and makes durable what was applied.
    pub(super) fn flush(&self, log_durable: Position) -> Result<(), SpoolError> {
        let mut totals = self.totals();
        totals.durable = log_durable;
        let mut batch = Batch::default();
        write_totals(&mut batch, &totals, &totals.segments);
        self.tree.apply_batch(batch)?;
        *self.totals.lock() = totals;
        Ok(self.store.flush_durably()?)
    }

    /// Forgets a segment that is gone.
    pub(super) fn forget_segment(&self, segment: u64) -> Result<(), SpoolError> {
        self.tree.remove(&keys::segment(segment))?;
        self.totals.lock().segments.remove(&segment);
        Ok(())
    }

    /// Who has as many messages in the queue as it may, where that is `most` in all and this is one more.
    pub(super) fn crowded(&self, most: usize, queued: &Queued) -> Option<Crowd> {
        if usize::try_from(self.counts().messages()).is_ok_and(|messages| messages >= most) {
            return Some(Crowd::All);
        }
        let destinations = queued.copies.iter().map(|copy| copy.destination.domain().as_str());
        self.shares.lock().crowded(most, queued.client, destinations)
    }

    /// Counts the entries, for the shares, and says whether they are those that the totals speak of: what damage to the
    /// database may have taken is not to be lost without a word.
    pub(super) fn count(&self) -> Result<bool, SpoolError> {
        let totals = self.totals();
        let mut shares = Shares::default();
        let (mut messages, mut octets, mut due) = (0, 0, 0);
        let mut live: BTreeMap<u64, u64> = BTreeMap::new();
        for pair in self.messages().entries(Bound::Unbounded)? {
            let (_, entry) = pair?;
            let Ok(prefix) = Prefix::decode(&entry) else { return Ok(false) };
            messages += 1;
            octets += prefix.message_octets;
            prefix.client.map(Step::Came).into_iter().for_each(|step| shares.follow(step));
            *live.entry(prefix.location.at.segment).or_default() += prefix.location.octets;
        }
        let known = totals.segments.iter().map(|(number, usage)| (*number, usage.live));
        let known: BTreeMap<u64, u64> = known.filter(|(_, live)| *live > 0).collect();
        for pair in self.due_times().entries(Bound::Unbounded)? {
            let (key, _) = pair?;
            let Some((domain, ..)) = keys::read_due(&key) else { return Ok(false) };
            shares.follow(Step::Waits(domain.to_owned()));
            due += 1;
        }
        *self.shares.lock() = shares;
        Ok(due == totals.due
            && messages == totals.counts.messages()
            && octets == totals.counts.octets
            && live == known)
    }

    fn messages(&self) -> Pages<'_> {
        Pages::new(&self.tree, keys::MESSAGES, MESSAGE_PAGE_OCTETS)
    }

    fn due_times(&self) -> Pages<'_> {
        Pages::new(&self.tree, keys::DUE, DUE_PAGE_OCTETS)
    }
}

/// Operations of the log on their way into the index, and what things are like behind them.
#[derive(Debug)]
pub(super) struct Change<'a> {
    index: &'a Index,
    messages: pages::Change<'a>,
    due_times: pages::Change<'a>,
    batch: Batch,
    totals: Totals,
    steps: Vec<Step>,
    without_file: Vec<TraceId>,
}

impl Change<'_> {
    /// Adds operations in their order.
    pub(super) fn add(&mut self, events: Vec<Event>) -> Result<(), SpoolError> {
        for event in events {
            let id = event.id()?;
            let old = if matches!(event, Event::New(_)) { None } else { self.entry(id)? };
            let new = match (event, &old) {
                (Event::New(entry) | Event::Put(entry), _) => Some(*entry),
                (Event::State(message), Some(old)) => Some(Entry { message, ..old.clone() }),
                (Event::State(_), None) | (Event::Done(_), _) => None,
            };
            if new.is_none() && old.as_ref().is_some_and(|old| old.in_file) {
                self.without_file.push(id);
            }
            self.replace(id, old.as_ref(), new.as_ref())?;
        }
        Ok(())
    }

    /// Pages, and keys beside them, that are to be written at most.
    pub(super) fn writes(&self) -> usize {
        self.messages.pages() + self.due_times.pages() + self.batch.len()
    }

    /// Writes all of it, or after a crash none: the log is applied up to `checkpoint` then, which is in the segment
    /// that the operations are in. Returns the messages that left and had a file.
    pub(super) fn apply(mut self, checkpoint: Position) -> Result<Vec<TraceId>, SpoolError> {
        self.totals.checkpoint = Some(checkpoint);
        self.totals.segments.entry(checkpoint.segment).or_default().all = checkpoint.offset;
        let Self { index, messages, due_times, mut batch, totals, steps, without_file } = self;
        let before = index.totals.lock().segments.clone();
        messages.write(&mut batch);
        due_times.write(&mut batch);
        write_totals(&mut batch, &totals, &before);
        index.tree.apply_batch(batch)?;
        *index.totals.lock() = totals;
        let mut shares = index.shares.lock();
        steps.into_iter().for_each(|step| shares.follow(step));
        Ok(without_file)
    }

    fn entry(&mut self, id: TraceId) -> Result<Option<Entry>, SpoolError> {
        self.messages.get(&id.to_bytes())?.map(|entry| Entry::decode(&entry)).transpose()
    }

    fn replace(&mut self, id: TraceId, old: Option<&Entry>, new: Option<&Entry>) -> Result<(), SpoolError> {
        if let Some(old) = old {
            self.take(id, old)?;
        }
        match new {
            Some(new) => {
                self.put(id, new)?;
                self.messages.insert(Bytes::copy_from_slice(&id.to_bytes()), new.encode())
            }
            None if old.is_some() => self.messages.remove(&id.to_bytes()),
            None => Ok(()),
        }
    }

    fn take(&mut self, id: TraceId, entry: &Entry) -> Result<(), SpoolError> {
        let outline = entry.outline();
        for (domain, due) in &outline.due {
            if let Some(due) = due {
                self.due_times.remove(&keys::due(domain, *due, id))?;
                self.totals.due = self.totals.due.saturating_sub(1);
                self.steps.push(Step::Over(domain.clone()));
            }
        }
        if outline.state == CopyState::AwaitingReply {
            self.batch.remove(keys::under(keys::AWAITING, id));
        }
        if entry.in_file {
            self.batch.remove(keys::under(keys::IN_FILE, id));
        }
        self.steps.extend(outline.client.map(Step::Left));
        let count = self.totals.counts.of_state(outline.state);
        *count = count.saturating_sub(1);
        let counts = &mut self.totals.counts;
        counts.octets = counts.octets.saturating_sub(entry.message_octets);
        let usage = self.totals.segments.entry(entry.location.at.segment).or_default();
        usage.live = usage.live.saturating_sub(entry.location.octets);
        Ok(())
    }

    fn put(&mut self, id: TraceId, entry: &Entry) -> Result<(), SpoolError> {
        let outline = entry.outline();
        for (domain, due) in &outline.due {
            if let Some(due) = due {
                self.due_times.insert(keys::due(domain, *due, id).into(), Vec::new())?;
                self.totals.due += 1;
                self.steps.push(Step::Waits(domain.clone()));
            }
        }
        if outline.state == CopyState::AwaitingReply {
            self.batch.insert(keys::under(keys::AWAITING, id), []);
        }
        if entry.in_file {
            self.batch.insert(keys::under(keys::IN_FILE, id), []);
        }
        self.steps.extend(outline.client.map(Step::Came));
        *self.totals.counts.of_state(outline.state) += 1;
        self.totals.counts.octets += entry.message_octets;
        self.totals.segments.entry(entry.location.at.segment).or_default().live += entry.location.octets;
        Ok(())
    }
}

fn read_totals(tree: &Tree) -> Result<Totals, SpoolError> {
    let Some(value) = tree.get(&keys::TOTALS)? else { return Ok(Totals::default()) };
    let [format] = numbers(&value)?;
    if format != FORMAT {
        return Err(SpoolError::Entry(format!("it is of format {format}")));
    }
    let [_, segment, offset, waiting, awaiting_reply, unknown, octets, due, durable_in, durable_to] =
        numbers(&value)?;
    let mut segments = BTreeMap::new();
    for pair in tree.scan(&[keys::SEGMENT]) {
        let (key, value) = pair?;
        let [live, all] = numbers(&value)?;
        let [number] = numbers(key.get(1..).unwrap_or_default())?;
        segments.insert(number, Usage { live, all });
    }
    let counts = Counts { waiting, awaiting_reply, unknown, octets };
    let durable = Position { segment: durable_in, offset: durable_to };
    Ok(Totals { counts, due, segments, checkpoint: Some(Position { segment, offset }), durable })
}

fn write_totals(batch: &mut Batch, totals: &Totals, before: &BTreeMap<u64, Usage>) {
    let Position { segment, offset } = totals.checkpoint.unwrap_or_default();
    let Counts { waiting, awaiting_reply, unknown, octets } = totals.counts;
    let Position { segment: durable_in, offset: durable_to } = totals.durable;
    let counts = [waiting, awaiting_reply, unknown, octets, totals.due];
    let value = [&[FORMAT, segment, offset][..], &counts, &[durable_in, durable_to]].concat();
    batch.insert(keys::TOTALS, value.into_iter().flat_map(u64::to_be_bytes).collect::<Vec<u8>>());
    for (number, usage) in &totals.segments {
        if before.get(number) != Some(usage) {
            batch.insert(keys::segment(*number), [usage.live, usage.all].map(u64::to_be_bytes).concat());
        }
    }
}

fn numbers<const COUNT: usize>(value: &[u8]) -> Result<[u64; COUNT], SpoolError> {
    let mut numbers = [0; COUNT];
    let mut rest = value;
    for number in &mut numbers {
        let Some((octets, behind)) = rest.split_first_chunk() else {
            return Err(SpoolError::Entry(format!("its totals have {} octets", value.len())));
        };
        (*number, rest) = (u64::from_be_bytes(*octets), behind);
    }
    Ok(numbers)
}

/// Whether a failure to open says that the index is to be made again, not that the disk is in trouble.
pub(super) fn is_damage(error: &SpoolError) -> bool {
    match error {
        SpoolError::Entry(_) => true,
        SpoolError::Index(error) => match error {
            StoreError::Locked { .. } => false,
            StoreError::Io { cause, .. } => cause.kind() != std::io::ErrorKind::StorageFull,
            StoreError::Damaged { .. }
            | StoreError::Unknown { .. }
            | StoreError::Engine(_)
            | StoreError::Failed
            | StoreError::KeyTooLong(_)
            | StoreError::ValueTooLong(_)
            | StoreError::Stopped => true,
        },
        SpoolError::NoRoom
        | SpoolError::Crowded(_)
        | SpoolError::Failed
        | SpoolError::Locked { .. }
        | SpoolError::Io { .. }
        | SpoolError::Newer { .. }
        | SpoolError::Damaged { .. }
        | SpoolError::TooLarge { .. }
        | SpoolError::Stopped => false,
    }
}
