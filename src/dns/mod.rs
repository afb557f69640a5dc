//! The resolver: the one place that asks the DNS (RFC 1035), and the sole owner of `hickory-resolver`.
//!
//! What callers rely on:
//! - Names are absolute. No search list and no hosts file is consulted, whatever the system's resolver
//!   configuration says: mail routing must not depend on a node's own domain.
//! - A look-up ends within [`DnsOptions::time_limit`], its CNAME chain (at most 8 long) included, and for who asks
//!   by [`Dns::until`] no later than then.
//! - Three answers are kept apart: *no such name* (RCODE 3), *no records of this type* (RCODE 0), and
//!   *don't know* ([`DnsError::is_temporary`]: any other RCODE, a time-out, a network failure). SPF
//!   (RFC 7208 §2.6.6) and MX look-ups (RFC 5321 §5.1) depend on it.
//! - Answers are cached by their TTL, at most [`MAX_POSITIVE_TTL`]; negative ones by their SOA
//!   (RFC 2308 §5), at most [`MAX_NEGATIVE_TTL`], and not at all without one. Concurrent equal questions
//!   become one query. Answers of the cache count in `dns_lookups_total` like others.
//! - Loopback names are answered without asking, as RFC 6761 §6.3 wants it: `localhost` is 127.0.0.1 and
//!   ::1, the PTR record of 127.0.0.0/8 and of ::1 is `localhost`; `invalid` does not exist (§6.4).
//!
//! - DNSSEC is validated by the servers, not here: [`Security`] says whether one that is trusted to validate
//!   (`dns.trust_ad`) vouches for an answer.

mod error;
mod host;
mod mail_hosts;
mod name;
mod secured;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::system_conf::read_system_conf;

use crate::config::{self, Live};
use crate::mail::Domain;
use crate::telemetry::Metrics;

pub use error::{Cause, DnsError};
pub use host::{HostAddresses, RESOLUTION_DELAY};
pub use mail_hosts::{MAX_MAIL_HOSTS, MailHost, MailHosts};
pub use name::{AsName, DnsName};
pub use secured::{Security, Tlsa};

/// Longest time an answer is kept, whatever its TTL: 1 day, so that no record outlives a move of its
/// domain by more (RFC 8767 §4 wants a cap, and suggests a week at most).
pub const MAX_POSITIVE_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest time a negative answer is kept: 1 hour (RFC 2308 §5: values of one to three hours work well).
pub const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(60 * 60);

/// Largest response that is kept, in octets of memory, about: four times what the largest in use take. A response may have
/// 64 KiB on the wire, and ten times that in memory when it is made of empty strings.
const MAX_CACHED_OCTETS: usize = 16 * 1024;
/// What a record takes in memory beside its strings, about.
const RECORD_OCTETS: usize = 128;
/// What a string of a TXT record takes beside its octets.
const STRING_OCTETS: usize = 16;

/// Queries in flight on one TCP connection to a resolver, past which hickory calls it busy. Its default
/// of 32 is less than what one burst of messages asks.
const MAX_TCP_QUERIES: usize = 4096;
/// The record types that are asked for, as labels of `dns_lookups_total`.
const TYPES: [RecordType; 6] =
    [RecordType::A, RecordType::AAAA, RecordType::MX, RecordType::PTR, RecordType::TLSA, RecordType::TXT];
/// The results of a look-up, as labels of `dns_lookups_total`.
const RESULTS: [&str; 5] = ["found", "no_records", "no_such_name", "timeout", "error"];

/// The bounds of the resolver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DnsOptions {
    /// Longest time for one look-up, all its attempts together.
    pub time_limit: Duration,
    /// Times a server that does not answer is asked, within the time limit; lost datagrams are sent again
    /// within each.
    pub attempts: u8,
    /// Responses kept in memory, about 1 KB each and 16 KiB at most; larger ones are not kept.
    pub cache_entries: u64,
}

/// 5 s and two attempts, as resolv.conf(5) has it for each server; 16,384 responses, about 16 MB, and 256 MiB when
/// somebody fills the cache on purpose.
impl Default for DnsOptions {
    fn default() -> Self {
        Self { time_limit: Duration::from_secs(5), attempts: 2, cache_entries: 16_384 }
    }
}

/// The node's resolver with its cache. A clone is the same resolver.
#[derive(Clone)]
pub struct Dns {
    shared: Arc<Shared>,
    /// When whoever asks stops waiting.
    until: Option<tokio::time::Instant>,
}

