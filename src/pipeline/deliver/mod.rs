//! The deliver stage: a message offered to the MX hosts of its destinations while its sender waits. Owns
//! every outbound SMTP connection.
//!
//! ```text
//! Rewritten ─▶ shipment ─▶ plan ─▶ attempt ─▶ connect ─▶ transaction ─▶ Attempted
//!              one task    MX, A,  one address TCP, EHLO, MAIL … dot
//!              a message   AAAA    or pooled   STARTTLS
//!
//! Readdressed ─▶ ask ─▶ plan … transaction ─▶ held          the same up to RCPT, while the client is at RCPT
//! ```
//!
//! What others rely on:
//! - Every copy gets exactly one outcome, and `Delivered` or `Refused` is an upstream's own word.
//! - Nothing is offered twice once its dot was sent: from there on an outcome is the upstream's answer,
//!   `AwaitingReply` or `Unknown`.
//! - `Attempted` is passed on by the client's deadline: half of the time that is left when a message
//!   comes is for finding an upstream that takes the envelope, the rest for the message and its reply.
//!   Only an upstream that stopped taking octets may hold it for a further [`options::Timing::quit`].
//! - A transaction that was opened at RCPT gets the message, or RSET. Nothing that happens to it before the
//!   dot is worse than if it had not been opened.
//! - A panic ends one message: its task drops the transaction, and the sender hears 451.

mod addresses;
mod ask;
mod attempt;
mod connect;
mod connection;
mod content;
mod destinations;
mod dialogue;
mod held;
mod late;
mod options;
mod outcome;
mod plan;
mod pool;
mod provider;
mod recall;
mod shipment;
mod tls;
mod transaction;
mod trouble;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::content::Content;
use self::destinations::Destinations;
use self::dialogue::Dialogue;
use self::held::{Asked, Holds};
use self::options::Options;
use self::pool::Pool;
use self::tls::TlsWish;
use self::transaction::Budget;
use crate::config::Config;
use crate::dns::Dns;
use crate::ledger::Ledger;
use crate::mail::{Address, Message, MessageRequest, SmtpUtf8, TraceId};
use crate::pipeline::deferred::{Due, Suspended, Tried};
use crate::pipeline::joint::{Stage, Turn};
use crate::pipeline::parcel::{
    Attempted, Declared, Delivery, Nothing, Outcome, Readdressed, Rewritten, Shipment,
};
use crate::pipeline::refusal::Refusal;
use crate::telemetry::{Metrics, PipelineStage};
use crate::tls::Policies;

/// How often idle connections and remembered destinations are looked over.
const SWEEP: Duration = Duration::from_secs(1);
/// Sweeps between two savings of the counts for TLS reports.
const SWEEPS_A_SAVE: usize = 60;

/// All that a node knows of upstreams, shared by its deliver actors: idle connections, TLS sessions,
/// destinations that gave trouble.
pub struct Upstreams {
    dns: Dns,
    ledger: Ledger,
    policies: Policies,
    pool: Arc<Pool>,
    destinations: Arc<Destinations>,
    holds: Holds,
    options: ArcSwap<Options>,
    metrics: Arc<Metrics>,
    listening: Vec<SocketAddr>,
}

impl Upstreams {
    /// Sets up delivery. `listening` are the addresses that the node's own SMTP listeners really have:
    /// nothing is ever delivered to them. Destinations are looked up by the resolver of `policies`.
    #[must_use]
    pub fn new(
        config: &Config,
        listening: &[SocketAddr],
        policies: Policies,
        ledger: Ledger,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        Arc::new(Self {
            dns: policies.dns().clone(),
            ledger,
            policies,
            pool: Arc::default(),
            destinations: Arc::default(),
            holds: Holds::default(),
            options: ArcSwap::from_pointee(Options::new(config, listening)),
            metrics,
            listening: listening.to_vec(),
        })
    }

    /// Where the queue tells which destinations are suspended.
    #[must_use]
    pub fn suspended(&self) -> Suspended {
        self.destinations.suspended.clone()
    }

    /// The policies that hosts are held to, and the count of what came of them.
    #[must_use]
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    /// Takes a new configuration for messages that come from now on.
    pub fn reconfigure(&self, config: &Config) {
        self.options.store(Arc::new(Options::new(config, &self.listening)));
    }

