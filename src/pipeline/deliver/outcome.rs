//! From what happened at each address to one [`Outcome`] a copy. Pure.

use tokio::time::Instant;

use super::upstream::address_error::{AddressError, Peer};
use super::upstream::outcomes::Outcomes;
use crate::pipeline::deadline::had_time;
use crate::pipeline::parcel::{NoAnswer, Outcome, Silence, UpstreamReply};
use crate::pipeline::refusal::Refusal;
use crate::pipeline::relay;

/// Why one host, address or whole destination gave no answer; the next may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nobody there had a word on the message.
    NoAnswer {
        /// What the sender may know of it.
        silence: Silence,
        /// For log and trace.
        detail: String,
        /// Whether time ran out.
        patience: Patience,
    },
    /// We know without asking, or this host cannot take this message.
    Ruled(Refusal),
    /// No message can ever be given to this host.
    Closed {
        /// What follows where it is so of all of them.
        refusal: Refusal,
        /// For the log.
        detail: String,
    },
    /// The host refuses our IPv6 address.
    Ipv6Refused(UpstreamReply),
}

/// Whether a failure was one of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// A limit was reached that was long enough.
    Ended,
    /// Our own time was up before.
    CutShort,
    /// It failed before.
    Left,
}

impl Failure {
    /// No answer, and not for want of time.
    pub(super) fn no_answer(silence: Silence, detail: &str) -> Self {
        Self::NoAnswer { silence, detail: detail.to_owned(), patience: Patience::Left }
    }

    /// No answer in time.
    pub(super) fn timed_out(silence: Silence, detail: &str, patience: Patience) -> Self {
        Self::NoAnswer { silence, detail: detail.to_owned(), patience }
    }

    fn patience(&self) -> Patience {
        match self {
            Self::NoAnswer { patience, .. } => *patience,
            Self::Ruled(_) | Self::Closed { .. } | Self::Ipv6Refused(_) => Patience::Left,
        }
    }

    /// A host that the DNS gives no address, or none that mail is sent to.
    pub(super) fn unroutable(detail: String) -> Self {
        Self::Closed { refusal: Refusal::DestinationUnroutable, detail }
    }

    /// Whether it leaves open what another time would bring.
    pub(super) fn is_unanswered(&self) -> bool {
        matches!(self, Self::NoAnswer { .. })
    }

    /// What trouble at an address means for the message.
    pub(super) fn of(peer: &Peer, trouble: AddressError) -> Self {
        let detail = format!("{peer}: {trouble}");
        match trouble {
            AddressError::Ipv6Unwelcome(reply) => {
                Self::Ipv6Refused(UpstreamReply { host: peer.host.clone(), reply })
            }
            AddressError::TakesNoMail(_) => Self::Closed { refusal: Refusal::DestinationTakesNoMail, detail },
            AddressError::Unfit(refusal) => Self::Ruled(refusal),
            AddressError::Message(_) => Self::Ruled(Refusal::Internal),
            AddressError::Unwelcome(reply) if relay::is_slow_down(&reply) => {
                Self::no_answer(Silence::Busy, &detail)
            }
            AddressError::Closing(_) => Self::no_answer(Silence::Busy, &detail),
            AddressError::NoPlace(_) => Self::no_answer(Silence::Held, &detail),
            AddressError::TimedOut(_) => Self::timed_out(Silence::Interrupted, &detail, Patience::Ended),
            AddressError::CutShort(_) => Self::timed_out(Silence::Interrupted, &detail, Patience::CutShort),
            AddressError::Unreachable(_) | AddressError::Unwelcome(_) => {
                Self::no_answer(Silence::Unreachable, &detail)
            }
            AddressError::Lost(..) | AddressError::Garbage(_) | AddressError::OutOfStep(_) => {
                Self::no_answer(Silence::Interrupted, &detail)
            }
            AddressError::TlsRefused(_) | AddressError::Handshake(_) | AddressError::NotEncrypted => {
                Self::no_answer(Silence::Tls, &detail)
            }
        }
    }
}

