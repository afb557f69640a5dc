//! The originals of return addresses that are too long for SRS: the local part of a rewritten address has
//! 64 octets (RFC 5321 §4.5.3.1.1), so a long original is kept here and a token stands for it. Owns the
//! tree `srs_aliases` of the store.
//!
//! Key: the token. Value: the days since 1970 on which it was last used, 4 octets big-endian, and the
//! original address. An alias is durable before the message that carries it is sent. One that is older than
//! `srs.max_age_days` is not found, and is forgotten by [`Aliases::expire`].
//!
//! A bounce may come to any node of a cluster. Each tells the [`Others`] what it keeps, and they keep it too; where one missed
//! that, it asks the others before it says of an address that it means nobody. A token is the same on every node: it is made
//! of the original with the secret that all have.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use thiserror::Error;

use crate::clock;
use crate::config::{Config, Live};
use crate::mail::Address;
use crate::srs::AliasToken;
use crate::store::{Committer, Store, StoreError, Tree, off_runtime};

/// Aliases kept at most: about 100 MB. Past it no new ones are made, and such senders hear 451.
pub const MAX_ALIASES: usize = 1_000_000;
const DAY: Duration = Duration::from_secs(86_400);

/// Why an alias cannot be kept or found.
#[derive(Debug, Error)]
pub enum AliasError {
    /// The store failed.
    #[error("return address aliases: {0}")]
    Store(#[from] StoreError),
    /// There are [`MAX_ALIASES`] already.
    #[error("there are {MAX_ALIASES} return address aliases already")]
    Full,
}

/// The nodes of a cluster, as the aliases see them.
pub trait Others: Send + Sync + 'static {
    /// Tells them an original, which counts for so long. Does not wait.
    fn tell(&self, token: AliasToken, original: Address, lasts: Duration);

    /// Asks all of them for an original.
    fn ask(&self, token: AliasToken) -> BoxFuture<'_, Elsewhere>;
}

/// What the others have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Elsewhere {
    /// The original.
    Found(Address),
    /// None of them has it.
    Nowhere,
    /// None of those that answer has it, and one does not answer.
    Silent,
}

/// What a token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Original {
    /// This address.
    Known(Address),
    /// Nothing.
    Unknown,
    /// Whoever knows does not answer now.
    Unanswered,
}

/// The aliases of this node.
pub struct Aliases {
    tree: Tree,
    committer: Committer,
    max_age_days: AtomicU16,
    /// How many there are; the lock keeps two writers from both taking the last place.
    count: Mutex<usize>,
    /// Nobody until there are some.
    others: OnceLock<Arc<dyn Others>>,
}

impl Aliases {
    /// Opens the tree and drops what is older than the addresses are valid.
    ///
    /// # Errors
    /// When the store fails.
    pub fn open(store: &Store, committer: Committer, max_age_days: u16) -> Result<Self, AliasError> {
        let tree = store.tree("srs_aliases")?;
        let (max_age_days, count) = (AtomicU16::new(max_age_days), Mutex::new(0));
        let aliases = Self { tree, committer, max_age_days, count, others: OnceLock::new() };
        let kept = aliases.sweep()?;
        *aliases.count.lock() = kept;
        Ok(aliases)
    }

    /// Forgets what is older than the addresses are valid. Blocks on the disk for as long as all aliases take.
    ///
    /// # Errors
    /// When the store fails.
    pub fn expire(&self) -> Result<(), AliasError> {
        self.sweep().map(drop)
    }

    /// Forgets what is too old; how many aliases it has left.
    fn sweep(&self) -> Result<usize, AliasError> {
        let mut kept = 0;
        for pair in self.tree.scan(&[]) {
            let (token, value) = pair?;
            if self.original(&value).is_some() {
                kept += 1;
            } else {
                self.forget(&token)?;
            }
        }
        Ok(kept)
    }

    /// Unless it was used again meanwhile.
    fn forget(&self, token: &[u8]) -> Result<(), AliasError> {
        let mut count = self.count.lock();
        if self.tree.get(token)?.is_some_and(|value| self.original(&value).is_none()) {
            self.tree.remove(token)?;
            *count = count.saturating_sub(1);
        }
        Ok(())
    }

    /// What a value holds, unless it is too old, or damaged.
    fn original(&self, value: &[u8]) -> Option<Address> {
        let oldest = today().saturating_sub(u32::from(self.max_age_days.load(Ordering::Relaxed)) + 1);
        parse(value).and_then(|(day, original)| (day >= oldest).then_some(original))
    }

