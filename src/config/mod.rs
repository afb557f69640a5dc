//! The node's configuration: `postroad.toml` and `POSTROAD__…` in, one checked, immutable [`Config`] out.
//!
//! Nothing past this module validates: every value here is typed and within its bounds, and every file named
//! here was readable and of the right form when the configuration was read. [`schema`] is the table of all
//! keys; the reader, the list of unknown keys and `postroad config example` come from it. What takes effect
//! without a restart is told in [`reload`].

pub mod files;
pub mod live;
pub mod reload;
pub mod schema;

mod address_log;
mod cluster;
mod effective;
mod environment;
mod error;
mod example;
mod exposure;
mod load;
mod named_files;
mod read;
mod sections;
mod settings;
mod shared;

pub use address_log::AddressLog;
pub use cluster::{Cluster, MAX_PEERS, NODE_LABEL, Peer, PeerAddress, Timing, is_node_label};
pub use environment::variables;
pub use error::{ConfigError, ConfigErrors, Problem};
pub use example::{example, quoted};
pub use exposure::ExposedSecret;
pub use live::{Live, Parts, taking};
pub use reload::{Reading, Reloader};
pub use shared::{Difference, DifferenceKind, SharedDigests, SharedDigestsError};

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::mail::{Address, Domain};

/// A checked node file. Sections and keys are those of the file, so an error's key path names a field here.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[node]`
    pub node: Node,
    /// `[service]`
    pub service: Service,
    /// `[smtp]`
    pub smtp: Smtp,
    /// `[limits]`
    pub limits: Limits,
    /// `[authentication]`
    pub authentication: Authentication,
    /// `[[dnsbl]]`
    pub dnsbl: Vec<Dnsbl>,
    /// `[dkim]`
    pub dkim: Dkim,
    /// `[arc]`
    pub arc: Arc,
    /// `[srs]`
    pub srs: Srs,
    /// `[delivery]`
    pub delivery: Delivery,
    /// `[dns]`
    pub dns: Dns,
    /// `[log]`
    pub log: Log,
    /// `[http]`
    pub http: Http,
    /// `[public]`; absent: nothing is served to strangers.
    pub public: Option<Public>,
    /// `[admin]`
    pub admin: Admin,
    /// `[cluster]`; absent: a cluster of one.
    pub cluster: Option<Cluster>,
    /// What the values above were read from, key by key.
    settings: settings::Settings,
}

/// `[node]`: who this node is.
#[derive(Debug, Clone)]
pub struct Node {
    /// Unique in the cluster.
    pub name: String,
    /// Banner, EHLO answer, Received "by".
    pub hostname: Domain,
    /// Everything the node keeps.
    pub data_dir: PathBuf,
}

/// `[service]`: the same on every node.
#[derive(Debug, Clone)]
pub struct Service {
    /// Outbound EHLO name, DKIM d=, authserv-id.
    pub domain: Domain,
    /// What customers' SPF records include.
    pub spf_name: Option<Domain>,
    /// Gets `<Postmaster>`, and postmaster@ and abuse@ of every domain that has no rule for them.
    pub postmaster: Address,
    /// Where refusals point to; an anchor is appended.
    pub postmaster_url: String,
    /// Largest message taken, in octets.
    pub max_message_octets: u64,
    /// What the world sees us come from; none: the outbound pool.
    pub outbound_prefixes: Vec<IpNet>,
    /// The cluster's MX hosts; never delivered to.
    pub mx: Vec<MxHost>,
}

/// One of our own MX records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MxHost {
    /// The host's name.
    pub hostname: Domain,
    /// The preference customers publish it with.
    pub preference: u16,
}

/// `[smtp]`: the listeners.
#[derive(Debug, Clone)]
pub struct Smtp {
    /// Addresses to listen on; port 0 takes any free one.
    pub listen: Vec<SocketAddr>,
    /// Certificate chain and key (PEM): with them STARTTLS is offered.
    pub tls: Option<KeyPairFiles>,
    /// Networks whose PROXY header is believed, and required.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether the recipients of a sender that SPF does not vouch for are taken one transaction group at a time.
    pub split_unvouched: bool,
}

/// A certificate chain and its private key, in PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPairFiles {
    /// The chain, leaf first.
    pub certificate_file: PathBuf,
    /// PKCS#8, PKCS#1 or SEC1.
    pub private_key_file: PathBuf,
}

/// `[limits]`: the bounds that operators turn.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Concurrent SMTP sessions on the node.
    pub sessions: usize,
    /// Concurrent sessions per client network: IPv4 /24, IPv6 /56; past half of `sessions` multiples of it for IPv6
    /// /48 and /32.
    pub sessions_per_network: usize,
    /// Recipients a transaction (RFC 5321 §4.5.3.1.8: at least 100).
    pub recipients: usize,
    /// Message octets held in memory over all sessions.
    pub octets_in_flight: u64,
    /// Free octets below which nothing new is written to disk.
    pub min_free_octets: u64,
    /// Longest wait for a command (RFC 5321 §4.5.3.2.7).
    pub command_timeout: Duration,
    /// Longest wait for the next octets of a message (RFC 5321 §4.5.3.2.5).
    pub data_timeout: Duration,
    /// Longest time for one message from 354 to its final dot, or from its first chunk to its last.
    pub message_timeout: Duration,
    /// Commands that were in error before the session is ended.
    pub errors: usize,
    /// Transactions a session before it is ended.
    pub transactions: usize,
    /// Octets of a message's header section.
    pub header_octets: usize,
    /// DKIM signatures looked at per message.
    pub dkim_signatures: usize,
    /// Received fields before a message counts as looping (RFC 5321 §6.3).
    pub hops: usize,
}

