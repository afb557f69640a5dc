//! What is asked of the index. Every answer costs as much as it is long, not as the queue is.

use std::ops::Bound;
use std::time::SystemTime;

use super::{Entry, Index, keys};
use crate::mail::{Domain, TraceId};
use crate::spool::error::SpoolError;
use crate::spool::record;

/// Octets of entries at which a list ends: a state may have a megabyte.
const LIST_OCTETS: usize = 4 << 20;

impl Index {
    /// What is kept of a message.
    pub(in crate::spool) fn entry(&self, id: TraceId) -> Result<Option<Entry>, SpoolError> {
        self.messages().find(&id.to_bytes())?.map(|entry| Entry::decode(&entry)).transpose()
    }

    /// Messages behind an id, in the order of ids: as many as wanted, or fewer and [`LIST_OCTETS`] of them. There are
    /// no more behind an empty list.
    pub(in crate::spool) fn entries(
        &self,
        after: Option<TraceId>,
        limit: usize,
    ) -> Result<Vec<Entry>, SpoolError> {
        let after = after.map(TraceId::to_bytes);
        let from = after.as_ref().map_or(Bound::Unbounded, |after| Bound::Excluded(&after[..]));
        let (mut entries, mut octets) = (Vec::new(), 0);
        for pair in self.messages().entries(from)?.take(limit) {
            let (_, entry) = pair?;
            octets += entry.len();
            entries.push(Entry::decode(&entry)?);
            if octets >= LIST_OCTETS {
                break;
            }
        }
        Ok(entries)
    }

    /// Messages with a copy for a domain that is due, the earliest first.
    pub(in crate::spool) fn due(
        &self,
        domain: &Domain,
        until: SystemTime,
        limit: usize,
    ) -> Result<Vec<(SystemTime, TraceId)>, SpoolError> {
        let from = keys::first_due(domain.as_str());
        let to = keys::last_due(domain.as_str(), record::millis(until));
        let mut found = Vec::new();
        for pair in self.due_times().entries(Bound::Included(&from))?.take(limit) {
            let (key, _) = pair?;
            if key > to {
                break;
            }
            let (_, millis, id) = read_due(&key)?;
            found.push((record::time(millis), id));
        }
        Ok(found)
    }

    /// Each domain with scheduled copies, and when its first is due: one look per domain.
    pub(in crate::spool) fn domains(&self) -> Result<Vec<(Domain, SystemTime)>, SpoolError> {
        let mut domains = Vec::new();
        let mut last: Option<Vec<u8>> = None;
        loop {
            let from = last.as_ref().map_or(Bound::Unbounded, |last| Bound::Excluded(&last[..]));
            let Some((key, _)) = self.due_times().entries(from)?.next().transpose()? else {
                return Ok(domains);
            };
            let (domain, millis, _) = read_due(&key)?;
            last = Some(keys::last_due(domain, u64::MAX));
            let domain = Domain::parse(domain).map_err(|error| SpoolError::Entry(error.to_string()))?;
            domains.push((domain, record::time(millis)));
        }
    }

    /// The first message by id, which is the oldest.
    pub(in crate::spool) fn oldest(&self) -> Result<Option<SystemTime>, SpoolError> {
        let first = self.entries(None, 1)?;
        Ok(first.first().map(|entry| record::time(entry.message.received_at_ms)))
    }

    /// The messages that await a reply, as of now.
    pub(in crate::spool) fn awaiting(&self) -> Result<Vec<TraceId>, SpoolError> {
        self.ids(keys::AWAITING)
    }

    /// The messages whose body is in a file, in the order of ids.
    pub(in crate::spool) fn in_files(&self) -> Result<Vec<TraceId>, SpoolError> {
        self.ids(keys::IN_FILE)
    }

    fn ids(&self, kind: u8) -> Result<Vec<TraceId>, SpoolError> {
        let pairs = self.tree.scan(&[kind]).map(|pair| pair.map(|(key, _)| keys::trailing_id(&key)));
        Ok(pairs.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }
}

fn read_due(key: &[u8]) -> Result<(&str, u64, TraceId), SpoolError> {
    keys::read_due(key).ok_or_else(|| SpoolError::Entry("a due time is not one".to_owned()))
}
