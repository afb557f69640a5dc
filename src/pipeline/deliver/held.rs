//! Upstream transactions that were opened at RCPT and wait for the message, and what upstreams said there.
//!
//! A message's session holds a claim on them; they stand here, by the transaction's id, because somebody
//! must look at the clock meanwhile. Whoever ends the message without using them drops the claim, and they
//! are reset. A destination's place ([`Visit`]) goes with its transaction.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::attempt::Attempt;
use super::connection::Connection;
use super::destinations::Visit;
use super::outcome::{Failure, Progress, Word};
use super::{Job, Upstreams, shipment};
use crate::mail::{Address, BodyType, Domain, ReversePath, SmtpUtf8, TraceId};
use crate::pipeline::parcel::{Held, Outcome, Shipment, UpstreamReply};
use crate::smtp::client::{Extension, MailParameters};
use crate::tls::Sighting;

/// What all messages that are at RCPT hold.
#[derive(Default)]
pub(super) struct Holds {
    by_message: Mutex<HashMap<TraceId, Asked>>,
}

/// What one message, or one shipment of it, asked of upstreams at RCPT.
#[derive(Default)]
pub(super) struct Asked {
    /// The transactions that wait.
    pub(super) open: Vec<Holding>,
    /// Who was refused, under which reverse-path, and in which words.
    pub(super) refused: Vec<(ReversePath, Address, UpstreamReply)>,
}

/// One transaction that waits, with at least one recipient.
pub(super) struct Holding {
    pub(super) reverse_path: ReversePath,
    pub(super) domain: Domain,
    pub(super) connection: Connection,
    /// What MAIL said.
    pub(super) said: Said,
    /// The recipients that the upstream took.
    pub(super) taken: Vec<Address>,
    /// When the upstream was last spoken to.
    pub(super) used_at: Instant,
    pub(super) visit: Visit,
}

/// What MAIL said that the message must keep to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said {
    octets: Option<u64>,
    body_type: BodyType,
    smtp_utf8: SmtpUtf8,
}

impl From<MailParameters<'_>> for Said {
    fn from(parameters: MailParameters<'_>) -> Self {
        let MailParameters { octets, body_type, smtp_utf8, .. } = parameters;
        Self { octets, body_type, smtp_utf8 }
    }
}

/// A message's claim on what it holds.
struct Claim {
    upstreams: Arc<Upstreams>,
    id: TraceId,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let asked = self.upstreams.holds.by_message.lock().remove(&self.id);
        if let Some(asked) = asked {
            asked.end(&self.upstreams);
        }
    }
}

impl Holds {
    /// Takes out what a message holds, and ends the claim on it.
    pub(super) fn take(&self, id: TraceId, claim: Option<Held>) -> Asked {
        let asked = claim.as_ref().and_then(|_| self.by_message.lock().remove(&id));
        asked.unwrap_or_default()
    }

    /// Ends the transactions that have waited for too long; their messages open new ones.
    pub(super) fn sweep(&self, upstreams: &Upstreams) {
        let limit = upstreams.options.load().timing.held;
        let overdue = |holding: &mut Holding| holding.used_at.elapsed() >= limit;
        let mut ended = Vec::new();
        for asked in self.by_message.lock().values_mut() {
            ended.extend(asked.open.extract_if(.., overdue));
        }
        ended.into_iter().for_each(|holding| holding.end(upstreams));
    }
}

impl Upstreams {
    /// Keeps what a message holds, for as long as the claim is.
    pub(super) fn hold(self: &Arc<Self>, id: TraceId, asked: Asked) -> Held {
        self.holds.by_message.lock().insert(id, asked);
        Held::new(Claim { upstreams: self.clone(), id })
    }
}

impl Asked {
    /// What of it is about this shipment.
    pub(super) fn part(&mut self, shipment: &Shipment) -> Self {
        let same = |path: &ReversePath, domain: &Domain| {
            *path == shipment.reverse_path && *domain == shipment.domain
        };
        Self {
            open: self.open.extract_if(.., |open| same(&open.reverse_path, &open.domain)).collect(),
            refused: self.refused.extract_if(.., |(path, to, _)| same(path, to.domain())).collect(),
        }
    }

    /// Ends the transactions.
    pub(super) fn end(self, upstreams: &Upstreams) {
        self.open.into_iter().for_each(|holding| holding.end(upstreams));
    }

    /// Whether the copy's recipient was taken.
    pub(super) fn has(&self, destination: &Address) -> bool {
        self.open.iter().any(|holding| holding.taken.contains(destination))
    }

