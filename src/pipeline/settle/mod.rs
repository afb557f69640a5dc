//! The one place where the outcomes of all copies become one reply: decide, remember, answer, and learn
//! whether the answer was heard.

mod decide;
mod relay;

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

pub use decide::{Decision, decide};

use super::chronicle::{Chronicle, Conclusion};
use super::fingerprint::fingerprint;
use super::parcel::{
    Acknowledgement, Attempted, Delivery, Fate, Outcome, Recorded, Settlement, Transaction, UpstreamReply,
};
use crate::ledger::{Key, Ledger};
use crate::mail::{Message, ReversePath, TraceId};

/// How long a message is held for a client that does not show that it has its reply.
const HOLD_MESSAGE: Duration = Duration::from_secs(2);

/// What settling needs.
#[derive(Clone)]
pub struct Surroundings {
    /// Idempotence records.
    pub ledger: Ledger,
    /// Log, journal, counts.
    pub chronicle: Chronicle,
    /// Late replies that are waited for, for the drain to wait for too.
    pub late: TaskTracker,
}

/// The last stage.
pub struct Settle {
    surroundings: Arc<Surroundings>,
}

impl Settle {
    /// A stage for one arbiter.
    #[must_use]
    pub fn new(surroundings: Arc<Surroundings>) -> Self {
        Self { surroundings }
    }
}

impl Actor for Settle {
    type Context = Context<Self>;
}

impl Handler<Attempted> for Settle {
    type Result = ();

    fn handle(&mut self, attempted: Attempted, _: &mut Context<Self>) {
        tokio::spawn(settle(attempted, self.surroundings.clone()));
    }
}

/// Settles one transaction.
async fn settle(attempted: Attempted, around: Arc<Surroundings>) {
    let Attempted { transaction, message, verdict, deliveries } = attempted;
    let Transaction { id, client, envelope, dot_at, permit, answer, .. } = transaction;
    let decision = decide(&deliveries, &around.chronicle.postmaster_url(), id);
    let keys = if decision.records.is_empty() {
        Vec::new()
    } else {
        around.keys(&envelope.reverse_path, &message, &deliveries).await
    };
    around.remember(&keys, &decision.records).await;

    let steps = deliveries.iter().map(describe).collect();
    around.chronicle.conclude(Conclusion {
        id,
        client: &client,
        reverse_path: &envelope.reverse_path,
        recipients: &envelope.recipients,
        message: Some(&message),
        results: &verdict.results,
        fate: decision.fate,
        reply: &decision.reply,
        steps,
        duration: dot_at.elapsed(),
    });
    let latency = around.chronicle.metrics().delivery_latency_seconds.with_label_values(&["in_session"]);
    latency.observe(dot_at.elapsed().as_secs_f64());

    let (acknowledged, heard) = oneshot::channel();
    let settlement =
        Settlement { reply: decision.reply, fate: decision.fate, acknowledged: Some(acknowledged) };
    let deliveries = around.watch_open(deliveries, &keys);
    let reverse_path = envelope.reverse_path;
    let settled = Settled { id, fate: decision.fate, reverse_path, deliveries };
    let written = answer.send(settlement).is_ok();
    let held = Held::Message(message, permit);
    let (acknowledgement, held) = around.acknowledgement(heard, held, &settled).await;
    around.learn(if written { acknowledgement } else { Acknowledgement::Vanished }, held, &settled).await;
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
    /// The message, and the permit for its memory.
    Message(Message, OwnedSemaphorePermit),
    /// The names themselves: all that is left for a client that takes its time.
    Keys(Vec<Key>),
}

impl Surroundings {
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
        let watch = |(delivery, key): (Delivery, Option<Key>)| match (delivery.outcome, key) {
            (Outcome::AwaitingReply { late, .. }, Some(key)) => {
                self.late.spawn(late_reply(self.ledger.clone(), key, late));
                Delivery { target: delivery.target, outcome: Outcome::Recorded(Recorded::Open) }
            }
            (outcome, _) => Delivery { target: delivery.target, outcome },
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
            Held::Message(message, _permit) => {
                self.keys(&settled.reverse_path, &message, &settled.deliveries).await
            }
            Held::Keys(keys) => keys,
        }
    }

    /// Acts on whether the client has its reply: an answer made from records and heard ends them; a
    /// delivery whose 250 was not heard becomes one.
    async fn learn(&self, acknowledgement: Acknowledgement, held: Held, settled: &Settled) {
        let Settled { id, fate, deliveries, .. } = settled;
        let from_records = deliveries.iter().any(|delivery| matches!(delivery.outcome, Outcome::Recorded(_)));
        match (fate, acknowledgement) {
            (Fate::Forwarded | Fate::Rejected, Acknowledgement::Heard) if from_records => {
                let keys = self.names(held, settled).await;
                if let Err(error) = self.ledger.forget(&keys) {
                    tracing::warn!(%error, "idempotence records stay until they expire");
                }
            }
            (Fate::Forwarded, Acknowledgement::Vanished) => {
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
    }
}
