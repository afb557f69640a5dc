//! From what happened at each address to one [`Outcome`] a copy. Pure.

use super::trouble::{Peer, Trouble};
use crate::pipeline::parcel::{NoAnswer, Outcome, Silence, UpstreamReply};
use crate::pipeline::refusal::Refusal;
use crate::pipeline::relay;
use crate::smtp::reply::{Enhanced, Reply};

/// The words of `delivery_attempts_total{result}`, the best for a message first.
pub(super) const RESULTS: [&str; 12] = [
    "delivered",
    "awaiting_reply",
    "unknown",
    "tempfailed",
    "refused",
    "timed_out",
    "unreachable",
    "lost",
    "unwelcome",
    "tls_failed",
    "unfit",
    "internal",
];

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
            Self::Ruled(_) | Self::Ipv6Refused(_) => Patience::Left,
        }
    }

    /// What trouble at an address means for the message.
    pub(super) fn of(peer: &Peer, trouble: Trouble) -> Self {
        let detail = format!("{peer}: {trouble}");
        match trouble {
            Trouble::Ipv6Unwelcome(reply) => {
                Self::Ipv6Refused(UpstreamReply { host: peer.host.clone(), reply })
            }
            Trouble::Unfit(refusal) => Self::Ruled(refusal),
            Trouble::Message(_) => Self::Ruled(Refusal::Internal),
            Trouble::Unwelcome(reply) if relay::is_slow_down(&reply) => {
                Self::no_answer(Silence::Busy, &detail)
            }
            Trouble::TimedOut(_) => Self::timed_out(Silence::Interrupted, &detail, Patience::Ended),
            Trouble::CutShort(_) => Self::timed_out(Silence::Interrupted, &detail, Patience::CutShort),
            Trouble::Unreachable(_) | Trouble::Unwelcome(_) => Self::no_answer(Silence::Unreachable, &detail),
            Trouble::Lost(..) | Trouble::Garbage(_) | Trouble::OutOfStep(_) => {
                Self::no_answer(Silence::Interrupted, &detail)
            }
            Trouble::TlsRefused(_) | Trouble::Handshake(_) | Trouble::NotEncrypted => {
                Self::no_answer(Silence::Tls, &detail)
            }
        }
    }
}

/// Whether time ran out in the end, and somebody on the way had enough of it.
pub(super) fn is_slow(failures: &[Failure]) -> bool {
    let ran_out = |failure: &Failure| failure.patience() != Patience::Left;
    failures.last().is_some_and(ran_out)
        && failures.iter().any(|failure| failure.patience() == Patience::Ended)
}

/// The copies of one shipment, and what came of each so far.
#[derive(Debug)]
pub(super) struct Progress {
    copies: Vec<Copy>,
    dot_is_overdue: bool,
}

/// How far a copy is.
#[derive(Debug)]
enum Copy {
    /// To be offered.
    Pending,
    /// Its RCPT was taken ahead of the message.
    Taken,
    /// Over and done.
    Settled(Outcome),
}

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
        let copies = std::iter::repeat_with(|| Copy::Pending).take(copies).collect();
        Self { copies, dot_is_overdue: false }
    }

    /// The first copies, at most so many, that still are to be offered.
    pub(super) fn pending(&self, most: usize) -> Vec<usize> {
        let indices = self.copies.iter().enumerate().filter(|(_, copy)| matches!(copy, Copy::Pending));
        indices.map(|(index, _)| index).take(most).collect()
    }

    /// Whether any still is to be offered.
    pub(super) fn is_pending(&self) -> bool {
        self.copies.iter().any(|copy| matches!(copy, Copy::Pending))
    }

    /// Notes that an upstream owes the answer to our dot, which it had the time to give.
    pub(super) fn note_overdue(&mut self) {
        self.dot_is_overdue = true;
    }

    /// Whether it does.
    pub(super) fn is_overdue(&self) -> bool {
        self.dot_is_overdue
    }

    /// Settles a copy for good.
    pub(super) fn settle(&mut self, copy: usize, outcome: Outcome) {
        self.put(copy, Copy::Settled(outcome));
    }

    /// Notes that a copy's RCPT was taken, though there is no message yet.
    pub(super) fn take(&mut self, copy: usize) {
        self.put(copy, Copy::Taken);
    }

    fn put(&mut self, copy: usize, state: Copy) {
        if let Some(slot) = self.copies.get_mut(copy) {
            *slot = state;
        }
    }

    /// Settles a copy by what its upstream said.
    pub(super) fn answer(&mut self, copy: usize, host: &str, reply: Reply) {
        let positive = reply.is_positive();
        let reply = UpstreamReply { host: host.to_owned(), reply };
        self.settle(copy, if positive { Outcome::Delivered(reply) } else { Outcome::Refused(reply) });
    }

    /// The best that came of any of these copies: word and code for an attempt that settled some of them.
    pub(super) fn summary(&self, copies: &[usize]) -> Option<(&'static str, u16)> {
        let outcomes = copies.iter().filter_map(|copy| match self.copies.get(*copy)? {
            Copy::Settled(outcome) => Some(outcome),
            Copy::Pending | Copy::Taken => None,
        });
        let rank = |(word, _): &(&str, u16)| RESULTS.iter().position(|result| result == word);
        outcomes.map(word).min_by_key(rank)
    }

    /// Every copy's outcome: what is pending gets the failures' verdict.
    pub(super) fn finish(self, failures: &[Failure]) -> Vec<Outcome> {
        let outcome = |copy| match copy {
            Copy::Settled(outcome) => outcome,
            Copy::Pending | Copy::Taken => verdict(failures),
        };
        self.copies.into_iter().map(outcome).collect()
    }

    /// The copies whose RCPT was taken.
    pub(super) fn taken(&self) -> Vec<usize> {
        let indices = self.copies.iter().enumerate().filter(|(_, copy)| matches!(copy, Copy::Taken));
        indices.map(|(index, _)| index).collect()
    }

    /// What was said of each copy at RCPT. A complaint about our connection is no word on a recipient.
    pub(super) fn words(self) -> Vec<Word> {
        let word = |copy| match copy {
            Copy::Taken => Word::Taken,
            Copy::Settled(Outcome::Refused(upstream)) if !relay::is_about_us(&upstream.reply) => {
                Word::Refused(upstream)
            }
            Copy::Settled(_) | Copy::Pending => Word::None,
        };
        self.copies.into_iter().map(word).collect()
    }
}

