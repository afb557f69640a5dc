//! The log as it stands: what all of its records come to. Pure.

use std::collections::VecDeque;
use std::ops::{Bound, RangeBounds};

use openraft::EntryPayload;
use thiserror::Error;

use super::super::proposal::Proposal;
use super::super::types::{Entry, LogId, Vote};
use super::record::Record;

/// What an entry takes of the bound on the log's octets beside its content.
const ENTRY_OCTETS: usize = 128;

/// A record that does not follow from those before it: one was lost.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("entry {found} stands where {expected} should")]
pub struct Hole {
    /// The index that should come.
    pub expected: u64,
    /// The one that is there.
    pub found: u64,
}

/// What the log's records come to.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Live {
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    pub(super) purged: Option<LogId>,
    /// Those behind the last that was purged, without a gap.
    entries: VecDeque<Entry>,
    octets: usize,
}

impl Live {
    /// Takes the next record.
    pub(super) fn follow(&mut self, record: Record) -> Result<(), Hole> {
        match record {
            Record::Vote(vote) => self.vote = Some(vote),
            Record::Committed(id) => self.committed = Some(id),
            Record::Truncate(from) => self.truncate(from),
            Record::Purge(up_to) => self.purge(up_to),
            Record::Entry(entry) => self.push(entry)?,
            Record::Synced(_) => {}
        }
        Ok(())
    }

    /// Takes all of these, or none: entries that do not follow each other.
    pub(super) fn extend<'a>(&mut self, records: impl Iterator<Item = &'a Record>) -> Result<(), Hole> {
        let from = self.last().map_or(0, |last| last.index + 1);
        for record in records {
            if let Err(hole) = self.follow(record.clone()) {
                self.truncate(from);
                return Err(hole);
            }
        }
        Ok(())
    }

    fn push(&mut self, entry: Entry) -> Result<(), Hole> {
        let found = entry.log_id.index;
        if self.purged.is_some_and(|purged| found <= purged.index) {
            // It is in the snapshot, and nobody asks for it here.
            return Ok(());
        }
        let expected = self.last().map_or(found, |last| last.index + 1);
        if expected != found {
            return Err(Hole { expected, found });
        }
        self.octets += octets(&entry);
        self.entries.push_back(entry);
        Ok(())
    }

    fn truncate(&mut self, from: u64) {
        while let Some(entry) = self.entries.pop_back_if(|entry| entry.log_id.index >= from) {
            self.octets -= octets(&entry);
        }
    }

    fn purge(&mut self, up_to: LogId) {
        while let Some(entry) = self.entries.pop_front_if(|entry| entry.log_id.index <= up_to.index) {
            self.octets -= octets(&entry);
        }
        if self.purged.is_none_or(|purged| purged.index < up_to.index) {
            self.purged = Some(up_to);
        }
    }

    /// The last entry, or the last that was purged where there is none.
    pub(super) fn last(&self) -> Option<LogId> {
        self.entries.back().map(|entry| entry.log_id).or(self.purged)
    }

    /// Octets of all entries: in memory, and about as many in a segment.
    pub(super) fn octets(&self) -> usize {
        self.octets
    }

    /// The entries of a range, and no more of them than have so many octets, but for the first.
    pub(super) fn range(&self, range: &impl RangeBounds<u64>, most_octets: usize) -> Vec<Entry> {
        let Some(first) = self.entries.front().map(|entry| entry.log_id.index) else { return Vec::new() };
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start.saturating_add(1),
            Bound::Unbounded => first,
        };
        let skipped = usize::try_from(start.saturating_sub(first)).unwrap_or(usize::MAX);
        let mut taken = 0;
        let wanted = self.entries.iter().skip(skipped).take_while(|entry| {
            let is_first = taken == 0;
            taken += octets(entry);
            range.contains(&entry.log_id.index) && (is_first || taken <= most_octets)
        });
        wanted.cloned().collect()
    }

    /// The records that come to this state, and to nothing else.
    pub(super) fn records(&self) -> impl Iterator<Item = Record> + '_ {
        let vote = self.vote.map(Record::Vote).into_iter();
        let purged = self.purged.map(Record::Purge).into_iter();
        let committed = self.committed.map(Record::Committed).into_iter();
        vote.chain(purged).chain(committed).chain(self.entries.iter().cloned().map(Record::Entry))
    }
}

fn octets(entry: &Entry) -> usize {
    let content = match &entry.payload {
        EntryPayload::Normal(Proposal(octets)) => octets.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    };
    ENTRY_OCTETS + content
}
