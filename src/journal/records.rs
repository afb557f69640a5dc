//! The journal's keys in the store's tree, and reading by them. The format is in the folder's `mod.rs`.

use std::ops::Bound;
use std::time::SystemTime;

use aws_lc_rs::digest;

use super::entry::{Entry, millis};
use super::{Delivery, JournalError, MAX_DELIVERIES, Recorded};
use crate::mail::TraceId;
use crate::store::{Batch, Pair, StoreError, Tree};

const ENTRY: u8 = b'e';
const ID: u8 = b'i';
const DELIVERY: u8 = b'd';
const MESSAGE_ID: u8 = b'm';
const MILLIS_PER_HOUR: i64 = 3_600_000;
/// Keys of one batch when everything is removed.
const CLEAR_KEYS: usize = 10_000;

/// The journal's tree.
#[derive(Clone, Debug)]
pub(super) struct Records {
    tree: Tree,
}

impl Records {
    pub(super) fn new(tree: Tree) -> Self {
        Self { tree }
    }

    /// The oldest entry, with its `octets_before`.
    pub(super) fn first(&self) -> Result<Option<(Recorded, u64)>, JournalError> {
        self.tree.scan(&[ENTRY]).next().map(parse).transpose()
    }

    /// The newest entry's sequence, and the octets of all entries ever written.
    pub(super) fn last(&self) -> Result<Option<(u64, u64)>, JournalError> {
        let Some(pair) = self.tree.scan(&[ENTRY]).next_back() else { return Ok(None) };
        let octets = pair.as_ref().map_or(0, |(_, value)| octets_of(value));
        let (recorded, octets_before) = parse(pair)?;
        Ok(Some((recorded.sequence, octets_before + octets)))
    }

    /// One entry, with its `octets_before`.
    pub(super) fn load(&self, sequence: u64) -> Result<Option<(Recorded, u64)>, JournalError> {
        let value = self.tree.get(&entry_key(sequence))?;
        let entry = value.as_deref().map(Entry::decode).transpose()?;
        Ok(entry.map(|(entry, octets_before)| (Recorded { sequence, entry }, octets_before)))
    }

    /// One entry.
    pub(super) fn read(&self, sequence: u64) -> Result<Option<Recorded>, JournalError> {
        Ok(self.load(sequence)?.map(|(recorded, _)| recorded))
    }

    /// Where the entry of a trace id is.
    pub(super) fn sequence_of(&self, id: TraceId) -> Result<Option<u64>, JournalError> {
        Ok(self.tree.get(&id_key(id))?.as_deref().and_then(trailing_sequence))
    }

    /// Entries after a sequence, oldest first.
    pub(super) fn after(
        &self,
        sequence: u64,
    ) -> impl Iterator<Item = Result<Recorded, JournalError>> + use<> {
        let from = entry_key(sequence);
        self.tree.range(Bound::Excluded(&from), Bound::Excluded(&[ENTRY + 1])).filter_map(readable)
    }

    /// Entries before a sequence, newest first. What cannot be read is left out.
    pub(super) fn before(
        &self,
        sequence: u64,
    ) -> impl Iterator<Item = Result<Recorded, JournalError>> + use<> {
        let to = entry_key(sequence);
        self.tree.range(Bound::Included(&[ENTRY]), Bound::Excluded(&to)).rev().filter_map(readable)
    }

    /// Sequences before one under a Message-ID's digest, newest first; a digest can belong to another
    /// Message-ID, so the entry has the last word.
    pub(super) fn before_of_message(
        &self,
        message_id: &str,
        hours: impl Iterator<Item = u32>,
    ) -> impl Iterator<Item = Result<u64, StoreError>> {
        let digest = message_digest(message_id);
        hours.flat_map(move |hour| {
            let prefix = message_prefix(hour, digest);
            self.tree
                .scan(&prefix)
                .rev()
                .filter_map(|pair| pair.map(|(key, _)| trailing_sequence(&key)).transpose())
        })
    }

    /// Adds the keys of a new entry to a batch; returns its octets.
    pub(super) fn put(batch: &mut Batch, recorded: &Recorded, octets_before: u64) -> u64 {
        let value = recorded.entry.encode(octets_before);
        let octets = octets_of(&value);
        let sequence = recorded.sequence.to_be_bytes();
        batch.insert(id_key(recorded.entry.id), sequence);
        if let Some(key) = message_key(recorded) {
            batch.insert(key, []);
        }
        batch.insert(entry_key(recorded.sequence), value);
        octets
    }

