//! Owns the count of those who could not say who they are: what is logged of them, and when their connections end.
//!
//! A right token is taken whatever was counted, as long as there is a connection to send it over: a count that refused
//! it would let strangers shut the operator out, from behind the same address. What the count does is make each guess
//! cost a connection. The rest is the tokens': 16 characters at least.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::connections::peer;
use crate::telemetry::Seldom;

/// For how long failures are counted.
const WINDOW: Duration = Duration::from_secs(60);
/// Failures of one peer in that time, past which its connections end at the first one.
const MAX_OF_PEER: u32 = 20;
/// Failures on one connection, the last of which ends it.
const MAX_ON_CONNECTION: u32 = 3;
/// Peers that are counted one by one; further ones are counted as one.
const MAX_PEERS: usize = 1024;
/// Lines in the log a minute.
const MAX_LINES: u32 = 10;

/// What becomes of a connection over which a failure came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may try again.
    Stays,
    /// It ends.
    Ends,
}

/// The failures of the last minute.
#[derive(Debug)]
pub(super) struct Failures {
    window: Mutex<Window>,
    lines: Seldom,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    by_peer: HashMap<IpNet, u32>,
    others: u32,
}

impl Failures {
    pub(super) fn new() -> Self {
        let window = Window { began: Instant::now(), by_peer: HashMap::new(), others: 0 };
        Self { window: Mutex::new(window), lines: Seldom::new(MAX_LINES) }
    }

    /// Counts and logs a failure of this address, so many of which have come over its connection.
    pub(super) fn count(&self, ip: IpAddr, on_connection: u32, why: &str) -> Verdict {
        let of_peer = self.window.lock().count(peer(ip));
        if let Some(left_out) = self.lines.due() {
            tracing::warn!(client_ip = %ip, why, of_peer, left_out, "admin caller not authenticated");
        }
        if of_peer > MAX_OF_PEER || on_connection >= MAX_ON_CONNECTION {
            Verdict::Ends
        } else {
            Verdict::Stays
        }
    }
}

impl Window {
    fn count(&mut self, peer: IpNet) -> u32 {
        if self.began.elapsed() >= WINDOW {
            *self = Self { began: Instant::now(), by_peer: HashMap::new(), others: 0 };
        }
        let room = self.by_peer.len() < MAX_PEERS || self.by_peer.contains_key(&peer);
        let count = if room { self.by_peer.entry(peer).or_default() } else { &mut self.others };
        *count = count.saturating_add(1);
        *count
    }
}

#[cfg(test)]
#[path = "failures_tests.rs"]
mod tests;
