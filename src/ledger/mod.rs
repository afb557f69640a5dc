//! Idempotence records: what a sender's retry is answered with, so that it reaches only those who have not
//! got the message yet. Owns the tree `ledger` of a store.
//!
//! A record exists only while the sender may not know the outcome: something was delivered but our reply
//! was not 250, or the client vanished before reading it. It is deleted once an answer made from it was
//! acknowledged, after [`DELIVERED_FOR`], or, for a refusal, after [`REFUSED_FOR`]. Identical mail sent on
//! purpose (cron, resends) is therefore never swallowed.
//!
//! Key: HMAC-SHA-256, under a key of this node, over reverse-path, alias, destination and the
//! [`Fingerprint`] of the content. Value: JSON, `Stored`. Of an upstream's reply it has the codes and the first
//! words, at most `KEPT_OCTETS`: a retry needs no more, and how long the rest is, a stranger decides. Open
//! records (the upstream still owes its answer) live in memory only: after a restart the answer cannot come
//! any more, the outcome is unknown, and the copy is offered again.

mod fingerprint;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use fingerprint::Fingerprint;

use crate::clock;
use crate::mail::{Address, ReversePath};
use crate::smtp::reply::{self, Enhanced, Reply, UPSTREAM_REASON, UpstreamReply};
use crate::store::{Committer, Store, StoreError, Tree, off_runtime};

/// How long a delivery is remembered: as long as senders retry (RFC 5321 §4.5.4.1).
pub const DELIVERED_FOR: Duration = Duration::from_secs(5 * 86_400);
/// How long a refusal is remembered: the destination may change its mind.
pub const REFUSED_FOR: Duration = Duration::from_secs(3_600);
/// Records kept at most; past it new ones are not written, and a retry may double.
pub const MAX_RECORDS: usize = 200_000;

/// Octets of an upstream's text that a record keeps at most: one reply line (RFC 5321 §4.5.3.1.5). With all
/// [`MAX_RECORDS`] it is 100 MB.
const KEPT_OCTETS: usize = 512;
/// Lines of it, since a line costs memory without any text too.
const KEPT_LINES: usize = 8;

/// What an earlier transaction came to, for one copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    /// The destination has it.
    Delivered(UpstreamReply),
    /// The destination refused it for good.
    Refused(UpstreamReply),
    /// The upstream of the earlier transaction still owes its answer.
    Open,
    /// Our own queue has it, or a DSN to its sender.
    Queued,
}

/// Names one copy of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

/// Why the ledger cannot be opened or written.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// The store failed.
    #[error("idempotence records: {0}")]
    Store(#[from] StoreError),
    /// No randomness for the key.
    #[error("idempotence records: no random key")]
    Random,
}

/// The records of this node. Clones share them.
#[derive(Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

struct Inner {
    tree: Tree,
    committer: Committer,
    key: hmac::Key,
    records: Mutex<HashMap<Key, Record>>,
    /// Held while records are written back, so that the disk ends with what memory has.
    writing: Mutex<()>,
    /// The size of `records`, readable without its lock: on the hot path it is zero.
    len: AtomicUsize,
}

#[derive(Debug, Clone)]
struct Record {
    answer: Recorded,
    at: SystemTime,
}

/// The stored form of a [`Record`] that is not open.
#[derive(Default, Serialize, Deserialize)]
struct Stored {
    at: u64,
    delivered: bool,
    /// Ours is the queue that has it; host and reply are empty. Absent in records of before the queue.
    #[serde(default)]
    queued: bool,
    host: String,
    code: u16,
    enhanced: Option<(u8, u16, u16)>,
    lines: Vec<String>,
}

const SECRET_NAME: &[u8] = b"key";

impl Ledger {
    /// Reads the records that are still valid; one that cannot be read is forgotten.
    ///
    /// # Errors
    /// When the store fails.
    pub fn open(store: &Store, committer: Committer) -> Result<Self, LedgerError> {
        let tree = store.tree("ledger")?;
        let secret = match tree.get(SECRET_NAME)? {
            Some(secret) => secret,
            None => {
                let mut secret = vec![0; 32];
                aws_lc_rs::rand::fill(&mut secret).map_err(|_| LedgerError::Random)?;
                tree.insert(SECRET_NAME, &secret)?;
                secret
            }
        };
        let mut records = HashMap::new();
        for pair in tree.scan(&[]) {
            let (name, value) = pair?;
            let Ok(name) = <[u8; 32]>::try_from(name.as_slice()) else { continue };
            match serde_json::from_slice::<Stored>(&value).map(Record::from) {
                Ok(record) if !record.is_over(clock::now()) => {
                    records.insert(Key(name), record);
                }
                _ => tree.remove(&name)?,
            }
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let len = AtomicUsize::new(records.len());
        let records = Mutex::new(records);
        let inner = Inner { tree, committer, key, records, writing: Mutex::new(()), len };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Whether there is nothing to look up, so that no fingerprint need be taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.len.load(Ordering::Acquire) == 0
    }

    /// The name of one copy.
    #[must_use]
    pub fn key(
        &self,
        content: &Fingerprint,
        reverse_path: &ReversePath,
        alias: &Address,
        to: &Address,
    ) -> Key {
        let mut context = hmac::Context::with_key(&self.inner.key);
        for part in [reverse_path.to_string(), alias.folded().to_string(), to.folded().to_string()] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        context.update(content.as_bytes());
        let mut key = [0; 32];
        key.copy_from_slice(context.sign().as_ref());
        Key(key)
    }

    /// What an earlier transaction came to.
    #[must_use]
    pub fn recall(&self, key: &Key) -> Option<Recorded> {
        let records = self.inner.records.lock();
        records.get(key).filter(|record| !record.is_over(clock::now())).map(|record| record.answer.clone())
    }

    /// Remembers answers; when this returns they survive a power cut, but for open ones, which are kept in
    /// memory only.
    ///
    /// # Errors
    /// The first of the store's: that answer is remembered in memory all the same, and the others are made
    /// durable.
    pub async fn record(&self, answers: Vec<(Key, Recorded)>) -> Result<(), LedgerError> {
        let at = clock::now();
        let mut stored = Vec::new();
        for (key, answer) in answers {
            let record = Record::new(answer, at);
            let is_open = record.answer == Recorded::Open;
            if self.keep(key, record) && !is_open {
                stored.push(key);
            }
        }
        if stored.is_empty() {
            return Ok(());
        }
        let inner = self.inner.clone();
        let written = off_runtime(move || inner.write_back(&stored)).await;
        let synced = self.inner.committer.durable().await;
        Ok(written.and(synced)?)
    }

    fn keep(&self, key: Key, record: Record) -> bool {
        let mut records = self.inner.records.lock();
        if records.len() >= MAX_RECORDS && !records.contains_key(&key) {
            return false;
        }
        records.insert(key, record);
        self.inner.len.store(records.len(), Ordering::Release);
        true
    }

    /// Forgets copies whose sender has heard the answer. A crash that undoes this only makes one more
    /// retry be answered from the record.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn forget(&self, keys: Vec<Key>) -> Result<(), LedgerError> {
        self.drop_records(&keys);
        let inner = self.inner.clone();
        Ok(off_runtime(move || inner.write_back(&keys)).await?)
    }