struct Shared {
    servers: ArcSwap<Servers>,
    options: DnsOptions,
    metrics: Arc<Metrics>,
    slow: host::Slow,
}

/// Whom a look-up asks, and what they have said.
pub struct Servers {
    made_from: config::Dns,
    resolver: TokioResolver,
    /// Asks the same servers whether they vouch for their answers; `None`: their word would not count.
    secured: Option<secured::Resolver>,
}

/// At least one record of the type asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<T> {
    /// The records, in the order of the response; one response's worth, so at most 64 KiB on the wire.
    pub records: Vec<T>,
    /// When the first of them (or of the CNAMEs that led here) runs out.
    pub valid_until: Instant,
    /// Whether DNSSEC vouches for all of it.
    pub security: Security,
}

impl Dns {
    /// A resolver that asks `config.servers`, or the system's servers when there are none.
    ///
    /// # Errors
    /// When the system's resolver configuration is needed and cannot be read.
    pub fn new(config: &config::Dns, metrics: Arc<Metrics>) -> Result<Self, DnsError> {
        Self::with_options(config, DnsOptions::default(), metrics)
    }

    /// Like [`Self::new`], with bounds of the caller's choice.
    ///
    /// # Errors
    /// When the system's resolver configuration is needed and cannot be read.
    pub fn with_options(
        config: &config::Dns,
        options: DnsOptions,
        metrics: Arc<Metrics>,
    ) -> Result<Self, DnsError> {
        let servers = ArcSwap::from_pointee(Servers::new(config, options)?);
        for record_type in TYPES {
            for result in RESULTS {
                metrics.dns_lookups_total.with_label_values(&[record_type.into(), result]);
            }
        }
        Ok(Self {
            shared: Arc::new(Shared { servers, options, metrics, slow: host::Slow::default() }),
            until: None,
        })
    }

    /// The same resolver for somebody who waits until then: what has no answer by that time has timed out, and what
    /// the cache knows is answered at any time.
    #[must_use]
    pub fn until(&self, until: tokio::time::Instant) -> Self {
        Self { until: Some(until), ..self.clone() }
    }

    /// The resolver itself, cache and all: for mail-auth as a second judge (`dev`), which asks for itself, and nobody else.
    #[must_use]
    pub fn resolver(&self) -> TokioResolver {
        self.shared.servers.load().resolver.clone()
    }

    /// Where mail for a domain goes (RFC 5321 §5.1, RFC 7505).
    ///
    /// # Errors
    /// [`DnsError::NoSuchName`] when the domain does not exist, [`DnsError::NoUsableMx`] when it has MX
    /// records and none is a host name, a temporary error when nobody knows.
    pub async fn mx(&self, domain: &Domain) -> Result<MailHosts, DnsError> {
        match self.look_up(absolute(domain.as_str())?, RecordType::MX, mail_hosts::exchange).await {
            Ok(answer) => mail_hosts::select(domain, answer.records, &mut rand::rng()),
            // RFC 5321 §5.1: "If an empty list of MXs is returned, the address is treated as if it was
            // associated with an implicit MX RR, with a preference of 0, pointing to that host."
            Err(DnsError::NoRecords { .. }) => Ok(MailHosts::Implicit(domain.clone())),
            Err(error) => Err(error),
        }
    }

    /// The hosts that the MX records of a name give, best preference first, all of them and each as it came: for SPF.
    ///
    /// # Errors
    /// When there are none, or nobody knows.
    pub async fn exchanges(&self, name: &DnsName) -> Result<Vec<DnsName>, DnsError> {
        let mut records = self.look_up(name.clone().into(), RecordType::MX, exchange).await?.records;
        records.sort_by_key(|(preference, _)| *preference);
        Ok(records.into_iter().map(|(_, host)| host).collect())
    }

    /// The A records of a name.
    ///
    /// # Errors
    /// When there are none, or nobody knows.
    pub async fn ipv4(&self, name: &(impl AsName + ?Sized)) -> Result<Answer<Ipv4Addr>, DnsError> {
        self.look_up(name.as_name()?.into(), RecordType::A, ipv4).await
    }

