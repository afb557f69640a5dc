//! DNS blocklists (RFC 5782): which of the configured zones list a client's address, and whether each
//! zone is fit to be believed.
//!
//! Decisions:
//! - Everything fails open. A zone that does not answer, answers with an error, or is switched off lists
//!   nobody; a client is never refused, nor kept waiting past [`BlocklistOptions::time_limit`], because
//!   of a zone's trouble.
//! - Every zone has two test points per address family (RFC 5782 §5), asked by [`Blocklist::watch`]: one
//!   that must be listed and one that must not. A zone that fails them for a family is switched off for
//!   it: an expired domain lists everybody, a dead zone nobody. Nothing is believed before the first test.
//! - 127.0.0.1 and 127.255.255.0/24 are how zones say *you may not ask* (blocked resolver, used-up
//!   quota); they are errors whatever the masks say. So is an answer outside of 127.0.0.0/8.
//! - Verdicts are cached per zone and address by their TTL, 1 s to 1 h, and concurrent questions for one
//!   address are asked once. Failures are not cached.
//! - The nodes of a cluster share verdicts ([`Others`]): each asks the DNS only for what none of them told it. What is told
//!   are the codes, which each node reads by its own settings; neither failures nor refusals are. Test points are each
//!   node's own: a zone that is switched off here lists nobody here, whatever others say.
//! - A subscriber's key is part of the names asked for and of nothing else: no log, no error and no
//!   `Debug` of this module holds it. (hickory's own debug logs hold every name asked for.)

mod answer;
mod report;
mod shared;
mod zone;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use thiserror::Error;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::dns::Dns;
use crate::telemetry::Metrics;

pub use report::{ZoneReport, ZoneVerdict};
pub use shared::{Finding, Others, Question, ZoneId};
use zone::Zone;

/// The times of the blocklists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlocklistOptions {
    /// Longest wait for all zones together, the wait for the first test included.
    pub time_limit: Duration,
    /// From one test of a zone to the next.
    pub test_interval: Duration,
    /// The same while a zone gives no answer to its test points.
    pub retest_interval: Duration,
}

/// 3 s, since the client waits for it at RCPT and zones answer in milliseconds; 5 minutes, so that a zone
/// that begins to list everybody does so for no longer; 30 s, so that one is not off much longer than it
/// is down.
impl Default for BlocklistOptions {
    fn default() -> Self {
        Self {
            time_limit: Duration::from_secs(3),
            test_interval: Duration::from_secs(5 * 60),
            retest_interval: Duration::from_secs(30),
        }
    }
}

/// Why the blocklists cannot be used.
#[derive(Debug, Error)]
pub enum BlocklistError {
    /// The subscriber's key cannot be read.
    #[error("key file {} of dnsbl {zone} cannot be read", path.display())]
    KeyFile {
        /// The zone's configured name.
        zone: String,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file holds no key.
    #[error("key file {} of dnsbl {zone} does not hold one label of 1 to 63 letters, digits and hyphens",
            path.display())]
    Key {
        /// The zone's configured name.
        zone: String,
        /// The file.
        path: PathBuf,
    },
    /// The names asked for would be too long: an IPv6 address takes 64 octets of 253 (RFC 1035 §2.3.4).
    #[error("zone of dnsbl {zone} is an address literal, or longer than 189 octets with its key")]
    ZoneName {
        /// The zone's configured name.
        zone: String,
    },
}

/// The configured zones.
pub struct Blocklist {
    zones: Vec<Zone>,
    options: BlocklistOptions,
}

/// What the zones say of a client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The configured names of the zones that list it, in the order of the file.
    pub zones: Vec<String>,
}

impl Listing {
    /// Whether any zone lists the client.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        !self.zones.is_empty()
    }
}

impl Blocklist {
    /// Reads the subscribers' keys. No zone is believed until [`Self::watch`] runs and has tested it.
    ///
    /// # Errors
    /// When a key file cannot be used, or a zone's name is too long.
    pub fn new(
        zones: &[config::Dnsbl],
        dns: Dns,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Self>, BlocklistError> {
        Self::with_options(zones, BlocklistOptions::default(), dns, metrics)
    }

    /// Like [`Self::new`], with times of the caller's choice.
    ///
    /// # Errors
    /// When a key file cannot be used, or a zone's name is too long.
    pub fn with_options(
        zones: &[config::Dnsbl],
        options: BlocklistOptions,
        dns: Dns,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Self>, BlocklistError> {
        Self::open(zones, options, (dns, metrics), None)
    }

    /// Like [`Self::new`], of a node that shares what it finds with others.
    ///
    /// # Errors
    /// When a key file cannot be used, or a zone's name is too long.
    pub fn among(
        others: Arc<dyn Others>,
        zones: &[config::Dnsbl],
        dns: Dns,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Self>, BlocklistError> {
        Self::open(zones, BlocklistOptions::default(), (dns, metrics), Some(others))
    }

    fn open(
        zones: &[config::Dnsbl],
        options: BlocklistOptions,
        (dns, metrics): (Dns, Arc<Metrics>),
        others: Option<Arc<dyn Others>>,
    ) -> Result<Arc<Self>, BlocklistError> {
        let zones = zones
            .iter()
            .map(|zone| Zone::new(zone, dns.clone(), metrics.clone(), others.clone()))
            .collect::<Result<_, _>>()?;
        Ok(Arc::new(Self { zones, options }))
    }

    /// Keeps what another node found; whether there is such a zone here, and its answer is one.
    pub fn hear(&self, question: Question, finding: &Finding) -> bool {
        // Two zones of one domain may be configured: both hear it.
        let of_zone = self.zones.iter().filter(|zone| zone.id() == question.zone);
        of_zone.filter(|zone| zone.hear(question.ip, finding)).count() > 0
    }

    /// What a zone answers, for another node that asks: known here, or asked of the DNS now. Nothing where there is no such
    /// zone here, or no answer in time.
    pub async fn find(&self, question: Question) -> Option<Finding> {
        let deadline = Instant::now() + self.options.time_limit;
        self.zones.iter().find(|zone| zone.id() == question.zone)?.find(question.ip, deadline).await
    }

    /// Asks every zone at once whether it lists a client. Zones that give no answer in time list nobody.
    pub async fn check(&self, ip: IpAddr) -> Listing {
        // A client on a dual-stack socket is the IPv4 client that it is.
        let ip = ip.to_canonical();
        let deadline = Instant::now() + self.options.time_limit;
        let verdicts = join_all(self.zones.iter().map(|zone| zone.lists(ip, deadline))).await;
        let listing = self.zones.iter().zip(verdicts).filter(|(_, listed)| *listed);
        Listing { zones: listing.map(|(zone, _)| zone.name().to_owned()).collect() }
    }

    /// What every zone says of an address, for an operator: asked, counted and kept as by [`Self::check`], with the zone's
    /// words on a listing. All of it ends at the time limit.
    pub async fn report(&self, ip: IpAddr) -> Vec<ZoneReport> {
        let ip = ip.to_canonical();
        let deadline = Instant::now() + self.options.time_limit;
        join_all(self.zones.iter().map(|zone| zone.report(ip, deadline))).await
    }

    /// Tests every zone now and from then on (RFC 5782 §5), until stopped.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let zones = self.zones.iter().map(|zone| zone.watch(&self.options));
        stop.run_until_cancelled(join_all(zones)).await;
    }
}

impl fmt::Debug for Blocklist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.zones.iter().map(Zone::name)).finish()
    }
}

#[cfg(test)]
mod tests;
