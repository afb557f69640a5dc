//! The decision: what was found, and the operator's mode, give a verdict or a refusal. Pure; what the other
//! modules here find out comes in as [`Findings`].

use super::arc::Chain;
use super::dkim::{Outcome, Signature};
use super::dmarc::{Assessment, Evaluation, Policy};
use crate::config::DmarcMode;
use crate::mail::{Domain, ReversePath};
use crate::pipeline::parcel::{DmarcVerdict, EarlyVerdict, IprevVerdict, SpfVerdict, Vouched};
use crate::pipeline::refusal::Refusal;

/// Everything that was found out about a message.
#[derive(Debug, Clone)]
pub(super) struct Findings {
    /// MAIL FROM.
    pub(super) reverse_path: ReversePath,
    /// The HELO name, if it is a domain.
    pub(super) helo: Option<Domain>,
    /// SPF, reverse DNS, null MX.
    pub(super) early: EarlyVerdict,
    /// The signatures that were looked at.
    pub(super) signatures: Vec<Signature>,
    /// Whether there is any DKIM-Signature field, parseable or not.
    pub(super) signing: Signing,
    /// The ARC chain.
    pub(super) chain: Chain,
    /// DMARC for each Author Domain.
    pub(super) assessments: Vec<Assessment>,
    /// Whether the reverse-path is the sender's own.
    pub(super) vouched: Vouched,
}

/// Whether somebody tried to sign the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signing {
    Signed,
    Unsigned,
}

/// What is asked of this message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Demands<'a> {
    /// `authentication.dmarc`.
    pub(super) dmarc: DmarcMode,
    /// Whether something must pass: `authentication.require_pass`, unless every recipient is exempt.
    pub(super) pass: PassDemand,
    /// `authentication.trusted_arc_sealers`.
    pub(super) trusted_arc_sealers: &'a [Domain],
}

/// See [`Demands::pass`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PassDemand {
    Required,
    Exempt,
}

/// A message that is not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Judgement {
    /// DMARC over all Author Domains.
    pub(super) dmarc: DmarcVerdict,
    /// Whether the reverse-path is the sender's own.
    pub(super) vouched: Vouched,
}

/// Judges a message.
///
/// # Errors
/// The refusal: what is certain before what is only unknown for now.
pub(super) fn judge(findings: &Findings, demands: &Demands<'_>) -> Result<Judgement, Refusal> {
    if let (true, Some(domain)) = (findings.early.sender_null_mx, findings.reverse_path.domain()) {
        return Err(Refusal::SenderNullMx(domain.clone()));
    }
    let dispositions = findings.assessments.iter().map(|a| (&a.author, disposition(a, findings, demands)));
    let dispositions: Vec<_> = dispositions.collect();
    if let Some((author, _)) =
        dispositions.iter().find(|(_, disposition)| *disposition == Disposition::Reject)
    {
        return Err(Refusal::Dmarc((*author).clone()));
    }
    let pass = passing(findings);
    if demands.pass == PassDemand::Required && pass == Passing::Nothing {
        return Err(Refusal::Unauthenticated { explanation: None });
    }
    let deferred = dispositions.iter().any(|(_, disposition)| *disposition == Disposition::Defer);
    if deferred || demands.pass == PassDemand::Required && pass == Passing::Unknown {
        return Err(Refusal::AuthenticationUnavailable);
    }
    Ok(Judgement { dmarc: dmarc_verdict(&findings.assessments), vouched: findings.vouched })
}

/// What DMARC does to a message, for one Author Domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disposition {
    /// As if there were no DMARC, or marked in Authentication-Results: a forwarder has no folder for
    /// `p=quarantine`.
    Pass,
    Reject,
    /// A missing answer decides.
    Defer,
}

fn disposition(assessment: &Assessment, findings: &Findings, demands: &Demands<'_>) -> Disposition {
    if assessment.policy != Policy::Reject
        || findings.chain.vouches_for(&assessment.author, demands.trusted_arc_sealers)
    {
        return Disposition::Pass;
    }
    let second = match demands.dmarc {
        DmarcMode::Monitor => SecondSignal::Absent,
        DmarcMode::Enforce => SecondSignal::Present,
        DmarcMode::Rfc9989 => second_signal(findings),
    };
    match (assessment.result, second) {
        (Evaluation::None | Evaluation::Pass, _) | (_, SecondSignal::Absent) => Disposition::Pass,
        (Evaluation::Fail, SecondSignal::Present)
            if findings.chain.may_vouch_for(&assessment.author, demands.trusted_arc_sealers) =>
        {
            Disposition::Defer
        }
        (Evaluation::Fail, SecondSignal::Present) => Disposition::Reject,
        (Evaluation::Fail | Evaluation::TempError, _) => Disposition::Defer,
    }
}

/// What else speaks against a message that fails DMARC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SecondSignal {
    Present,
    Absent,
    Unknown,
}

/// RFC 9989 §7.4: "MUST NOT reject incoming messages solely on the basis of" p=reject. What else must be there:
/// SPF fails outright, and there is no signature. A list or a forwarder, whose mail this is about, changes
/// its reverse-path or leaves at least a broken signature. (No trusted ARC chain either: that is the
/// caller's.)
fn second_signal(findings: &Findings) -> SecondSignal {
    match (findings.signing, findings.early.spf_mail_from) {
        (Signing::Unsigned, SpfVerdict::Fail) => SecondSignal::Present,
        (Signing::Unsigned, SpfVerdict::TempError) => SecondSignal::Unknown,
        (
            Signing::Signed | Signing::Unsigned,
            SpfVerdict::Pass
            | SpfVerdict::Fail
            | SpfVerdict::SoftFail
            | SpfVerdict::Neutral
            | SpfVerdict::None
            | SpfVerdict::TempError
            | SpfVerdict::PermError,
        ) => SecondSignal::Absent,
    }
}

/// Whether anything at all is authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passing {
    Something,
    Nothing,
    /// A missing answer decides.
    Unknown,
}

/// SPF of MAIL FROM or any signature; for a null reverse-path SPF of HELO (which MAIL FROM stands for), or a
/// HELO name that the client's address confirms. RFC 8601 §2.7.3: a missing answer of reverse DNS is no pass; where
/// nothing else passes, it decides.
fn passing(findings: &Findings) -> Passing {
    let early = &findings.early;
    let helo = findings.helo.as_ref().filter(|_| findings.reverse_path == ReversePath::Null);
    let confirmed = helo.is_some_and(|helo| early.confirmed_names.contains(helo));
    let in_doubt = helo.is_some() && early.iprev == IprevVerdict::TempError;
    let signed = findings.signatures.iter().any(|signature| signature.passes().is_some());
    if early.spf_mail_from == SpfVerdict::Pass || signed || confirmed {
        return Passing::Something;
    }
    let undecided =
        in_doubt || findings.signatures.iter().any(|signature| signature.outcome == Outcome::TempError);
    if undecided || early.spf_mail_from == SpfVerdict::TempError {
        Passing::Unknown
    } else {
        Passing::Nothing
    }
}

/// Over several Author Domains the worst counts.
fn dmarc_verdict(assessments: &[Assessment]) -> DmarcVerdict {
    let is = |evaluation| assessments.iter().any(|assessment| assessment.result == evaluation);
    if is(Evaluation::Fail) {
        DmarcVerdict::Fail
    } else if is(Evaluation::TempError) {
        DmarcVerdict::TempError
    } else if is(Evaluation::None) || assessments.is_empty() {
        DmarcVerdict::None
    } else {
        DmarcVerdict::Pass
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
