//! The journal's one writer: a thread that takes entries from the channel, writes them in batches, tells
//! subscribers, and removes the oldest as it goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{broadcast, oneshot};

use super::records::Records;
use super::{Delivery, Entry, Happened, JournalError, Limits, Recorded};
use crate::clock;
use crate::mail::TraceId;
use crate::store::Batch;

/// Most entries of one batch.
const BATCH_ENTRIES: usize = 256;
/// How long a batch waits for more entries: each batch costs sled a turn of its threads, and nobody but a
/// reader, who ends the wait, is in a hurry.
const LINGER: Duration = Duration::from_millis(100);
/// Most entries removed with one batch, and so with each idle look: more than come in, few enough to be quick.
const BATCH_REMOVALS: usize = 1024;
/// How often the oldest are looked at when nothing comes in.
const IDLE_INTERVAL: Duration = Duration::from_secs(60);

/// What the writer is asked for.
#[derive(Debug)]
pub(super) enum Order {
    /// Keep this.
    Record(Box<Entry>),
    /// Keep this, if the transaction is kept.
    Deliver(Box<(TraceId, Delivery)>),
    /// Say when all that came before is kept.
    Settle(oneshot::Sender<()>),
}

/// A batch: what comes within [`LINGER`] of its first entry, or up to the first reader that waits.
fn collect(first: Option<Order>, orders: &Receiver<Order>) -> (Given, Option<oneshot::Sender<()>>) {
    let end = Instant::now() + LINGER;
    let mut given = Given::default();
    let mut next = first;
    while let Some(order) = next {
        match order {
            Order::Record(entry) => given.entries.push(*entry),
            Order::Deliver(delivery) => given.deliveries.push(*delivery),
            Order::Settle(done) => return (given, Some(done)),
        }
        if given.len() == BATCH_ENTRIES {
            break;
        }
        next = orders.try_recv().ok();
        if next.is_none() {
            // Asleep rather than in the channel: no entry wakes this thread, only a reader does.
            std::thread::park_timeout(end.saturating_duration_since(Instant::now()));
            next = orders.try_recv().ok();
        }
    }
    (given, None)
}

/// What a batch is made of.
#[derive(Debug, Default)]
struct Given {
    entries: Vec<Entry>,
    deliveries: Vec<(TraceId, Delivery)>,
}

impl Given {
    fn len(&self) -> usize {
        self.entries.len() + self.deliveries.len()
    }
}

/// The writer's state.
#[derive(Debug)]
pub(super) struct Writer {
    records: Records,
    limits: Limits,
    events: broadcast::Sender<Happened>,
    dropped: Arc<AtomicU64>,
    dropped_reported: u64,
    next_sequence: u64,
    octets_ever: u64,
    oldest: Option<Oldest>,
}

/// The oldest entry, as far as removal needs it.
#[derive(Debug, Clone, Copy)]
struct Oldest {
    sequence: u64,
    at: SystemTime,
    octets_before: u64,
}

impl Writer {
    pub(super) fn new(
        records: Records,
        limits: Limits,
        events: broadcast::Sender<Happened>,
        dropped: Arc<AtomicU64>,
    ) -> Result<Self, JournalError> {
        let ends = |records: &Records| Ok((records.first()?, records.last()?));
        let (first, last) = match ends(&records) {
            Err(JournalError::Entry(error)) => {
                // Written by a newer version, or damaged: mail must flow all the same.
                tracing::error!(error = &error as &dyn std::error::Error, "journal unreadable, begun anew");
                records.clear()?;
                (None, None)
            }
            ends => ends?,
        };
        let (next_sequence, octets_ever) =
            last.map_or((1, 0), |(sequence, octets)| (sequence.saturating_add(1), octets));
        let oldest = first.as_ref().map(oldest);
        Ok(Self { records, limits, events, dropped, dropped_reported: 0, next_sequence, octets_ever, oldest })
    }

