//! The stage that makes of a routed message what is sent on: reverse-paths by SRS, fields on top, signatures. The
//! message's own octets stay as they are.
//!
//! Fields are put on top in the order in which their reasons came about, the newest first, as RFC 5321 §4.4 and
//! RFC 5322 §3.6 want of trace fields:
//!
//! ```text
//! ARC-Seal                     covers the two below, and all earlier sets
//! ARC-Message-Signature        covers the DKIM-Signatures, what they cover, and the body
//! ARC-Authentication-Results
//! DKIM-Signature               by service.domain, one a key, RSA first
//! Postroad-Trace               the loop tokens (mail::loop_token)
//! Authentication-Results       above Received: added by the host that this Received names (RFC 8601 §5)
//! Received                     when it came in
//! … the message as it came, less Authentication-Results fields that were forged in our name …
//! ```
//!
//! No signature of ours covers a trace field. Neither signature aligns with the author; the author's own stays valid
//! because nothing that it covers is touched.
//!
//! All of a message's signatures are made in one piece on a place of its own ([`crate::pipeline::cores`]; 0.27 ms an
//! RSA-2048 signature, three of them with ARC); the body was hashed by authenticate. Which messages get an ARC set is `seal::is_wanted`.

mod envelope;
mod fields;
mod keys;
mod seal;
mod sign;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::time::timeout_at;
use tracing::error;

use self::envelope::Rewriter;
pub use self::envelope::{AliasNotKept, KeepAlias};
pub use self::keys::{KeyError, SignError, SigningKeys};
use self::sign::{Field, Signer};
use crate::clock;
use crate::config::Config;
pub use crate::config::Sealing;
use crate::mail::loop_token::{self, LoopKey, LoopToken};
use crate::mail::{Body, Domain, Message, ReversePath, header};
use crate::pipeline::chronicle::Chronicle;
use crate::pipeline::cores::Cores;
use crate::pipeline::deferred::Unsigned;
use crate::pipeline::joint::{Refused, Stage, Turn};
use crate::pipeline::parcel::{
    Action, Admitted, ArcState, BodyHash, Nothing, Readdressed, Rewritten, Routed, Shipment, Target,
    TargetKind, Transaction, Verdict,
};
use crate::pipeline::refusal::Refusal;
use crate::srs::Srs;
use crate::telemetry::PipelineStage;
use crate::telemetry::labels::SignatureResult;

/// What of the configuration this stage obeys.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `node.hostname`.
    pub hostname: Domain,
    /// `service.domain`: `d=` and authserv-id.
    pub service_domain: Domain,
    /// `arc.seal`.
    pub sealing: Sealing,
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        Self {
            hostname: config.node.hostname.clone(),
            service_domain: config.service.domain.clone(),
            sealing: config.arc.seal,
        }
    }
}

/// The secrets of the stage.
pub struct Secrets {
    /// What signs.
    pub keys: SigningKeys,
    /// What rewrites reverse-paths.
    pub srs: Arc<Srs>,
    /// What marks a message as seen.
    pub loop_key: LoopKey,
}

/// What every message of the stage shares. A reload puts a new one in place.
pub struct Context {
    settings: Settings,
    secrets: Secrets,
    keep_alias: KeepAlias,
    cores: Cores,
    chronicle: Chronicle,
}

impl Context {
    /// `keep_alias` stores the originals that are too long for SRS.
    #[must_use]
    pub fn new(
        settings: Settings,
        secrets: Secrets,
        keep_alias: KeepAlias,
        cores: Cores,
        chronicle: Chronicle,
    ) -> Self {
        Self { settings, secrets, keep_alias, cores, chronicle }
    }

    fn rewriter(&self, now: SystemTime) -> Rewriter<'_> {
        let metrics = self.chronicle.metrics();
        Rewriter { srs: &self.secrets.srs, keep_alias: &self.keep_alias, metrics, now }
    }

    /// A DKIM-Signature field for each key.
    fn dkim_fields(
        &self,
        fields: &[Field<'_>],
        body_hash: &BodyHash,
        timestamp: u64,
    ) -> Result<String, SignError> {
        let mut signatures = String::new();
        for key in self.secrets.keys.iter() {
            let signer = Signer { domain: &self.settings.service_domain, key, timestamp };
            let signature = sign::dkim_signature(fields, body_hash, signer);
            let result = if signature.is_ok() { SignatureResult::Ok } else { SignatureResult::Error };
            let made = &self.chronicle.metrics().dkim_signatures_total;
            made.of((key.algorithm(), result)).inc();
            signatures.push_str(&signature?);
        }
        Ok(signatures)
    }
}

