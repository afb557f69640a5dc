//! Idempotence records: what a sender's retry is answered with, so that it reaches only those who have not
//! got the message yet. Owns the tree `ledger` of a store.
//!
//! A record exists only while the sender may not know the outcome: something was delivered but our reply
//! was not 250, or the client vanished before reading it. It is deleted once an answer made from it was
//! acknowledged, after [`DELIVERED_FOR`], or, for a refusal, after [`REFUSED_FOR`]. Identical mail sent on
//! purpose (cron, resends) is therefore never swallowed.
//!
//! Key: HMAC-SHA-256, under a key of this node or of all that it shares with ([`Ledger::agree`]), over reverse-path, alias,
//! destination and the [`Fingerprint`] of the content. Value: JSON, `Stored`. Of an upstream's reply it has the codes and the first
//! words, at most `KEPT_OCTETS`: a retry needs no more, and how long the rest is, a stranger decides. Open
//! records (the copy is being offered, or the upstream still owes its answer) live in memory only: after a restart the
//! answer cannot come any more, the outcome is unknown, and the copy is offered again.
//!
//! A sender may retry on any node of a cluster. Each tells the [`Others`] what it records, once that is durable, and when
//! a record is over; what it is told it keeps in memory, answers by, and tells nobody. Whoever hears an answer made from
//! a record acknowledged says that it is over, and the node that has it forgets it. Each record has an id that is drawn: the
//! end of one says nothing of a later one of the same copy, or of another node's.
//!
//! What is left open:
//! - the time that telling takes: a copy that is offered on one node when its sender comes to a second one is not known there
//!   until it is told;
//! - a copy that was open on a node that crashed is offered again when that node is back, or the time of what was told is over
//!   ([`OPEN_FOR`]): it may have been delivered;
//! - that an answer was heard is told from memory. Where the node that heard it ends before the one that has the record is
//!   told, the record stays until its time is over, and answers an identical message.

mod books;
mod fingerprint;
mod record;
mod shared;
mod under_way;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use parking_lot::Mutex;
use thiserror::Error;

use self::books::Books;
pub use self::fingerprint::Fingerprint;
pub use self::record::{KEPT_LINES, KEPT_OCTETS};
use self::record::{Record, Stored};
pub use self::shared::{Others, Teller, Told};
pub use self::under_way::UnderWay;

use crate::clock;
use crate::mail::{Address, ReversePath};
use crate::smtp::reply::UpstreamReply;
use crate::store::{Committer, Store, StoreError, Tree, off_runtime};

/// How long a delivery is remembered: as long as senders retry (RFC 5321 §4.5.4.1).
pub const DELIVERED_FOR: Duration = Duration::from_secs(5 * 86_400);
/// How long a refusal is remembered: the destination may change its mind.
pub const REFUSED_FOR: Duration = Duration::from_secs(3_600);
/// How long a copy is taken to be open at most: longer than a session waits and its upstream may take (RFC 5321 §4.5.3.2.6).
pub const OPEN_FOR: Duration = Duration::from_secs(20 * 60);
/// What other nodes told, kept at most; past it nothing new is, and a retry may double.
pub const MAX_TOLD: usize = 100_000;
/// Records kept at most; past it new ones are not written, and a retry may double.
pub const MAX_RECORDS: usize = 200_000;

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
pub struct Key(pub [u8; 32]);