    /// Works until every sender is gone and the channel is empty.
    pub(super) fn run(mut self, orders: &Receiver<Order>) {
        loop {
            let first = match orders.recv_timeout(IDLE_INTERVAL) {
                Ok(order) => Some(order),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let (given, settled) = collect(first, orders);
            self.write(given);
            if let Some(done) = settled {
                // Nobody waits any more: nothing to say.
                let _ = done.send(());
            }
        }
    }

    fn write(&mut self, given: Given) {
        let count = u64::try_from(given.len()).unwrap_or(u64::MAX);
        let Given { entries, deliveries } = given;
        let written = self.try_write(entries).and_then(|recorded| {
            // Behind the entries: those of the same batch are found then.
            let later = self.write_deliveries(deliveries)?;
            let ended = recorded.into_iter().map(|recorded| Happened::Ended(Arc::new(recorded)));
            Ok(ended.chain(later).collect::<Vec<_>>())
        });
        match written {
            Ok(happened) => {
                for happened in happened {
                    // No subscriber is no error.
                    let _ = self.events.send(happened);
                }
            }
            Err(error) => {
                self.dropped.fetch_add(count, Ordering::Relaxed);
                tracing::error!(error = &error as &dyn std::error::Error, "journal entries not kept");
            }
        }
        if let Err(error) = self.remove_oldest() {
            tracing::error!(error = &error as &dyn std::error::Error, "oldest journal entries not removed");
        }
        let dropped = self.dropped.load(Ordering::Relaxed);
        if dropped > self.dropped_reported {
            tracing::warn!(dropped = dropped - self.dropped_reported, "journal entries not kept");
            self.dropped_reported = dropped;
        }
    }

    fn try_write(&mut self, entries: Vec<Entry>) -> Result<Vec<Recorded>, JournalError> {
        let mut batch = Batch::default();
        let (mut sequence, mut octets) = (self.next_sequence, self.octets_ever);
        let mut oldest = self.oldest;
        let mut recorded = Vec::with_capacity(entries.len());
        for entry in entries {
            let new = Recorded { sequence, entry: entry.bounded() };
            oldest = oldest.or(Some(Oldest { sequence, at: new.entry.at, octets_before: octets }));
            octets = octets.saturating_add(Records::put(&mut batch, &new, octets));
            sequence = sequence.saturating_add(1);
            recorded.push(new);
        }
        if !batch.is_empty() {
            self.records.apply(batch)?;
        }
        (self.next_sequence, self.octets_ever, self.oldest) = (sequence, octets, oldest);
        Ok(recorded)
    }

    fn write_deliveries(
        &mut self,
        deliveries: Vec<(TraceId, Delivery)>,
    ) -> Result<Vec<Happened>, JournalError> {
        let mut batch = Batch::default();
        let mut happened = Vec::new();
        let mut octets = self.octets_ever;
        for (number, (id, delivery)) in (0..).zip(deliveries) {
            if self.records.sequence_of(id)?.is_some() {
                let delivery = delivery.bounded();
                let written = Records::put_delivery(&mut batch, id, &delivery, number);
                octets = octets.saturating_add(written);
                happened.push(Happened::Later(id, Arc::new(delivery)));
            }
        }
        if !batch.is_empty() {
            self.records.apply(batch)?;
        }
        self.octets_ever = octets;
        Ok(happened)
    }

    fn remove_oldest(&mut self) -> Result<(), JournalError> {
        let mut batch = Batch::default();
        let mut oldest = self.oldest;
        for _ in 0..BATCH_REMOVALS {
            let Some(over) = oldest.filter(|oldest| self.is_over(oldest)) else { break };
            match self.records.load(over.sequence) {
                Ok(Some((recorded, _))) => self.records.take(&mut batch, &recorded)?,
                Ok(None) => {}
                Err(JournalError::Entry(_)) => Records::take_unreadable(&mut batch, over.sequence),
                Err(error @ (JournalError::Store(_) | JournalError::Thread(_))) => return Err(error),
            }
            let next = over.sequence.saturating_add(1);
            oldest = match self.records.load(next) {
                Ok(found) => found.as_ref().map(self::oldest),
                // As old as the one before: it goes when that one does.
                Err(JournalError::Entry(_)) => Some(Oldest { sequence: next, ..over }),
                Err(error @ (JournalError::Store(_) | JournalError::Thread(_))) => return Err(error),
            };
        }
        if !batch.is_empty() {
            self.records.apply(batch)?;
        }
        self.oldest = oldest;
        Ok(())
    }

    fn is_over(&self, oldest: &Oldest) -> bool {
        let age = clock::now().duration_since(oldest.at).unwrap_or_default();
        let entries = self.next_sequence.saturating_sub(oldest.sequence);
        let octets = self.octets_ever.saturating_sub(oldest.octets_before);
        age > self.limits.age || entries > self.limits.entries || octets > self.limits.octets
    }
}

fn oldest((recorded, octets_before): &(Recorded, u64)) -> Oldest {
    Oldest { sequence: recorded.sequence, at: recorded.entry.at, octets_before: *octets_before }
}
