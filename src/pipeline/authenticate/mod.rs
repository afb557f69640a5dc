//! The stage that finds out whom a message is from, and refuses it if policy says so. What each result does to a
//! message is in `docs/authentication.md`. Records, signatures and keys are read by floors below (`spf`, `mail::dkim`);
//! of mail-auth only the canonical form of bodies is used.
//!
//! Two questions come in: [`Opened`] at MAIL, answered with what DNS says of the sender, and [`Accepted`] at the
//! dot, which goes on as [`Authenticated`] or ends here. What is done, in order:
//!
//! 1. The author is read from the one From field (`mail::author`), strictly: what DMARC judges must be what a
//!    reader is shown.
//! 2. The body is hashed (`body`), then the signatures (`dkim`), the ARC chain (`arc`) and the DMARC
//!    policies (`dmarc`) are checked; keys and policies are asked for side by side, each with a limit. With the policies
//!    it is found out who may be sent a bounce (`vouch`).
//! 3. [`judge`] decides; it is a pure function.
//! 4. Authentication-Results fields in our name are left out of the message (RFC 8601 §5). If a sender signed such a
//!    field, its signature breaks: nobody but us may speak for us.
//!
//! **Time.** Authentication has half of the time that is left of a message's, so that deliver has the other half, and
//! half of its own for SPF and keys, so that DMARC, whose questions hang on their answers, has the rest. What was
//! answered by then counts, and what was not is a temperror: it defers the message where it decides ([`judge`]), and
//! else the message goes on.
//!
//! `require_pass` does not apply when every recipient is postmaster@, abuse@ or an SRS address of ours; one
//! ordinary recipient among them, and it does: else any sender could add postmaster@ to be let through.

mod arc;
mod body;
mod dkim;
mod dmarc;
mod early;
mod judge;
mod keys;
mod original;
mod results;
mod survival;
mod vouch;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::{join, join_all, join4};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout_at;

use self::body::Works;
use self::dmarc::{Identifier, Method};
use self::judge::{Demands, Findings, PassDemand};
use self::keys::Prover;
use self::original::{Head, Original};
use crate::config::{Authentication, Config, Sealing};
use crate::dns::Dns;
use crate::mail::{Domain, Message, ReversePath};
use crate::pipeline::chronicle::Chronicle;
use crate::pipeline::cores::Cores;
use crate::pipeline::deadline::Deadline;
use crate::pipeline::joint::{Refused, Stage, Turn};
use crate::pipeline::parcel::{
    Accepted, Authenticated, BodyHash, EarlyVerdict, Nothing, Opened, ReceiverHelp, SpfVerdict, Standing,
    Transaction, Verdict,
};
use crate::pipeline::refusal::Refusal;
use crate::telemetry::labels::AuthResult;
use crate::telemetry::{Metrics, PipelineStage};

/// What of the configuration this stage obeys.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `node.hostname`.
    pub hostname: Domain,
    /// `service.domain`: our authserv-id.
    pub service_domain: Domain,
    /// `[authentication]`.
    pub authentication: Authentication,
    /// `limits.dkim_signatures`.
    pub dkim_signatures: usize,
    /// `arc.seal`: whether it is asked what receivers can do without.
    pub sealing: Sealing,
    /// How long is waited for what can be asked at MAIL: a quarter of `delivery.in_session_timeout`, so that it is over
    /// with the time for keys at the latest, however soon the dot follows.
    pub early_limit: Duration,
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        Self {
            hostname: config.node.hostname.clone(),
            service_domain: config.service.domain.clone(),
            authentication: config.authentication.clone(),
            dkim_signatures: config.limits.dkim_signatures,
            sealing: config.arc.seal,
            early_limit: config.delivery.in_session_timeout / 4,
        }
    }
}

/// What every message of the stage shares. A reload puts a new one in place.
pub struct Context {
    settings: Settings,
    dns: Dns,
    works: Works,
    chronicle: Chronicle,
}

impl Context {
    /// `contiguous` holds a permit for each octet that may be used for bodies read back from files.
    #[must_use]
    pub fn new(
        settings: Settings,
        dns: Dns,
        contiguous: Arc<Semaphore>,
        cores: Cores,
        chronicle: Chronicle,
    ) -> Self {
        Self { settings, dns, works: Works { contiguous, cores }, chronicle }
    }
}

/// At MAIL: asks DNS of the sender.
pub struct Early(pub Arc<ArcSwap<Context>>);