    /// The A records of a name as the servers have them now, past our own cache: for questions whose point
    /// is to see a change.
    ///
    /// # Errors
    /// When there are none, or nobody knows.
    pub async fn ipv4_afresh(&self, name: &str) -> Result<Answer<Ipv4Addr>, DnsError> {
        let name = absolute(name)?;
        self.shared.servers.load().resolver.clear_lookup_cache(name.clone(), RecordType::A);
        self.look_up(name, RecordType::A, ipv4).await
    }

    /// The AAAA records of a name.
    ///
    /// # Errors
    /// When there are none, or nobody knows.
    pub async fn ipv6(&self, name: &(impl AsName + ?Sized)) -> Result<Answer<Ipv6Addr>, DnsError> {
        self.look_up(name.as_name()?.into(), RecordType::AAAA, ipv6).await
    }

    /// The names an address has by its PTR records: lower case, without trailing dot. An IPv4-mapped
    /// address is asked as the IPv4 address that it is.
    ///
    /// # Errors
    /// When there are none, or nobody knows.
    pub async fn ptr(&self, ip: IpAddr) -> Result<Answer<String>, DnsError> {
        self.look_up(reverse(ip), RecordType::PTR, |data| pointer(data).map(|name| name.to_string())).await
    }

    /// Like [`Self::ptr`], the names as they came.
    ///
    /// # Errors
    /// When there are none, or nobody knows.
    pub async fn pointers(&self, ip: IpAddr) -> Result<Answer<DnsName>, DnsError> {
        self.look_up(reverse(ip), RecordType::PTR, pointer).await
    }

    /// The TXT records of a name, the strings of each joined (RFC 7208 §3.3, RFC 6376 §3.6.2.2).
    ///
    /// # Errors
    /// When there are none, or nobody knows.
    pub async fn txt(&self, name: &(impl AsName + ?Sized)) -> Result<Answer<Vec<u8>>, DnsError> {
        self.look_up(name.as_name()?.into(), RecordType::TXT, text).await
    }

    async fn look_up<T>(
        &self,
        name: Name,
        record_type: RecordType,
        read: fn(&RData) -> Option<T>,
    ) -> Result<Answer<T>, DnsError> {
        let servers = self.shared.servers.load_full();
        let lookup = servers.resolver.lookup(name.clone(), record_type);
        let answer = self.answer(&name, lookup, read).await;
        self.count(record_type, &answer);
        answer
    }

    async fn answer<T>(
        &self,
        name: &Name,
        lookup: impl Future<Output = Result<Lookup, NetError>>,
        read: fn(&RData) -> Option<T>,
    ) -> Result<Answer<T>, DnsError> {
        let limit = tokio::time::Instant::now() + self.shared.options.time_limit;
        let limit = self.until.map_or(limit, |until| until.min(limit));
        match tokio::time::timeout_at(limit, lookup).await {
            Ok(Ok(lookup)) => {
                if octets_of(&lookup) > MAX_CACHED_OCTETS {
                    let servers = self.shared.servers.load();
                    servers.resolver.clear_lookup_cache(name.clone(), lookup.query().query_type());
                }
                read_answer(name, &lookup, read)
            }
            Ok(Err(error)) => Err(DnsError::from_resolver(name, &error)),
            Err(_elapsed) => Err(DnsError::from_resolver(name, &NetError::Timeout)),
        }
    }

    fn count<T>(&self, record_type: RecordType, answer: &Result<Answer<T>, DnsError>) {
        let result = match answer {
            Ok(_) => "found",
            Err(error) => error.label(),
        };
        self.shared.metrics.dns_lookups_total.with_label_values(&[record_type.into(), result]).inc();
    }
}

/// Other servers are asked from the next look-up on; what the former ones said is forgotten.
impl Live for Dns {
    type Prepared = Option<Servers>;
    type Error = DnsError;

    fn prepare(&self, next: &Arc<config::Config>) -> Result<Option<Servers>, DnsError> {
        if self.shared.servers.load().made_from == next.dns {
            return Ok(None);
        }
        Servers::new(&next.dns, self.shared.options).map(Some)
    }

    fn swap(&self, prepared: Option<Servers>) {
        if let Some(servers) = prepared {
            self.shared.servers.store(Arc::new(servers));
        }
    }
}

impl Servers {
    fn new(config: &config::Dns, options: DnsOptions) -> Result<Self, DnsError> {
        let servers = if config.servers.is_empty() {
            read_system_conf().map_err(DnsError::system)?.0
        } else {
            let servers = config.servers.iter().map(name_server).collect();
            ResolverConfig::from_parts(None, Vec::new(), servers)
        };
        let secured = secured::resolver(config.trust_ad, &servers, options)?;
        let resolver = TokioResolver::builder_with_config(servers, TokioRuntimeProvider::default())
            .with_options(resolver_options(options))
            .build()
            .map_err(DnsError::system)?;
        Ok(Self { made_from: config.clone(), resolver, secured })
    }
}

