//! The revisions of a table: who made each change, when, from where, and what it found in the places that it wrote. With that
//! the table can be made again what it was ([`super::rollback`]).
//!
//! - It is written by [`super::apply`], in the measure of the change, and bounded: the last [`MAX_REVISIONS`], or
//!   [`MAX_HISTORY_OCTETS`]; the oldest go first. A change that found more than that begins the history anew: what was
//!   before it cannot be restored.
//! - It is part of the table, and of its snapshots, but not of its digest: nodes that came to the same table by another way,
//!   by a snapshot of an earlier version for one, have less of it. So nothing is applied by it: who leads looks up what a
//!   rollback restores, and the change says it.
//! - A clone is a pointer. What was found is kept in the octets in which it stands in a snapshot.

use std::ops::Bound;
use std::sync::Arc;
use std::time::SystemTime;

use prost::Message as _;
use rpds::RedBlackTreeMapSync;

use super::author::Author;
use super::encoding::{EncodingError, check_length, time, unreadable};
use super::images::{Image, decode_images};
use super::table::Table;
use super::wire::to_millis;
use crate::proto::routing::v1;

/// Revisions that are kept.
pub const MAX_REVISIONS: usize = 10_000;
/// Octets of what changes found, and of the words on them, that are kept.
pub const MAX_HISTORY_OCTETS: usize = 64 << 20;
/// Largest revision in a snapshot, in octets.
pub const MAX_REVISION_OCTETS: usize = MAX_HISTORY_OCTETS + (64 << 10);

/// One revision of a table, and the change that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Which.
    pub number: u64,
    /// When the change was stamped.
    pub at: SystemTime,
    /// Who asked for it; `None`: a node did, or it is not known.
    pub author: Option<Author>,
    /// The change in one line, for people.
    pub what: String,
    /// What it found where it wrote; `None`: it is too large to be kept.
    pub(super) before: Option<Vec<u8>>,
}

impl Revision {
    /// What the change found in the places that it wrote.
    pub(super) fn images(&self) -> Result<Vec<Image>, EncodingError> {
        self.before.as_deref().map_or(Ok(Vec::new()), decode_images)
    }

    fn octets(&self) -> usize {
        let author = self.author.as_ref().map_or(0, |author| author.name().len());
        self.before.as_ref().map_or(0, Vec::len) + self.what.len() + author
    }

    fn encode(&self) -> Vec<u8> {
        let (author, address) = Author::tell(self.author.as_ref());
        let (what, before) = (self.what.clone(), self.before.clone());
        let at_ms = to_millis(self.at);
        v1::Revision { revision: self.number, at_ms, author, address, what, before }.encode_to_vec()
    }

    fn decode(octets: &[u8]) -> Result<Self, EncodingError> {
        const WHAT: &str = "a revision of the table";
        check_length(WHAT, octets.len(), MAX_REVISION_OCTETS)?;
        let revision =
            v1::Revision::decode(octets).map_err(|cause| EncodingError::Malformed { what: WHAT, cause })?;
        Ok(Self {
            number: revision.revision,
            at: time("the time of a revision", revision.at_ms)?,
            author: Author::told(&revision.author, &revision.address),
            what: revision.what,
            before: revision.before,
        })
    }
}

/// The revisions that are kept, which follow each other without a gap.
#[derive(Clone)]
pub(super) struct History {
    revisions: RedBlackTreeMapSync<u64, Arc<Revision>>,
    octets: usize,
}

impl History {
    pub(super) fn new() -> Self {
        Self { revisions: RedBlackTreeMapSync::new_sync(), octets: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.revisions.size()
    }

    /// Adds the one behind the last.
    pub(super) fn push(&mut self, mut revision: Revision) {
        if revision.octets() > MAX_HISTORY_OCTETS {
            revision.before = None;
        }
        if revision.before.is_none() {
            *self = Self::new();
        }
        let octets = revision.octets();
        while let Some((number, first)) = self.revisions.first()
            && (self.len() >= MAX_REVISIONS || self.octets + octets > MAX_HISTORY_OCTETS)
        {
            let number = *number;
            self.octets -= first.octets();
            self.revisions.remove_mut(&number);
        }
        self.octets += octets;
        self.revisions.insert_mut(revision.number, Arc::new(revision));
    }

    /// Adds one as it stood in a snapshot.
    pub(super) fn add(&mut self, octets: &[u8]) -> Result<(), EncodingError> {
        let revision = Revision::decode(octets)?;
        match self.revisions.last() {
            Some((last, _)) if last.checked_add(1) != Some(revision.number) => {
                let detail = format!("{} follows {last}", revision.number);
                Err(unreadable("the history of the table", detail))
            }
            Some(_) | None => {
                self.push(revision);
                Ok(())
            }
        }
    }

    /// Whether it ends with this revision, or is not there.
    pub(super) fn leads_to(&self, revision: u64) -> bool {
        self.revisions.last().is_none_or(|(last, _)| *last == revision)
    }
}

impl Table {
    /// The revisions that are kept, the newest first.
    pub fn history(&self) -> impl Iterator<Item = &Arc<Revision>> {
        self.history.revisions.values().rev()
    }

    /// The revisions before this one, which need not be kept, the newest first: the next page.
    pub fn history_before(&self, revision: u64) -> impl Iterator<Item = &Arc<Revision>> {
        self.history.revisions.range(..revision).rev().map(|(_, revision)| revision)
    }

    /// The oldest revision that the table can be made again.
    #[must_use]
    pub fn oldest_revision(&self) -> u64 {
        match self.history.revisions.first() {
            Some((number, first)) if first.before.is_some() => number.saturating_sub(1),
            Some((number, _)) => *number,
            None => self.revision(),
        }
    }

    /// The history for a snapshot, the oldest revision first.
    pub fn history_records(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        self.history.revisions.values().map(|revision| revision.encode())
    }

    /// The revisions behind this one, the oldest first.
    pub(super) fn revisions_since(&self, revision: u64) -> impl Iterator<Item = &Arc<Revision>> {
        let behind = (Bound::Excluded(revision), Bound::Unbounded);
        self.history.revisions.range::<u64, _>(behind).map(|(_, revision)| revision)
    }
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