impl Stage for Early {
    type Parcel = Opened;
    type Next = Nothing;
    const NAME: &'static str = "early";

    async fn run(&self, opened: Opened) -> Turn<Nothing> {
        let context = self.0.load_full();
        let Opened { client, reverse_path, mut answer } = opened;
        tokio::select! {
            verdict = early::ask(&context, &client, &reverse_path) => {
                // A session that has ended does not wait for it.
                let _ = answer.send(verdict);
            }
            // The transaction is over: nobody waits, so nobody's DNS is kept busy.
            () = answer.closed() => {}
        }
        Turn::Answered
    }
}

/// At the dot: judges the message.
pub struct Authenticate(pub Arc<ArcSwap<Context>>);

impl Stage for Authenticate {
    type Parcel = Accepted;
    type Next = Authenticated;
    const NAME: &'static str = "authenticate";
    const TIMED: Option<PipelineStage> = Some(PipelineStage::Authenticate);

    async fn run(&self, accepted: Accepted) -> Turn<Authenticated> {
        let context = self.0.load_full();
        let Accepted { transaction, mut message, early } = accepted;
        match authenticate(&transaction, &message, early, &context).await {
            Ok(Judged { forged, body_hash, verdict }) => {
                message.omit(forged);
                Turn::Next(Authenticated { transaction, message, body_hash, verdict })
            }
            Err(Unfit { refusal, results }) => Refused { transaction, message, results, refusal }.into(),
        }
    }
}

/// A message that goes no further, and what was found of it by then.
struct Unfit {
    refusal: Refusal,
    results: String,
}

impl From<Refusal> for Unfit {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, results: String::new() }
    }
}

/// A message that goes on.
struct Judged {
    /// Authentication-Results fields in our name.
    forged: Vec<Range<usize>>,
    body_hash: BodyHash,
    verdict: Verdict,
}

/// The whole stage, for one message.
async fn authenticate(
    transaction: &Transaction,
    message: &Message,
    early: oneshot::Receiver<EarlyVerdict>,
    context: &Context,
) -> Result<Judged, Unfit> {
    let deadline = transaction.deadline.half();
    let Settings { service_domain, dkim_signatures, .. } = &context.settings;
    let original = Original::read(message, service_domain, *dkim_signatures, &context.works);
    let original = timeout_at(deadline.at(), original).await;
    let original = original.map_err(|_elapsed| Refusal::AuthenticationUnavailable)??;
    let early = early_verdict(early, transaction, context);
    let findings = find(context, transaction, early, &original, deadline).await;
    count(context.chronicle.metrics(), &findings);
    let trusted = context.settings.authentication.trusted_arc_sealers.as_slice();
    let demands = Demands {
        dmarc: context.settings.authentication.dmarc,
        pass: pass_demand(&context.settings.authentication, transaction),
        trusted_arc_sealers: trusted,
    };
    let results = results::text(&findings, &transaction.client, trusted);
    let judgement = match judge::judge(&findings, &demands) {
        Ok(judgement) => judgement,
        Err(refusal) => {
            let refusal = explained(refusal, &findings.early, context, deadline).await;
            return Err(Unfit { refusal, results });
        }
    };
    let help = help(context, &original.head, &findings.signatures, deadline).await;
    let verdict = Verdict {
        spf: findings.early.spf_mail_from,
        dmarc: judgement.dmarc,
        vouched: judgement.vouched,
        results,
        arc: findings.chain.state,
        help,
        confirmed_name: findings.early.confirmed_names.first().cloned(),
    };
    Ok(Judged { forged: original.head.forged, body_hash: original.hashes.relaxed(), verdict })
}

/// With what the owner of the sender's domain has to say, where SPF's fail is a reason (RFC 7208 §6.2).
async fn explained(refusal: Refusal, early: &EarlyVerdict, context: &Context, deadline: Deadline) -> Refusal {
    match (refusal, &early.spf_explanation) {
        (Refusal::Unauthenticated { .. }, Some(explanation)) => {
            let dns = context.dns.until(deadline.at());
            let text = explanation.fetch(&dns, context.settings.hostname.as_str()).await;
            let who = explanation.domain();
            Refusal::Unauthenticated { explanation: text.map(|text| format!("{who} explains: {text}")) }
        }
        (refusal, _) => refusal,
    }
}

fn pass_demand(authentication: &Authentication, transaction: &Transaction) -> PassDemand {
    let ordinary = transaction.recipients.iter().any(|recipient| recipient.standing == Standing::Ordinary);
    if authentication.require_pass && ordinary { PassDemand::Required } else { PassDemand::Exempt }
}

