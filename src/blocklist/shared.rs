//! What nodes tell each other of zones, and who carries it. A subscriber's key is in none of it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use futures_util::future::BoxFuture;

use super::zone::{MAX_CODES, VERDICT_TTL};
use crate::clock;
use crate::config;

/// Which zone is meant, the same on every node that has it with the same settings: the first octets of a SHA-256 of its
/// domain and of what of its answers counts. Neither its configured name nor a subscriber's key matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ZoneId(pub [u8; 16]);

impl ZoneId {
    pub(super) fn of(config: &config::Dnsbl) -> Self {
        let mut listed = config.listed.clone();
        listed.sort_unstable();
        listed.dedup();
        let counted: String = listed.iter().map(|net| format!(" {net}")).collect();
        let settings = config.zone.as_str().to_ascii_lowercase() + &counted;
        let mut id = [0; 16];
        for (octet, of_digest) in id.iter_mut().zip(digest(&SHA256, settings.as_bytes()).as_ref()) {
            *octet = *of_digest;
        }
        Self(id)
    }
}

/// What a zone is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Question {
    /// Which zone.
    pub zone: ZoneId,
    /// Whether it lists this address.
    pub ip: IpAddr,
}

/// What a zone answered: that it lists an address, or that it does not. A refusal is none: it is meant for one resolver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    codes: Box<[Ipv4Addr]>,
    valid_until: Instant,
}

impl Finding {
    /// An answer of these addresses, none where there is no such name, that counts for so much longer, an hour at most.
    /// Nothing where there are more than 16, or no time is left.
    #[must_use]
    pub fn new(codes: &[Ipv4Addr], remaining: Duration) -> Option<Self> {
        let is_one = codes.len() <= MAX_CODES && !remaining.is_zero();
        let valid_until = Instant::now() + remaining.min(VERDICT_TTL.1);
        is_one.then(|| Self { codes: codes.into(), valid_until })
    }

    /// The addresses.
    #[must_use]
    pub fn codes(&self) -> &[Ipv4Addr] {
        &self.codes
    }

    /// For how much longer it counts; nothing when it does not any more.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        clock::until(self.valid_until)
    }

    pub(super) fn valid_until(&self) -> Instant {
        self.valid_until
    }
}

/// The nodes of a cluster, as the blocklists see them: told what the DNS answered here, and asked before it.
pub trait Others: Send + Sync + 'static {
    /// Tells them. Does not wait.
    fn tell(&self, question: Question, finding: Finding);

    /// Asks whoever asks the DNS for all of them; nothing where that is this node, or there is no answer soon.
    fn ask(&self, question: Question) -> BoxFuture<'_, Option<Finding>>;
}

#[cfg(test)]
#[path = "shared_tests.rs"]
mod tests;