    /// Keeps the original of a token; when this returns it survives a power cut.
    ///
    /// # Errors
    /// When the store fails, or is full.
    pub async fn keep(self: Arc<Self>, token: AliasToken, original: Address) -> Result<(), AliasError> {
        let (this, put) = (self.clone(), (token.clone(), original.clone()));
        if off_runtime(move || this.put(&put.0, &put.1, today())).await? {
            self.committer.durable().await?;
            if let Some(others) = self.others.get() {
                others.tell(token, original, self.lasts());
            }
        }
        Ok(())
    }

    /// For how long an alias of now counts.
    fn lasts(&self) -> Duration {
        DAY * (u32::from(self.max_age_days.load(Ordering::Relaxed)) + 1)
    }

    /// Tells these what is kept from now on, and asks them; once.
    pub fn share(&self, others: Arc<dyn Others>) {
        let _first = self.others.set(others);
    }

    /// Keeps what another node told, for so much longer. Blocks on the disk, and does not wait until it survives a power cut:
    /// the other has it.
    ///
    /// # Errors
    /// When the store fails, or is full.
    pub fn hear(&self, token: &AliasToken, original: &Address, lasts: Duration) -> Result<(), AliasError> {
        let age = self.lasts().saturating_sub(lasts).as_secs() / DAY.as_secs();
        let last_used = today().saturating_sub(u32::try_from(age).unwrap_or(u32::MAX));
        self.put(token, original, last_used).map(drop)
    }

    /// The original that a token stands for, here or elsewhere. One that is found elsewhere is kept.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn find(self: Arc<Self>, token: AliasToken) -> Result<Original, AliasError> {
        let (this, sought) = (self.clone(), token.clone());
        if let Some(known) = off_runtime(move || this.find_here(&sought)).await? {
            return Ok(Original::Known(known));
        }
        let Some(others) = self.others.get() else { return Ok(Original::Unknown) };
        let found = match others.ask(token.clone()).await {
            Elsewhere::Found(found) => found,
            Elsewhere::Nowhere => return Ok(Original::Unknown),
            Elsewhere::Silent => return Ok(Original::Unanswered),
        };
        let (this, kept) = (self.clone(), found.clone());
        if let Err(error) = off_runtime(move || this.put(&token, &kept, today())).await {
            tracing::warn!(%error, "what another node has of a return address is not kept here");
        }
        Ok(Original::Known(found))
    }

    /// Whether anything was written: an alias that was used on that day, or later, is there already. Blocks on the disk.
    fn put(&self, token: &AliasToken, original: &Address, last_used: u32) -> Result<bool, AliasError> {
        let key = token.as_str().as_bytes();
        let mut count = self.count.lock();
        let known = self.tree.get(key)?.and_then(|value| parse(&value).map(|(day, _)| day));
        if known.is_some_and(|day| day >= last_used) {
            return Ok(false);
        }
        if known.is_none() {
            if *count >= MAX_ALIASES {
                return Err(AliasError::Full);
            }
            *count += 1;
        }
        let value = [&last_used.to_be_bytes()[..], original.to_string().as_bytes()].concat();
        self.tree.insert(key, &value)?;
        Ok(true)
    }

    /// The original that a token stands for, as far as this node knows. Blocks on the disk.
    ///
    /// # Errors
    /// When the store fails.
    pub fn find_here(&self, token: &AliasToken) -> Result<Option<Address>, AliasError> {
        let value = self.tree.get(token.as_str().as_bytes())?;
        Ok(value.and_then(|value| self.original(&value)))
    }
}

/// `srs.max_age_days` holds for the originals as it does for the addresses.
impl Live for Arc<Aliases> {
    type Prepared = u16;
    type Error = Infallible;

    fn prepare(&self, next: &Arc<Config>) -> Result<u16, Infallible> {
        Ok(next.srs.max_age_days)
    }

    fn swap(&self, prepared: u16) {
        self.max_age_days.store(prepared, Ordering::Relaxed);
    }
}

fn parse(value: &[u8]) -> Option<(u32, Address)> {
    let (day, original) = value.split_first_chunk::<4>()?;
    let original = std::str::from_utf8(original).ok()?;
    Some((u32::from_be_bytes(*day), Address::parse(original).ok()?))
}

fn today() -> u32 {
    let since = clock::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs() / DAY.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
