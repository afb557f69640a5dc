//! Gives space back: moves what is live in the oldest segment to the end of the log, so that it can go.
//!
//! Only ever the oldest. A segment is removed only when all before it are, so a record that changes or ends
//! a message is there for as long as any record that brings it, and nothing need be known of either. The
//! price is that live messages wander: where three tenths of the log are live, for each octet of new mail
//! less than half an octet is moved.
//!
//! A message may change while it is on its way. The committer is told first which are to be moved, and
//! leaves out those that changed since; the next pass takes them.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use prost::Message as _;

use super::committer::{Order, Purpose, Write};
use super::error::SpoolError;
use super::index::{Entry, Event, Usage};
use super::log::{FORMAT, Kind, draft};
use super::read::Reader;
use super::record;
use super::threads::Orders;
use crate::mail::TraceId;
use crate::proto::spool::v1::Put;
use crate::wal::{Draft, Frame, Location, Piece, Position, Scan};

/// How often the log is looked at.
const INTERVAL: Duration = Duration::from_secs(1);
/// Between two batches of a pass, so that new mail has the disk nearly to itself.
const PAUSE: Duration = Duration::from_millis(20);
/// Messages moved at once; with [`PAUSE`] at most 3,200 a second.
const BATCH_MESSAGES: usize = 64;
/// Segments below which the log as a whole is let be: space that nobody misses.
const MIN_SEGMENTS: usize = 4;
/// Entries of the index looked at at once.
const PAGE: usize = 1000;

/// The thread's state.
#[derive(Debug)]
pub(super) struct Compactor {
    pub(super) reader: Reader,
    pub(super) orders: Orders,
    /// Closed when the spool is.
    pub(super) stop: Receiver<()>,
}

/// A pass was ended by the closing of the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    Done,
    Stopped,
}

impl Compactor {
    /// Works until the spool is closed.
    pub(super) fn run(self) {
        while self.pauses(INTERVAL) {
            let Some(segment) = self.candidate() else { continue };
            match self.pass(segment) {
                Ok(Pass::Done) => tracing::debug!(segment, "a segment of the spool was compacted"),
                Ok(Pass::Stopped) => return,
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    segment,
                    "a segment of the spool cannot be compacted now"
                ),
            }
        }
    }

    /// Waits; `false`: the spool is being closed.
    fn pauses(&self, time: Duration) -> bool {
        matches!(self.stop.recv_timeout(time), Err(RecvTimeoutError::Timeout))
    }

    /// The oldest segment, if it or the whole log is live to less than three tenths.
    fn candidate(&self) -> Option<u64> {
        let totals = self.reader.index.totals();
        let current = totals.checkpoint?.segment;
        let (number, oldest) = totals.segments.first_key_value()?;
        let whole = totals.segments.values().fold(Usage::default(), |sum, usage| Usage {
            live: sum.live + usage.live,
            all: sum.all + usage.all,
        });
        let sparse = |usage: &Usage| usage.live * 10 < usage.all * 3;
        let wanted = sparse(oldest) || (totals.segments.len() > MIN_SEGMENTS && sparse(&whole));
        (*number < current && oldest.live > 0 && wanted).then_some(*number)
    }

    fn pass(&self, segment: u64) -> Result<Pass, SpoolError> {
        let live = self.live(segment)?;
        for ids in live.chunks(BATCH_MESSAGES) {
            self.move_batch(segment, ids)?;
            if !self.pauses(PAUSE) {
                return Ok(Pass::Stopped);
            }
        }
        if live.is_empty() {
            self.move_unreadable(segment)?;
        }
        Ok(Pass::Done)
    }

    /// The messages whose record is in this segment, and readable.
    fn live(&self, segment: u64) -> Result<Vec<TraceId>, SpoolError> {
        let salt = self.reader.segments.salt(segment)?;
        let content = self.reader.segments.read(Position { segment, offset: 0 }, u64::MAX)?;
        let mut live = Vec::new();
        for piece in Scan::new(FORMAT, &content, salt) {
            let Piece::Frame(Frame { kind, meta, .. }, range) = piece else { continue };
            if Kind::of(kind) != Some(Kind::Put) {
                continue;
            }
            let Some(id) = Put::decode(meta).ok().and_then(|put| put_id(&put)) else { continue };
            let at = Position { segment, offset: range.start as u64 };
            if self.reader.index.entry(id)?.is_some_and(|entry| entry.location.at == at) {
                live.push(id);
            }
        }
        Ok(live)
    }

    fn move_batch(&self, segment: u64, ids: &[TraceId]) -> Result<(), SpoolError> {
        self.orders.ask_blocking(|answer| Order::Watch(ids.to_vec(), answer))?;
        self.orders.ask_blocking(Order::Settle)?;
        let mut answers = Vec::with_capacity(ids.len());
        for id in ids {
            let Some(entry) = self.reader.index.entry(*id)? else { continue };
            if entry.location.at.segment != segment {
                continue;
            }
            let draft = self.redraft(&entry)?;
            let moved = Entry { location: Location::default(), ..entry };
            let events = vec![Event::Put(Box::new(moved))];
            answers.push(self.orders.give(|answer| {
                Order::Write(Box::new(Write { id: *id, draft, events, purpose: Purpose::Move, answer }))
            })?);
        }
        for answer in answers {
            answer.blocking_recv().map_err(|_| SpoolError::Stopped)??;
        }
        self.orders.ask_blocking(|answer| Order::Watch(Vec::new(), answer))
    }

    /// The record of a message with its newest state.
    fn redraft(&self, entry: &Entry) -> Result<Draft, SpoolError> {
        let octets = self.reader.segments.read(entry.location.at, entry.location.octets)?;
        let octets = bytes::Bytes::from(octets);
        let put = |meta| Put::decode(meta).map_err(|error| SpoolError::Entry(error.to_string()));
        let Some((frame, _)) = Frame::read(FORMAT, &octets, None) else {
            return self.reader.stub(entry, &octets);
        };
        let Put { body, quarantined, .. } = put(frame.meta)?;
        let put = Put { quarantined, ..record::put(entry.message.clone(), body) };
        let (head, body) = (octets.slice_ref(frame.head), octets.slice_ref(frame.body));
        draft(Kind::Put, put.encode_to_vec(), vec![head], body)
    }

    /// What is still live now cannot be read: it is kept aside, or the segment would stay for ever. What is
    /// known of it goes on, for whoever tells its sender.
    fn move_unreadable(&self, segment: u64) -> Result<(), SpoolError> {
        let mut after = None;
        loop {
            let page = self.reader.index.entries(after, PAGE)?;
            if page.is_empty() {
                return Ok(());
            }
            let mut unreadable = Vec::new();
            for entry in &page {
                let id = record::id(&entry.message.id).map_err(SpoolError::Entry)?;
                after = Some(id);
                if entry.location.at.segment == segment {
                    unreadable.push(id);
                }
            }
            for ids in unreadable.chunks(BATCH_MESSAGES) {
                self.move_batch(segment, ids)?;
            }
        }
    }
}

fn put_id(put: &Put) -> Option<TraceId> {
    record::id(&put.message.as_ref()?.id).ok()
}
