//! Which addresses mail is never sent to, and from which it is sent. Pure.

use std::net::{IpAddr, SocketAddr};

use rand::seq::IndexedRandom;

use super::options::Options;
use crate::config::PrivateAddresses;
use crate::networks::is_public;

/// Why an address is not connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Barred {
    /// One of our own listeners.
    Ours,
    /// Not an address on the Internet.
    NotPublic,
    /// The outbound pool has no address of this family.
    NoSource,
}

/// The address to connect from: the system's choice, or a random one of the pool's that is of the same
/// family. A pool without one bars the family: mail must not leave from an address that no SPF record
/// covers.
pub(super) fn source(to: IpAddr, options: &Options) -> Result<Option<IpAddr>, Barred> {
    if options.sources.is_empty() {
        return Ok(None);
    }
    let same_family: Vec<IpAddr> =
        options.sources.iter().copied().filter(|source| source.is_ipv4() == to.is_ipv4()).collect();
    same_family.choose(&mut rand::rng()).copied().map(Some).ok_or(Barred::NoSource)
}

/// Whether mail may be sent to the address. Our own listeners are barred even on closed networks, and so is the
/// unspecified address, which is nobody's (RFC 1122 §3.2.1.3) and by which Linux connects to itself.
pub(super) fn check(ip: IpAddr, options: &Options) -> Result<(), Barred> {
    // What the system makes of an IPv4-mapped one.
    let reached = ip.to_canonical();
    if reached.is_unspecified() {
        return Err(Barred::NotPublic);
    }
    if options.listening.iter().any(|listener| reaches(*listener, reached, options)) {
        return Err(Barred::Ours);
    }
    match options.private_addresses {
        PrivateAddresses::Refuse if !is_public(ip) => Err(Barred::NotPublic),
        PrivateAddresses::Refuse | PrivateAddresses::Allow => Ok(()),
    }
}

/// Whether a connection to the address would come to this listener. One that listens on all addresses is
/// known by loopback and the outbound pool; other addresses of the host's it would take are not known here.
fn reaches(listener: SocketAddr, ip: IpAddr, options: &Options) -> bool {
    let is_on_host = ip.is_loopback() || options.sources.contains(&ip);
    listener.port() == options.port && (listener.ip() == ip || (listener.ip().is_unspecified() && is_on_host))
}

#[cfg(test)]
#[path = "addresses_tests.rs"]
mod tests;
