//! The memory that messages are in, counted in octets over all of them and by client network. Octets are taken as they
//! arrive, and nobody waits for any: a message that gets none goes on in its temporary file (`inbound::reception`).
//!
//! So a message's octets may be held while its upstream is asked: they are what the message is, there is a bound on them,
//! and where they are all taken the next message is in a file and goes out no later.
//!
//! | of `limits.octets_in_flight` | may be |
//! |---|---|
//! | three quarters | messages |
//! | the last quarter | header sections of messages in files, which are read back once the message is here |
//! | an eighth | messages of one client network; twice that of an IPv6 /48, four times that of a /32 |
//! | a quarter | the same with header sections of messages in files |
//!
//! Past half of it memory is short: messages that hold some and come too slowly are ended.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;

use ipnet::IpNet;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::networks::{Multiples, Networks};

/// What wider networks may hold, in multiples of what the narrowest may.
const MULTIPLES: Multiples = [1, 2, 4];

/// What octets are taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Content, while it arrives.
    Content,
    /// The header section of a message that is here.
    Header,
}

/// The memory for messages. Clones share it.
#[derive(Debug, Clone)]
pub struct Memory {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    held: Mutex<Held>,
    shortage: Notify,
}

#[derive(Debug, Default)]
struct Held {
    limit: usize,
    octets: usize,
    by_network: HashMap<IpNet, usize>,
}

/// What one message holds of it; given back when dropped.
#[derive(Debug)]
pub struct Share {
    memory: Memory,
    networks: Networks,
    octets: usize,
}

impl Memory {
    /// So many octets, all of them free.
    #[must_use]
    pub fn new(octets: u64) -> Self {
        let memory = Self { inner: Arc::default() };
        memory.resize(octets);
        memory
    }

    /// From now on there are this many. Fewer: what is held stays so, and nobody gets more until enough came back.
    pub fn resize(&self, octets: u64) {
        let mut held = self.inner.held.lock();
        held.limit = usize::try_from(octets).unwrap_or(usize::MAX);
        if held.is_short() {
            self.inner.shortage.notify_waiters();
        }
    }

    /// The share of a message of this client, which holds nothing yet.
    #[must_use]
    pub fn share(&self, ip: IpAddr) -> Share {
        Share { memory: self.clone(), networks: Networks::of(ip), octets: 0 }
    }

    /// Waits until over half of it is taken.
    pub async fn shortage(self) {
        let mut taken = pin!(self.inner.shortage.notified());
        loop {
            taken.as_mut().enable();
            if self.inner.held.lock().is_short() {
                return;
            }
            taken.as_mut().await;
            taken.set(self.inner.shortage.notified());
        }
    }
}

impl Held {
    fn is_short(&self) -> bool {
        self.octets > self.limit / 2
    }

    fn has_room(&self, networks: &Networks, more: usize, purpose: Purpose) -> bool {
        let (total, of_network) = match purpose {
            Purpose::Content => (self.limit - self.limit / 4, self.limit / 8),
            Purpose::Header => (self.limit, self.limit / 4),
        };
        let fits = |held: usize, bound: usize| held.saturating_add(more) <= bound;
        let of = |network: &IpNet| self.by_network.get(network).copied().unwrap_or_default();
        fits(self.octets, total)
            && networks.bounded(of_network, MULTIPLES).all(|(network, bound)| fits(of(&network), bound))
    }

    fn add(&mut self, networks: &Networks, octets: usize) {
        self.octets += octets;
        networks.iter().for_each(|network| *self.by_network.entry(network).or_default() += octets);
    }

    fn subtract(&mut self, networks: &Networks, octets: usize) {
        self.octets = self.octets.saturating_sub(octets);
        for network in networks.iter() {
            if let Some(held) = self.by_network.get_mut(&network) {
                *held = held.saturating_sub(octets);
                if *held == 0 {
                    self.by_network.remove(&network);
                }
            }
        }
    }
}

impl Share {
    /// The octets that it holds.
    #[must_use]
    pub fn octets(&self) -> usize {
        self.octets
    }

    /// Holds this many octets in all, where they are free; whether it does.
    pub fn grow(&mut self, octets: usize, purpose: Purpose) -> bool {
        let more = octets.saturating_sub(self.octets);
        if more == 0 {
            return true;
        }
        let mut held = self.memory.inner.held.lock();
        if !held.has_room(&self.networks, more, purpose) {
            return false;
        }
        let was_short = held.is_short();
        held.add(&self.networks, more);
        self.octets += more;
        if held.is_short() && !was_short {
            self.memory.inner.shortage.notify_waiters();
        }
        true
    }

    /// Gives back what is more than this.
    pub fn shrink(&mut self, octets: usize) {
        let less = self.octets.saturating_sub(octets);
        if less > 0 {
            self.memory.inner.held.lock().subtract(&self.networks, less);
            self.octets -= less;
        }
    }

    /// Waits until over half of the memory is taken.
    pub fn shortage(&self) -> impl Future<Output = ()> + use<> {
        self.memory.clone().shortage()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
