//! The stage that knows where mail goes. Twice in a transaction: at RCPT it says whether a recipient is taken and
//! what its rule does ([`recipient`]); at the dot it looks for loops and makes of the recipients the copies to send
//! ([`copies`]). What was decided at RCPT holds, whatever happens to the rules until the dot.
//!
//! A message whose recipients all drop it goes on without targets: it is rewritten and "delivered" to nobody, and
//! settled with 250, so that it is told of like every other.

mod copies;
mod recipient;

use std::sync::Arc;

use actix::prelude::*;
use arc_swap::ArcSwap;
use tokio::time::Instant;
use tracing::warn;

use crate::aliases::Aliases;
use crate::mail::loop_token::LoopKey;
use crate::pipeline::chronicle::Chronicle;
use crate::pipeline::handoff::Handoff;
use crate::pipeline::parcel::{Addressed, Authenticated, Routed};
use crate::routing::Routing;
use crate::srs::Srs;

/// What every recipient and message of the stage shares. A reload puts a new one in place.
pub struct Context {
    /// The rules.
    pub routing: Routing,
    /// What takes return addresses apart.
    pub srs: Arc<Srs>,
    /// The originals of return addresses that are too long for SRS.
    pub aliases: Arc<Aliases>,
    /// What knows our mark on a message.
    pub loop_key: LoopKey,
    /// `limits.hops`.
    pub hops: usize,
    /// Where refusals are told.
    pub chronicle: Chronicle,
}

/// The actor of the stage.
pub struct Route {
    context: Arc<ArcSwap<Context>>,
    next: Handoff<Routed>,
}

impl Route {
    /// Hands on to `next`.
    #[must_use]
    pub fn new(context: Arc<ArcSwap<Context>>, next: Handoff<Routed>) -> Self {
        Self { context, next }
    }
}

impl Actor for Route {
    type Context = actix::Context<Self>;
}

impl Handler<Addressed> for Route {
    type Result = ();

    fn handle(&mut self, addressed: Addressed, _: &mut Self::Context) {
        let context = self.context.load_full();
        tokio::spawn(async move {
            let Addressed { recipient, reverse_path, answer } = addressed;
            let taken = recipient::take(recipient, &reverse_path, &context).await;
            // A session that has ended does not wait for it.
            let _ = answer.send(taken);
        });
    }
}

impl Handler<Authenticated> for Route {
    type Result = ();

    fn handle(&mut self, authenticated: Authenticated, _: &mut Self::Context) {
        let context = self.context.load_full();
        let next = self.next.clone();
        tokio::spawn(async move {
            let started = Instant::now();
            let Authenticated { transaction, message, body_hash, verdict } = authenticated;
            let targets = copies::copies(&transaction.recipients, message.head(), &context);
            let stage =
                context.chronicle.metrics().pipeline_stage_duration_seconds.with_label_values(&["route"]);
            stage.observe(started.elapsed().as_secs_f64());
            match targets {
                Ok(targets) => {
                    let routed = Routed { transaction, message, body_hash, verdict, targets };
                    if let Err(error) = next.pass(routed).await {
                        warn!(%error, "message dropped");
                    }
                }
                Err(refusal) => context.chronicle.refuse(transaction, &message, &verdict.results, &refusal),
            }
        });
    }
}

#[cfg(test)]
mod tests;
