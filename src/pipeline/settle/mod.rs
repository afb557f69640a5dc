//! The one place where the outcomes of all copies become one reply: decide, remember, answer, and learn
//! whether the answer was heard.

mod decide;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

pub use decide::{Decision, Policy, Queue, decide};

use super::account::Share;
use super::chronicle::{Chronicle, Conclusion};
use super::deferred::{self, Deferred, Late, NotQueued};
use super::fingerprint::fingerprint;
use super::joint::{Handoff, Stage, Turn};
use super::parcel::{
    Acknowledgement, Attempted, Delivery, Fate, Nothing, Outcome, Recorded, Settlement, Transaction,
    UpstreamReply, Vouched,
};
use crate::clock;
use crate::config::OnTempfail;
use crate::ledger::{Key, Ledger};
use crate::mail::{Message, ReversePath, TraceId};
use crate::spool::{Bounces, Queued, QueuedCopy};
use crate::telemetry::labels::Mode;

/// How long a message is held for a client that does not show that it has its reply.
const HOLD_MESSAGE: Duration = Duration::from_secs(2);

/// What settling needs.
#[derive(Clone)]
pub struct Surroundings {
    /// Idempotence records.
    pub ledger: Ledger,
    /// Log, journal, counts.
    pub chronicle: Chronicle,
    /// Transactions that are not settled to the end, which for some is a record behind the end of their
    /// session; for the drain to wait for.
    pub settling: TaskTracker,
    /// Late replies that are waited for, for the drain to wait for too.
    pub late: TaskTracker,
    /// `delivery.on_tempfail`, for domains that do not say what an upstream 4xx becomes.
    pub on_tempfail: Arc<ArcSwap<OnTempfail>>,
    /// The queue, for what no upstream has.
    pub deferred: Handoff<Deferred>,
    /// The queue, for replies that are still owed.
    pub late_replies: Handoff<Late>,
}

/// The last stage.
pub struct Settle(pub Arc<Surroundings>);

impl Stage for Settle {
    type Parcel = Attempted;
    type Next = Nothing;
    const NAME: &'static str = "settle";

    async fn run(&self, attempted: Attempted) -> Turn<Nothing> {
        let _under_way = self.0.settling.token();
        settle(attempted, &self.0).await;
        Turn::Answered
    }
}

/// Settles one transaction.
async fn settle(attempted: Attempted, around: &Surroundings) {
    let Attempted { transaction, message, verdict, deliveries, remarks, mut under_way } = attempted;
    let vouched = verdict.vouched;
    let mut case = Case { transaction: &transaction, message: &message, vouched, deliveries, remarks };
    let decision = around.decide(&case).await;
    let keys = if decision.records.is_empty() {
        Vec::new()
    } else {
        around.keys(&transaction.envelope.reverse_path, &message, &case.deliveries).await
    };
    around.remember(&keys, &decision.records).await;

    around.tell(&case, &verdict.results, &decision);
    if let Some(under_way) = &mut under_way {
        under_way.leave(&open(&keys, &decision.records));
    }
    let ours = [&decision.queued[..], &decision.bounced[..]].concat();
    case.deliveries = if ours.is_empty() {
        around.watch_open(case.deliveries, &keys)
    } else {
        around.hand_over(transaction.id, case.deliveries, &ours).await
    };
    if !matches!(decision.fate, Fate::Forwarded | Fate::Queued | Fate::PartlyRefused) {
        // What was offered is settled: a retry that comes at once waits for nothing.
        drop(under_way.take());
    }
    let (acknowledged, heard) = oneshot::channel();
    let settlement = Settlement { reply: decision.reply, acknowledged: Some(acknowledged) };
    let deliveries = case.deliveries;
    let Transaction { id, envelope, memory, answer, .. } = transaction;
    let reverse_path = envelope.reverse_path;
    let settled = Settled { id, fate: decision.fate, reverse_path, deliveries };
    let written = answer.send(settlement).is_ok();
    let held = Held::Message(message, memory);
    let (acknowledgement, held) = around.acknowledgement(heard, held, &settled).await;
    around.learn(if written { acknowledgement } else { Acknowledgement::Vanished }, held, &settled).await;
}