/// What names are made with.
pub type Secret = [u8; 32];

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
    key: ArcSwap<hmac::Key>,
    books: Mutex<Books>,
    /// Nobody until there are some.
    others: OnceLock<Arc<dyn Others>>,
    /// Held while records are written back, so that the disk ends with what memory has.
    writing: Mutex<()>,
    /// How much there is in `books`, readable without its lock: on the hot path it is zero.
    len: AtomicUsize,
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
        let mut own = HashMap::new();
        for pair in tree.scan(&[]) {
            let (name, value) = pair?;
            let Ok(name) = <[u8; 32]>::try_from(name.as_slice()) else { continue };
            match serde_json::from_slice::<Stored>(&value).map(Record::from) {
                Ok(record) if !record.is_over(clock::now()) => {
                    own.insert(Key(name), record);
                }
                _ => tree.remove(&name)?,
            }
        }
        let key = ArcSwap::from_pointee(hmac::Key::new(hmac::HMAC_SHA256, &secret));
        let len = AtomicUsize::new(own.len());
        let (books, others) = (Mutex::new(Books::of(own)), OnceLock::new());
        let inner = Inner { tree, committer, key, books, others, writing: Mutex::new(()), len };
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
        let mut context = hmac::Context::with_key(&self.inner.key.load());
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
        self.inner.books.lock().recall(key, clock::now()).cloned()
    }

    /// Remembers answers; when this returns they survive a power cut, but for open ones, which are kept in
    /// memory only.
    ///
    /// # Errors
    /// The first of the store's: that answer is remembered in memory all the same, and the others are made
    /// durable.
    pub async fn record(&self, answers: Vec<(Key, Recorded)>) -> Result<(), LedgerError> {
        let at = clock::now();
        let stored: Vec<Key> = self.inner.change(|books| {
            let mut stored = Vec::new();
            for (key, answer) in answers {
                let is_open = answer == Recorded::Open;
                match books.keep(key, answer, at) {
                    true if is_open => self.inner.tell_own(books, &key),
                    true => stored.push(key),
                    false => {}
                }
            }
            stored
        });
        if stored.is_empty() {
            return Ok(());
        }
        let written = self.write_back(stored.clone()).await;
        let synced = self.inner.committer.durable().await;
        self.inner.change(|books| stored.iter().for_each(|key| self.inner.tell_own(books, key)));
        Ok(written.and(synced)?)
    }

    /// Forgets copies whose sender has heard the answer. A crash that undoes this only makes one more
    /// retry be answered from the record.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn forget(&self, keys: Vec<Key>) -> Result<(), LedgerError> {
        self.inner.change(|books| {
            for key in &keys {
                books.forget(key).into_iter().for_each(|over| self.inner.tell(*key, over));
            }
        });
        Ok(self.write_back(keys).await?)
    }

    /// Forgets an open copy whose answer will never come.
    pub fn forget_open(&self, key: &Key) {
        self.inner.end_open(key, None);
    }

    /// Forgets what is over; called now and then.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn expire(&self) -> Result<(), LedgerError> {
        let over = self.inner.change(|books| books.expire(clock::now()));
        if over.is_empty() { Ok(()) } else { Ok(self.write_back(over).await?) }
    }

    /// Has the disk say of these what memory says.
    async fn write_back(&self, keys: Vec<Key>) -> Result<(), StoreError> {
        let inner = self.inner.clone();
        off_runtime(move || inner.write_back(&keys)).await
    }
}

impl Inner {
    fn change<T>(&self, change: impl FnOnce(&mut Books) -> T) -> T {
        let mut books = self.books.lock();
        let changed = change(&mut books);
        self.len.store(books.len(), Ordering::Release);
        changed
    }

    fn tell(&self, key: Key, told: Told) {
        if let Some(others) = self.others.get() {
            others.tell(key, told);
        }
    }

    /// Tells the others what this node knows of a copy.
    fn tell_own(&self, books: &Books, key: &Key) {
        if let Some(told) = books.own.get(key).and_then(Told::of) {
            self.tell(*key, told);
        }
    }

    /// Ends the open record of a copy, if it is this one, or any.
    fn end_open(&self, key: &Key, id: Option<u64>) {
        self.change(|books| {
            let ended = books.end_open(key, id);
            if let Some(over) = ended.as_ref().and_then(Told::over) {
                self.tell(*key, over);
            }
        });
    }

    /// Has the tree say of these what memory says. Blocks on the disk.
    fn write_back(&self, keys: &[Key]) -> Result<(), StoreError> {
        let _writing = self.writing.lock();
        let mut outcome = Ok(());
        for key in keys {
            let stored = self.books.lock().own.get(key).and_then(Stored::of);
            let written = match stored {
                Some(stored) => self.tree.insert(&key.0, &serde_json::to_vec(&stored).unwrap_or_default()),
                None => self.tree.remove(&key.0),
            };
            outcome = outcome.and(written);
        }
        outcome
    }
}

#[cfg(test)]
mod tests;