    /// Adds the removal of an entry that cannot be read to a batch. Its index keys lead nowhere from now on.
    pub(super) fn take_unreadable(batch: &mut Batch, sequence: u64) {
        batch.remove(entry_key(sequence));
    }

    /// Removes everything.
    pub(super) fn clear(&self) -> Result<(), JournalError> {
        loop {
            let mut batch = Batch::default();
            for pair in self.tree.scan(&[]).take(CLEAR_KEYS) {
                batch.remove(pair?.0);
            }
            if batch.is_empty() {
                return Ok(());
            }
            self.apply(batch)?;
        }
    }

    /// Adds a delivery to a batch; `number` tells it from others of the same time. Returns its octets.
    pub(super) fn put_delivery(batch: &mut Batch, id: TraceId, delivery: &Delivery, number: u16) -> u64 {
        let since = delivery.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let micros = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        let value = delivery.encode();
        let octets = octets_of(&value);
        let key = [&delivery_prefix(id)[..], &micros.to_be_bytes(), &number.to_be_bytes()].concat();
        batch.insert(key, value);
        octets
    }

    /// The newest deliveries of a transaction, the oldest first. What cannot be read is left out.
    pub(super) fn deliveries(&self, id: TraceId) -> Result<Vec<Delivery>, JournalError> {
        let pairs = self.tree.scan(&delivery_prefix(id)).rev().take(MAX_DELIVERIES);
        let values = pairs.map(|pair| pair.map(|(_, value)| value)).collect::<Result<Vec<_>, _>>()?;
        Ok(values.iter().rev().filter_map(|value| Delivery::decode(value).ok()).collect())
    }

    /// Adds the removal of an entry, with its deliveries, to a batch.
    pub(super) fn take(&self, batch: &mut Batch, recorded: &Recorded) -> Result<(), JournalError> {
        for pair in self.tree.scan(&delivery_prefix(recorded.entry.id)) {
            batch.remove(pair?.0);
        }
        batch.remove(id_key(recorded.entry.id));
        if let Some(key) = message_key(recorded) {
            batch.remove(key);
        }
        batch.remove(entry_key(recorded.sequence));
        Ok(())
    }

    /// Writes a batch.
    pub(super) fn apply(&self, batch: Batch) -> Result<(), JournalError> {
        Ok(self.tree.apply_batch(batch)?)
    }
}

/// The hour of the Message-ID index in which an entry stands.
pub(super) fn hour(at_ms: i64) -> u32 {
    u32::try_from(at_ms / MILLIS_PER_HOUR).unwrap_or_default()
}

fn parse(pair: Result<Pair, StoreError>) -> Result<(Recorded, u64), JournalError> {
    let (key, value) = pair?;
    let sequence = trailing_sequence(&key).unwrap_or_default();
    let (entry, octets_before) = Entry::decode(&value)?;
    Ok((Recorded { sequence, entry }, octets_before))
}

fn readable(pair: Result<Pair, StoreError>) -> Option<Result<Recorded, JournalError>> {
    match parse(pair) {
        Ok((recorded, _)) => Some(Ok(recorded)),
        Err(JournalError::Entry(_)) => None,
        Err(error @ (JournalError::Store(_) | JournalError::Thread(_))) => Some(Err(error)),
    }
}

fn octets_of(value: &[u8]) -> u64 {
    u64::try_from(value.len()).unwrap_or(u64::MAX)
}

fn trailing_sequence(octets: &[u8]) -> Option<u64> {
    octets.last_chunk().copied().map(u64::from_be_bytes)
}

fn entry_key(sequence: u64) -> Vec<u8> {
    [&[ENTRY][..], &sequence.to_be_bytes()].concat()
}

fn id_key(id: TraceId) -> Vec<u8> {
    [&[ID][..], &id.to_bytes()].concat()
}

fn delivery_prefix(id: TraceId) -> Vec<u8> {
    [&[DELIVERY][..], &id.to_bytes()].concat()
}

fn message_key(recorded: &Recorded) -> Option<Vec<u8>> {
    let digest = message_digest(recorded.entry.message_id.as_deref()?);
    let prefix = message_prefix(hour(millis(recorded.entry.at)), digest);
    Some([prefix.as_slice(), &recorded.sequence.to_be_bytes()].concat())
}

fn message_prefix(hour: u32, digest: [u8; 8]) -> Vec<u8> {
    [&[MESSAGE_ID][..], &hour.to_be_bytes(), &digest].concat()
}

fn message_digest(message_id: &str) -> [u8; 8] {
    let digest = digest::digest(&digest::SHA256, message_id.as_bytes());
    digest.as_ref().first_chunk().copied().unwrap_or_default()
}
