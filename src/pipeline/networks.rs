//! The networks that a client is counted by.
//!
//! IPv4: its /24. Not its /16 as well: one of those is hundreds of customers of a provider, or half of a large sender,
//! and neither is to be shut out for a neighbour. IPv6: its /56, which is what one customer of a provider gets
//! (RFC 6177 §2), and because addresses cost nothing there also the /48 around it, which is what a site can have and has
//! 256 of those, and the /32 around that, which is what a registry gives a provider and has 65,536 of these.

use std::net::IpAddr;

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

    /// The narrowest first.
    pub fn iter(&self) -> impl Iterator<Item = IpNet> {
        std::iter::once(self.narrowest).chain(self.wider.into_iter().flatten())
    }

    /// Each with what it may have where the narrowest may have `least`.
    pub fn bounded(&self, least: usize, multiples: Multiples) -> impl Iterator<Item = (IpNet, usize)> {
        self.iter().zip(multiples.map(|multiple| least.saturating_mul(multiple)))
    }
}

#[cfg(test)]
#[path = "networks_tests.rs"]
mod tests;
