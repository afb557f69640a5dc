//! Which addresses mail is never sent to, and from which it is sent. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rand::seq::IndexedRandom;

use super::options::Options;
use crate::config::PrivateAddresses;

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

/// Whether the address is one that strangers' mail can be at.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

/// RFC 6890 and the IANA registry of special-purpose addresses, less the documentation networks, which
/// nothing answers on.
fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let is_special = a == 0                                // this network
        || a == 10 || (a == 172 && b & 0xf0 == 16) || (a == 192 && b == 168) // private, RFC 1918
        || (a == 100 && b & 0xc0 == 64)                    // carrier-grade NAT, RFC 6598
        || a == 127                                        // loopback
        || (a == 169 && b == 254)                          // link-local
        || (a == 192 && b == 0 && c == 0)                  // IETF protocol assignments
        || (a == 198 && b & 0xfe == 18)                    // benchmarking, RFC 2544
        || a >= 224; // multicast, reserved, broadcast
    !is_special
}

/// The global unicast addresses that IANA has given out so far, 2000::/3 (RFC 4291 §2.4), less what is special in them,
/// and NAT64 by its well-known prefix. An IPv4 address inside an IPv6 one is judged as itself where its place is known:
/// NAT64 by a local prefix (64:ff9b:1::/48, RFC 8215) and Teredo (2001::/32, RFC 4380) may lead into any network behind
/// a translator, and IPv4-mapped ones never are what a AAAA record should hold.
fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let [high, low] = [(g, h), (b, c)].map(|(high, low)| {
        let ([w, x], [y, z]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(w, x, y, z))
    });
    match (a, b) {
        (0x64, 0xff9b) => (c, d, e, f) == (0, 0, 0, 0) && high, // NAT64, RFC 6052 §2.1
        (0x2002, _) => low,                                     // 6to4, RFC 3056 §2
        (0x2001, b) => b >= 0x200, // IETF protocol assignments, RFC 2928: Teredo, ORCHID
        (a, _) => a & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
#[path = "addresses_tests.rs"]
mod tests;