/// The copies whose upstreams still owe an answer that is waited for behind the transaction.
fn open(keys: &[Key], records: &[(usize, Recorded)]) -> Vec<Key> {
    let open = records.iter().filter(|(_, record)| *record == Recorded::Open);
    open.filter_map(|(index, _)| keys.get(*index).copied()).collect()
}

/// One transaction and what came of its copies.
struct Case<'a> {
    transaction: &'a Transaction,
    message: &'a Message,
    vouched: Vouched,
    deliveries: Vec<Delivery>,
    remarks: Vec<Arc<str>>,
}

impl Case<'_> {
    /// What the queue is to take of it.
    fn queued(&self, indices: &[usize], now: SystemTime) -> Queued {
        let envelope = &self.transaction.envelope;
        Queued {
            id: self.transaction.id,
            received_at: self.transaction.received_at,
            reverse_path: envelope.reverse_path.clone(),
            bounces: match self.vouched {
                Vouched::Yes => Bounces::Permitted,
                Vouched::No => Bounces::Forbidden,
            },
            request: envelope.request.clone(),
            smtp_utf8: envelope.smtp_utf8,
            client: Some(self.transaction.client.ip),
            copies: self.copies(indices, now),
        }
    }

    fn copies(&self, indices: &[usize], now: SystemTime) -> Vec<QueuedCopy> {
        let copies = indices.iter().filter_map(|index| self.deliveries.get(*index));
        copies.map(|delivery| deferred::keep(delivery, now)).collect()
    }

    /// The copies that were delivered now, and whose sender asked to be told (RFC 3461 §4.1).
    fn wanting_success(&self) -> Vec<usize> {
        let wants = |delivery: &Delivery| {
            matches!(delivery.outcome, Outcome::Delivered(_))
                && delivery.target.request.notify.wants_success()
        };
        let wanting = self.deliveries.iter().enumerate().filter(|(_, delivery)| wants(delivery));
        wanting.map(|(index, _)| index).collect()
    }
}

/// A transaction whose reply is out.
struct Settled {
    id: TraceId,
    fate: Fate,
    reverse_path: ReversePath,
    deliveries: Vec<Delivery>,
}

/// What is held until the client is known to have its reply, to name the copies by.
enum Held {
    /// The message, and its share of memory.
    Message(Message, Share),
    /// The names themselves: all that is left for a client that takes its time.
    Keys(Vec<Key>),
}

impl Surroundings {
    /// Decides, and has the queue take what the decision leaves to it. Where it cannot, decides again as if
    /// there were none.
    async fn decide(&self, case: &Case<'_>) -> Decision {
        let postmaster_url = self.chronicle.postmaster_url();
        let recipients = &case.transaction.recipients;
        let rule = |delivery: &Delivery| {
            let recipient = recipients.iter().find(|recipient| recipient.alias == delivery.target.alias);
            let of_domain = recipient.and_then(|recipient| recipient.on_tempfail);
            of_domain.unwrap_or_else(|| **self.on_tempfail.load())
        };
        let on_tempfail: Vec<OnTempfail> = case.deliveries.iter().map(rule).collect();
        let policy = Policy {
            queue: Queue::Takes,
            vouched: case.vouched,
            on_tempfail: &on_tempfail,
            postmaster_url: &postmaster_url,
            trace: case.transaction.id,
        };
        let decision = decide(&case.deliveries, policy);
        let relayed = case.wanting_success();
        if decision.queued.is_empty() && decision.bounced.is_empty() && relayed.is_empty() {
            return decision;
        }
        match self.enqueue(case, &decision, &relayed).await {
            Ok(()) => decision,
            Err(_) if decision.queued.is_empty() && decision.bounced.is_empty() => decision,
            Err(why) => decide(&case.deliveries, Policy { queue: Queue::Refuses(why), ..policy }),
        }
    }

    /// Has the queue make durable what the decision leaves to it.
    async fn enqueue(
        &self,
        case: &Case<'_>,
        decision: &Decision,
        relayed: &[usize],
    ) -> Result<(), NotQueued> {
        let now = clock::now();
        let queued = case.queued(&decision.queued, now);
        let (failed, relayed) = (case.copies(&decision.bounced, now), case.copies(relayed, now));
        let (answer, answered) = oneshot::channel();
        let parcel = Deferred { queued, message: case.message.clone(), failed, relayed, answer };
        self.deferred.pass(parcel).await.map_err(|_| NotQueued::Failed)?;
        answered.await.unwrap_or(Err(NotQueued::Failed))
    }

