//! The networks that a client is counted by.
//!
//! IPv4: its /24. Not its /16 as well: one of those is hundreds of customers of a provider, or half of a large sender,
//! and neither is to be shut out for a neighbour. IPv6: its /56, which is what one customer of a provider gets
//! (RFC 6177 §2), and because addresses cost nothing there also the /48 around it, which is what a site can have and has
//! 256 of those, and the /32 around that, which is what a registry gives a provider and has 65,536 of these.

use std::collections::HashMap;
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
