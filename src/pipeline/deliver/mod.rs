//! The deliver stage: a message offered to the MX hosts of its destinations while its sender waits. Owns
//! every outbound SMTP connection.
//!
//! ```text
//! Rewritten ─▶ shipment ─▶ plan ─▶ attempt ─▶ connect ─▶ transaction ─▶ Attempted
//!              one task    MX, A,  one address TCP, EHLO, MAIL … dot
//!              a message   AAAA    or pooled   STARTTLS
//! ```
//!
//! What others rely on:
//! - Every copy gets exactly one outcome, and `Delivered` or `Refused` is an upstream's own word.
//! - Nothing is offered twice once its dot was sent: from there on an outcome is the upstream's answer,
//!   `AwaitingReply` or `Unknown`.
//! - `Attempted` is passed on by the client's deadline: half of the time that is left when a message
//!   comes is for finding an upstream that takes the envelope, the rest for the message and its reply.
//!   Only an upstream that stopped taking octets may hold it for a further [`options::Timing::quit`].
//! - A panic ends one message: its task drops the transaction, and the sender hears 451.

mod addresses;
mod attempt;
mod connect;
mod connection;
mod content;
mod destinations;
mod late;
mod options;
mod outcome;
mod plan;
mod pool;
mod provider;
mod recall;
mod shipment;
mod transaction;
mod trouble;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use actix::prelude::*;
use arc_swap::ArcSwap;
use futures_util::future::join_all;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use self::content::Content;
use self::destinations::Destinations;
use self::options::Options;
use self::pool::Pool;
use self::transaction::Budget;
use crate::config::Config;
use crate::dns::Dns;
use crate::ledger::Ledger;
use crate::mail::{Address, SmtpUtf8, TraceId};
use crate::pipeline::handoff::Handoff;
use crate::pipeline::parcel::{Attempted, Delivery, Outcome, Rewritten, Shipment};
use crate::pipeline::refusal::Refusal;
use crate::telemetry::Metrics;
use crate::tls::{ClientTls, TlsError};

/// How often idle connections and remembered destinations are looked over.
const SWEEP: Duration = Duration::from_secs(1);

/// All that a node knows of upstreams, shared by its deliver actors: idle connections, TLS sessions,
/// destinations that gave trouble.
pub struct Upstreams {
    dns: Dns,
    ledger: Ledger,
    tls: ClientTls,
    pool: Arc<Pool>,
    destinations: Destinations,
    options: ArcSwap<Options>,
    metrics: Arc<Metrics>,
    listening: Vec<SocketAddr>,
}

impl Upstreams {
    /// Sets up delivery. `listening` are the addresses that the node's own SMTP listeners really have:
    /// nothing is ever delivered to them.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(
        config: &Config,
        listening: &[SocketAddr],
        dns: Dns,
        ledger: Ledger,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Self>, TlsError> {
        Ok(Arc::new(Self {
            dns,
            ledger,
            tls: ClientTls::opportunistic()?,
            pool: Arc::default(),
            destinations: Destinations::default(),
            options: ArcSwap::from_pointee(Options::new(config, listening)),
            metrics,
            listening: listening.to_vec(),
        }))
    }

    /// Takes a new configuration for messages that come from now on.
    pub fn reconfigure(&self, config: &Config) {
        self.options.store(Arc::new(Options::new(config, &self.listening)));
    }

    /// Ends idle connections in time and forgets what is over, until told to stop.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(SWEEP);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.pool.sweep();
            self.destinations.sweep();
        }
    }

    /// Says QUIT on idle connections and keeps none from now on; returns within five seconds. Connections
    /// in use, and those that still owe a late reply, are not touched.
    pub async fn drain(&self) {
        self.pool.drain().await;
    }
}

/// The stage's actor: one an arbiter.
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

impl Handler<Rewritten> for Deliver {
    type Result = ();

    fn handle(&mut self, rewritten: Rewritten, _context: &mut Context<Self>) {
        let span = tracing::info_span!("deliver", trace = %rewritten.transaction.id);
        tokio::spawn(carry_on(self.upstreams.clone(), rewritten, self.next.clone()).instrument(span));
    }
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

/// What all shipments of one message share.
struct Job {
    upstreams: Arc<Upstreams>,
    options: Arc<Options>,
    content: Content,
    smtp_utf8: SmtpUtf8,
    trace: TraceId,
    budget: Budget,
    ipv6_timed_out: AtomicBool,
}

/// Delivers one message: all shipments side by side.
async fn deliver(upstreams: Arc<Upstreams>, rewritten: Rewritten) -> Attempted {
    let Rewritten { transaction, message, verdict, shipments } = rewritten;
    let (recorded, shipments) = recall::recall(&upstreams.ledger, &transaction, &message, shipments).await;
    let mut deliveries: Vec<Delivery> = match Content::survey(&message).await {
        Ok(content) => {
            let options = upstreams.options.load_full();
            let job = Job {
                options,
                content,
                smtp_utf8: transaction.envelope.smtp_utf8,
                trace: transaction.id,
                budget: Budget::until(transaction.deadline),
                ipv6_timed_out: AtomicBool::new(false),
                upstreams,
            };
            let shipments = shipments.into_iter().map(|shipment| shipment::deliver(shipment, &job));
            join_all(shipments).await.into_iter().flatten().collect()
        }
        Err(error) => {
            tracing::error!(%error, "the message cannot be read back");
            shipments.into_iter().flat_map(undeliverable).collect()
        }
    };
    deliveries.extend(recorded);
    let deliveries = in_order(deliveries, &transaction.envelope.recipients);
    Attempted { transaction, message, verdict, deliveries }
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
    let outcome = || Outcome::Undeliverable(Refusal::Internal);
    shipment.targets.into_iter().map(|target| Delivery { target, outcome: outcome() }).collect()
}

/// Back from the order of shipments to the order of RCPT, in which settle looks for the first refusal.
fn in_order(mut deliveries: Vec<Delivery>, recipients: &[Address]) -> Vec<Delivery> {
    deliveries.sort_by_key(|delivery| recipients.iter().position(|alias| *alias == delivery.target.alias));
    deliveries
}

#[cfg(test)]
mod tests;
