//! Which hosts did not answer lately, by address family: they are tried behind the others of their preference, and have
//! little time to take a connection, so that a host that is down costs one message its time and not each.
//!
//! Never a reason not to try a host, nor to try one of a worse preference before it (RFC 5321 §5.1: the preference "MUST
//! be used in sorting"; of equals one may be favoured that is easily reached): what a backup says is the destination's
//! word only where the better host has none. Of silence only what had the time to be something else
//! ([`crate::pipeline::deadline`]); whoever answers is forgotten here.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::upstream::address_error::{AddressError, Peer};
use crate::telemetry::labels::IpFamily;

/// How long that counts; as long as a destination's IPv6 is left alone after a time-out.
const PAUSE: Duration = Duration::from_secs(600);
/// The time that such a host has to take a connection: a SYN that is lost is sent again after one second (RFC 6298 §2).
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// Hosts remembered; past it new ones are not.
const MAX_REMEMBERED: usize = 10_000;

/// The hosts that were silent, and until when that counts.
#[derive(Debug, Default)]
pub(super) struct SilentHosts {
    until: Mutex<BTreeMap<(String, IpFamily), Instant>>,
}

impl SilentHosts {
    /// Notes what came of an attempt.
    pub(super) fn note(&self, peer: &Peer, trouble: Option<&AddressError>) {
        let mut until = self.until.lock();
        match trouble {
            Some(trouble) if trouble.is_silence() => {
                if until.len() < MAX_REMEMBERED {
                    until.insert(key(peer), Instant::now() + PAUSE);
                }
            }
            // Neither an answer nor the want of one.
            Some(AddressError::CutShort(_) | AddressError::Unreachable(_) | AddressError::NoPlace(_)) => {}
            Some(_) | None => {
                until.remove(&key(peer));
            }
        }
    }

    /// Whether the host was silent at addresses of this one's family.
    pub(super) fn has(&self, peer: &Peer) -> bool {
        self.until.lock().get(&key(peer)).is_some_and(|until| *until > Instant::now())
    }

    /// The time it has to take a connection, where that is less than usual.
    pub(super) fn connect_limit(&self, peer: &Peer) -> Option<Duration> {
        self.has(peer).then_some(CONNECT_LIMIT)
    }

    /// Forgets what is over.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        self.until.lock().retain(|_, until| *until > now);
    }
}

fn key(peer: &Peer) -> (String, IpFamily) {
    (peer.host.clone(), IpFamily::of(peer.address.ip()))
}

#[cfg(test)]
#[path = "silent_hosts_tests.rs"]
mod tests;
