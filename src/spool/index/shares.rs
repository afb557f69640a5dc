//! How many messages the queue holds of each client's network and for each destination, so that neither has all of it.
//! In memory alone: counted when the index is opened, and kept with every change of it.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::networks::{Counts, Multiples, Networks};

/// What one network may have of all messages: an eighth, as of the memory for messages in flight.
const NETWORK_SHARE: usize = 8;
/// What wider networks may have, in multiples of that.
const MULTIPLES: Multiples = [1, 2, 4];
/// What one destination domain may have: half. Most rules may well lead to one large provider, and when that is out of
/// reach its mail is to wait here.
const DESTINATION_SHARE: usize = 2;

/// Who has as many messages in the queue as the queue takes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Crowd {
    /// All together.
    All,
    /// The clients of a network.
    Network(IpNet),
    /// A destination domain.
    Destination(String),
}

impl fmt::Display for Crowd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("in all"),
            Self::Network(network) => write!(f, "of clients in {network}"),
            Self::Destination(domain) => write!(f, "for {domain}"),
        }
    }
}

/// Messages by client's network, and by the destination that they wait for. One that awaits a reply is not among the
/// latter: the connections that are held for that have a bound of their own.
#[derive(Debug, Default)]
pub(super) struct Shares {
    networks: Counts,
    destinations: HashMap<String, usize>,
}

/// One message more or less somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A client's.
    Came(IpAddr),
    /// A client's has left.
    Left(IpAddr),
    /// One waits for this destination.
    Waits(String),
    /// One does so no more.
    Over(String),
}

impl Shares {
    pub(super) fn follow(&mut self, step: Step) {
        match step {
            Step::Came(client) => self.networks.add(&Networks::of(client), 1),
            Step::Left(client) => self.networks.subtract(&Networks::of(client), 1),
            Step::Waits(domain) => *self.destinations.entry(domain).or_default() += 1,
            Step::Over(domain) => {
                if let Some(held) = self.destinations.get_mut(&domain) {
                    *held = held.saturating_sub(1);
                    if *held == 0 {
                        self.destinations.remove(&domain);
                    }
                }
            }
        }
    }

    /// Who would have too many with one more message of this client for these destinations, where the queue takes
    /// `most` messages in all.
    pub(super) fn crowded<'a>(
        &self,
        most: usize,
        client: Option<IpAddr>,
        mut destinations: impl Iterator<Item = &'a str>,
    ) -> Option<Crowd> {
        let of_network = client.and_then(|client| {
            let networks = Networks::of(client);
            let mut bounded = networks.bounded(most / NETWORK_SHARE, MULTIPLES);
            bounded.find(|bounded| !self.networks.have_room(1, [*bounded])).map(|(network, _)| network)
        });
        let is_full = |domain: &&str| {
            self.destinations.get(*domain).is_some_and(|held| *held >= most / DESTINATION_SHARE)
        };
        of_network
            .map(Crowd::Network)
            .or_else(|| destinations.find(is_full).map(|domain| Crowd::Destination(domain.to_owned())))
    }
}
