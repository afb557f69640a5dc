//! MTA-STS (RFC 8461): what a destination's domain wants of its MX hosts, fetched, cached and kept over a
//! restart. Owns the tree `mta_sts` of the store.
//!
//! - A policy holds for its `max_age` from when it was fetched, whatever happens to the TXT record or the
//!   policy's host (RFC 8461 §3.3), and over restarts: who can block the fetch must not win by waiting.
//! - The TXT record is looked at again when its TTL is over, at most every minute and at least every hour;
//!   the policy is fetched again when the record's id has changed, or once a day.
//! - A message waits for that only where no policy is known, and at most [`MAX_WAIT`]; then it goes as if
//!   there were none. A fetch that takes longer goes on without it.
//! - Concurrent messages to one domain share one fetch.
//!
//! Value in the tree: JSON, `{"id":…,"fetched_at":…,"policy":…}`, seconds since 1970 and the policy's text.

mod fetch;
mod policy;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use rustls::RootCertStore;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::timeout;

use self::fetch::Fetcher;
use super::{TlsError, TlsFailure};
use crate::clock;
use crate::dns::Dns;
use crate::mail::Domain;
use crate::store::{Store, Tree, off_runtime};

pub use policy::{MAX_AGE, MAX_POLICY_OCTETS, StsMode, StsPolicy, StsPolicyError, announced_id};

/// The port of the policies' hosts (RFC 8461 §3.3).
pub const HTTPS_PORT: u16 = 443;
/// How long a message waits for a policy of which nothing is known yet.
pub const MAX_WAIT: Duration = Duration::from_secs(5);
/// Longest fetch (RFC 8461 §3.3 suggests a minute).
const FETCH_TIMEOUT: Duration = Duration::from_secs(60);
/// Domains remembered, with a policy or without.
const MAX_DOMAINS: usize = 20_000;
/// Domains that are forgotten at once when there is no room for another: those without a policy first, and of each kind
/// those that were not asked for longest. Many, so that the search for them is seldom.
const FORGOTTEN_AT_ONCE: usize = MAX_DOMAINS / 16;
/// Fetches under way at a time; past it domains go without.
const MAX_FETCHES: usize = 256;
/// How often the TXT record is looked at, whatever its TTL.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));
/// When to look again after a look-up or a fetch that failed (RFC 8461 §3.3: within minutes, not at once).
const AFTER_FAILURE: Duration = Duration::from_secs(300);
/// How old a policy becomes before it is fetched again though its id has not changed.
const REFETCH_AFTER: Duration = Duration::from_secs(86_400);

/// What is known of a domain's wishes.
#[derive(Debug, Clone, Default)]
pub struct Sts {
    /// The policy in force; never of the mode `none`.
    pub policy: Option<Arc<StsPolicy>>,
    /// Why the last attempt to learn of a policy that is announced failed.
    pub trouble: Option<TlsFailure>,
    /// Whether it is known that there is no other policy.
    pub certainty: Certainty,
}

/// Whether asking again may tell more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Certainty {
    /// The domain has said what it wants.
    Final,
    /// The look-up or the fetch failed, or is not over.
    #[default]
    Open,
}

/// The policies of all destinations. A clone is the same set.
#[derive(Clone)]
pub struct StsPolicies {
    shared: Arc<Shared>,
}

struct Shared {
    dns: Dns,
    fetcher: Fetcher,
    tree: Tree,
    known: Mutex<HashMap<Domain, Known>>,
    /// Closed when the fetch is over.
    under_way: Mutex<HashMap<Domain, watch::Receiver<()>>>,
}

#[derive(Debug, Clone)]
struct Known {
    held: Option<Held>,
    trouble: Option<TlsFailure>,
    certainty: Certainty,
    look_at: Instant,
    /// When a message to it was last sent.
    used_at: Instant,
}

/// A policy and where it came from.
#[derive(Debug, Clone)]
struct Held {
    id: String,
    fetched_at: SystemTime,
    policy: Arc<StsPolicy>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    id: String,
    fetched_at: u64,
    policy: String,
}