    /// In which words it was refused.
    pub(super) fn refusal(&self, destination: &Address) -> Option<&UpstreamReply> {
        self.refused.iter().find(|(_, refused, _)| refused == destination).map(|(_, _, reply)| reply)
    }

    /// Settles what was said at RCPT, and sends the message through the transaction that waits for it. What
    /// is pending afterwards is offered as if nobody had been asked. Gives the place at the destination.
    pub(super) async fn hand_over(
        mut self,
        shipment: &Shipment,
        job: &Job,
        progress: &mut Progress,
        failures: &mut Vec<Failure>,
    ) -> Option<Visit> {
        for (copy, target) in shipment.targets.iter().enumerate() {
            if let Some(upstream) = self.refusal(&target.destination) {
                progress.settle(copy, Outcome::Refused(upstream.clone()));
            }
        }
        let holding = self.open.pop()?;
        self.end(&job.upstreams);
        let copies = shipment::copies(shipment);
        let offer = shipment::offer(shipment, &copies, job);
        let Some(taken) = holding.copies(shipment).filter(|_| holding.suits(offer.parameters)) else {
            return Some(holding.replace(&job.upstreams));
        };
        let overdue = holding.used_at.elapsed() >= job.options.timing.held;
        if overdue || !job.budget.envelope.is_enough_to_try() {
            return Some(holding.replace(&job.upstreams));
        }
        let Holding { connection, visit, .. } = holding;
        let peer = connection.peer.clone();
        let sighting = Sighting::of(&shipment.domain);
        // One that fell silent leaves time to open another transaction.
        let attempt = Attempt { job, offer, peer: &peer, sighting, budget: job.budget.share(false) };
        let trouble = attempt.go_on(connection, taken, progress).await.err();
        let result = if trouble.is_some() && progress.is_pending() { "replaced" } else { "used" };
        job.upstreams.cut_through(result);
        if let Some(trouble) = trouble.filter(|trouble| !trouble.is_staleness()) {
            failures.push(Failure::of(&peer, trouble));
        }
        if progress.is_overdue() {
            visit.timed_out();
        }
        Some(visit)
    }

    /// What is known already of a copy.
    pub(super) fn word(&self, destination: &Address) -> Word {
        match self.refusal(destination) {
            Some(upstream) => Word::Refused(upstream.clone()),
            None if self.has(destination) => Word::Taken,
            None => Word::None,
        }
    }
}

impl Holding {
    /// Notes the recipients that were taken.
    pub(super) fn note(&mut self, shipment: &Shipment, progress: &Progress) {
        let taken = progress.taken().into_iter().filter_map(|copy| shipment.targets.get(copy));
        self.taken.extend(taken.map(|target| target.destination.clone()));
        self.used_at = Instant::now();
    }

    /// The copies that it has as recipients; none when it has one that is not, or no longer, of the
    /// shipment.
    fn copies(&self, shipment: &Shipment) -> Option<Vec<usize>> {
        let place = |to: &Address| shipment.targets.iter().position(|target| target.destination == *to);
        self.taken.iter().map(place).collect()
    }

    /// Whether what MAIL said holds for the message as it came.
    pub(super) fn suits(&self, needed: MailParameters<'_>) -> bool {
        let offered = &self.connection.capabilities;
        let said = self.said;
        let most = said.octets.filter(|_| offered.offers(Extension::Size)).or_else(|| offered.size_limit());
        let fits = most.zip(needed.octets).is_none_or(|(most, octets)| octets <= most);
        fits && (needed.body_type == BodyType::SevenBit || said.body_type == BodyType::EightBitMime)
            && (needed.smtp_utf8 == SmtpUtf8::NotRequested || said.smtp_utf8 == SmtpUtf8::Requested)
    }

    /// Ends it though its message is here; the place at the destination is for the next transaction.
    fn replace(self, upstreams: &Upstreams) -> Visit {
        upstreams.cut_through("replaced");
        upstreams.reset(self.connection);
        self.visit
    }

    /// Ends it without its message.
    fn end(self, upstreams: &Upstreams) {
        upstreams.cut_through("given_up");
        upstreams.reset(self.connection);
    }
}

impl Upstreams {
    pub(super) fn cut_through(&self, result: &str) {
        self.metrics.cut_through_total.with_label_values(&[result]).inc();
    }

    /// Resets a transaction that gets no message, and keeps the connection for another. At the very end of
    /// the node, when nothing can wait for the reply any more, it is just closed.
    fn reset(&self, connection: Connection) {
        if Handle::try_current().is_ok() {
            self.pool.release(connection, self.options.load().timing);
        }
    }
}
