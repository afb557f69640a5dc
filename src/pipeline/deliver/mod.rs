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
//! - What is remembered of a destination is what it had the time to do better ([`crate::pipeline::deadline`]): a message
//!   that comes with too little time is offered to nobody, and a host that was cut short by it is not blamed.
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

use actix::prelude::*;
use arc_swap::ArcSwap;
use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

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
use crate::pipeline::deadline::Deadline;
use crate::pipeline::deferred::{Due, Suspended, Tried};
use crate::pipeline::handoff::Handoff;
use crate::pipeline::parcel::{Attempted, Declared, Delivery, Outcome, Readdressed, Rewritten, Shipment};
use crate::pipeline::refusal::Refusal;
use crate::telemetry::Metrics;
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

/// The stage's actor.
pub struct Deliver {
    upstreams: Arc<Upstreams>,
    next: Handoff<Attempted>,
}

impl Deliver {
    /// Delivers what it is handed, and hands on what came of it.
    #[must_use]
    pub fn new(upstreams: Arc<Upstreams>, next: Handoff<Attempted>) -> Self {
        Self { upstreams, next }
    }
}

impl Actor for Deliver {
    type Context = Context<Self>;
}

impl Handler<Readdressed> for Deliver {
    type Result = ();

    fn handle(&mut self, readdressed: Readdressed, _context: &mut Context<Self>) {
        let span = tracing::debug_span!("ask", trace = %readdressed.inquiry.id);
        tokio::spawn(ask::ask(self.upstreams.clone(), readdressed).instrument(span));
    }
}

impl Handler<Rewritten> for Deliver {
    type Result = ();

    fn handle(&mut self, rewritten: Rewritten, _context: &mut Context<Self>) {
        let span = tracing::info_span!("deliver", trace = %rewritten.transaction.id);
        tokio::spawn(carry_on(self.upstreams.clone(), rewritten, self.next.clone()).instrument(span));
    }
}

/// The stage's other actor, for what comes from the queue: it has no session to answer.
pub struct Redeliver {
    upstreams: Arc<Upstreams>,
}

impl Redeliver {
    /// Delivers what it is handed, and answers the queue.
    #[must_use]
    pub fn new(upstreams: Arc<Upstreams>) -> Self {
        Self { upstreams }
    }
}

impl Actor for Redeliver {
    type Context = Context<Self>;
}

impl Handler<Due> for Redeliver {
    type Result = ();

    fn handle(&mut self, due: Due, _context: &mut Context<Self>) {
        let span = tracing::info_span!("deliver", trace = %due.id);
        tokio::spawn(deliver_due(self.upstreams.clone(), due).instrument(span));
    }
}

/// A queued message's task. A panic drops the answer, and the queue tries again.
async fn deliver_due(upstreams: Arc<Upstreams>, due: Due) {
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

/// One message's task. A panic drops the transaction, which answers it.
async fn carry_on(upstreams: Arc<Upstreams>, rewritten: Rewritten, next: Handoff<Attempted>) {
    let metrics = upstreams.metrics.clone();
    let timer = metrics.pipeline_stage_duration_seconds.with_label_values(&["deliver"]).start_timer();
    let attempted = deliver(upstreams, rewritten).await;
    timer.observe_duration();
    if let Err(gone) = next.pass(attempted).await {
        tracing::error!(%gone, "what was delivered cannot be settled");
    }
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
    deadline: Deadline,
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
    fn until(deadline: Deadline) -> Self {
        Self { envelope: deadline.half(), reply: deadline }
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