impl std::fmt::Debug for Dns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dns").field("time_limit", &self.shared.options.time_limit).finish_non_exhaustive()
    }
}

/// UDP first, TCP for what does not fit (RFC 7766 §5), both at the same port.
fn name_server(addr: &SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(addr.ip());
    for connection in &mut server.connections {
        connection.port = addr.port();
    }
    server
}

/// Everything that matters is set here, so that neither resolv.conf(5) nor a new default changes it.
fn resolver_options(options: DnsOptions) -> ResolverOpts {
    let attempts = options.attempts.max(1);
    let mut opts = ResolverOpts::default();
    opts.timeout = options.time_limit / u32::from(attempts);
    // hickory counts what comes after the first attempt.
    opts.attempts = usize::from(attempts - 1);
    // Two of several servers at once, so that a dead one costs no time.
    opts.num_concurrent_reqs = 2;
    opts.cache_size = options.cache_entries;
    opts.positive_max_ttl = Some(MAX_POSITIVE_TTL);
    opts.negative_max_ttl = Some(MAX_NEGATIVE_TTL);
    opts.use_hosts_file = ResolveHosts::Never;
    opts.max_active_requests = MAX_TCP_QUERIES;
    opts.edns0 = true;
    opts
}

/// The name as an absolute one, trailing dot or not, so that no search list applies.
fn absolute(name: &str) -> Result<Name, DnsError> {
    let not_a_name = || DnsError::NotAName { name: name.chars().take(80).collect() };
    // Address literals are valid domains in mail, and even valid labels in the DNS.
    if name.is_empty() || name.starts_with('[') {
        return Err(not_a_name());
    }
    let mut name = Name::from_ascii(name).map_err(|_| not_a_name())?;
    name.set_fqdn(true);
    Ok(name)
}

/// The name that an address's PTR records have (RFC 1035 §3.5, RFC 3596 §2.5).
fn reverse(ip: IpAddr) -> Name {
    let mut name = Name::from(ip.to_canonical());
    name.set_fqdn(true);
    name
}

/// The name as text in lower case without trailing dot; the root is the empty text.
fn relative_text(name: &Name) -> String {
    let text = name.to_lowercase().to_ascii();
    text.strip_suffix('.').unwrap_or(&text).to_owned()
}

/// About how much memory a response takes.
fn octets_of(lookup: &Lookup) -> usize {
    let records = lookup.answers().iter().chain(lookup.authorities()).chain(lookup.additionals());
    let strings = |record: &Record| {
        let RData::TXT(text) = &record.data else { return 0 };
        text.txt_data.iter().map(|string| STRING_OCTETS + string.len()).sum()
    };
    records.map(|record| RECORD_OCTETS + strings(record)).sum()
}

fn read_answer<T>(
    name: &Name,
    lookup: &Lookup,
    read: fn(&RData) -> Option<T>,
) -> Result<Answer<T>, DnsError> {
    let records: Vec<T> = lookup.answers().iter().filter_map(|record| read(&record.data)).collect();
    let valid_until = lookup.valid_until();
    if records.is_empty() {
        return Err(DnsError::NoRecords { name: relative_text(name), valid_until });
    }
    Ok(Answer { records, valid_until, security: Security::Insecure })
}

fn ipv4(data: &RData) -> Option<Ipv4Addr> {
    if let RData::A(address) = data { Some(address.0) } else { None }
}

fn ipv6(data: &RData) -> Option<Ipv6Addr> {
    if let RData::AAAA(address) = data { Some(address.0) } else { None }
}

fn exchange(data: &RData) -> Option<(u16, DnsName)> {
    if let RData::MX(mx) = data { Some((mx.preference, DnsName::new(mx.exchange.clone()))) } else { None }
}

fn pointer(data: &RData) -> Option<DnsName> {
    if let RData::PTR(name) = data { Some(DnsName::new(name.0.clone())) } else { None }
}

fn text(data: &RData) -> Option<Vec<u8>> {
    if let RData::TXT(text) = data { Some(text.txt_data.concat()) } else { None }
}

#[cfg(test)]
mod tests;
