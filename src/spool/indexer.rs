//! The one thread that writes the index, behind the committer and at its pace: when it falls behind, its
//! channel fills, and so does the committer's. It also removes what the log and the index have let go of.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::bodies::Bodies;
use super::committer::{Answer, Status};
use super::error::SpoolError;
use super::index::{Change, Event, Index};
use crate::mail::TraceId;
use crate::wal::{Position, Segments};

/// Batches of the log in the channel at most.
pub(super) const MAX_NOTES: usize = 64;
/// Writes of the database at which no more batches are joined: it does nothing else meanwhile, some 10 ms.
const JOINED_WRITES: usize = 1000;
/// How long batches wait for others to be joined to, if nobody asks for what they did.
const JOINED_WITHIN: Duration = Duration::from_millis(50);

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Note {
    /// This is in the log, which goes up to `checkpoint` then.
    Apply {
        /// In the log's order.
        events: Vec<Event>,
        /// The end of the log behind them.
        checkpoint: Position,
    },
    /// All that was told is durable in the log, which goes up to here.
    Flush(Position),
    /// Answer when all that came before is applied.
    Settle(Answer),
}

/// The thread's state.
#[derive(Debug)]
pub(super) struct Indexer {
    index: Arc<Index>,
    segments: Segments,
    bodies: Bodies,
    status: Arc<Status>,
    /// Messages that have left and whose file can go once that is durable.
    left: Vec<TraceId>,
}

impl Indexer {
    pub(super) fn new(index: Arc<Index>, segments: Segments, bodies: Bodies, status: Arc<Status>) -> Self {
        Self { index, segments, bodies, status, left: Vec::new() }
    }

    /// Works until the committer is gone.
    pub(super) fn run(mut self, notes: &Receiver<Note>) {
        let mut next = None;
        while let Some(note) = next.take().or_else(|| notes.recv().ok()) {
            match note {
                Note::Apply { events, checkpoint } => next = self.apply(events, checkpoint, notes),
                Note::Flush(durable) => self.flush(durable),
                Note::Settle(answer) => {
                    // Whoever asked may be gone.
                    let _ = answer.send(self.status.index_failure.get().cloned().map_or(Ok(()), Err));
                }
            }
        }
    }

    /// Applies a batch, and those that come meanwhile. Returns a note that is to be followed next.
    fn apply(&mut self, events: Vec<Event>, checkpoint: Position, notes: &Receiver<Note>) -> Option<Note> {
        if self.status.index_failure.get().is_some() {
            return None;
        }
        let index = self.index.clone();
        let mut change = index.change();
        let until = Instant::now() + JOINED_WITHIN;
        let joined = change.add(events).and_then(|()| join(&mut change, checkpoint, notes, until));
        let (checkpoint, next) = match joined {
            Ok(joined) => joined,
            Err(error) => {
                self.fail(error);
                return None;
            }
        };
        match change.apply(checkpoint) {
            Ok(left) => self.left.extend(left),
            Err(error) => self.fail(error),
        }
        next
    }

    fn fail(&self, error: SpoolError) {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "the spool's index failed: what is queued stays on the disk, and waits until the node is started again"
        );
        // Nothing is tried after the first failure, so there is no second.
        let _ = self.status.index_failure.set(error);
    }

    fn flush(&mut self, log_durable: Position) {
        if self.status.index_failure.get().is_some() {
            return;
        }
        if let Err(error) = self.index.flush(log_durable) {
            return self.fail(error);
        }
        for id in self.left.drain(..) {
            self.bodies.remove(id);
        }
        if let Err(error) = self.remove_dead() {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a segment of the spool stays on the disk"
            );
        }
    }

    /// Removes segments with nothing live, from the oldest on: so every record that ends a message outlives
    /// all records that bring it.
    fn remove_dead(&self) -> Result<(), SpoolError> {
        let totals = self.index.totals();
        let current = totals.checkpoint.unwrap_or_default().segment;
        let dead = totals.segments.iter().take_while(|(number, usage)| **number < current && usage.live == 0);
        for (number, _) in dead {
            self.segments.remove(*number)?;
            self.index.forget_segment(*number)?;
        }
        Ok(())
    }
}

/// Adds the batches that come until then, up to the end of the segment, or to a note of another kind, which is
/// returned: joined they write fewer pages of the index, and its totals once. Returns how far the log is applied, too.
fn join(
    change: &mut Change<'_>,
    mut checkpoint: Position,
    notes: &Receiver<Note>,
    until: Instant,
) -> Result<(Position, Option<Note>), SpoolError> {
    while change.writes() < JOINED_WRITES {
        match notes.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Note::Apply { events, checkpoint: to }) if to.segment == checkpoint.segment => {
                change.add(events)?;
                checkpoint = to;
            }
            Ok(other) => return Ok((checkpoint, Some(other))),
            Err(_) => break,
        }
    }
    Ok((checkpoint, None))
}

#[cfg(test)]
#[path = "indexer_tests.rs"]
mod tests;