async fn help(
    context: &Context,
    head: &Head,
    signatures: &[dkim::Signature],
    deadline: Deadline,
) -> ReceiverHelp {
    match context.settings.sealing {
        Sealing::Needed => {
            let survivors = survival::survivors(&head.survey, signatures);
            survival::help(&context.dns.until(deadline.at()), &head.authors, &survivors).await
        }
        // Nobody looks at it.
        Sealing::On | Sealing::Off => ReceiverHelp::Needed,
    }
}

/// The answer to [`Opened`].
async fn early_verdict(
    early: oneshot::Receiver<EarlyVerdict>,
    transaction: &Transaction,
    context: &Context,
) -> EarlyVerdict {
    match early.await {
        Ok(early) => early,
        // Whoever was to answer is gone: ask again.
        Err(_) => early::ask(context, &transaction.client, &transaction.envelope.reverse_path).await,
    }
}

async fn find(
    context: &Context,
    transaction: &Transaction,
    early: impl Future<Output = EarlyVerdict>,
    original: &Original,
    deadline: Deadline,
) -> Findings {
    let authors = &original.head.authors;
    let dns = context.dns.until(deadline.half().at());
    let prover = Prover { dns: &dns, cores: &context.works.cores, proofs: original.proofs(), deadline };
    let (early, signatures, chain, ()) = join4(
        early,
        dkim::verify(&prover, original),
        arc::verify(&prover, original),
        dmarc::ask_ahead(&dns, authors),
    )
    .await;
    let dns = context.dns.until(deadline.at());
    let reverse_path = transaction.envelope.reverse_path.clone();
    let helo = early::helo_domain(&transaction.client);
    let identifiers = identifiers(&reverse_path, helo.as_ref(), &early, &signatures);
    let assessments = authors.iter().map(|author| dmarc::assess(&dns, author, &identifiers));
    let vouched = vouch::vouched(&dns, &reverse_path, &early, &signatures);
    let (assessments, vouched) = join(join_all(assessments), vouched).await;
    let signing = original.head.signing;
    Findings { reverse_path, helo, early, signatures, signing, chain, assessments, vouched }
}

/// What DMARC may align with the author (RFC 9989 §4.3): the domain that SPF authenticated, and those of valid
/// signatures. For a null reverse-path SPF's domain is the HELO name (RFC 7208 §2.4).
fn identifiers(
    reverse_path: &ReversePath,
    helo: Option<&Domain>,
    early: &EarlyVerdict,
    signatures: &[dkim::Signature],
) -> Vec<Identifier> {
    let spf = match early.spf_mail_from {
        SpfVerdict::Pass => Some(dmarc::Proof::Proven),
        SpfVerdict::TempError => Some(dmarc::Proof::Unknown),
        SpfVerdict::Fail
        | SpfVerdict::SoftFail
        | SpfVerdict::Neutral
        | SpfVerdict::None
        | SpfVerdict::PermError => None,
    };
    let spf = spf.zip(reverse_path.domain().or(helo)).map(|(proof, domain)| Identifier {
        domain: domain.clone(),
        method: Method::Spf,
        proof,
    });
    let dkim = signatures.iter().filter_map(|signature| {
        let proof = match signature.outcome {
            dkim::Outcome::Pass => dmarc::Proof::Proven,
            dkim::Outcome::TempError => dmarc::Proof::Unknown,
            dkim::Outcome::Fail(_)
            | dkim::Outcome::Policy(_)
            | dkim::Outcome::Neutral(_)
            | dkim::Outcome::PermError(_) => return None,
        };
        Some(Identifier { domain: signature.domain.clone()?, method: Method::Dkim, proof })
    });
    spf.into_iter().chain(dkim).collect()
}

fn count(metrics: &Metrics, findings: &Findings) {
    let count = |result| metrics.auth_results_total.of(result).inc();
    count(AuthResult::Spf(findings.early.spf_mail_from));
    count(AuthResult::Iprev(results::of_iprev(findings.early.iprev)));
    count(AuthResult::Arc(results::of_arc(findings.chain.result)));
    for signature in &findings.signatures {
        count(AuthResult::Dkim(results::of_dkim(&signature.outcome)));
    }
    for assessment in &findings.assessments {
        count(AuthResult::Dmarc(results::of_dmarc(assessment.result)));
    }
}

#[cfg(test)]
mod tests;
