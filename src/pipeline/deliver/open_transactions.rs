//! Upstream transactions that were opened at RCPT and wait for the message, and what upstreams said there.
//!
//! A message's session holds a claim on them; they stand here, by the transaction's id, because somebody
//! must look at the clock meanwhile. Whoever ends the message without using them drops the claim, and they
//! are reset. A destination's place ([`Visit`]) goes with its transaction.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::destinations::Visit;
use super::options::Options;
use super::outcome::Word;
use super::upstream::connection::Connection;
use super::upstream::outcomes::Outcomes;
use super::upstream::pool::Pool;
use crate::mail::{Address, BodyType, Domain, ReversePath, SmtpUtf8, TraceId};
use crate::pipeline::parcel::{Held, Outcome, Shipment, Target, UpstreamReply};
use crate::smtp::client::{Extension, MailParameters};
use crate::telemetry::Metrics;
use crate::telemetry::labels::CutThrough;

/// What all messages that are at RCPT hold.
pub(super) struct OpenTransactions {
    by_message: Mutex<HashMap<TraceId, Asked>>,
    pool: Arc<Pool>,
    options: Arc<ArcSwap<Options>>,
    metrics: Arc<Metrics>,
}

/// What one message, or one shipment of it, asked of upstreams at RCPT.
#[derive(Default)]
pub(super) struct Asked {
    /// The transactions that wait.
    pub(super) open: Vec<OpenTransaction>,
    /// Who was refused, under which reverse-path, and in which words.
    pub(super) refused: Vec<(ReversePath, Address, UpstreamReply)>,
}

/// One transaction that waits, with at least one recipient.
pub(super) struct OpenTransaction {
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
    transactions: Arc<OpenTransactions>,
    id: TraceId,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let asked = self.transactions.by_message.lock().remove(&self.id);
        if let Some(asked) = asked {
            self.transactions.end(asked);
        }
    }
}

impl OpenTransactions {
    /// There are none yet. Connections go back to this pool.
    pub(super) fn new(pool: Arc<Pool>, options: Arc<ArcSwap<Options>>, metrics: Arc<Metrics>) -> Self {
        Self { by_message: Mutex::default(), pool, options, metrics }
    }

    /// Keeps what a message holds, for as long as the claim is.
    pub(super) fn hold(self: &Arc<Self>, id: TraceId, asked: Asked) -> Held {
        self.by_message.lock().insert(id, asked);
        Held::new(Claim { transactions: self.clone(), id })
    }

    /// Takes out what a message holds, and ends the claim on it.
    pub(super) fn take(&self, id: TraceId, claim: Option<Held>) -> Asked {
        let asked = claim.as_ref().and_then(|_| self.by_message.lock().remove(&id));
        asked.unwrap_or_default()
    }

    /// Ends the transactions that have waited for too long; their messages open new ones.
    pub(super) fn sweep(&self) {
        let limit = self.options.load().timing.held;
        let overdue = |open: &mut OpenTransaction| open.used_at.elapsed() >= limit;
        let mut ended = Asked::default();
        for asked in self.by_message.lock().values_mut() {
            ended.open.extend(asked.open.extract_if(.., overdue));
        }
        self.end(ended);
    }

    /// Ends transactions without their message.
    pub(super) fn end(&self, asked: Asked) {
        for open in asked.open {
            self.count(CutThrough::GivenUp);
            self.reset(open.connection);
        }
    }

    /// Ends one though its message is here; the place at the destination is for the next transaction.
    pub(super) fn replace(&self, open: OpenTransaction) -> Visit {
        self.count(CutThrough::Replaced);
        self.reset(open.connection);
        open.visit
    }

    /// Counts what was said at RCPT, or what became of a transaction that waited.
    pub(super) fn count(&self, result: CutThrough) {
        self.metrics.cut_through_total.of(result).inc();
    }

    /// Resets a transaction that gets no message, and keeps the connection for another. At the very end of
    /// the node, when nothing can wait for the reply any more, it is just closed.
    fn reset(&self, connection: Connection) {
        if Handle::try_current().is_ok() {
            self.pool.release(connection, self.options.load().timing);
        }
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

    /// Whether the copy's recipient was taken.
    pub(super) fn has(&self, destination: &Address) -> bool {
        self.open.iter().any(|open| open.taken.contains(destination))
    }

    /// In which words it was refused.
    pub(super) fn refusal(&self, destination: &Address) -> Option<&UpstreamReply> {
        self.refused.iter().find(|(_, refused, _)| refused == destination).map(|(_, _, reply)| reply)
    }

    /// The outcomes of the copies that were refused.
    pub(super) fn refusals(&self, targets: &[Target]) -> Outcomes {
        let refusal = |(copy, target): (usize, &Target)| {
            Some((copy, Outcome::Refused(self.refusal(&target.destination)?.clone())))
        };
        targets.iter().enumerate().filter_map(refusal).collect()
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

impl OpenTransaction {
    /// Notes recipients that were taken.
    pub(super) fn note(&mut self, taken: &[usize], targets: &[Target]) {
        let taken = taken.iter().filter_map(|copy| targets.get(*copy));
        self.taken.extend(taken.map(|target| target.destination.clone()));
        self.used_at = Instant::now();
    }

    /// The copies that it has as recipients; none when it has one that is not, or no longer, of the
    /// shipment.
    pub(super) fn copies(&self, targets: &[Target]) -> Option<Vec<usize>> {
        let place = |to: &Address| targets.iter().position(|target| target.destination == *to);
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
}
