//! What is remembered of each destination domain: deliveries under way, recent time-outs, IPv6 that does
//! not work. So that one slow destination holds neither all sessions nor its own senders' time. Of a failure for want
//! of time only what was given enough of it ([`crate::pipeline::deadline`]).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::mail::Domain;
use crate::pipeline::deferred::Suspended;

/// Time-outs within [`TIMEOUT_MEMORY`] after which a destination is not tried.
const MAX_TIMEOUTS: usize = 5;
/// How long a time-out counts.
const TIMEOUT_MEMORY: Duration = Duration::from_secs(60);
/// How long IPv6 is left alone after it timed out.
const IPV6_PAUSE: Duration = Duration::from_secs(600);
/// How long a destination that was too slow at RCPT is not asked there: its senders wait for it once.
const ASKING_PAUSE: Duration = Duration::from_secs(600);
/// Destinations remembered; past it, what is new is not remembered beyond its own delivery.
const MAX_REMEMBERED: usize = 10_000;

/// The destination domains of a node that are being delivered to, or that gave trouble lately.
#[derive(Debug, Default)]
pub(super) struct Destinations {
    /// Those that an operator has suspended.
    pub(super) suspended: Suspended,
    by_domain: Mutex<HashMap<Domain, Destination>>,
}

#[derive(Debug, Default)]
struct Destination {
    under_way: usize,
    timeouts: VecDeque<Instant>,
    ipv6_again: Option<Instant>,
    ask_again: Option<Instant>,
}

/// Why a destination is not tried at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Closed {
    /// Its share of the sessions is in use.
    #[error("too many deliveries to this destination at once")]
    Busy,
    /// An operator has suspended it.
    #[error("suspended by the operator")]
    Suspended,
    /// It timed out too often.
    #[error("not tried: it timed out {MAX_TIMEOUTS} times within a minute")]
    TimingOut,
}

/// One delivery under way to one destination.
pub(super) struct Visit {
    destinations: Arc<Destinations>,
    domain: Domain,
}

impl Destinations {
    /// Starts a delivery, unless the destination is suspended, `most` are under way, or it times out too
    /// often.
    pub(super) fn enter(self: &Arc<Self>, domain: &Domain, most: usize) -> Result<Visit, Closed> {
        if self.suspended.has(domain) {
            return Err(Closed::Suspended);
        }
        let mut by_domain = self.by_domain.lock();
        if by_domain.get(domain).is_some_and(Destination::is_timing_out) {
            return Err(Closed::TimingOut);
        }
        let destination = by_domain.entry(domain.clone()).or_default();
        if destination.under_way >= most {
            return Err(Closed::Busy);
        }
        destination.under_way += 1;
        Ok(Visit { destinations: self.clone(), domain: domain.clone() })
    }

    /// Forgets what is over.
    pub(super) fn sweep(&self) {
        self.by_domain.lock().retain(|_, destination| destination.is_worth_keeping());
    }

    fn change(&self, domain: &Domain, change: impl FnOnce(&mut Destination)) {
        let mut by_domain = self.by_domain.lock();
        let crowded = by_domain.len() > MAX_REMEMBERED;
        let Some(destination) = by_domain.get_mut(domain) else { return };
        change(destination);
        if destination.under_way == 0 && (crowded || !destination.is_worth_keeping()) {
            by_domain.remove(domain);
        }
    }
}

impl Destination {
    fn is_timing_out(&self) -> bool {
        let recent = self.timeouts.iter().filter(|at| at.elapsed() < TIMEOUT_MEMORY);
        recent.count() >= MAX_TIMEOUTS
    }

    fn is_worth_keeping(&self) -> bool {
        self.under_way > 0
            || self.timeouts.iter().any(|at| at.elapsed() < TIMEOUT_MEMORY)
            || self.ipv6_again.is_some_and(|again| again > Instant::now())
            || self.ask_again.is_some_and(|again| again > Instant::now())
    }
}

impl Visit {
    /// Counts a delivery that had the time, and ended because it was up.
    pub(super) fn timed_out(&self) {
        self.destinations.change(&self.domain, |destination| {
            destination.timeouts.push_back(Instant::now());
            if destination.timeouts.len() > MAX_TIMEOUTS {
                destination.timeouts.pop_front();
            }
        });
    }

    /// Leaves IPv6 alone for a while.
    pub(super) fn ipv6_timed_out(&self) {
        self.destinations.change(&self.domain, |destination| {
            destination.ipv6_again = Some(Instant::now() + IPV6_PAUSE);
        });
    }

    /// Does not ask it at RCPT for a while.
    pub(super) fn kept_rcpt_waiting(&self) {
        self.destinations.change(&self.domain, |destination| {
            destination.ask_again = Some(Instant::now() + ASKING_PAUSE);
        });
    }

    /// Whether IPv6 may be tried.
    pub(super) fn takes_ipv6(&self) -> bool {
        self.is_over(|destination| destination.ipv6_again)
    }

    /// Whether it may be asked at RCPT.
    pub(super) fn may_be_asked(&self) -> bool {
        self.is_over(|destination| destination.ask_again)
    }

    fn is_over(&self, pause: impl FnOnce(&Destination) -> Option<Instant>) -> bool {
        let by_domain = self.destinations.by_domain.lock();
        by_domain.get(&self.domain).and_then(pause).is_none_or(|again| again <= Instant::now())
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.destinations.change(&self.domain, |destination| destination.under_way -= 1);
    }
}

#[cfg(test)]
#[path = "destinations_tests.rs"]
mod tests;
