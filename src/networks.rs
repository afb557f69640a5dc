//! The networks that a client is counted by, and those that are on the Internet.
//!
//! A client's, in IPv4: its /24. Not its /16 as well: one of those is hundreds of customers of a provider, or half of a
//! large sender, and neither is to be shut out for a neighbour. IPv6: its /56, which is what one customer of a provider
//! gets (RFC 6177 §2), and because addresses cost nothing there also the /48 around it, which is what a site can have and
//! has 256 of those, and the /32 around that, which is what a registry gives a provider and has 65,536 of these.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Prefix lengths of the wider networks of IPv6.
const V6_WIDER: [u8; 2] = [48, 32];

/// What networks may have, as multiples of what the narrowest may: the narrowest first.
pub type Multiples = [usize; 3];

/// The networks of one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Networks {
    /// What counts as one client.
    pub narrowest: IpNet,
    /// The networks around it, for IPv6.
    wider: [Option<IpNet>; 2],
}

impl Networks {
    /// Those that this address is in.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => {
                Self { narrowest: Ipv4Net::new_assert(ip, 24).trunc().into(), wider: [None, None] }
            }
            IpAddr::V6(ip) => {
                let network = |prefix| IpNet::from(Ipv6Net::new_assert(ip, prefix).trunc());
                Self { narrowest: network(56), wider: V6_WIDER.map(|prefix| Some(network(prefix))) }
            }
        }
    }

    /// Who is behind it as a whole: the /24 of IPv4, the /48 of IPv6.
    #[must_use]
    pub fn site(&self) -> IpNet {
        let [site, _provider] = self.wider;
        site.unwrap_or(self.narrowest)
    }

    /// The narrowest first.
    pub fn iter(&self) -> impl Iterator<Item = IpNet> {
        std::iter::once(self.narrowest).chain(self.wider.into_iter().flatten())
    }

    /// Each with what it may have where the narrowest may have `least`.
    pub fn bounded(&self, least: usize, multiples: Multiples) -> impl Iterator<Item = (IpNet, usize)> {
        self.iter().zip(multiples.map(|multiple| least.saturating_mul(multiple)))
    }
}

/// How much of something each network has. One that has nothing takes no room.
#[derive(Debug, Default)]
pub struct Counts(HashMap<IpNet, usize>);

impl Counts {
    /// The networks of one client have so much more.
    pub fn add(&mut self, networks: &Networks, count: usize) {
        networks.iter().for_each(|network| *self.0.entry(network).or_default() += count);
    }

    /// They have so much less.
    pub fn subtract(&mut self, networks: &Networks, count: usize) {
        for network in networks.iter() {
            if let Some(held) = self.0.get_mut(&network) {
                *held = held.saturating_sub(count);
                if *held == 0 {
                    self.0.remove(&network);
                }
            }
        }
    }

    /// Whether each of these networks may have so much more within its bound ([`Networks::bounded`]).
    pub fn have_room(&self, more: usize, bounded: impl IntoIterator<Item = (IpNet, usize)>) -> bool {
        let held = |network: &IpNet| self.0.get(network).copied().unwrap_or_default();
        bounded.into_iter().all(|(network, bound)| held(&network).saturating_add(more) <= bound)
    }
}

/// Whether strangers' hosts can have the address, and reach who has it.
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
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
impl Counts {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
#[path = "networks_tests.rs"]
mod tests;