impl StsPolicies {
    /// Opens the set with what the store has kept. Policies are fetched from `port`, which is
    /// [`HTTPS_PORT`] on the Internet, and their hosts authenticated by these roots. Blocks for the disk.
    ///
    /// # Errors
    /// When the store cannot be read or TLS cannot be set up.
    pub fn open(store: &Store, dns: Dns, roots: RootCertStore, port: u16) -> Result<Self, TlsError> {
        let tree = store.tree("mta_sts")?;
        let known = read_all(&tree)?;
        let shared = Shared {
            fetcher: Fetcher::new(dns.clone(), roots, port)?,
            dns,
            tree,
            known: Mutex::new(known),
            under_way: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// What the domain wants. Waits at most [`MAX_WAIT`], and not at all where a policy is known.
    pub async fn of(&self, domain: &Domain) -> Sts {
        if domain.is_literal() {
            return Sts { certainty: Certainty::Final, ..Sts::default() };
        }
        let known = self.shared.recall(domain);
        if known.as_ref().is_some_and(|known| known.look_at > Instant::now()) {
            return known.map(Known::told).unwrap_or_default();
        }
        let mut over = self.look(domain);
        if let Some(known) = known.filter(|known| known.held.is_some()) {
            return known.told();
        }
        if let Some(over) = &mut over {
            // An error is the channel's end, and the end of the look.
            let _ = timeout(MAX_WAIT, over.changed()).await;
        }
        self.shared.recall(domain).map(Known::told).unwrap_or_default()
    }

    /// Starts a look at what the domain announces, or joins the one under way.
    fn look(&self, domain: &Domain) -> Option<watch::Receiver<()>> {
        let mut under_way = self.shared.under_way.lock();
        under_way.retain(|_, over| over.has_changed().is_ok());
        if let Some(over) = under_way.get(domain) {
            return Some(over.clone());
        }
        if under_way.len() >= MAX_FETCHES {
            return None;
        }
        let (running, over) = watch::channel(());
        under_way.insert(domain.clone(), over.clone());
        let (shared, domain) = (self.shared.clone(), domain.clone());
        tokio::spawn(async move {
            shared.learn(&domain).await;
            drop(running);
        });
        Some(over)
    }
}

impl std::fmt::Debug for StsPolicies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StsPolicies").field("domains", &self.shared.known.lock().len()).finish()
    }
}

impl Known {
    fn new(held: Option<Held>, certainty: Certainty, look_at: Instant) -> Self {
        Self { held, trouble: None, certainty, look_at, used_at: Instant::now() }
    }

    fn told(self) -> Sts {
        let policy = self.held.map(|held| held.policy).filter(|policy| policy.mode != StsMode::None);
        // What was final is so until it is looked at again.
        let is_current = self.look_at > Instant::now();
        let certainty = if is_current { self.certainty } else { Certainty::Open };
        Sts { policy, trouble: self.trouble, certainty }
    }
}

impl Held {
    fn is_expired(&self) -> bool {
        // A clock that was set back makes no policy older than it is.
        let age = clock::now().duration_since(self.fetched_at).unwrap_or_default();
        age >= self.policy.max_age
    }

    fn is_old(&self) -> bool {
        clock::now().duration_since(self.fetched_at).unwrap_or_default() >= REFETCH_AFTER
    }
}

impl Shared {
    /// What is known, its policy only while it holds.
    fn recall(&self, domain: &Domain) -> Option<Known> {
        let mut all = self.known.lock();
        let known = all.get_mut(domain)?;
        known.used_at = Instant::now();
        let mut known = known.clone();
        drop(all);
        known.held = known.held.filter(|held| !held.is_expired());
        Some(known)
    }

    /// Looks at the TXT record and, where it is new, fetches the policy.
    async fn learn(&self, domain: &Domain) {
        let held = self.recall(domain).and_then(|known| known.held);
        let now = Instant::now();
        let known = match self.dns.txt(&format!("_mta-sts.{domain}")).await {
            Ok(answer) => {
                let ttl = answer.valid_until.saturating_duration_since(now);
                let look_at = now + ttl.clamp(LOOK_AGAIN.0, LOOK_AGAIN.1);
                match announced_id(&answer.records) {
                    Some(id) => self.follow(domain, id, held, look_at).await,
                    None => Known::new(held, Certainty::Final, look_at),
                }
            }
            Err(error) if error.is_temporary() => {
                let look_at = now + AFTER_FAILURE;
                Known::new(held, Certainty::Open, look_at)
            }
            // RFC 8461 §3.1: without a record there is no policy but the one that still holds.
            Err(_) => {
                let look_at = now + LOOK_AGAIN.1;
                Known::new(held, Certainty::Final, look_at)
            }
        };
        self.remember(domain, known).await;
    }

