//! The deliver stage: a message offered to the MX hosts of its destinations while its sender waits. Owns
//! every outbound SMTP connection.
//!
//! ```text
//! Rewritten ─▶ shipment ─▶ plan ─▶ upstream: open ─▶ feed ─▶ Attempted
//!              one a       MX, A,  one address,     the message,
//!              destination AAAA    MAIL and RCPT    the reply to its dot
//!
//! Readdressed ─▶ ask_upstreams ─▶ plan ─▶ upstream: open ─▶ open_transactions      the first phase alone
//! ```
//!
//! What others rely on:
//! - Every copy gets exactly one outcome, and `Delivered` or `Refused` is an upstream's own word.
//! - Nothing is offered twice once its dot was sent: from there on an outcome is the upstream's answer,
//!   `AwaitingReply` or `Unknown`.
//! - `Attempted` is passed on by the client's deadline: half of the time that is left when a message
//!   comes is for finding an upstream that takes the envelope, the rest for the message and its reply.
//!   Only an upstream that stopped taking octets may hold it for a further [`options::Timing::quit`].
//! - What is remembered of a destination is what it had the time to do better ([`crate::pipeline::deadline`]): a message
//!   that comes with too little time is offered to nobody, and a host that was cut short by it is not blamed.
//! - A transaction that was opened at RCPT gets the message, or RSET. Nothing that happens to it before the
//!   dot is worse than if it had not been opened.
//! - Connections are bounded: in all, to one address and for one message ([`options`]). None of the bounds is waited for
//!   by a message that holds a connection: past the first two there is no answer, and idle ones make room.
//! - A panic ends one message: its task drops the transaction, and the sender hears 451.

mod addresses;
mod already_delivered;
mod ask_upstreams;
mod destinations;
mod job;
mod journey;
mod open_transactions;
mod options;
mod outcome;
mod plan;
mod shipment;
mod silent_hosts;
mod tls;
mod under_way;
mod upstream;
mod upstreams;

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::Semaphore;

use self::job::{Job, Matter, Tries};
use self::open_transactions::Asked;
use self::tls::TlsWish;
use self::under_way::Copies;
use self::upstream::dialogue::Dialogue;
use self::upstream::outgoing::Content;
use self::upstream::transaction::Budget;
pub use self::upstreams::Upstreams;
use crate::mail::{Address, Message, MessageRequest, SmtpUtf8, TraceId};
use crate::pipeline::deadline::Deadline;
use crate::pipeline::deferred::{Due, Tried};
use crate::pipeline::joint::{Stage, Turn};
use crate::pipeline::parcel::{Attempted, Delivery, Nothing, Outcome, Readdressed, Rewritten, Shipment};
use crate::pipeline::refusal::Refusal;
use crate::telemetry::PipelineStage;

/// Shipments of one message that are under way at a time, a connection each; the others follow while there is time. Beside
/// them those whose transaction is open from RCPT, of which [`ask_upstreams`] lets a message have few.
const MAX_AT_ONCE: usize = 20;

/// At RCPT: asks upstreams whether they would take a recipient's copies.
pub struct Ask(pub Arc<Upstreams>);

impl Stage for Ask {
    type Parcel = Readdressed;
    type Next = Nothing;
    const NAME: &'static str = "ask";

    async fn run(&self, readdressed: Readdressed) -> Turn<Nothing> {
        ask_upstreams::ask(self.0.clone(), readdressed).await;
        Turn::Answered
    }
}

/// At the dot: delivers a message while its sender waits.
pub struct Deliver(pub Arc<Upstreams>);

impl Stage for Deliver {
    type Parcel = Rewritten;
    type Next = Attempted;
    const NAME: &'static str = "deliver";
    const TIMED: Option<PipelineStage> = Some(PipelineStage::Deliver);

    async fn run(&self, rewritten: Rewritten) -> Turn<Attempted> {
        Turn::Next(deliver(self.0.clone(), rewritten).await)
    }
}

/// From the queue: there is no session to answer.
pub struct Redeliver(pub Arc<Upstreams>);

impl Stage for Redeliver {
    type Parcel = Due;
    type Next = Nothing;
    const NAME: &'static str = "redeliver";

    async fn run(&self, due: Due) -> Turn<Nothing> {
        redeliver(self.0.clone(), due).await;
        Turn::Answered
    }
}