    fn drop_records(&self, keys: &[Key]) {
        let mut records = self.inner.records.lock();
        for key in keys {
            records.remove(key);
        }
        self.inner.len.store(records.len(), Ordering::Release);
    }

    /// Forgets an open copy whose answer will never come.
    pub fn forget_open(&self, key: &Key) {
        let mut records = self.inner.records.lock();
        if records.get(key).is_some_and(|record| record.answer == Recorded::Open) {
            records.remove(key);
        }
        self.inner.len.store(records.len(), Ordering::Release);
    }

    /// Forgets what is over; called now and then.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn expire(&self) -> Result<(), LedgerError> {
        let now = clock::now();
        let over: Vec<Key> =
            self.inner.records.lock().iter().filter(|(_, r)| r.is_over(now)).map(|(key, _)| *key).collect();
        if over.is_empty() { Ok(()) } else { self.forget(over).await }
    }
}

impl Inner {
    /// Has the tree say of these what memory says. Blocks on the disk.
    fn write_back(&self, keys: &[Key]) -> Result<(), StoreError> {
        let _writing = self.writing.lock();
        let mut outcome = Ok(());
        for key in keys {
            let stored = self.records.lock().get(key).and_then(Stored::of);
            let written = match stored {
                Some(stored) => self.tree.insert(&key.0, &serde_json::to_vec(&stored).unwrap_or_default()),
                None => self.tree.remove(&key.0),
            };
            outcome = outcome.and(written);
        }
        outcome
    }
}

impl Record {
    /// Keeps of an upstream's reply what the retry needs.
    fn new(mut answer: Recorded, at: SystemTime) -> Self {
        if let Recorded::Delivered(upstream) | Recorded::Refused(upstream) = &mut answer {
            upstream.reply.lines = reply::first_words(&upstream.reply.lines, KEPT_LINES, KEPT_OCTETS);
        }
        Self { answer, at }
    }

    fn is_over(&self, now: SystemTime) -> bool {
        let lifetime = match self.answer {
            Recorded::Delivered(_) | Recorded::Open | Recorded::Queued => DELIVERED_FOR,
            Recorded::Refused(_) => REFUSED_FOR,
        };
        now.duration_since(self.at).unwrap_or_default() > lifetime
    }
}

impl Stored {
    fn of(record: &Record) -> Option<Self> {
        let at = record.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let (delivered, upstream) = match &record.answer {
            Recorded::Delivered(upstream) => (true, upstream),
            Recorded::Refused(upstream) => (false, upstream),
            Recorded::Open => return None,
            Recorded::Queued => return Some(Self { at, delivered: true, queued: true, ..Self::default() }),
        };
        Some(Self {
            at,
            delivered,
            queued: false,
            host: upstream.host.clone(),
            code: upstream.reply.code,
            enhanced: upstream.reply.enhanced.map(|e| (e.0, e.1, e.2)),
            lines: upstream.reply.lines.clone(),
        })
    }
}

impl From<Stored> for Record {
    fn from(stored: Stored) -> Self {
        let enhanced = stored.enhanced.map(|(class, subject, detail)| Enhanced(class, subject, detail));
        let reply = Reply { code: stored.code, enhanced, reason: UPSTREAM_REASON, lines: stored.lines };
        let upstream = UpstreamReply { host: stored.host, reply };
        let answer = match (stored.queued, stored.delivered) {
            (true, _) => Recorded::Queued,
            (false, true) => Recorded::Delivered(upstream),
            (false, false) => Recorded::Refused(upstream),
        };
        // A record of an earlier version may have the whole reply.
        Self::new(answer, SystemTime::UNIX_EPOCH + Duration::from_secs(stored.at))
    }
}

#[cfg(test)]
mod tests;
