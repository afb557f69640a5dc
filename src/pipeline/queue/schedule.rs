//! Which destination's turn it is. Pure: time comes in as an argument.
//!
//! A destination domain is a lane. A lane runs when something of it is due, it is not suspended, it is not
//! closed after trouble, and fewer than `allowed` of its messages are under way. A destination that gave no
//! answer is closed for a while and then probed by one message; each answer allows one more at a time, a
//! "slow down" halves them and closes the lane for a pause that no answer to other mail ends. These pauses
//! grow while there is nothing but trouble, of either kind. Where we had no place to ask it, the lane rests for a
//! moment, and nothing follows. Lanes that could run take turns, the one that
//! waited longest first, so that a thousand messages for one destination do not hold up one message for another.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, SystemTime};

use super::backoff::Backoff;
use super::judge::HELD;
use crate::mail::Domain;

/// Messages of one destination under way at a time, at most: Postfix's default_destination_concurrency_limit.
const MOST_AT_A_TIME: usize = 20;
/// And for a destination that has just been heard of: Postfix's initial_destination_concurrency.
const FIRST_AT_A_TIME: usize = 5;

/// All lanes, and when each may run next.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    lanes: HashMap<Domain, Lane>,
    times: BTreeSet<(SystemTime, Domain)>,
}

#[derive(Debug, Clone)]
struct Lane {
    /// When the earliest of its messages that is not under way is due, as far as is known.
    due: Option<SystemTime>,
    under_way: usize,
    allowed: usize,
    /// How often in a row it was closed, for the pause.
    troubles: u32,
    /// The pause that it is in, or was in last.
    closed: Option<Closed>,
    suspended: bool,
    /// When it had its last turn: the others come first.
    turn: SystemTime,
    /// Where it stands in `times`.
    listed: Option<SystemTime>,
}

/// A pause of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Closed {
    until: SystemTime,
    why: Trouble,
}

/// Why a lane is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// Its destination asked for it: an answer to other mail, under way by then, does not end the pause.
    SlowDown,
    /// Its destination did not answer: any answer ends the pause.
    Silent,
    /// None: we had no place for its mail. Ends as the one before, and hides no trouble.
    Held,
}

/// What an attempt says of its destination; what says more of it is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ended {
    /// Nothing: it was not asked, for want of a place of ours.
    Held,
    /// It did not answer.
    Silent,
    /// It answered.
    Answered,
    /// It answered, and wants less of us: 421, 4.7.x.
    SlowDown,
}

/// A lane that may run, and how many messages of it at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) domain: Domain,
    pub(super) room: usize,
}

impl Schedule {
    /// Something for this domain is due then.
    pub(super) fn note(&mut self, domain: &Domain, due: SystemTime) {
        self.change(domain, |lane| lane.due = Some(lane.due.map_or(due, |known| known.min(due))));
    }

    /// The lane whose turn it is. Whoever takes it says with [`Self::taken`] what came of it.
    pub(super) fn next(&mut self, now: SystemTime) -> Option<Turn> {
        let (at, domain) = self.times.first()?.clone();
        if at > now {
            return None;
        }
        self.times.pop_first();
        let lane = self.lanes.get_mut(&domain)?;
        lane.listed = None;
        lane.turn = now;
        lane.due = None;
        let room = lane.room();
        Some(Turn { room, domain })
    }

    /// So many of the lane's messages were started, and the next is due then.
    pub(super) fn taken(&mut self, domain: &Domain, started: usize, next: Option<SystemTime>) {
        self.change(domain, |lane| {
            lane.under_way += started;
            lane.due = match (lane.due, next) {
                (Some(known), Some(next)) => Some(known.min(next)),
                (known, next) => known.or(next),
            };
        });
    }

    /// One of the lane's attempts ended. `pause` is how long a destination is left alone.
    pub(super) fn ended(&mut self, domain: &Domain, ended: Ended, now: SystemTime, pause: Pause) {
        self.change(domain, |lane| {
            lane.under_way = lane.under_way.saturating_sub(1);
            match ended {
                Ended::Answered => lane.answered(now),
                Ended::SlowDown => lane.slow_down(now, pause),
                Ended::Silent => lane.silent(now, pause),
                Ended::Held => lane.held(now),
            }
        });
    }

    /// One of the lane's attempts broke off by a fault of ours, which says nothing of the destination.
    pub(super) fn broke_off(&mut self, domain: &Domain) {
        self.change(domain, |lane| lane.under_way = lane.under_way.saturating_sub(1));
    }