/// How DMARC verdicts are acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DmarcMode {
    /// p=reject rejects.
    Enforce,
    /// p=reject rejects only with a second signal (RFC 9989 §7.4).
    Rfc9989,
    /// Nothing is rejected by DMARC.
    Monitor,
}

/// `[authentication]`: what a sender must prove.
#[derive(Debug, Clone)]
pub struct Authentication {
    /// What DMARC failures do.
    pub dmarc: DmarcMode,
    /// Refuse mail that neither SPF nor DKIM passes.
    pub require_pass: bool,
    /// Domains whose ARC seals may override a DMARC failure.
    pub trusted_arc_sealers: Vec<Domain>,
}

/// One `[[dnsbl]]` zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dnsbl {
    /// The name in replies and metrics.
    pub name: String,
    /// The zone, without a subscriber's key.
    pub zone: Domain,
    /// A subscriber's key, put before the zone as a label.
    pub key_file: Option<PathBuf>,
    /// Answers that mean listed.
    pub listed: Vec<ipnet::Ipv4Net>,
}

/// `[dkim]`: what we sign with, in order of preference.
#[derive(Debug, Clone)]
pub struct Dkim {
    /// At least one; the first is the RSA key that every verifier understands.
    pub keys: Vec<DkimKey>,
}

/// One signing key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DkimKey {
    /// The selector under `_domainkey`.
    pub selector: String,
    /// RSA (PKCS#1 or PKCS#8) or Ed25519 (PKCS#8), PEM.
    pub private_key_file: PathBuf,
}

/// `[arc]`
#[derive(Debug, Clone)]
pub struct Arc {
    /// Which forwarded mail gets an ARC set (RFC 8617).
    pub seal: Sealing,
}

/// Which forwarded mail gets an ARC set of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sealing {
    /// All of it.
    On,
    /// What its receiver cannot judge by the author's own signature, and what came with a chain.
    Needed,
    /// None.
    Off,
}

/// `[srs]`
#[derive(Debug, Clone)]
pub struct Srs {
    /// One secret a line: the first signs, all verify.
    pub secret_file: PathBuf,
    /// Days for which a rewritten address takes bounces.
    pub max_age_days: u16,
}

/// What an upstream 4xx becomes for a message that nobody has yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnTempfail {
    /// The sender hears it and keeps the message.
    Relay,
    /// The message is queued.
    Queue,
    /// Queued for senders that SPF or DKIM vouches for, else relayed.
    Verified,
}

/// Whether MX hosts on loopback and private networks are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrivateAddresses {
    /// They are dropped.
    Refuse,
    /// They are used: for closed networks and tests.
    Allow,
}

/// `[delivery]`
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The port of the destinations' MX hosts.
    pub port: u16,
    /// From the client's final dot to our reply.
    pub in_session_timeout: Duration,
    /// See [`OnTempfail`].
    pub on_tempfail: OnTempfail,
    /// Whether upstreams are asked at RCPT.
    pub cut_through: bool,
    /// See [`PrivateAddresses`].
    pub private_addresses: PrivateAddresses,
    /// How long a queued message is tried.
    pub give_up_after: Duration,
    /// From the first failed attempt to the second.
    pub retry_first: Duration,
    /// The longest pause between two attempts.
    pub retry_longest: Duration,
    /// Age at which a delay is told; zero: never.
    pub delay_notice_after: Duration,
    /// The outbound pool; none: the system chooses.
    pub sources: Vec<Source>,
    /// Longest wait for a TCP connection to an IPv4 address.
    pub connect_timeout: Duration,
    /// Longest wait for a TCP connection to an IPv6 address.
    pub connect_timeout_v6: Duration,
    /// How long an idle connection is kept for the next message to the same host.
    pub idle_timeout: Duration,
}

/// One address of the outbound pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The local address to connect from.
    pub address: IpAddr,
    /// The name its PTR record gives.
    pub hostname: Domain,
}

/// `[dns]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dns {
    /// Resolvers to ask; none: the system's.
    pub servers: Vec<SocketAddr>,
    /// See [`TrustAd`].
    pub trust_ad: TrustAd,
}

/// Whose AD bit counts as DNSSEC validation, which DANE needs (RFC 7672 §2.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TrustAd {
    /// The servers', when all of them are on loopback.
    #[default]
    Loopback,
    /// The servers', wherever they are.
    Always,
    /// Nobody's: no DANE.
    Never,
}

/// How mail addresses appear in logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogAddresses {
    /// As they are.
    Full,
    /// As a keyed hash, the domain kept.
    Hash,
    /// Not at all.
    None,
}

/// `[log]`
#[derive(Debug, Clone)]
pub struct Log {
    /// A `tracing` filter.
    pub level: String,
    /// How mail addresses are written; keyed by the SRS secret, so that all nodes hash alike.
    pub addresses: AddressLog,
}

/// `[http]`: metrics and health, for the operator.
#[derive(Debug, Clone)]
pub struct Http {
    /// The one address to listen on.
    pub listen: SocketAddr,
}

/// `[public]`: pages for strangers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Public {
    /// The one address to listen on.
    pub listen: SocketAddr,
}

/// `[admin]`: the gRPC admin service.
#[derive(Debug, Clone)]
pub struct Admin {
    /// The one address to listen on.
    pub listen: SocketAddr,
    /// Lines `TOKEN ROLE [NAME]`.
    pub token_file: Option<PathBuf>,
    /// Serve TLS with these.
    pub tls: Option<KeyPairFiles>,
    /// Require client certificates signed by these.
    pub client_ca_file: Option<PathBuf>,
}

#[cfg(test)]
pub(crate) mod test_files;
#[cfg(test)]
mod tests;
