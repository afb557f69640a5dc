//! What the configuration says to delivery, and its time limits.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::config::{Config, LogAddresses, PrivateAddresses};
use crate::mail::Domain;
use crate::pipeline::parcel::FINAL_DOT_TIMEOUT;

/// Deliveries at a time to one destination domain that are always allowed, however small `limits.sessions` is.
const MIN_PER_DESTINATION: usize = 20;

/// Connections to upstreams open at a time, in use, idle or owing a late reply: 160 MiB at the 40 KiB that TLS takes of
/// one. A node that forwards a hundred messages a second needs them all when every destination takes 40 s.
const CONNECTIONS: usize = 4096;

/// One reading of the configuration; a message keeps the one it started with.
#[derive(Debug, Clone)]
pub(super) struct Options {
    /// Port of the MX hosts.
    pub(super) port: u16,
    /// Our name in EHLO.
    pub(super) ehlo: Domain,
    /// Names of our own MX hosts.
    pub(super) own_hosts: Vec<Domain>,
    /// Where our own listeners are.
    pub(super) listening: Vec<SocketAddr>,
    /// Whether addresses that are not on the Internet are used.
    pub(super) private_addresses: PrivateAddresses,
    /// Addresses to connect from; none: the system chooses.
    pub(super) sources: Vec<IpAddr>,
    /// Deliveries at a time to one destination domain.
    pub(super) per_destination: usize,
    /// Connections at a time.
    pub(super) connections: usize,
    /// Connections at a time to one address: an eighth, so that no host keeps all of them by being slow.
    pub(super) connections_per_address: usize,
    /// Whether the dialogue may show mail addresses.
    pub(super) log_addresses: LogAddresses,
    /// The time limits.
    pub(super) timing: Timing,
}

/// Time limits of single steps; the message's own budget cuts all of them but `dot`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    /// `delivery.connect_timeout`.
    pub(super) connect: Duration,
    /// `delivery.connect_timeout_v6`.
    pub(super) connect_v6: Duration,
    /// The greeting (RFC 5321 §4.5.3.2.1).
    pub(super) banner: Duration,
    /// A TLS handshake; short, so that time is left for the plain try that follows a failed one.
    pub(super) handshake: Duration,
    /// The reply to EHLO, STARTTLS, MAIL, RCPT or RSET (RFC 5321 §4.5.3.2.2 and .3).
    pub(super) command: Duration,
    /// The reply to DATA (RFC 5321 §4.5.3.2.4).
    pub(super) data: Duration,
    /// Handing a block of the message to the network (RFC 5321 §4.5.3.2.5).
    pub(super) block: Duration,
    /// The reply to the final dot (RFC 5321 §4.5.3.2.6).
    pub(super) dot: Duration,
    /// How long a transaction that was opened at RCPT waits for the message.
    pub(super) held: Duration,
    /// The reply to QUIT, which nothing waits for.
    pub(super) quit: Duration,
    /// `delivery.idle_timeout`.
    pub(super) idle: Duration,
}

impl Options {
    /// Takes what delivery needs. `listening` are the addresses really bound.
    pub(super) fn new(config: &Config, listening: &[SocketAddr]) -> Self {
        let mut own_hosts: Vec<_> = config.service.mx.iter().map(|mx| mx.hostname.clone()).collect();
        own_hosts.push(config.node.hostname.clone());
        Self {
            port: config.delivery.port,
            ehlo: config.service.domain.clone(),
            own_hosts,
            listening: listening.to_vec(),
            private_addresses: config.delivery.private_addresses,
            sources: config.delivery.sources.iter().map(|source| source.address).collect(),
            per_destination: (config.limits.sessions / 8).max(MIN_PER_DESTINATION),
            connections: CONNECTIONS,
            connections_per_address: CONNECTIONS / 8,
            log_addresses: config.log.addresses.form(),
            timing: Timing {
                connect: config.delivery.connect_timeout,
                connect_v6: config.delivery.connect_timeout_v6,
                idle: config.delivery.idle_timeout,
                ..Timing::RFC5321
            },
        }
    }
}

impl Timing {
    /// RFC 5321 §4.5.3.2, where it has a word; `connect` and `idle` are the configuration's.
    const RFC5321: Self = Self {
        connect: Duration::from_secs(30),
        connect_v6: Duration::from_secs(5),
        banner: Duration::from_secs(300),
        handshake: Duration::from_secs(10),
        command: Duration::from_secs(300),
        data: Duration::from_secs(120),
        block: Duration::from_secs(180),
        dot: FINAL_DOT_TIMEOUT,
        held: Duration::from_secs(60),
        quit: Duration::from_secs(5),
        idle: Duration::from_secs(30),
    };
}
