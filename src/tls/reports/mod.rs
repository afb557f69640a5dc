//! TLSRPT (RFC 8460): how sessions with destinations went, counted by domain and UTC day, and once a day told
//! to the domains that ask. Owns the tree `tlsrpt` of the store.
//!
//! Sessions are counted when they begin: messages over a connection that is kept add nothing (RFC 8460 §4.3
//! counts sessions). Counts live in memory and are saved every minute or so, so that a crash loses little.
//!
//! Key in the tree: day since 1970 as 8 octets, basis, domain. Value: JSON.
//!
//! Not done: reports by HTTPS (`rua=https:`, RFC 8460 §5.4); the addresses beside it are used.

mod message;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{StsPolicies, TlsError, TlsFailure};
use crate::clock;
use crate::dns::{Dns, DnsError};
use crate::mail::{Address, Domain};
use crate::store::{Batch, Store, Tree, off_runtime};

/// Seconds of a day.
const DAY: u64 = 86_400;
/// Domains and days counted; past it new ones are not.
const MAX_COUNTS: usize = 20_000;
/// Kinds of failure at different hosts counted for one domain and day; further hosts share one line.
const MAX_FAILURES: usize = 30;
/// Addresses that one domain's report goes to.
const MAX_ADDRESSES: usize = 3;
/// Reports built at a time.
const MAX_REPORTS: usize = 1000;
/// Days after which counts are given up whose domain's wish nobody could tell.
const MAX_DAYS: u64 = 3;

/// Whose rule a session was held to: the policy type of RFC 8460 §4.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Basis {
    /// TLSA records.
    #[serde(rename = "tlsa")]
    Tlsa,
    /// An MTA-STS policy.
    #[serde(rename = "sts")]
    Sts,
    /// Nobody's.
    #[serde(rename = "no-policy-found")]
    None,
}

/// A session with a destination's host.
#[derive(Debug, Clone, Copy)]
pub struct Sighting<'a> {
    /// The destination's domain.
    pub domain: &'a Domain,
    /// Whose rule it was held to.
    pub basis: Basis,
    /// What went wrong; `None`: nothing.
    pub failure: Option<TlsFailure>,
}

impl<'a> Sighting<'a> {
    /// Nothing is known but the domain.
    #[must_use]
    pub fn of(domain: &'a Domain) -> Self {
        Self { domain, basis: Basis::None, failure: None }
    }
}

/// Who reports.
#[derive(Debug, Clone)]
pub struct Reporter {
    /// The organisation, whose domain signs the mail; its postmaster is the report's author, so that the
    /// signature is aligned with it, and answers questions.
    pub organization: Domain,
}

/// A report that is to be sent with the null reverse-path, signed by the reporter's domain (RFC 8460 §3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The domain that it is about.
    pub domain: Domain,
    /// Where it goes.
    pub to: Address,
    /// The whole message.
    pub octets: Bytes,
}

/// The counts. A clone is the same.
#[derive(Clone)]
pub struct Reports {
    shared: Arc<Shared>,
}

struct Shared {
    dns: Dns,
    tree: Tree,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    by_key: HashMap<Key, Count>,
    changed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    day: u64,
    domain: Domain,
    basis: Basis,
}

/// Sessions of one day, domain and basis.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Count {
    successes: u64,
    failures: Vec<Failures>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Failures {
    failure: TlsFailure,
    host: String,
    sessions: u64,
}

impl Reports {
    /// Opens the counts that the store has kept.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open(store: &Store, dns: Dns) -> Result<Self, TlsError> {
        let tree = store.tree("tlsrpt")?;
        let mut by_key = HashMap::new();
        for pair in tree.scan(b"") {
            let (key, value) = pair?;
            match Key::read(&key).zip(serde_json::from_slice(&value).ok()) {
                Some((key, count)) if by_key.len() < MAX_COUNTS => {
                    by_key.insert(key, count);
                }
                Some(_) | None => tree.remove(&key)?,
            }
        }
        let counts = Mutex::new(Counts { by_key, changed: false });
        Ok(Self { shared: Arc::new(Shared { dns, tree, counts }) })
    }

    /// Counts one session with this host.
    pub fn note(&self, sighting: &Sighting<'_>, host: &str) {
        let key = Key { day: day(clock::now()), domain: sighting.domain.clone(), basis: sighting.basis };
        let mut counts = self.shared.counts.lock();
        if counts.by_key.len() >= MAX_COUNTS && !counts.by_key.contains_key(&key) {
            return;
        }
        counts.changed = true;
        counts.by_key.entry(key).or_default().add(sighting.failure, host);
    }

    /// Writes the counts to the store, where they changed. Blocks for the disk's cache.
    ///
    /// # Errors
    /// When the store takes no writes.
    pub fn save(&self) -> Result<(), TlsError> {
        let mut batch = Batch::default();
        let mut counts = self.shared.counts.lock();
        if !std::mem::take(&mut counts.changed) {
            return Ok(());
        }
        for (key, count) in &counts.by_key {
            batch.insert(key.octets(), serde_json::to_vec(count).unwrap_or_default());
        }
        drop(counts);
        Ok(self.shared.tree.apply_batch(batch)?)
    }

    /// The reports that are due: of days that are over, for domains that ask for them (RFC 8460 §3). Each is
    /// given out once, and its counts are forgotten; so are those that nobody asks for.
    pub(in crate::tls) async fn due(
        &self,
        now: SystemTime,
        reporter: &Reporter,
        sts: &StsPolicies,
    ) -> Vec<Report> {
        let mut reports = Vec::new();
        for ((day, domain), counts) in self.over(day(now)) {
            let rua = match self.shared.dns.txt(&format!("_smtp._tls.{domain}")).await {
                Ok(answer) => addresses(&answer.records),
                Err(error) if is_open(&error, day, now) => continue,
                Err(_) => Vec::new(),
            };
            if !rua.is_empty() {
                let policy = sts.of(&domain).await.policy;
                let about = message::About { day, domain: &domain, counts: &counts, policy };
                let made = rua.into_iter().filter_map(|to| message::report(&about, reporter, to));
                reports.extend(made);
            }
            if let Err(error) = self.forget(day, &domain, &counts).await {
                tracing::error!(%domain, %error, "TLS report's counts not removed");
            }
        }
        reports
    }

    /// Counts of days before this one, by day and domain, some of them at a time.
    fn over(&self, today: u64) -> BTreeMap<(u64, Domain), BTreeMap<Basis, Count>> {
        let mut over: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for (key, count) in &self.shared.counts.lock().by_key {
            let place = (key.day, key.domain.clone());
            if key.day < today && (over.len() < MAX_REPORTS || over.contains_key(&place)) {
                over.entry(place).or_default().insert(key.basis, count.clone());
            }
        }
        over
    }

    async fn forget(
        &self,
        day: u64,
        domain: &Domain,
        counts: &BTreeMap<Basis, Count>,
    ) -> Result<(), TlsError> {
        let key = |basis: &Basis| Key { day, domain: domain.clone(), basis: *basis };
        let (shared, keys): (_, Vec<Key>) = (self.shared.clone(), counts.keys().map(key).collect());
        off_runtime(move || {
            for key in keys {
                shared.tree.remove(&key.octets())?;
                shared.counts.lock().by_key.remove(&key);
            }
            Ok(())
        })
        .await
    }
}