/// Whether time ran out in the end, and the destination had enough of it: one of its hosts, or all of them together,
/// from this moment on.
pub(super) fn is_slow(failures: &[Failure], since: Instant) -> bool {
    let ran_out = |failure: &Failure| failure.patience() != Patience::Left;
    let had_enough = |failure: &Failure| failure.patience() == Patience::Ended;
    failures.last().is_some_and(ran_out) && (failures.iter().any(had_enough) || had_time(since))
}

/// The copies of one shipment, and what came of each so far.
#[derive(Debug)]
pub(super) struct Progress(Vec<Option<Outcome>>);

/// What a destination said at RCPT, ahead of the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// It would take the copy.
    Taken,
    /// It would not.
    Refused(UpstreamReply),
    /// Nothing, nothing in time, or nothing about the recipient.
    None,
}

impl Progress {
    /// Nothing came of any yet.
    pub(super) fn new(copies: usize) -> Self {
        Self(std::iter::repeat_with(|| None).take(copies).collect())
    }

    /// The copies that still are to be offered.
    pub(super) fn pending(&self) -> Vec<usize> {
        let indices = self.0.iter().enumerate().filter(|(_, outcome)| outcome.is_none());
        indices.map(|(index, _)| index).collect()
    }

    /// Whether any still is to be offered.
    pub(super) fn is_pending(&self) -> bool {
        self.0.iter().any(Option::is_none)
    }

    /// Settles copies for good.
    pub(super) fn settle(&mut self, outcomes: Outcomes) {
        for (copy, outcome) in outcomes {
            if let Some(slot) = self.0.get_mut(copy) {
                *slot = Some(outcome);
            }
        }
    }

    /// Every copy's outcome: what is pending gets the failures' verdict.
    pub(super) fn finish(self, failures: &[Failure]) -> Vec<Outcome> {
        self.0.into_iter().map(|outcome| outcome.unwrap_or_else(|| verdict(failures))).collect()
    }

    /// What was said of each copy at RCPT, where these were taken. A complaint about our connection is no word on a
    /// recipient.
    pub(super) fn words(self, taken: &[usize]) -> Vec<Word> {
        let word = |(copy, outcome)| match outcome {
            Some(Outcome::Refused(upstream)) if !relay::is_about_us(&upstream.reply) => {
                Word::Refused(upstream)
            }
            None if taken.contains(&copy) => Word::Taken,
            Some(_) | None => Word::None,
        };
        self.0.into_iter().enumerate().map(word).collect()
    }
}

/// What failures at all addresses mean together. A host that could not be asked may take what another
/// cannot, and a refusal of our IPv6 address is not the word of the IPv4 address that did not answer: only
/// where no failure is for want of an answer is the first of them final. One host that is there says more of a
/// destination than others that are not there: one that is busy, one that cannot take this message, one that takes none.
pub(super) fn verdict(failures: &[Failure]) -> Outcome {
    let is_busy = |failure: &&Failure| matches!(failure, Failure::NoAnswer { silence: Silence::Busy, .. });
    let is_unanswered = |failure: &&Failure| failure.is_unanswered();
    let last = |wanted: &dyn Fn(&&Failure) -> bool| failures.iter().rev().find(wanted);
    let first = failures.iter().min_by_key(|failure| match failure {
        Failure::Closed { refusal: Refusal::DestinationUnroutable, .. } => 2,
        Failure::Closed { .. } => 1,
        Failure::NoAnswer { .. } | Failure::Ruled(_) | Failure::Ipv6Refused(_) => 0,
    });
    match last(&is_busy).or_else(|| last(&is_unanswered)).or(first) {
        Some(Failure::NoAnswer { silence, detail, .. }) => {
            Outcome::NoAnswer(NoAnswer { silence: *silence, detail: detail.clone() })
        }
        Some(Failure::Ruled(refusal) | Failure::Closed { refusal, .. }) => {
            Outcome::Undeliverable(refusal.clone())
        }
        Some(Failure::Ipv6Refused(reply)) => Outcome::Refused(reply.clone()),
        None => Outcome::NoAnswer(NoAnswer {
            silence: Silence::Unreachable,
            detail: "no address was tried".to_owned(),
        }),
    }
}

#[cfg(test)]
#[path = "outcome_tests.rs"]
mod tests;