/// Delivers a queued message. A panic drops the answer, and the queue tries again.
async fn redeliver(upstreams: Arc<Upstreams>, due: Due) {
    let Due { id, message, smtp_utf8, request, shipments, deadline, answer } = due;
    let dialogue = Dialogue::default();
    let offer = Offered {
        trace: id,
        smtp_utf8,
        request,
        deadline,
        asked: Asked::default(),
        dialogue: Some(dialogue.clone()),
    };
    let (deliveries, _in_the_dialogue) = offer_all(upstreams, offer, &message, shipments).await;
    // A queue that does not wait any more tries again after a restart.
    let _drained = answer.send(Tried { deliveries, dialogue: dialogue.lines() });
}

/// Delivers one message of a session: what no earlier transaction has settled.
async fn deliver(upstreams: Arc<Upstreams>, rewritten: Rewritten) -> Attempted {
    let Rewritten { mut transaction, message, verdict, shipments } = rewritten;
    let asked = upstreams.transactions.take(transaction.id, transaction.advance.held.take());
    let (recorded, shipments) =
        already_delivered::recall(&upstreams.ledger, &transaction, &message, shipments).await;
    let offer = Offered {
        trace: transaction.id,
        smtp_utf8: transaction.envelope.smtp_utf8,
        request: transaction.envelope.request.clone(),
        deadline: transaction.deadline,
        asked,
        dialogue: None,
    };
    let copies = Copies::of(&transaction, &message, &shipments);
    let (ledger, gone) = (upstreams.ledger.clone(), transaction.gone.clone());
    let offering = offer_all(upstreams, offer, &message, shipments);
    let ((mut deliveries, remarks), under_way) =
        under_way::watched(offering, copies, gone.cancelled(), &ledger).await;
    deliveries.extend(recorded);
    let deliveries = in_order(deliveries, &transaction.envelope.recipients);
    Attempted { transaction, message, verdict, deliveries, remarks, under_way }
}

/// What is to be known of a message to offer it.
struct Offered {
    trace: TraceId,
    smtp_utf8: SmtpUtf8,
    request: MessageRequest,
    deadline: Deadline,
    /// What was asked at RCPT, for its session.
    asked: Asked,
    /// Where the dialogue is kept, if anywhere.
    dialogue: Option<Dialogue>,
}

/// Offers a message: its shipments side by side. With what came of its copies what else is to be told.
async fn offer_all(
    upstreams: Arc<Upstreams>,
    offered: Offered,
    message: &Message,
    shipments: Vec<Shipment>,
) -> (Vec<Delivery>, Vec<Arc<str>>) {
    let Offered { trace, smtp_utf8, request, deadline, mut asked, dialogue } = offered;
    match Content::survey(message).await {
        Ok(content) => {
            let options = upstreams.options.load_full();
            let job = Job {
                options,
                tls_wish: TlsWish::of(&request, message),
                matter: Matter::Message { content, smtp_utf8 },
                request,
                trace,
                budget: Budget::until(deadline),
                tries: Tries::default(),
                dialogue,
                upstreams,
            };
            let places = Semaphore::new(MAX_AT_ONCE);
            let shipments = shipments.into_iter().map(|shipment| {
                let asked = asked.part(&shipment);
                let (places, job) = (&places, &job);
                async move {
                    // Who has a connection waits for nobody's end: its upstream waits for the message.
                    let _place = if asked.open.is_empty() { places.acquire().await.ok() } else { None };
                    shipment::deliver(shipment, asked, job).await
                }
            });
            let shipments: Vec<_> = shipments.collect();
            job.upstreams.transactions.end(asked);
            let deliveries = join_all(shipments).await.into_iter().flatten().collect();
            (deliveries, job.tries.remarks())
        }
        Err(error) => {
            tracing::error!(%error, "the message cannot be read back");
            upstreams.transactions.end(asked);
            (shipments.into_iter().flat_map(undeliverable).collect(), Vec::new())
        }
    }
}

/// A shipment of a message that we cannot read any more.
fn undeliverable(shipment: Shipment) -> Vec<Delivery> {
    let Shipment { reverse_path, targets, .. } = shipment;
    let delivery = |target| Delivery {
        target,
        reverse_path: reverse_path.clone(),
        outcome: Outcome::Undeliverable(Refusal::Internal),
    };
    targets.into_iter().map(delivery).collect()
}

/// Back from the order of shipments to the order of RCPT, in which settle looks for the first refusal.
fn in_order(mut deliveries: Vec<Delivery>, recipients: &[Address]) -> Vec<Delivery> {
    deliveries.sort_by_key(|delivery| recipients.iter().position(|alias| *alias == delivery.target.alias));
    deliveries
}

#[cfg(test)]
mod tests;
