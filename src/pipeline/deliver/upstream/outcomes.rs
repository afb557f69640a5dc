//! What an upstream's replies mean for the copies that they are about. Pure.

use crate::pipeline::parcel::{Outcome, UpstreamReply};
use crate::smtp::reply::{Enhanced, Reply};
use crate::telemetry::labels::AttemptResult;

/// What came of copies, each named by its place in the shipment.
pub(crate) type Outcomes = Vec<(usize, Outcome)>;

/// What an upstream said of a copy.
pub(crate) fn answered(host: &str, reply: Reply) -> Outcome {
    let positive = reply.is_positive();
    let reply = UpstreamReply { host: host.to_owned(), reply };
    if positive { Outcome::Delivered(reply) } else { Outcome::Refused(reply) }
}

/// Their dot was sent, and nobody will hear the answer.
pub(crate) fn unknown(host: &str, copies: Vec<usize>) -> Outcomes {
    copies.into_iter().map(|copy| (copy, Outcome::Unknown { host: host.to_owned() })).collect()
}

/// The best of outcomes: result and code for an attempt that they came of.
pub(crate) fn summary(outcomes: &Outcomes) -> Option<(AttemptResult, u16)> {
    outcomes.iter().map(|(_, outcome)| result(outcome)).min_by_key(|(result, _)| *result)
}

fn result(outcome: &Outcome) -> (AttemptResult, u16) {
    match outcome {
        Outcome::Delivered(upstream) => (AttemptResult::Delivered, upstream.reply.code),
        Outcome::AwaitingReply { .. } => (AttemptResult::AwaitingReply, 0),
        Outcome::Unknown { .. } => (AttemptResult::Unknown, 0),
        Outcome::Refused(upstream) if upstream.reply.is_permanent() => {
            (AttemptResult::Refused, upstream.reply.code)
        }
        Outcome::Refused(upstream) => (AttemptResult::Tempfailed, upstream.reply.code),
        Outcome::Undeliverable(_) => (AttemptResult::Unfit, 0),
        Outcome::NoAnswer(_) | Outcome::Recorded(_) => (AttemptResult::Lost, 0),
    }
}

/// Whether a refusal before DATA is of our IPv6 address by policy, as large providers word it: no PTR record
/// (X.7.25), or a security status whose text names IPv6. Over IPv4 the same host may take the message.
pub(crate) fn refuses_ipv6(reply: &Reply) -> bool {
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
pub(crate) fn is_too_many(reply: &Reply, taken: usize) -> bool {
    taken > 0
        && match reply.enhanced {
            Some(Enhanced(4 | 5, 5, 3)) => true,
            Some(Enhanced(4 | 5, 0, 0)) | None => matches!(reply.code, 452 | 552),
            Some(_) => false,
        }
}

#[cfg(test)]
#[path = "outcomes_tests.rs"]
mod tests;
