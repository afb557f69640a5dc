//! The octets that messages are, counted over all of them and by client network: one account for those in memory, and
//! one for those in temporary files. Octets are taken as they arrive, and nobody waits for any: a message that gets no
//! memory goes on in its temporary file (`inbound::reception`), and one that gets no room there is not taken.
//!
//! So a message's octets may be held while its upstream is asked: they are what the message is, there is a bound on them,
//! and where memory is all taken the next message is in a file and goes out no later.
//!
//! | of `limits.octets_in_flight` | may be |
//! |---|---|
//! | three quarters | messages |
//! | the last quarter | header sections of messages in files, which are read back once the message is here |
//! | an eighth | messages of one client network; twice that of an IPv6 /48, four times that of a /32 |
//! | a quarter | the same with header sections of messages in files |
//!
//! | of the room for temporary files (`inbound::temporary`) | may be |
//! |---|---|
//! | all of it | messages |
//! | an eighth, or one message of the largest size | messages of one client network; of wider ones as above |
//!
//! Past half of either it is short: messages that hold some of it and come too slowly are ended.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::networks::{Counts, Multiples, Networks};

/// What wider networks may hold, in multiples of what the narrowest may.
const MULTIPLES: Multiples = [1, 2, 4];

/// What octets are taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Content, while it arrives.
    Content,
    /// The header section of a message that is here.
    Header,
    /// Content in a temporary file. The largest message has so many octets: a disk may be small, and a network with one
    /// such message must be served all the same.
    File(usize),
}

/// What there is of one thing for messages. Clones share it.
#[derive(Debug, Clone)]
pub struct Account {
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
    by_network: Counts,
}

/// What one message holds of it; given back when dropped.
#[derive(Debug)]
pub struct Share {
    account: Account,
    networks: Networks,
    octets: usize,
}

impl Account {
    /// So many octets, all of them free.
    #[must_use]
    pub fn new(octets: u64) -> Self {
        let account = Self { inner: Arc::default() };
        account.resize(octets);
        account
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
        Share { account: self.clone(), networks: Networks::of(ip), octets: 0 }
    }

    /// Octets that are held now.
    #[must_use]
    pub fn octets(&self) -> usize {
        self.inner.held.lock().octets
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
            Purpose::File(largest) => (self.limit, (self.limit / 8).max(largest)),
        };
        self.octets.saturating_add(more) <= total
            && self.by_network.have_room(more, networks.bounded(of_network, MULTIPLES))
    }

    fn add(&mut self, networks: &Networks, octets: usize) {
        self.octets += octets;
        self.by_network.add(networks, octets);
    }

    fn subtract(&mut self, networks: &Networks, octets: usize) {
        self.octets = self.octets.saturating_sub(octets);
        self.by_network.subtract(networks, octets);
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
        let mut held = self.account.inner.held.lock();
        if !held.has_room(&self.networks, more, purpose) {
            return false;
        }
        let was_short = held.is_short();
        held.add(&self.networks, more);
        self.octets += more;
        if held.is_short() && !was_short {
            self.account.inner.shortage.notify_waiters();
        }
        true
    }

    /// Gives back what is more than this.
    pub fn shrink(&mut self, octets: usize) {
        let less = self.octets.saturating_sub(octets);
        if less > 0 {
            self.account.inner.held.lock().subtract(&self.networks, less);
            self.octets -= less;
        }
    }

    /// What the same client holds of another account: nothing yet.
    #[must_use]
    pub fn beside(&self, account: &Account) -> Self {
        Self { account: account.clone(), networks: self.networks, octets: 0 }
    }

    /// Waits until over half of the account is taken.
    pub fn shortage(&self) -> impl Future<Output = ()> + use<> {
        self.account.clone().shortage()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

#[cfg(test)]
#[path = "account_tests.rs"]
mod tests;