    async fn follow(&self, domain: &Domain, id: String, held: Option<Held>, look_at: Instant) -> Known {
        if held.as_ref().is_some_and(|held| held.id == id && !held.is_old()) {
            return Known::new(held, Certainty::Final, look_at);
        }
        let failure = match timeout(FETCH_TIMEOUT, self.fetcher.fetch(domain)).await {
            Ok(Ok(policy)) => {
                tracing::info!(%domain, id, mode = ?policy.mode, "MTA-STS policy fetched");
                let held = Held { id, fetched_at: clock::now(), policy: Arc::new(policy) };
                return Known::new(Some(held), Certainty::Final, look_at);
            }
            Ok(Err(error)) => {
                tracing::info!(%domain, id, %error, "MTA-STS policy not fetched");
                error.failure()
            }
            Err(_) => {
                tracing::info!(%domain, id, error = "timed out", "MTA-STS policy not fetched");
                TlsFailure::StsPolicyFetchError
            }
        };
        let look_at = Instant::now() + AFTER_FAILURE;
        Known { trouble: Some(failure), ..Known::new(held, Certainty::Open, look_at) }
    }

    async fn remember(&self, domain: &Domain, new: Known) {
        let held = new.held.clone();
        let (before, forgotten) = self.replace(domain, new);
        let (tree, domain) = (self.tree.clone(), domain.clone());
        let change = move || {
            for other in forgotten {
                tree.remove(other.as_str().as_bytes())?;
            }
            match (before, held) {
                (Some(before), Some(held)) if before.fetched_at == held.fetched_at => Ok(()),
                (_, Some(held)) => keep(&tree, &domain, &held),
                (Some(_), None) => tree.remove(domain.as_str().as_bytes()).map_err(TlsError::from),
                (None, None) => Ok(()),
            }
        };
        if let Err(error) = off_runtime(change).await {
            tracing::error!(%error, "MTA-STS policies not kept for the next start");
        }
    }

    /// What is known from now on. The policy that was known before, and the domains that are forgotten for it.
    fn replace(&self, domain: &Domain, new: Known) -> (Option<Held>, Vec<Domain>) {
        let mut known = self.known.lock();
        let mut forgotten = Vec::new();
        if known.len() >= MAX_DOMAINS && !known.contains_key(domain) {
            forgotten = make_room(&mut known);
        }
        let before = known.insert(domain.clone(), new);
        (before.and_then(|before| before.held), forgotten)
    }
}

/// Forgets some domains; those that had a policy, which is on the disk.
fn make_room(known: &mut HashMap<Domain, Known>) -> Vec<Domain> {
    let rank = |known: &Known| (known.held.as_ref().is_some_and(|held| !held.is_expired()), known.used_at);
    let mut all: Vec<_> = known.iter().map(|(domain, known)| (rank(known), domain.clone())).collect();
    all.sort_unstable_by_key(|(rank, _)| *rank);
    let least = all.into_iter().take(FORGOTTEN_AT_ONCE).map(|(_, domain)| domain);
    least.filter(|domain| known.remove(domain).is_some_and(|known| known.held.is_some())).collect()
}

fn keep(tree: &Tree, domain: &Domain, held: &Held) -> Result<(), TlsError> {
    let fetched_at = held.fetched_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let stored = Stored { id: held.id.clone(), fetched_at, policy: held.policy.to_string() };
    let value = serde_json::to_vec(&stored).unwrap_or_default();
    Ok(tree.insert(domain.as_str().as_bytes(), &value)?)
}

/// What was kept; each is looked at again when it is first used. What is over or cannot be read is removed.
fn read_all(tree: &Tree) -> Result<HashMap<Domain, Known>, TlsError> {
    let mut known = HashMap::new();
    for pair in tree.scan(b"") {
        let (key, value) = pair?;
        match read_one(&key, &value).filter(|(_, held)| !held.is_expired() && known.len() < MAX_DOMAINS) {
            Some((domain, held)) => {
                known.insert(domain, Known::new(Some(held), Certainty::Open, Instant::now()));
            }
            None => tree.remove(&key)?,
        }
    }
    Ok(known)
}

fn read_one(key: &[u8], value: &[u8]) -> Option<(Domain, Held)> {
    let domain = Domain::parse(std::str::from_utf8(key).ok()?).ok()?;
    let stored: Stored = serde_json::from_slice(value).ok()?;
    let policy = Arc::new(StsPolicy::parse(stored.policy.as_bytes()).ok()?);
    let fetched_at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(stored.fetched_at))?;
    Some((domain, Held { id: stored.id, fetched_at, policy }))
}

#[cfg(test)]
mod tests;
