//! What an attempt's outcome means for a copy in the queue. Pure.
//!
//! | outcome | the copy | the sender hears |
//! | --- | --- | --- |
//! | taken | leaves | `relayed`, where it asked for success |
//! | refused for good | leaves | `failed` |
//! | nobody was asked ([`Silence::Held`]) | is due again after [`HELD`], and no attempt more | – |
//! | refused for now, no answer | is tried again, or given up when too old | `failed` when given up |
//! | connection lost behind the dot | unknown: tried again, or given up when too old | `failed` when given up |
//! | reply to the dot still open | waits for it | – |

use std::time::{Duration, SystemTime};

use super::backoff::Backoff;
use super::schedule::Ended;
use crate::pipeline::deferred;
use crate::pipeline::parcel::{NoAnswer, Outcome, Recorded, Silence};
use crate::pipeline::relay;
use crate::spool::{CopyState, QueuedCopy};

/// How long a copy waits that had no place: those that keep the places are done in seconds, or rest for a minute.
pub(super) const HELD: Duration = Duration::from_secs(30);

/// What applies to every copy of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) now: SystemTime,
    pub(super) received_at: SystemTime,
    /// Since when times are believed ([`super::clocks`]).
    pub(super) since: SystemTime,
    pub(super) give_up_after: Duration,
    pub(super) backoff: Backoff,
    /// Between 0 and 1, to spread retries.
    pub(super) chance: f64,
}

/// What becomes of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Its upstream has it.
    Delivered(QueuedCopy),
    /// It never will have it.
    Failed(QueuedCopy),
    /// It stays.
    Kept(QueuedCopy),
}

impl Judgement {
    /// The copy that was delivered.
    pub(super) fn delivered(&self) -> Option<&QueuedCopy> {
        match self {
            Self::Delivered(copy) => Some(copy),
            Self::Failed(_) | Self::Kept(_) => None,
        }
    }

    /// The copy that failed.
    pub(super) fn failed(&self) -> Option<&QueuedCopy> {
        match self {
            Self::Failed(copy) => Some(copy),
            Self::Delivered(_) | Self::Kept(_) => None,
        }
    }

    /// The copy that stays.
    pub(super) fn kept(&self) -> Option<&QueuedCopy> {
        match self {
            Self::Kept(copy) => Some(copy),
            Self::Delivered(_) | Self::Failed(_) => None,
        }
    }

    /// The same, where failures do not stand: the upstream is asked once more.
    pub(super) fn unless_failed(self, rules: Rules) -> Self {
        match self {
            Self::Failed(mut copy) => {
                copy.state = CopyState::Waiting;
                copy.due = rules.now + rules.backoff.pause(copy.attempts, rules.chance);
                Self::Kept(copy)
            }
            Self::Delivered(_) | Self::Kept(_) => self,
        }
    }
}

impl Rules {
    /// Whether the message is of an age at which copies are given up.
    pub(super) fn is_old(&self) -> bool {
        self.is_behind(self.received_at)
    }

    /// Whether a copy is too old to be tried again: with its message, once it was tried since times are believed. Where
    /// nothing can be tried, for it is silent or suspended, that long after they are.
    pub(super) fn is_over(&self, copy: &QueuedCopy) -> bool {
        let is_tried = copy.last.as_ref().is_some_and(|last| last.at >= self.since);
        self.is_old() && (is_tried || self.is_behind(self.since))
    }

    fn is_behind(&self, time: SystemTime) -> bool {
        self.now.duration_since(time).unwrap_or_default() >= self.give_up_after
    }

    /// Judges a copy by the outcome of an attempt.
    pub(super) fn judge(&self, mut copy: QueuedCopy, outcome: &Outcome) -> Judgement {
        let last = deferred::last_attempt(outcome, self.now);
        // A late reply ends an attempt that was counted when its dot went out; where nobody was asked there was none.
        if copy.state != CopyState::AwaitingReply && !is_held(outcome) {
            copy.attempts = copy.attempts.saturating_add(1);
        }
        copy.last = Some(last);
        match outcome {
            Outcome::Delivered(_) | Outcome::Recorded(Recorded::Delivered(_) | Recorded::Queued) => {
                Judgement::Delivered(copy)
            }
            Outcome::Refused(upstream) if relay::relayed_code(&upstream.reply) / 100 == 5 => {
                Judgement::Failed(copy)
            }
            Outcome::Recorded(Recorded::Refused(_)) => Judgement::Failed(copy),
            Outcome::Undeliverable(refusal) if refusal.is_permanent() => Judgement::Failed(copy),
            Outcome::AwaitingReply { .. } => {
                copy.state = CopyState::AwaitingReply;
                Judgement::Kept(copy)
            }
            Outcome::Unknown { .. } => self.again(copy, CopyState::Unknown),
            Outcome::NoAnswer(_) if is_held(outcome) => {
                let state = copy.state;
                self.again_behind(HELD, copy, state)
            }
            Outcome::Refused(_)
            | Outcome::Undeliverable(_)
            | Outcome::NoAnswer(_)
            | Outcome::Recorded(Recorded::Open) => self.again(copy, CopyState::Waiting),
        }
    }

    /// Tries a copy again, or gives it up.
    pub(super) fn again(&self, copy: QueuedCopy, state: CopyState) -> Judgement {
        self.again_behind(self.backoff.pause(copy.attempts, self.chance), copy, state)
    }

    fn again_behind(&self, pause: Duration, mut copy: QueuedCopy, state: CopyState) -> Judgement {
        copy.state = state;
        if self.is_over(&copy) {
            return Judgement::Failed(copy);
        }
        copy.due = self.now + pause;
        Judgement::Kept(copy)
    }
}

/// Whether it was we who had no place, so that nobody was asked.
fn is_held(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::NoAnswer(NoAnswer { silence: Silence::Held, .. }))
}

/// What the outcomes of one attempt say of the destination together: what says most of it.
pub(super) fn ended<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>) -> Ended {
    let ended = |outcome: &Outcome| match outcome {
        Outcome::NoAnswer(NoAnswer { silence: Silence::Busy, .. }) => Ended::SlowDown,
        Outcome::NoAnswer(_) if is_held(outcome) => Ended::Held,
        Outcome::NoAnswer(_) | Outcome::Unknown { .. } => Ended::Silent,
        Outcome::Refused(upstream) if relay::is_slow_down(&upstream.reply) => Ended::SlowDown,
        Outcome::Delivered(_)
        | Outcome::Refused(_)
        | Outcome::Undeliverable(_)
        | Outcome::AwaitingReply { .. }
        | Outcome::Recorded(_) => Ended::Answered,
    };
    outcomes.into_iter().map(ended).max().unwrap_or(Ended::Silent)
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
