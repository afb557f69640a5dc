//! The one thread that writes the log: a small one of its own, so that no heartbeat waits behind a burst of mail. Whoever
//! comes while it syncs shares the next sync.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::error::LogError;
use super::live::Live;
use super::open;
use super::record::{FORMAT, Record};
use crate::wal::{Draft, Log, Segments};

/// Most orders that share a sync.
const BATCH_ORDERS: usize = 256;
/// How long after a sync the log says at the latest how far it went.
const MARK_AFTER: Duration = Duration::from_secs(1);
/// Octets of a segment from which on it is written anew once entries are purged, if most of it would go.
const SEGMENT_OCTETS: u64 = 64 << 20;

/// Records to write, each with its frame, and who hears that they are durable; nobody waits for those without an answer.
pub(super) struct Order {
    pub(super) records: Vec<(Record, Draft)>,
    pub(super) answer: Option<Answer>,
}

/// Hears what came of an order.
pub(super) type Answer = Box<dyn FnOnce(Result<(), LogError>) + Send>;

/// The thread's state.
pub(super) struct Writer {
    segments: Segments,
    log: Log,
    /// What is written, which may be less than what was ordered.
    live: Live,
    /// Up to where the segment is durable.
    synced: u64,
    /// Up to where it says so.
    marked: u64,
    pub(super) segment_octets: u64,
    /// Why it writes no more: of what a failed sync leaves nothing is known, and what was promised must be kept.
    failed: Failed,
}

/// Why the log takes no more, once it does not. Clones share it.
pub(super) type Failed = Arc<OnceLock<LogError>>;

impl Writer {
    pub(super) fn new(log: Log, live: Live) -> Self {
        let segments = Segments::at(FORMAT, log.dir().to_owned());
        let synced = log.end().offset;
        let failed = Failed::default();
        Self { segments, log, live, synced, marked: synced, segment_octets: SEGMENT_OCTETS, failed }
    }

    /// Why it writes no more, for others to see.
    pub(super) fn failed(&self) -> Failed {
        self.failed.clone()
    }

    /// Works until nobody can ask any more; then all that was ordered is durable.
    pub(super) fn run(mut self, orders: &Receiver<Order>) {
        loop {
            match orders.recv_timeout(MARK_AFTER) {
                Ok(first) => self.serve(first, orders),
                Err(RecvTimeoutError::Timeout) => self.mark(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // Nobody is left to be told; what was promised is durable.
        let _ = self.unless_failed(|writer| {
            writer.log.sync()?;
            writer.synced = writer.log.end().offset;
            Ok(())
        });
        self.mark();
    }

    fn serve(&mut self, first: Order, orders: &Receiver<Order>) {
        let mut batch = vec![first];
        batch.extend(orders.try_iter().take(BATCH_ORDERS - 1));
        let answered = batch.iter().any(|order| order.answer.is_some());
        let (records, answers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|order| (order.records, order.answer)).unzip();
        let records: Vec<_> = records.into_iter().flatten().collect();
        let purges = records.iter().any(|(record, _)| matches!(record, Record::Purge(_)));
        let written = self.unless_failed(|writer| writer.write(records, answered));
        answers.into_iter().flatten().for_each(|answer| answer(written.clone()));
        if purges && self.is_mostly_gone() {
            // What fails is told to whoever comes next.
            let _ = self.unless_failed(Self::renew);
        }
    }

    fn unless_failed(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        if let Some(error) = self.failed.get() {
            return Err(error.clone());
        }
        work(self).inspect_err(|error| {
            tracing::error!(error = error as &dyn std::error::Error, "the cluster's log takes no more");
            // It is set here alone, and was not a moment ago.
            let _ = self.failed.set(error.clone());
        })
    }

    fn write(&mut self, records: Vec<(Record, Draft)>, to_sync: bool) -> Result<(), LogError> {
        let mark = self.due_mark()?;
        self.log.append(mark.iter().chain(records.iter().map(|(_, draft)| draft)))?;
        self.marked = self.synced;
        for (record, _) in records {
            self.live.follow(record).map_err(|cause| LogError::Hole {
                path: self.segments.path(self.log.end().segment),
                offset: self.log.end().offset,
                cause,
            })?;
        }
        if to_sync {
            self.log.sync()?;
            self.synced = self.log.end().offset;
        }
        Ok(())
    }

    /// The frame that says how far the last sync went, if none does. Before what is added: should that be damaged, it tells
    /// that nothing before it may be.
    fn due_mark(&self) -> Result<Option<Draft>, LogError> {
        let is_due = self.synced != self.marked;
        Ok(is_due.then(|| Record::Synced(self.synced).draft()).transpose()?)
    }

    /// Says how far the last sync went, durably. What has not the room for it waits for the next batch.
    fn mark(&mut self) {
        let _ = self.unless_failed(|writer| {
            let Some(mark) = writer.due_mark()? else { return Ok(()) };
            if let Err(error) = writer.log.append([mark].iter()) {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the cluster's log cannot say how far it is synced"
                );
                return Ok(());
            }
            writer.log.sync()?;
            writer.synced = writer.log.end().offset;
            writer.marked = writer.synced;
            Ok(())
        });
    }

    fn is_mostly_gone(&self) -> bool {
        let octets = self.log.end().offset;
        octets > self.segment_octets && octets / 2 > self.live.octets() as u64
    }

    /// Goes on in the next segment, without what is gone. Where that cannot be begun the log goes on in this one.
    fn renew(&mut self) -> Result<(), LogError> {
        let number = self.log.end().segment;
        match open::copy(&self.segments, number, &self.live) {
            Ok(log) => {
                self.segments.remove(number)?;
                self.log = log;
                (self.synced, self.marked) = (self.log.end().offset, self.log.end().offset);
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the cluster's log cannot be written anew"
                );
                open::remove_copy(&self.segments, number)?;
            }
        }
        Ok(())
    }
}
