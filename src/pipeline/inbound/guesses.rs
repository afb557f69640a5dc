//! Guesses at return addresses: bad SRS hashes, counted by client and by the original that they claim.
//!
//! Four case-folded characters are about a million guesses, and what is won is an address that takes mail to one
//! original, from the null reverse-path, for some days. Whoever sends bad hashes need not guess: a provider whose users
//! get mail with forged return addresses bounces to all of them. So nobody is shut out: past [`FREE`] an hour a bad hash
//! waits for its answer, and further ones of its network hear a 4yz meanwhile; so do those at one original past
//! [`MOST_AT_ONE`]. Neither is said, nor is any time lost, where a hash is good, and so good bounces get through beside
//! any number of bad ones.
//!
//! What this does not do: whoever hangs up on an answer that does not come at once may guess on. That a good hash is
//! answered like none was guessed, and that guesses are held up for certain, cannot both be had; honest bounces come
//! first.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ipnet::IpNet;
use moka::sync::Cache;
use parking_lot::Mutex;

use crate::connections::peer;
use crate::networks::Networks;

/// Bad hashes of one client, an IPv4 address or an IPv6 /64 (RFC 6177 §2), that are answered at once: at twenty an hour a
/// million take six years.
const FREE: usize = 20;
/// Bad hashes at one original, over all clients, before further ones hear a 4yz.
const MOST_AT_ONE: usize = 200;
/// For how long a bad hash is remembered, from the first of its count on.
const REMEMBERED_FOR: Duration = Duration::from_secs(3_600);
/// Counts that are kept, of clients and of originals.
const MAX_COUNTS: u64 = 100_000;

/// The counts.
pub struct Guesses {
    by_client: Cache<IpNet, Arc<AtomicUsize>>,
    /// By a keyed hash of the claim, so that long ones take no more room.
    by_original: Cache<u64, Arc<AtomicUsize>>,
    keyed: RandomState,
    waiting: Arc<Mutex<HashSet<IpNet>>>,
}

/// How a bad hash is answered.
pub(super) enum Answer {
    /// At once, with the truth.
    AtOnce,
    /// With the truth, after a pause; no other of its network has one while this is kept.
    AfterPause(Pause),
    /// Not now.
    Later,
}

/// The one pause of a network.
pub(super) struct Pause {
    network: IpNet,
    waiting: Arc<Mutex<HashSet<IpNet>>>,
}

impl Default for Guesses {
    fn default() -> Self {
        Self {
            by_client: Cache::builder().max_capacity(MAX_COUNTS).time_to_live(REMEMBERED_FOR).build(),
            by_original: Cache::builder().max_capacity(MAX_COUNTS).time_to_live(REMEMBERED_FOR).build(),
            keyed: RandomState::new(),
            waiting: Arc::default(),
        }
    }
}

impl Guesses {
    /// Counts a bad hash for its client and for the original that its address claims.
    pub(super) fn count(&self, ip: IpAddr, claim: &str) -> Answer {
        let of_client = one_more(&self.by_client.get_with(peer(ip), Arc::default));
        let of_original = one_more(&self.by_original.get_with(self.keyed.hash_one(claim), Arc::default));
        if of_original > MOST_AT_ONE {
            return Answer::Later;
        }
        if of_client <= FREE {
            return Answer::AtOnce;
        }
        let network = Networks::of(ip).site();
        if self.waiting.lock().insert(network) {
            Answer::AfterPause(Pause { network, waiting: self.waiting.clone() })
        } else {
            Answer::Later
        }
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        self.waiting.lock().remove(&self.network);
    }
}

/// The count with this one.
fn one_more(count: &AtomicUsize) -> usize {
    count.fetch_add(1, Ordering::Relaxed) + 1
}

#[cfg(test)]
#[path = "guesses_tests.rs"]
mod tests;