/// At RCPT: a recipient's copies under their new reverse-paths.
pub struct Readdress(pub Arc<ArcSwap<Context>>);

impl Stage for Readdress {
    type Parcel = Admitted;
    type Next = Readdressed;
    const NAME: &'static str = "readdress";

    async fn run(&self, admitted: Admitted) -> Turn<Readdressed> {
        match readdress(admitted, &self.0.load_full()).await {
            Some(readdressed) => Turn::Next(readdressed),
            None => Turn::Answered,
        }
    }
}

/// A recipient's copies under their new reverse-paths, as a message's are. Where there is none for want of
/// disk, the dot says so.
async fn readdress(admitted: Admitted, context: &Context) -> Option<Readdressed> {
    let Admitted { recipient, reverse_path, mut inquiry } = admitted;
    let targets = match recipient.action {
        Action::Forward(destinations) => destinations.into_iter().map(|destination| Target {
            alias: recipient.alias.clone(),
            destination,
            kind: TargetKind::Forward,
            request: recipient.request.clone(),
        }),
        Action::Drop | Action::ReturnToSender(_) => {
            inquiry.give_up();
            return None;
        }
    };
    let known = &mut inquiry.advance.reverse_paths;
    match context.rewriter(clock::now()).shipments(&reverse_path, targets.collect(), known).await {
        Ok(shipments) => Some(Readdressed { shipments, inquiry }),
        Err(_) => {
            inquiry.give_up();
            None
        }
    }
}

/// At the dot: rewrites, seals and signs the message.
pub struct Rewrite(pub Arc<ArcSwap<Context>>);

impl Stage for Rewrite {
    type Parcel = Routed;
    type Next = Rewritten;
    const NAME: &'static str = "rewrite";
    const TIMED: Option<PipelineStage> = Some(PipelineStage::Rewrite);

    async fn run(&self, routed: Routed) -> Turn<Rewritten> {
        let context = self.0.load_full();
        let Routed { mut transaction, mut message, body_hash, verdict, targets } = routed;
        let known = std::mem::take(&mut transaction.advance.reverse_paths);
        let incoming =
            Incoming { transaction: &transaction, message: &message, body_hash, verdict: &verdict, known };
        match rewrite(incoming, targets, &context).await {
            Ok((on_top, shipments)) => {
                message.prepend(on_top.as_bytes());
                Turn::Next(Rewritten { transaction, message, verdict, shipments })
            }
            Err(refusal) => Refused { transaction, message, results: verdict.results, refusal }.into(),
        }
    }
}

/// From the queue: signs a message of our own.
pub struct Sign(pub Arc<ArcSwap<Context>>);

impl Stage for Sign {
    type Parcel = Unsigned;
    type Next = Nothing;
    const NAME: &'static str = "sign";

    async fn run(&self, unsigned: Unsigned) -> Turn<Nothing> {
        let context = self.0.load_full();
        let Unsigned { mut message, answer } = unsigned;
        let Body::Memory(body) = message.body().clone() else { return Turn::Answered };
        let sections = message.emitted_head();
        let cores = context.cores.clone();
        match cores.run(move || own_signatures(&sections, &body, &context)).await {
            Ok(Ok(signatures)) => {
                message.prepend(signatures.as_bytes());
                // Whoever asked may have given up.
                let _gone = answer.send(message);
            }
            Ok(Err(cause)) => error!(%cause, "a message of our own is not signed"),
            Err(_panic) => {}
        }
        Turn::Answered
    }
}

/// The DKIM fields for a message of our own.
fn own_signatures(sections: &[Bytes], body: &[u8], context: &Context) -> Result<String, SignError> {
    let fields: Vec<Field<'_>> = sections.iter().flat_map(|section| section_fields(section)).collect();
    let timestamp = clock::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    context.dkim_fields(&fields, &sign::body_hash(body), timestamp)
}