    /// Notes the copies that the queue has, or a DSN about them, and leaves it the replies that are still owed.
    async fn hand_over(&self, id: TraceId, deliveries: Vec<Delivery>, ours: &[usize]) -> Vec<Delivery> {
        let mut left = Vec::with_capacity(deliveries.len());
        for (index, delivery) in deliveries.into_iter().enumerate() {
            let Delivery { target, reverse_path, outcome } = delivery;
            if !ours.contains(&index) {
                left.push(Delivery { target, reverse_path, outcome });
                continue;
            }
            if let Outcome::AwaitingReply { late, .. } = outcome {
                let destination = target.destination.clone();
                if let Err(gone) = self.late_replies.pass(Late { id, destination, reply: late }).await {
                    tracing::error!(trace = %id, %gone, "a late reply is not waited for");
                }
            }
            let outcome = Outcome::Recorded(Recorded::Queued);
            left.push(Delivery { target, reverse_path, outcome });
        }
        left
    }

    /// Tells the end of a transaction.
    fn tell(&self, case: &Case<'_>, results: &str, decision: &Decision) {
        let transaction = case.transaction;
        let mut steps: Vec<String> = case.deliveries.iter().map(describe).collect();
        steps.extend(case.remarks.iter().map(ToString::to_string));
        let of = |index: &usize| case.deliveries.get(*index);
        let queued = decision.queued.iter().filter_map(of);
        steps.extend(queued.map(|delivery| format!("{}: queued", delivery.target.alias)));
        let bounced = decision.bounced.iter().filter_map(of);
        steps.extend(bounced.map(|delivery| format!("{}: told in a DSN", delivery.target.alias)));
        for (index, reply) in &decision.untold {
            if let Some(Delivery { target, .. }) = of(index) {
                steps.push(format!("{}: refused, and nobody may be told", target.alias));
                self.chronicle.untold(transaction.id, &target.alias, reply);
            }
        }
        self.chronicle.conclude(Conclusion {
            id: transaction.id,
            client: &transaction.client,
            reverse_path: &transaction.envelope.reverse_path,
            recipients: &transaction.envelope.recipients,
            omitted: 0,
            message: Some(case.message),
            results,
            fate: decision.fate,
            reply: &decision.reply,
            steps,
            duration: transaction.dot_at.elapsed(),
        });
        let latency = self.chronicle.metrics().delivery_latency_seconds.of(Mode::InSession);
        latency.observe(transaction.dot_at.elapsed().as_secs_f64());
    }

    /// The ledger's name for each copy.
    async fn keys(&self, reverse_path: &ReversePath, message: &Message, deliveries: &[Delivery]) -> Vec<Key> {
        let Some(content) = fingerprint(message).await else { return Vec::new() };
        let key = |delivery: &Delivery| {
            self.ledger.key(&content, reverse_path, &delivery.target.alias, &delivery.target.destination)
        };
        deliveries.iter().map(key).collect()
    }

    /// Makes the records durable; a ledger that fails costs a possible duplicate, not the message.
    async fn remember(&self, keys: &[Key], records: &[(usize, Recorded)]) {
        let named = records.iter().filter_map(|(index, record)| Some((*keys.get(*index)?, record.clone())));
        let named: Vec<(Key, Recorded)> = named.collect();
        if named.is_empty() {
            return;
        }
        if let Err(error) = self.ledger.record(named).await {
            tracing::error!(%error, "a partly delivered message may be delivered twice");
        }
    }

    /// Lets the late replies settle their records; gives back the deliveries without them.
    fn watch_open(&self, deliveries: Vec<Delivery>, keys: &[Key]) -> Vec<Delivery> {
        let keys = keys.iter().copied().map(Some).chain(std::iter::repeat(None));
        let watch = |(delivery, key): (Delivery, Option<Key>)| {
            let Delivery { target, reverse_path, outcome } = delivery;
            let outcome = match (outcome, key) {
                (Outcome::AwaitingReply { late, .. }, Some(key)) => {
                    self.late.spawn(late_reply(self.ledger.clone(), key, late));
                    Outcome::Recorded(Recorded::Open)
                }
                (outcome, _) => outcome,
            };
            Delivery { target, reverse_path, outcome }
        };
        deliveries.into_iter().zip(keys).map(watch).collect()
    }

