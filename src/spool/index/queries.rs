//! What is asked of the index. Every answer costs as much as it is long, not as the queue is.

use std::ops::Bound;
use std::time::SystemTime;

use super::{Entry, Index, keys, pages};
use crate::mail::{Domain, TraceId};
use crate::spool::error::SpoolError;
use crate::spool::record;

/// Octets of entries at which a list ends: a state may have a megabyte.
const LIST_OCTETS: usize = 4 << 20;

impl Index {
    /// What is kept of a message.
    pub(in crate::spool) fn entry(&self, id: TraceId) -> Result<Option<Entry>, SpoolError> {
        pages::find(&self.tree, id)?.map(|entry| Entry::decode(&entry)).transpose()
    }

    /// Messages behind an id, in the order of ids: as many as wanted, or fewer and [`LIST_OCTETS`] of them. There are
    /// no more behind an empty list.
    pub(in crate::spool) fn entries(
        &self,
        after: Option<TraceId>,
        limit: usize,
    ) -> Result<Vec<Entry>, SpoolError> {
        let (mut entries, mut octets, mut after) = (Vec::new(), 0, after);
        for page in pages::pages(&self.tree, after)? {
            for (id, entry) in page?.behind(after) {
                if entries.len() == limit || octets >= LIST_OCTETS {
                    return Ok(entries);
                }
                octets += entry.len();
                entries.push(Entry::decode(&entry)?);
                after = Some(id);
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
        let from = keys::due_domain(domain.as_str());
        let last = TraceId::from_bytes([0xff; keys::ID_OCTETS]);
        let to = keys::due(domain.as_str(), record::millis(until), last);
        let pairs = self.tree.range(Bound::Included(&from), Bound::Included(&to));
        pairs
            .take(limit)
            .filter_map(|pair| match pair {
                Ok((key, _)) => keys::read_due(&key).map(|(_, millis, id)| Ok((record::time(millis), id))),
                Err(error) => Some(Err(error.into())),
            })
            .collect()
    }

    /// Each domain with scheduled copies, and when its first is due: one look per domain.
    pub(in crate::spool) fn domains(&self) -> Result<Vec<(Domain, SystemTime)>, SpoolError> {
        let mut domains = Vec::new();
        let mut from = vec![keys::DUE];
        loop {
            let next = self.tree.range(Bound::Included(&from), Bound::Excluded(&[keys::DUE + 1])).next();
            let Some((key, _)) = next.transpose()? else { return Ok(domains) };
            let Some((domain, millis, _)) = keys::read_due(&key) else {
                return Err(SpoolError::Entry("a due time is not one".to_owned()));
            };
            from = keys::behind_due_domain(domain);
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