/// A message and what is known of it.
struct Incoming<'a> {
    transaction: &'a Transaction,
    message: &'a Message,
    body_hash: BodyHash,
    verdict: &'a Verdict,
    /// Reverse-paths that were rewritten at RCPT.
    known: HashMap<Domain, ReversePath>,
}

/// The whole stage, for one message: the fields to put on top, and the copies under their new
/// reverse-paths. What goes to nobody gets no fields.
async fn rewrite(
    incoming: Incoming<'_>,
    targets: Vec<Target>,
    context: &Arc<Context>,
) -> Result<(String, Vec<Shipment>), Refusal> {
    if targets.is_empty() {
        return Ok((String::new(), Vec::new()));
    }
    let Incoming { transaction, message, body_hash, verdict, mut known } = incoming;
    let now = clock::now();
    let draft = Draft {
        plain: plain_fields(
            context,
            transaction,
            verdict.confirmed_name.as_ref(),
            (&verdict.results, &targets),
        ),
        sections: message.emitted_head(),
        body_hash,
        chain: seal::is_wanted(context.settings.sealing, verdict.arc, verdict.help)
            .then(|| (verdict.arc, verdict.results.clone())),
        now,
    };
    let rewriter = context.rewriter(now);
    let shipments = rewriter.shipments(&transaction.envelope.reverse_path, targets, &mut known).await?;
    let signing = context.clone();
    let signed = context.cores.run(move || draft.sign(&signing));
    match timeout_at(transaction.deadline.at(), signed).await {
        Ok(Ok(Ok(on_top))) => Ok((on_top, shipments)),
        Ok(Ok(Err(cause))) => {
            error!(%cause, trace = %transaction.id, "message not signed");
            Err(Refusal::Internal)
        }
        Ok(Err(_panic)) => Err(Refusal::Internal),
        Err(_elapsed) => {
            error!(trace = %transaction.id, "no processor was free to sign a message in time");
            Err(Refusal::Internal)
        }
    }
}

/// The fields that are not signatures, from the top.
fn plain_fields(
    context: &Context,
    transaction: &Transaction,
    confirmed_name: Option<&Domain>,
    (results, targets): (&str, &[Target]),
) -> String {
    let Settings { hostname, service_domain, .. } = &context.settings;
    let mut tokens: Vec<LoopToken> = Vec::new();
    let mut aliases = std::collections::HashSet::new();
    for target in targets {
        if aliases.insert(target.alias.folded()) {
            tokens.push(context.secrets.loop_key.token(&target.alias));
        }
    }
    [
        loop_token::field(&tokens),
        fields::authentication_results(service_domain, results),
        fields::received(transaction, confirmed_name, hostname),
    ]
    .concat()
}

/// A message before it is signed.
struct Draft {
    plain: String,
    /// The header section as it is sent on, less what we put on top.
    sections: Vec<Bytes>,
    body_hash: BodyHash,
    /// What an ARC set says, where there is to be one.
    chain: Option<(ArcState, String)>,
    now: SystemTime,
}

impl Draft {
    /// All our fields, from the top.
    fn sign(self, context: &Context) -> Result<String, SignError> {
        let Context { settings, secrets, .. } = context;
        let own: Vec<Field<'_>> = self.sections.iter().flat_map(|section| section_fields(section)).collect();
        let body_hash = &self.body_hash;
        let timestamp = self.now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let domain = &settings.service_domain;
        let signatures = context.dkim_fields(&own, body_hash, timestamp)?;
        let set = match (&self.chain, secrets.keys.iter().next()) {
            (Some((state, results)), Some(key)) => {
                let all: Vec<Field<'_>> = section_fields(signatures.as_bytes()).chain(own).collect();
                seal::set(&all, body_hash, (*state, results), Signer { domain, key, timestamp })?
            }
            (None, _) | (Some(_), None) => None,
        };
        Ok([set.unwrap_or_default(), signatures, self.plain].concat())
    }
}

fn section_fields(section: &[u8]) -> impl Iterator<Item = Field<'_>> {
    header::fields(section).map(|field| (field.name, field.value))
}

#[cfg(test)]
mod tests;
