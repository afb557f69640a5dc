//! The one thread that writes the index, behind the committer and at its pace: when it falls behind, its
//! channel fills, and so does the committer's. It also removes what the log and the index have let go of.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::bodies::Bodies;
use super::committer::{Answer, Status};
use super::error::SpoolError;
use super::index::{Event, Index};
use super::log::{Position, Segments};
use crate::mail::TraceId;

/// Batches of the log in the channel at most.
pub(super) const MAX_NOTES: usize = 64;
/// Operations at which those that wait are joined no further.
const JOINED_EVENTS: usize = 2000;
/// How long operations wait for others to be joined to, if nobody asks for what they did.
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
                Note::Apply { mut events, checkpoint } => {
                    let (checkpoint, other) = join(&mut events, checkpoint, notes);
                    self.apply(events, checkpoint);
                    next = other;
                }
                Note::Flush(durable) => self.flush(durable),
                Note::Settle(answer) => {
                    // Whoever asked may be gone.
                    let _ = answer.send(self.status.index_failure.get().cloned().map_or(Ok(()), Err));
                }
            }
        }
    }

    fn apply(&mut self, events: Vec<Event>, checkpoint: Position) {
        if self.status.index_failure.get().is_some() {
            return;
        }
        match self.index.apply(events, checkpoint) {
            Ok(left) => self.left.extend(left),
            Err(error) => self.fail(error),
        }
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

/// Adds the batches that come meanwhile, up to the bounds, to the end of the segment, or to a note of another kind,
/// which is returned: joined they change fewer pages of the index, and its totals once.
fn join(
    events: &mut Vec<Event>,
    mut checkpoint: Position,
    notes: &Receiver<Note>,
) -> (Position, Option<Note>) {
    let started = Instant::now();
    while events.len() < JOINED_EVENTS {
        match notes.recv_timeout(JOINED_WITHIN.saturating_sub(started.elapsed())) {
            Ok(Note::Apply { events: more, checkpoint: to }) if to.segment == checkpoint.segment => {
                events.extend(more);
                checkpoint = to;
            }
            Ok(other) => return (checkpoint, Some(other)),
            Err(_) => break,
        }
    }
    (checkpoint, None)
}

#[cfg(test)]
#[path = "indexer_tests.rs"]
mod tests;