    /// Waits until the session knows whether the client has its reply. A client may sit idle for as long
    /// as it likes between two messages; the memory of its last one is given back soon.
    async fn acknowledgement(
        &self,
        mut heard: oneshot::Receiver<Acknowledgement>,
        held: Held,
        settled: &Settled,
    ) -> (Acknowledgement, Held) {
        let vanished = |_| Acknowledgement::Vanished;
        match timeout(HOLD_MESSAGE, &mut heard).await {
            Ok(acknowledgement) => (acknowledgement.unwrap_or_else(vanished), held),
            Err(_) => {
                let held = Held::Keys(self.names(held, settled).await);
                (heard.await.unwrap_or_else(vanished), held)
            }
        }
    }

    async fn names(&self, held: Held, settled: &Settled) -> Vec<Key> {
        match held {
            Held::Message(message, _memory) => {
                self.keys(&settled.reverse_path, &message, &settled.deliveries).await
            }
            Held::Keys(keys) => keys,
        }
    }

    /// Acts on whether the client has its reply: an answer made from records and heard ends them; a
    /// delivery whose 250 was not heard becomes one. Of a client that was silent nothing is known: it gets no
    /// record, which might swallow mail that is sent twice on purpose, and what records there are stay.
    async fn learn(&self, acknowledgement: Acknowledgement, held: Held, settled: &Settled) {
        let Settled { id, fate, deliveries, .. } = settled;
        let from_records = deliveries.iter().any(|delivery| matches!(delivery.outcome, Outcome::Recorded(_)));
        match (fate, acknowledgement) {
            (
                Fate::Forwarded | Fate::Queued | Fate::PartlyRefused | Fate::Rejected,
                Acknowledgement::Heard,
            ) if from_records => {
                let keys = self.names(held, settled).await;
                if let Err(error) = self.ledger.forget(keys).await {
                    tracing::warn!(%error, "idempotence records stay until they expire");
                }
            }
            (Fate::Forwarded | Fate::Queued | Fate::PartlyRefused, Acknowledgement::Vanished) => {
                tracing::info!(trace = %id, "the client vanished before it had its reply");
                let keys = self.names(held, settled).await;
                self.remember(&keys, &decide::records(deliveries)).await;
            }
            _ => {}
        }
    }
}

/// Waits for a reply that came too late for its client, and records it for the client's retry.
async fn late_reply(ledger: Ledger, key: Key, late: oneshot::Receiver<UpstreamReply>) {
    let answer = match late.await {
        Ok(upstream) if upstream.reply.is_positive() => Recorded::Delivered(upstream),
        Ok(upstream) if upstream.reply.is_permanent() => Recorded::Refused(upstream),
        Ok(_) | Err(_) => return ledger.forget_open(&key),
    };
    if let Err(error) = ledger.record(vec![(key, answer)]).await {
        tracing::error!(%error, "a late reply is remembered in memory only");
    }
}

/// One line of the trace.
fn describe(delivery: &Delivery) -> String {
    let to = format!("{} -> {}", delivery.target.alias, delivery.target.destination);
    match &delivery.outcome {
        Outcome::Delivered(upstream) => format!("{to}: delivered, {}: {}", upstream.host, upstream.reply),
        Outcome::Refused(upstream) => format!("{to}: refused, {}: {}", upstream.host, upstream.reply),
        Outcome::Undeliverable(refusal) => format!("{to}: undeliverable, {refusal:?}"),
        Outcome::NoAnswer(no_answer) => format!("{to}: no answer, {}", no_answer.detail),
        Outcome::Unknown { host } => format!("{to}: unknown, connection to {host} lost after the final dot"),
        Outcome::AwaitingReply { host, .. } => format!("{to}: {host} has not answered the final dot yet"),
        Outcome::Recorded(Recorded::Delivered(upstream)) => {
            format!("{to}: delivered by an earlier transaction, {}: {}", upstream.host, upstream.reply)
        }
        Outcome::Recorded(Recorded::Refused(upstream)) => {
            format!("{to}: refused in an earlier transaction, {}: {}", upstream.host, upstream.reply)
        }
        Outcome::Recorded(Recorded::Open) => {
            format!("{to}: the upstream of an earlier transaction has not answered yet")
        }
        Outcome::Recorded(Recorded::Queued) => format!("{to}: in the queue since an earlier transaction"),
    }
}
