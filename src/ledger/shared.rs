//! What nodes tell each other of deliveries, and who carries it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;

use super::record::{Record, lifetime, shortened};
use super::{DELIVERED_FOR, Key, Ledger, LedgerError, Recorded, SECRET_NAME, Secret};
use crate::clock;
use crate::smtp::reply::UpstreamReply;
use crate::store::off_runtime;

/// What one node knows of a copy, and the others need while its sender may come to any of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    id: u64,
    answer: Option<Recorded>,
    valid_until: Instant,
}

impl Told {
    /// What an earlier transaction came to, by the record of this id, or, with none, that this record is over: its sender has
    /// heard the answer, or there is none. It counts for so much longer, and not longer than a record of its kind does. Nothing
    /// where no time is left.
    #[must_use]
    pub fn new(id: u64, answer: Option<Recorded>, remaining: Duration) -> Option<Self> {
        let longest = answer.as_ref().map_or(DELIVERED_FOR, lifetime);
        let valid_until = Instant::now() + remaining.min(longest);
        (!remaining.is_zero()).then(|| Self { id, answer: answer.map(shortened), valid_until })
    }

    pub(super) fn of(record: &Record) -> Option<Self> {
        Self::new(record.id, Some(record.answer.clone()), record.remaining(clock::now())?)
    }

    /// That a record is over, for as long as it would have counted.
    pub(super) fn over(record: &Record) -> Option<Self> {
        Self::new(record.id, None, record.remaining(clock::now())?)
    }

    /// That what was told is over.
    pub(super) fn ended(self) -> Self {
        Self { answer: None, ..self }
    }

    /// Which record.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What it came to.
    #[must_use]
    pub fn answer(&self) -> Option<&Recorded> {
        self.answer.as_ref()
    }

    /// For how much longer it counts; nothing when it does not any more.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        clock::until(self.valid_until)
    }

    /// Octets of text in it.
    #[must_use]
    pub fn text_octets(&self) -> usize {
        match &self.answer {
            Some(Recorded::Delivered(upstream) | Recorded::Refused(upstream)) => text_octets(upstream),
            Some(Recorded::Open | Recorded::Queued) | None => 0,
        }
    }
}

fn text_octets(upstream: &UpstreamReply) -> usize {
    upstream.host.len()
        + upstream.reply.lines.iter().map(|line| line.len() + size_of::<String>()).sum::<usize>()
}

/// A process of another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Teller(pub u64);

/// The nodes of a cluster, as the ledger sees them.
pub trait Others: Send + Sync + 'static {
    /// Tells them. Does not wait; called under the ledger's lock, so that what is told last is what holds.
    fn tell(&self, key: Key, told: Told);
}

impl Ledger {
    /// What names are made with, for all nodes to make the same.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn secret(&self) -> Result<Secret, LedgerError> {
        let inner = self.inner.clone();
        let secret = off_runtime(move || inner.tree.get(SECRET_NAME)).await?;
        secret.and_then(|secret| Secret::try_from(secret).ok()).ok_or(LedgerError::Random)
    }

    /// Makes names with this from now on. Records under other names are forgotten: nobody can ask for them.
    ///
    /// # Errors
    /// When the store fails: names are as they were, or old records stay until they expire.
    pub async fn agree(&self, secret: Secret) -> Result<(), LedgerError> {
        if self.secret().await.is_ok_and(|own| own == secret) {
            return Ok(());
        }
        let inner = self.inner.clone();
        off_runtime(move || inner.tree.insert(SECRET_NAME, &secret)).await?;
        self.inner.key.store(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &secret)));
        let books = self.inner.change(std::mem::take);
        Ok(self.write_back(books.own.into_keys().collect()).await?)
    }

    /// Tells these what is recorded, now and from now on; once.
    pub fn share(&self, others: Arc<dyn Others>) {
        if self.inner.others.set(others).is_ok() {
            self.inner.change(|books| {
                let told = books.own.iter().filter_map(|(key, record)| Some((*key, Told::of(record)?)));
                told.for_each(|(key, told)| self.inner.tell(key, told));
            });
        }
    }

    /// Whether it is shared with other nodes.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.inner.others.get().is_some()
    }

    /// Takes what another node tells; whether it is of use. Called on a runtime.
    pub fn hear(&self, key: Key, told: Told, by: Teller) -> bool {
        if told.answer().is_some() {
            return self.inner.change(|books| books.hear(key, told, by));
        }
        let (own, was_told) = self.inner.change(|books| {
            let heard = books.hear_over(&key, told.id());
            if let Some(told) = heard.0.as_ref().and_then(Told::over) {
                // Whoever was told of the record is told of its end.
                self.inner.tell(key, told);
            }
            heard
        });
        let was_own = own.is_some();
        if was_own {
            let ledger = self.clone();
            tokio::spawn(async move {
                if let Err(error) = ledger.write_back(vec![key]).await {
                    tracing::warn!(%error, "idempotence records stay until they expire");
                }
            });
        }
        was_told || was_own
    }

    /// A process that told has ended: of what it told it will tell no end. One in its place tells what it has still.
    pub fn hear_death(&self, of: Teller) {
        self.inner.change(|books| books.hear_death(of));
    }
}