impl std::fmt::Debug for Reports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reports").field("counts", &self.shared.counts.lock().by_key.len()).finish()
    }
}

/// Whether the question is worth asking again.
fn is_open(error: &DnsError, counted: u64, now: SystemTime) -> bool {
    error.is_temporary() && day(now).saturating_sub(counted) <= MAX_DAYS
}

impl Count {
    fn add(&mut self, failure: Option<TlsFailure>, host: &str) {
        let Some(failure) = failure else {
            self.successes += 1;
            return;
        };
        let host = if self.failures.len() < MAX_FAILURES { host } else { "" };
        match self.failures.iter_mut().find(|known| known.failure == failure && known.host == host) {
            Some(known) => known.sessions += 1,
            None => self.failures.push(Failures { failure, host: host.to_owned(), sessions: 1 }),
        }
    }

    fn failed(&self) -> u64 {
        self.failures.iter().map(|failures| failures.sessions).sum()
    }
}

impl Key {
    fn octets(&self) -> Vec<u8> {
        let basis = match self.basis {
            Basis::Tlsa => 0,
            Basis::Sts => 1,
            Basis::None => 2,
        };
        [&self.day.to_be_bytes()[..], &[basis], self.domain.as_str().as_bytes()].concat()
    }

    fn read(octets: &[u8]) -> Option<Self> {
        let (day, rest) = octets.split_first_chunk()?;
        let (basis, domain) = rest.split_first()?;
        let basis = match basis {
            0 => Basis::Tlsa,
            1 => Basis::Sts,
            2 => Basis::None,
            _ => return None,
        };
        let domain = Domain::parse(std::str::from_utf8(domain).ok()?).ok()?;
        Some(Self { day: u64::from_be_bytes(*day), domain, basis })
    }
}

fn day(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs() / DAY
}

fn start_of(day: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(day.saturating_mul(DAY))
}

/// The mail addresses, decoded (RFC 6068 §2), that a domain's `_smtp._tls` records name; none unless exactly one record announces
/// reports (RFC 8460 §3).
fn addresses(records: &[Vec<u8>]) -> Vec<Address> {
    let mut announcing = records.iter().filter_map(|record| {
        let text = std::str::from_utf8(record).ok()?;
        text.strip_prefix("v=TLSRPTv1")?.trim_start().strip_prefix(';')
    });
    let (Some(fields), None) = (announcing.next(), announcing.next()) else { return Vec::new() };
    let rua = fields.split(';').filter_map(|field| field.split_once('='));
    let Some((_, uris)) = rua.into_iter().find(|(key, _)| key.trim() == "rua") else { return Vec::new() };
    let mail = uris.split(',').filter_map(|uri| {
        let uri = uri.trim();
        let scheme = uri.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("mailto:"))?;
        let to = uri.get(scheme.len()..)?.split('?').next()?;
        Address::parse(&percent_decoded(to)?).ok()
    });
    mail.take(MAX_ADDRESSES).collect()
}

/// What a part of a URI stands for (RFC 3986 §2.1); none where that is no text.
fn percent_decoded(part: &str) -> Option<String> {
    let mut pieces = part.split('%');
    let mut octets = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        let digits = piece.get(..2).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        octets.push(u8::from_str_radix(digits, 16).ok()?);
        octets.extend_from_slice(piece.get(2..)?.as_bytes());
    }
    String::from_utf8(octets).ok()
}

#[cfg(test)]
mod tests;
