//! Networks of clients that are blocked or allowed, found by the longest prefix that holds an address: one search for each
//! length of prefix that occurs, under a microsecond each. A listing that is over is not found. A clone is a few pointers.

use std::net::IpAddr;
use std::ops::Bound;
use std::sync::Arc;
use std::time::SystemTime;

use ipnet::IpNet;
use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};

use super::model::Listing;
use super::table::Table;

/// All listings of a table.
#[derive(Clone)]
pub(super) struct Listings {
    by_network: RedBlackTreeMapSync<IpNet, Arc<Listing>>,
    /// How many there are by the lengths of an address and of the prefix, in bits.
    lengths: RedBlackTreeMapSync<(u8, u8), usize>,
    /// Those that end, by when.
    ends: RedBlackTreeSetSync<(SystemTime, IpNet)>,
}

impl Listings {
    pub(super) fn new() -> Self {
        Self {
            by_network: RedBlackTreeMapSync::new_sync(),
            lengths: RedBlackTreeMapSync::new_sync(),
            ends: RedBlackTreeSetSync::new_sync(),
        }
    }

    /// The listing of the narrowest network that holds the address, of those that are not over.
    pub(super) fn find(&self, ip: IpAddr, now: SystemTime) -> Option<&Arc<Listing>> {
        let host = IpNet::from(ip.to_canonical());
        let bits = host.max_prefix_len();
        let mut longest_first = self.lengths.range((bits, 0)..=(bits, bits)).rev();
        longest_first.find_map(|((_, length), _)| {
            let network = IpNet::new(host.addr(), *length).ok()?.trunc();
            self.by_network.get(&network).filter(|listing| !listing.is_over(now))
        })
    }

    pub(super) fn get(&self, network: &IpNet) -> Option<&Arc<Listing>> {
        self.by_network.get(network)
    }

    /// The networks of the listings that are over, by when.
    pub(super) fn over(&self, now: SystemTime) -> impl Iterator<Item = IpNet> + '_ {
        self.ends.iter().take_while(move |(until, _)| *until <= now).map(|(_, network)| *network)
    }

    /// By network, IPv4 first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Listing>> {
        self.by_network.values()
    }

    /// Those behind this network.
    pub(super) fn after<'a>(&'a self, network: &'a IpNet) -> impl Iterator<Item = &'a Arc<Listing>> {
        let behind = (Bound::Excluded(network), Bound::Unbounded);
        self.by_network.range::<IpNet, _>(behind).map(|(_, listing)| listing)
    }

    pub(super) fn len(&self) -> usize {
        self.by_network.size()
    }

    /// Adds a listing, or replaces that of its network.
    pub(super) fn put(&mut self, entry: Arc<Listing>) {
        let network = entry.network;
        self.remove(&network);
        let count = self.lengths.get(&lengths(&network)).copied().unwrap_or_default();
        self.lengths.insert_mut(lengths(&network), count + 1);
        if let Some(until) = entry.until {
            self.ends.insert_mut((until, network));
        }
        self.by_network.insert_mut(network, entry);
    }

    pub(super) fn remove(&mut self, network: &IpNet) {
        let Some(entry) = self.by_network.get(network) else { return };
        if let Some(until) = entry.until {
            self.ends.remove_mut(&(until, *network));
        }
        self.by_network.remove_mut(network);
        match self.lengths.get(&lengths(network)).copied().unwrap_or_default() {
            0 | 1 => drop(self.lengths.remove_mut(&lengths(network))),
            count => self.lengths.insert_mut(lengths(network), count - 1),
        }
    }
}

impl Table {
    /// What an operator says of a client: the listing of the narrowest network that holds its address, but for those that
    /// are over.
    #[must_use]
    pub fn listing(&self, ip: IpAddr, now: SystemTime) -> Option<&Arc<Listing>> {
        self.listings.find(ip, now)
    }

    /// The listing of just this network, over or not.
    #[must_use]
    pub fn listing_of(&self, network: &IpNet) -> Option<&Arc<Listing>> {
        self.listings.get(network)
    }

    /// Every listing by network, IPv4 first, over or not.
    pub fn listings(&self) -> impl Iterator<Item = &Arc<Listing>> {
        self.listings.all()
    }

    /// The listings behind this network, which need not have one: the next page.
    pub fn listings_after<'a>(&'a self, network: &'a IpNet) -> impl Iterator<Item = &'a Arc<Listing>> {
        self.listings.after(network)
    }

    /// How many listings there are.
    #[must_use]
    pub fn listing_count(&self) -> usize {
        self.listings.len()
    }

    /// The networks of at most so many listings that are over, those first that have been for longest.
    pub(super) fn listings_over(&self, now: SystemTime, most: usize) -> Vec<IpNet> {
        self.listings.over(now).take(most).collect()
    }

    /// Adds a listing, or replaces that of its network.
    pub(super) fn put_listing(&mut self, entry: Arc<Listing>) {
        self.listings.put(entry);
    }

    /// Removes a listing.
    pub(super) fn remove_listing(&mut self, network: &IpNet) {
        self.listings.remove(network);
    }
}

/// The one form of a network: without bits behind its prefix, and IPv4 as such.
pub(super) fn canonical(network: IpNet) -> IpNet {
    /// The bits before an IPv4 address in its IPv6-mapped form (RFC 4291 §2.5.5.2).
    const MAPPED_BITS: u8 = 96;
    let network = network.trunc();
    let mapped = match network {
        IpNet::V4(_) => None,
        IpNet::V6(v6) => v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(MAPPED_BITS)),
    };
    mapped.and_then(|(ip, length)| IpNet::new(ip.into(), length).ok()).unwrap_or(network)
}

fn lengths(network: &IpNet) -> (u8, u8) {
    (network.max_prefix_len(), network.prefix_len())
}

#[cfg(test)]
#[path = "listings_tests.rs"]
mod tests;
