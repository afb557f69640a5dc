//! One shipment: first through the transaction that was opened for it at RCPT, then on a [`Journey`] from host to host,
//! until every copy has its outcome.

use super::destinations::Visit;
use super::job::{Job, Matter};
use super::journey::Journey;
use super::open_transactions::{Asked, OpenTransaction};
use super::outcome::{Failure, Progress};
use super::upstream::attempt::{Attempt, Opening, Trial, Turnout};
use super::upstream::outcomes::Outcomes;
use super::upstream::outgoing::Octets;
use super::upstream::transaction::{Addressee, Offer, Opened};
use crate::mail::{BodyType, ReversePath, SmtpUtf8};
use crate::pipeline::parcel::{Delivery, Shipment, Silence, Target, TargetKind};
use crate::smtp::client::MailParameters;
use crate::telemetry::labels::CutThrough;
use crate::tls::Sighting;

/// What our trace fields and signatures add to a message at most, as MAIL says ahead of it.
const ADDED_OCTETS: u64 = 8 * 1024;

/// Delivers one shipment: one outcome for each of its copies, in their order. First through the transaction
/// that was opened at RCPT, if there is one.
pub(super) async fn deliver(shipment: Shipment, mut asked: Asked, job: &Job) -> Vec<Delivery> {
    let copies = copies(&shipment);
    let offer = offer(&shipment, &copies, job);
    let mut progress = Progress::new(shipment.targets.len());
    progress.settle(asked.refusals(&shipment.targets));
    let waiting = asked.open.pop();
    job.upstreams.transactions.end(asked);
    let mut failures = Vec::new();
    let visit = match waiting {
        Some(transaction) => {
            let Resumed { outcomes, failure, visit } = resume(transaction, offer, &shipment, job).await;
            progress.settle(outcomes);
            failures.extend(failure);
            Ok(visit)
        }
        None => job.upstreams.destinations.enter(&shipment.domain, job.options.per_destination),
    };
    let outcomes = match visit {
        Ok(visit) => {
            let mut journey = Journey::new(&shipment, offer, job, &visit);
            (journey.progress, journey.failures) = (progress, failures);
            journey.travel().await;
            journey.progress.finish(&journey.failures)
        }
        Err(closed) => {
            let detail = format!("{}: {closed}", shipment.domain);
            failures.push(Failure::no_answer(Silence::Held, &detail));
            progress.finish(&failures)
        }
    };
    let Shipment { reverse_path, targets, .. } = shipment;
    let delivery = |(target, outcome)| Delivery { target, reverse_path: reverse_path.clone(), outcome };
    targets.into_iter().zip(outcomes).map(delivery).collect()
}

/// What came of a transaction that waited for the message. Copies without an outcome are offered as if nobody had been
/// asked.
struct Resumed {
    outcomes: Outcomes,
    failure: Option<Failure>,
    /// The place at the destination.
    visit: Visit,
}

/// Goes on with a transaction that was opened at RCPT, if it suits the message as it came.
async fn resume(transaction: OpenTransaction, offer: Offer<'_>, shipment: &Shipment, job: &Job) -> Resumed {
    let transactions = &job.upstreams.transactions;
    let taken = transaction.copies(&shipment.targets).filter(|_| transaction.suits(offer.parameters));
    let is_fresh = transaction.used_at.elapsed() < job.options.timing.held;
    let may_go_on = is_fresh && job.budget.envelope.is_enough_to_try();
    let (Some(taken), Some(content), true) = (taken, job.matter.content(), may_go_on) else {
        let visit = transactions.replace(transaction);
        return Resumed { outcomes: Vec::new(), failure: None, visit };
    };
    let OpenTransaction { connection, visit, .. } = transaction;
    let peer = connection.peer.clone();
    let sighting = Sighting::of(&shipment.domain);
    // One that fell silent leaves time to open another transaction.
    let budget = job.budget.share(false);
    let trial = Trial { means: job.means(), offer, peer: &peer, sighting, budget };
    let opening = Opening { connection, opened: Opened::earlier(taken.clone()) };
    let turnout = Attempt::new(trial, taken).feed(opening, content).await;
    let Turnout { outcomes, trouble, is_overdue, fallback, .. } = turnout;
    fallback.into_iter().for_each(|fallback| job.tries.remark(fallback));
    let is_used = trouble.is_none() || !outcomes.is_empty();
    transactions.count(if is_used { CutThrough::Used } else { CutThrough::Replaced });
    if is_overdue {
        visit.timed_out();
    }
    let failure =
        trouble.filter(|trouble| !trouble.is_staleness()).map(|trouble| Failure::of(&peer, trouble));
    Resumed { outcomes, failure, visit }
}

/// What RCPT says of each copy.
pub(super) fn copies(shipment: &Shipment) -> Vec<Addressee<'_>> {
    shipment.targets.iter().map(copy).collect()
}

pub(super) fn offer<'a>(shipment: &'a Shipment, copies: &'a [Addressee<'a>], job: &'a Job) -> Offer<'a> {
    Offer {
        reverse_path: &shipment.reverse_path,
        copies,
        parameters: parameters(&shipment.reverse_path, copies, job),
    }
}

/// What RCPT says of a copy. A bounce on its way back is relayed, not forwarded, and asks for what it was
/// sent with (RFC 3461 §5.2.1).
fn copy(target: &Target) -> Addressee<'_> {
    let request = match target.kind {
        TargetKind::Forward => target.request.forwarded(&target.alias),
        TargetKind::Return => target.request.clone(),
    };
    Addressee { alias: &target.alias, forward_path: &target.destination, request }
}

/// What MAIL says of the message. SMTPUTF8 is needed by an address that is not ASCII, and by a header
/// section that is not, where the sender asked for it (RFC 6531 §3.4). Ahead of the message: what the
/// sender declared, and in SIZE the room that our own fields will take.
fn parameters<'a>(reverse_path: &ReversePath, copies: &[Addressee<'_>], job: &'a Job) -> MailParameters<'a> {
    let forward_paths = copies.iter().map(|copy| copy.forward_path);
    let utf8_address = forward_paths.chain(reverse_path.mailbox()).any(|address| !address.is_ascii());
    let (octets, body_type, utf8) = match &job.matter {
        Matter::Message { content, smtp_utf8 } => {
            let body_type = match content.all_octets {
                Octets::SevenBit => BodyType::SevenBit,
                Octets::EightBit => BodyType::EightBitMime,
            };
            let utf8 = *smtp_utf8 == SmtpUtf8::Requested && content.head_octets == Octets::EightBit;
            (Some(content.octets), body_type, utf8)
        }
        Matter::Envelope(declared) => {
            let octets = declared.size_octets.map(|octets| octets.saturating_add(ADDED_OCTETS));
            (octets, declared.body_type, declared.smtp_utf8 == SmtpUtf8::Requested)
        }
    };
    let smtp_utf8 = if utf8_address || utf8 { SmtpUtf8::Requested } else { SmtpUtf8::NotRequested };
    MailParameters { octets, body_type, smtp_utf8, request: &job.request }
}