    /// Ends idle connections in time and forgets what is over, until told to stop.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(SWEEP);
        let mut sweeps: usize = 0;
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.pool.sweep();
            self.holds.sweep(&self);
            self.destinations.sweep();
            sweeps += 1;
            if sweeps.is_multiple_of(SWEEPS_A_SAVE) {
                self.save_reports().await;
            }
        }
        self.save_reports().await;
    }

    async fn save_reports(&self) {
        let reports = self.policies.reports().clone();
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || reports.save()).await {
            tracing::error!(%error, "counts for TLS reports not saved");
        }
    }

    /// Says QUIT on idle connections and keeps none from now on; returns within five seconds. Connections
    /// in use, and those that still owe a late reply, are not touched.
    pub async fn drain(&self) {
        self.pool.drain().await;
    }
}

/// At RCPT: asks upstreams whether they would take a recipient's copies.
pub struct Ask(pub Arc<Upstreams>);

impl Stage for Ask {
    type Parcel = Readdressed;
    type Next = Nothing;
    const NAME: &'static str = "ask";

    async fn run(&self, readdressed: Readdressed) -> Turn<Nothing> {
        ask::ask(self.0.clone(), readdressed).await;
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
    let deliveries = offer_all(upstreams, offer, &message, shipments).await;
    // A queue that does not wait any more tries again after a restart.
    let _drained = answer.send(Tried { deliveries, dialogue: dialogue.lines() });
}

/// What all shipments of one message, or of one recipient ahead of it, share.
struct Job {
    upstreams: Arc<Upstreams>,
    options: Arc<Options>,
    matter: Matter,
    request: MessageRequest,
    tls_wish: TlsWish,
    trace: TraceId,
    budget: Budget,
    ipv6_timed_out: AtomicBool,
    dialogue: Option<Dialogue>,
}

/// What is offered to upstreams.
enum Matter {
    /// A message.
    Message {
        content: Content,
        /// Whether its sender asked for SMTPUTF8.
        smtp_utf8: SmtpUtf8,
    },
    /// At RCPT: the envelope of a message that is to come.
    Envelope(Declared),
}

impl Matter {
    fn content(&self) -> Option<&Content> {
        match self {
            Self::Message { content, .. } => Some(content),
            Self::Envelope(_) => None,
        }
    }
}

/// Delivers one message of a session: what no earlier transaction has settled.
async fn deliver(upstreams: Arc<Upstreams>, rewritten: Rewritten) -> Attempted {
    let Rewritten { mut transaction, message, verdict, shipments } = rewritten;
    let asked = upstreams.holds.take(transaction.id, transaction.advance.held.take());
    let (recorded, shipments) = recall::recall(&upstreams.ledger, &transaction, &message, shipments).await;
    let offer = Offered {
        trace: transaction.id,
        smtp_utf8: transaction.envelope.smtp_utf8,
        request: transaction.envelope.request.clone(),
        deadline: transaction.deadline,
        asked,
        dialogue: None,
    };
    let mut deliveries = offer_all(upstreams, offer, &message, shipments).await;
    deliveries.extend(recorded);
    let deliveries = in_order(deliveries, &transaction.envelope.recipients);
    Attempted { transaction, message, verdict, deliveries }
}

/// What is to be known of a message to offer it.
struct Offered {
    trace: TraceId,
    smtp_utf8: SmtpUtf8,
    request: MessageRequest,
    deadline: Instant,
    /// What was asked at RCPT, for its session.
    asked: Asked,
    /// Where the dialogue is kept, if anywhere.
    dialogue: Option<Dialogue>,
}

/// Offers a message: all shipments side by side.
async fn offer_all(
    upstreams: Arc<Upstreams>,
    offered: Offered,
    message: &Message,
    shipments: Vec<Shipment>,
) -> Vec<Delivery> {
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
                ipv6_timed_out: AtomicBool::new(false),
                dialogue,
                upstreams,
            };
            let shipments = shipments.into_iter().map(|shipment| {
                let asked = asked.part(&shipment);
                shipment::deliver(shipment, asked, &job)
            });
            let shipments: Vec<_> = shipments.collect();
            asked.end(&job.upstreams);
            join_all(shipments).await.into_iter().flatten().collect()
        }
        Err(error) => {
            tracing::error!(%error, "the message cannot be read back");
            asked.end(&upstreams);
            shipments.into_iter().flat_map(undeliverable).collect()
        }
    }
}

impl Budget {
    /// Half of the time that is left for everything up to DATA, the rest for the message and its reply.
    fn until(deadline: Instant) -> Self {
        let now = Instant::now();
        Self { envelope: now + deadline.saturating_duration_since(now) / 2, reply: deadline }
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
