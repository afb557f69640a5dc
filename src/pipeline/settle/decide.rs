//! One reply for several outcomes: the pure heart of settling (conventions: RFC 5321 §4.2, §6.1).
//!
//! | outcomes of the copies | the sender hears | records |
//! | --- | --- | --- |
//! | none: every rule drops | 250 | – |
//! | all delivered | 250, the first upstream's words | – |
//! | none delivered, all refused for good | the first 5xx in RCPT order | – |
//! | none delivered, some only for now | the first 4xx in RCPT order | – |
//! | a reply to our dot still open | 451 4.4.2 | what was delivered or refused; the open ones |
//! | some delivered, others not | 451 4.3.0 | what was delivered or refused |
//! | connection lost behind our dot | 451 4.4.1 | what was delivered or refused |
//!
//! A temporary failure anywhere makes the sender retry all; records (see [`crate::ledger`]) keep the retry
//! from reaching those who have it. A copy whose outcome is unknown has no record: twice is better than
//! never.

use super::relay;
use crate::mail::TraceId;
use crate::pipeline::parcel::{Delivery, Fate, Outcome, Recorded, Target, UpstreamReply};
use crate::smtp::reply::{self, Reply};

/// The one reply, what became of the message, and what must be remembered.
#[derive(Debug, PartialEq, Eq)]
pub struct Decision {
    /// What the client hears.
    pub reply: Reply,
    /// For metrics and log.
    pub fate: Fate,
    /// By index of the delivery: what a retry is answered with. Written durably before the reply.
    pub records: Vec<(usize, Recorded)>,
}

/// How a copy stands, as far as the reply depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Delivered,
    Permanent,
    Transient,
    Unknown,
    Open,
}

/// Decides for all copies of one transaction.
#[must_use]
pub fn decide(deliveries: &[Delivery], postmaster_url: &str, trace: TraceId) -> Decision {
    let standings: Vec<Standing> = deliveries.iter().map(|delivery| standing(&delivery.outcome)).collect();
    let any = |wanted| standings.contains(&wanted);
    let policy = |row: &'static reply::Row| row.refer(&[], postmaster_url, trace);
    let first = |wanted| {
        let found = deliveries.iter().zip(&standings).find(|(_, standing)| **standing == wanted);
        found.map(|(delivery, _)| words(delivery, postmaster_url, trace))
    };

    if deliveries.is_empty() {
        let reply = reply::ACCEPTED.with(&[&trace.to_string()]);
        return Decision { reply, fate: Fate::Dropped, records: Vec::new() };
    }
    let reply = if any(Standing::Open) {
        policy(reply::LATE_ANSWER)
    } else if any(Standing::Unknown) {
        policy(reply::NO_ANSWER)
    } else if standings.iter().all(|standing| *standing == Standing::Delivered) {
        first(Standing::Delivered).unwrap_or_else(|| policy(reply::INTERNAL))
    } else if any(Standing::Delivered) {
        policy(reply::PARTLY_DELIVERED)
    } else {
        let wanted = if any(Standing::Transient) { Standing::Transient } else { Standing::Permanent };
        first(wanted).unwrap_or_else(|| policy(reply::INTERNAL))
    };
    let fate = match reply.code / 100 {
        2 => Fate::Forwarded,
        5 => Fate::Rejected,
        _ => Fate::Tempfailed,
    };
    let partly = any(Standing::Delivered) || any(Standing::Open);
    let records = if fate == Fate::Tempfailed && partly { records(deliveries) } else { Vec::new() };
    Decision { reply, fate, records }
}

fn standing(outcome: &Outcome) -> Standing {
    match outcome {
        Outcome::Delivered(_) | Outcome::Recorded(Recorded::Delivered(_)) => Standing::Delivered,
        Outcome::Refused(upstream) | Outcome::Recorded(Recorded::Refused(upstream)) => {
            if relay::relayed_code(&upstream.reply) / 100 == 5 {
                Standing::Permanent
            } else {
                Standing::Transient
            }
        }
        Outcome::Undeliverable(refusal) => {
            if refusal.is_permanent() {
                Standing::Permanent
            } else {
                Standing::Transient
            }
        }
        Outcome::NoAnswer(_) => Standing::Transient,
        Outcome::Unknown { .. } => Standing::Unknown,
        Outcome::AwaitingReply { .. } | Outcome::Recorded(Recorded::Open) => Standing::Open,
    }
}

/// What the sender hears of one copy, were it the only one.
fn words(delivery: &Delivery, postmaster_url: &str, trace: TraceId) -> Reply {
    let relay =
        |upstream: &UpstreamReply, target: &Target| relay::relay(upstream, target, postmaster_url, trace);
    match &delivery.outcome {
        Outcome::Delivered(upstream)
        | Outcome::Refused(upstream)
        | Outcome::Recorded(Recorded::Delivered(upstream) | Recorded::Refused(upstream)) => {
            relay(upstream, &delivery.target)
        }
        Outcome::Undeliverable(refusal) => refusal.reply(postmaster_url, trace),
        Outcome::NoAnswer(_) | Outcome::Unknown { .. } => reply::NO_ANSWER.refer(&[], postmaster_url, trace),
        Outcome::AwaitingReply { .. } | Outcome::Recorded(Recorded::Open) => {
            reply::LATE_ANSWER.refer(&[], postmaster_url, trace)
        }
    }
}

/// Delivered, refused for good, and open copies; an older record stays as it is.
pub(super) fn records(deliveries: &[Delivery]) -> Vec<(usize, Recorded)> {
    let record = |delivery: &Delivery| match &delivery.outcome {
        Outcome::Delivered(upstream) => Some(Recorded::Delivered(upstream.clone())),
        Outcome::Refused(upstream) if relay::relayed_code(&upstream.reply) / 100 == 5 => {
            Some(Recorded::Refused(upstream.clone()))
        }
        Outcome::AwaitingReply { .. } => Some(Recorded::Open),
        Outcome::Refused(_)
        | Outcome::Undeliverable(_)
        | Outcome::NoAnswer(_)
        | Outcome::Unknown { .. }
        | Outcome::Recorded(_) => None,
    };
    deliveries.iter().enumerate().filter_map(|(index, delivery)| Some((index, record(delivery)?))).collect()
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
