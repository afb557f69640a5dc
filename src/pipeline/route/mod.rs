//! The stage that knows where mail goes. Twice in a transaction: at RCPT it says whether a recipient is taken and
//! what its rule does ([`recipient`]); at the dot it looks for loops and makes of the recipients the copies to send
//! ([`copies`]). What was decided at RCPT holds, whatever happens to the rules until the dot.
//!
//! A message whose recipients all drop it goes on without targets: it is rewritten and "delivered" to nobody, and
//! settled with 250, so that it is told of like every other.

mod copies;
mod recipient;

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::aliases::Aliases;
use crate::mail::loop_token::LoopKey;
use crate::pipeline::chronicle::Chronicle;
use crate::pipeline::joint::{Refused, Stage, Turn};
use crate::pipeline::parcel::{Addressed, Authenticated, Nothing, Routed};
use crate::routing::Routing;
use crate::srs::Srs;
use crate::telemetry::PipelineStage;

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
    /// Counts.
    pub chronicle: Chronicle,
}

/// At RCPT: is this recipient taken?
pub struct Take(pub Arc<ArcSwap<Context>>);

impl Stage for Take {
    type Parcel = Addressed;
    type Next = Nothing;
    const NAME: &'static str = "take";

    async fn run(&self, addressed: Addressed) -> Turn<Nothing> {
        let context = self.0.load_full();
        let Addressed { recipient, reverse_path, answer } = addressed;
        let taken = recipient::take(recipient, &reverse_path, &context).await;
        // A session that has ended does not wait for it.
        let _ = answer.send(taken);
        Turn::Answered
    }
}

/// At the dot: which copies are sent?
pub struct Route(pub Arc<ArcSwap<Context>>);

impl Stage for Route {
    type Parcel = Authenticated;
    type Next = Routed;
    const NAME: &'static str = "route";
    const TIMED: Option<PipelineStage> = Some(PipelineStage::Route);

    async fn run(&self, authenticated: Authenticated) -> Turn<Routed> {
        let context = self.0.load_full();
        let Authenticated { transaction, message, body_hash, verdict } = authenticated;
        match copies::copies(&transaction.recipients, message.head(), &context) {
            Ok(targets) => Turn::Next(Routed { transaction, message, body_hash, verdict, targets }),
            Err(refusal) => Refused { transaction, message, results: verdict.results, refusal }.into(),
        }
    }
}

#[cfg(test)]
mod tests;