fn word(outcome: &Outcome) -> (&'static str, u16) {
    match outcome {
        Outcome::Delivered(upstream) => ("delivered", upstream.reply.code),
        Outcome::AwaitingReply { .. } => ("awaiting_reply", 0),
        Outcome::Unknown { .. } => ("unknown", 0),
        Outcome::Refused(upstream) if upstream.reply.is_permanent() => ("refused", upstream.reply.code),
        Outcome::Refused(upstream) => ("tempfailed", upstream.reply.code),
        Outcome::Undeliverable(_) => ("unfit", 0),
        Outcome::NoAnswer(_) | Outcome::Recorded(_) => ("lost", 0),
    }
}

/// What failures at all addresses mean together. A host that could not be asked may take what another
/// cannot, and a refusal of our IPv6 address is not the word of the IPv4 address that did not answer: only
/// where no failure is for want of an answer is the first of them final. One host that is there and busy says
/// more of a destination than others that are not there.
pub(super) fn verdict(failures: &[Failure]) -> Outcome {
    let is_busy = |failure: &&Failure| matches!(failure, Failure::NoAnswer { silence: Silence::Busy, .. });
    let is_unanswered = |failure: &&Failure| matches!(failure, Failure::NoAnswer { .. });
    let last = |wanted: &dyn Fn(&&Failure) -> bool| failures.iter().rev().find(wanted);
    match last(&is_busy).or_else(|| last(&is_unanswered)).or_else(|| failures.first()) {
        Some(Failure::NoAnswer { silence, detail, .. }) => {
            Outcome::NoAnswer(NoAnswer { silence: *silence, detail: detail.clone() })
        }
        Some(Failure::Ruled(refusal)) => Outcome::Undeliverable(refusal.clone()),
        Some(Failure::Ipv6Refused(reply)) => Outcome::Refused(reply.clone()),
        None => Outcome::NoAnswer(NoAnswer {
            silence: Silence::Unreachable,
            detail: "no address was tried".to_owned(),
        }),
    }
}

/// Whether a refusal before DATA is of our IPv6 address by policy, as large providers word it: no PTR record
/// (X.7.25), or a security status whose text names IPv6. Over IPv4 the same host may take the message.
pub(super) fn refuses_ipv6(reply: &Reply) -> bool {
    let names_ipv6 = || reply.lines.iter().any(|line| line.to_ascii_lowercase().contains("ipv6"));
    match reply.enhanced {
        Some(Enhanced(4 | 5, 7, 25)) => true,
        Some(Enhanced(4 | 5, 7, _)) => names_ipv6(),
        Some(_) | None => false,
    }
}

/// Whether a refusal of RCPT says that the transaction has enough recipients, so that this one goes in the
/// next: 4.5.3 or 5.5.3 (RFC 3463 §3.6), or the bare codes of RFC 5321 §4.5.3.1.10 behind a recipient that
/// was taken.
pub(super) fn is_too_many(reply: &Reply, taken: usize) -> bool {
    taken > 0
        && match reply.enhanced {
            Some(Enhanced(4 | 5, 5, 3)) => true,
            Some(Enhanced(4 | 5, 0, 0)) | None => matches!(reply.code, 452 | 552),
            Some(_) => false,
        }
}

#[cfg(test)]
#[path = "outcome_tests.rs"]
mod tests;