    /// Times that were taken from another clock lie no further ahead than this.
    pub(super) fn cut(&mut self, now: SystemTime, latest: SystemTime) {
        let domains: Vec<Domain> = self.lanes.keys().cloned().collect();
        for domain in domains {
            self.change(&domain, |lane| {
                lane.turn = lane.turn.min(now);
                lane.due = lane.due.map(|due| due.min(latest));
                if let Some(closed) = &mut lane.closed {
                    closed.until = closed.until.min(latest);
                }
            });
        }
    }

    /// The operator wants it tried now.
    pub(super) fn open(&mut self, domain: &Domain, now: SystemTime) {
        self.change(domain, |lane| {
            lane.closed = None;
            lane.due = Some(lane.due.map_or(now, |due| due.min(now)));
        });
    }

    /// Stops or starts deliveries to it.
    pub(super) fn suspend(&mut self, domain: &Domain, suspended: bool) {
        self.change(domain, |lane| lane.suspended = suspended);
    }

    /// When the next lane may run.
    pub(super) fn wake_at(&self) -> Option<SystemTime> {
        self.times.first().map(|(at, _)| *at)
    }

    /// Lanes that are known.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lanes.len()
    }

    fn change(&mut self, domain: &Domain, change: impl FnOnce(&mut Lane)) {
        let lane = self.lanes.entry(domain.clone()).or_default();
        let before = lane.listed;
        change(lane);
        let after = lane.runs_at();
        lane.listed = after;
        if lane.is_forgettable() {
            self.lanes.remove(domain);
        }
        if before != after {
            if let Some(at) = before {
                self.times.remove(&(at, domain.clone()));
            }
            if let Some(at) = after {
                self.times.insert((at, domain.clone()));
            }
        }
    }
}

/// How long a destination is left alone, with the chance that spreads it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pause {
    pub(super) backoff: Backoff,
    /// Between 0 and 1.
    pub(super) chance: f64,
}

impl Pause {
    fn behind(self, troubles: u32) -> Duration {
        self.backoff.probe(troubles, self.chance)
    }
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            due: None,
            under_way: 0,
            allowed: FIRST_AT_A_TIME,
            troubles: 0,
            closed: None,
            suspended: false,
            turn: SystemTime::UNIX_EPOCH,
            listed: None,
        }
    }
}

impl Lane {
    fn room(&self) -> usize {
        self.allowed.saturating_sub(self.under_way)
    }

    /// The pause that it is in.
    fn closed(&self, now: SystemTime) -> Option<Closed> {
        self.closed.filter(|closed| closed.until > now)
    }

    /// The pause that it is in by its destination's doing.
    fn troubled(&self, now: SystemTime) -> Option<Closed> {
        self.closed(now).filter(|closed| closed.why != Trouble::Held)
    }

    fn answered(&mut self, now: SystemTime) {
        self.allowed = (self.allowed + 1).min(MOST_AT_A_TIME);
        if self.closed(now).is_none_or(|closed| closed.why != Trouble::SlowDown) {
            self.troubles = 0;
            self.closed = None;
        }
    }

    fn slow_down(&mut self, now: SystemTime, pause: Pause) {
        self.allowed = (self.allowed / 2).max(1);
        let known = self.troubled(now).map(|closed| closed.until);
        // Of many that were under way, all hear it, and it is one trouble.
        if known.is_none() {
            self.troubles = self.troubles.saturating_add(1);
        }
        let until = now + pause.behind(self.troubles);
        let until = known.map_or(until, |known| known.max(until));
        self.closed = Some(Closed { until, why: Trouble::SlowDown });
    }

    fn silent(&mut self, now: SystemTime, pause: Pause) {
        // Of many that were under way when it went silent, the first closes the lane.
        if self.troubled(now).is_some() {
            return;
        }
        self.allowed = 1;
        self.troubles = self.troubles.saturating_add(1);
        self.closed = Some(Closed { until: now + pause.behind(self.troubles), why: Trouble::Silent });
    }

    /// So that what else is due of it does not ask for a place at once, one message after the other.
    fn held(&mut self, now: SystemTime) {
        if self.closed(now).is_none() {
            self.closed = Some(Closed { until: now + HELD, why: Trouble::Held });
        }
    }

    fn runs_at(&self) -> Option<SystemTime> {
        if self.suspended || self.room() == 0 {
            return None;
        }
        let due = self.due?;
        let closed_until = self.closed.map_or(due, |closed| closed.until);
        Some(due.max(closed_until).max(self.turn))
    }

    /// Whether there is nothing to remember of it.
    fn is_forgettable(&self) -> bool {
        self.due.is_none() && self.under_way == 0 && !self.suspended
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
