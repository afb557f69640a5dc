//! Searching the journal: newest first, by what the operator knows, never more than a bounded read a page.

use std::time::SystemTime;

use super::entry::millis;
use super::records::{Records, hour};
use super::{JournalError, Recorded};

/// Most entries in a page.
pub const SEARCH_LIMIT: usize = 1000;
/// Most entries that are read for a page.
pub const SCAN_LIMIT: usize = 100_000;

/// Hours of the Message-ID index that are looked at: ten times what is kept, should the clock have jumped.
const MAX_HOURS: usize = 720;

/// What entries must meet, all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Criteria {
    /// The Message-ID, with its brackets.
    pub message_id: Option<String>,
    /// The reverse-path, compared without regard to case; empty for the null one.
    pub from: Option<String>,
    /// A recipient, compared without regard to case.
    pub to: Option<String>,
    /// Ended at this time or later.
    pub since: Option<SystemTime>,
    /// Recorded before this sequence: the `next` of the page before.
    pub before: Option<u64>,
    /// At most this many; more than [`SEARCH_LIMIT`] is cut to it.
    pub limit: usize,
}

/// One page of a search.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Newest first.
    pub found: Vec<Recorded>,
    /// For [`Criteria::before`] of the next page; `None` when there is nothing more.
    pub next: Option<u64>,
}

impl Criteria {
    fn met_by(&self, recorded: &Recorded) -> bool {
        let entry = &recorded.entry;
        let same = |wanted: &str, is: &str| wanted.to_lowercase() == is.to_lowercase();
        self.message_id.as_ref().is_none_or(|wanted| entry.message_id.as_ref() == Some(wanted))
            && self.from.as_ref().is_none_or(|wanted| same(wanted, &entry.reverse_path))
            && self.to.as_ref().is_none_or(|wanted| entry.recipients.iter().any(|is| same(wanted, is)))
            && self.since.is_none_or(|since| entry.at >= since)
    }

    fn limit(&self) -> usize {
        self.limit.clamp(1, SEARCH_LIMIT)
    }

    fn before(&self) -> u64 {
        self.before.unwrap_or(u64::MAX)
    }
}

/// Answers from the Message-ID index when that is asked for, else by reading backwards.
pub(super) fn run(records: &Records, criteria: &Criteria) -> Result<Page, JournalError> {
    match &criteria.message_id {
        Some(message_id) => by_message(records, criteria, message_id),
        None => backwards(records, criteria),
    }
}

fn by_message(records: &Records, criteria: &Criteria, message_id: &str) -> Result<Page, JournalError> {
    let (Some((oldest, _)), Some((newest, _))) = (records.first()?, records.last()?) else {
        return Ok(Page::default());
    };
    let newest_at = records.read(newest)?.map_or(oldest.entry.at, |newest| newest.entry.at);
    // Entries are recorded about in the order of their times; the hour before and after covers the rest.
    let first = hour(millis(oldest.entry.at)).saturating_sub(1);
    let last = hour(millis(newest_at)).saturating_add(1);
    let mut page = Page::default();
    for sequence in
        records.before_of_message(message_id, (first..=last).rev().take(MAX_HOURS)).take(SCAN_LIMIT)
    {
        let sequence = sequence?;
        if sequence >= criteria.before() {
            continue;
        }
        let Some(recorded) = records.read(sequence)?.filter(|recorded| criteria.met_by(recorded)) else {
            continue;
        };
        if page.found.len() == criteria.limit() {
            page.next = page.found.last().map(|last| last.sequence);
            return Ok(page);
        }
        page.found.push(recorded);
    }
    Ok(page)
}

fn backwards(records: &Records, criteria: &Criteria) -> Result<Page, JournalError> {
    let mut page = Page::default();
    for (read, recorded) in records.before(criteria.before()).enumerate() {
        let recorded = recorded?;
        if page.found.len() == criteria.limit() || read == SCAN_LIMIT {
            // The next page begins with this one.
            page.next = Some(recorded.sequence.saturating_add(1));
            return Ok(page);
        }
        // An hour of grace: entries are recorded about in the order of their times.
        let hour_later = recorded.entry.at.checked_add(std::time::Duration::from_hours(1));
        if criteria.since.zip(hour_later).is_some_and(|(since, later)| later < since) {
            return Ok(page);
        }
        if criteria.met_by(&recorded) {
            page.found.push(recorded);
        }
    }
    Ok(page)
}
