//! What nodes tell each other of deliveries, and who carries it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;

use super::record::{lifetime, shortened};
use super::{DELIVERED_FOR, Key, Ledger, LedgerError, MAX_TOLD, Recorded, SECRET_NAME, Secret};
use crate::smtp::reply::UpstreamReply;
use crate::store::off_runtime;

/// What one node knows of a copy, and the others need while its sender may come to any of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    answer: Option<Recorded>,
    valid_until: Instant,
}

impl Told {
    /// What an earlier transaction came to, or, with none, that there is nothing to say of it any more. It counts for so much
    /// longer, and not longer than a record of its kind does. Nothing where no time is left.
    #[must_use]
    pub fn new(answer: Option<Recorded>, remaining: Duration) -> Option<Self> {
        let longest = answer.as_ref().map_or(DELIVERED_FOR, lifetime);
        let valid_until = Instant::now() + remaining.min(longest);
        (!remaining.is_zero()).then(|| Self { answer: answer.map(shortened), valid_until })
    }

    /// What it came to.
    #[must_use]
    pub fn answer(&self) -> Option<&Recorded> {
        self.answer.as_ref()
    }

    /// For how much longer it counts; nothing when it does not any more.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        Some(self.valid_until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
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
    /// Tells them. Does not wait.
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
    /// When the store fails: names are as they were.
    pub async fn agree(&self, secret: Secret) -> Result<(), LedgerError> {
        if self.secret().await.is_ok_and(|own| own == secret) {
            return Ok(());
        }
        let (inner, keys) = (self.inner.clone(), self.all());
        off_runtime(move || inner.tree.insert(SECRET_NAME, &secret)).await?;
        self.inner.key.store(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &secret)));
        self.forget(keys).await
    }

    /// Tells these what is recorded, now and from now on; once.
    pub fn share(&self, others: Arc<dyn Others>) {
        if self.inner.others.set(others).is_ok() {
            self.tell(&self.all());
        }
    }

    /// Whether it is shared with other nodes.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.inner.others.get().is_some()
    }

    /// Takes what another node tells; whether it is of use. Called on a runtime.
    pub fn hear(&self, key: Key, told: Told, by: Teller) -> bool {
        match told.answer() {
            None => self.hear_end(key),
            Some(_) => self.inner.change(|books| {
                let has_room = books.told.len() < MAX_TOLD || books.told.contains_key(&key);
                let is_of_use = has_room && !books.own.contains_key(&key);
                if is_of_use {
                    books.told.insert(key, (by, told));
                }
                is_of_use
            }),
        }
    }

    /// A process that told has ended: of what it had under way it will tell no end.
    pub fn hear_death(&self, of: Teller) {
        self.inner.change(|books| {
            books.told.retain(|_, (by, told)| *by != of || told.answer() != Some(&Recorded::Open));
        });
    }

    /// There is nothing to say of a copy any more. One that is being offered here is.
    fn hear_end(&self, key: Key) -> bool {
        let (was_told, is_settled) = self.inner.change(|books| {
            let is_settled = books.own.get(&key).is_some_and(|record| record.answer != Recorded::Open);
            (books.told.remove(&key).is_some(), is_settled)
        });
        if is_settled {
            let ledger = self.clone();
            tokio::spawn(async move {
                if let Err(error) = ledger.forget(vec![key]).await {
                    tracing::warn!(%error, "idempotence records stay until they expire");
                }
            });
        }
        was_told || is_settled
    }

    fn all(&self) -> Vec<Key> {
        self.inner.books.lock().own.keys().copied().collect()
    }

    pub(super) fn tell(&self, keys: &[Key]) {
        let Some(others) = self.inner.others.get() else { return };
        for key in keys {
            let record = self.inner.books.lock().own.get(key).cloned();
            let told = record.and_then(|record| {
                let remaining = record.remaining()?;
                Told::new(Some(record.answer), remaining)
            });
            if let Some(told) = told {
                others.tell(*key, told);
            }
        }
    }

    /// Tells that there is nothing to say of a copy any more of which there was for so much longer.
    pub(super) fn tell_end(&self, key: Key, remaining: Option<Duration>) {
        let told = remaining.and_then(|remaining| Told::new(None, remaining));
        if let Some((others, told)) = self.inner.others.get().zip(told) {
            others.tell(key, told);
        }
    }
}
