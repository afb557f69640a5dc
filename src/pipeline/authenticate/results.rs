//! The methods of our Authentication-Results field (RFC 8601 §2.2), as text. Everything that a peer chose goes
//! through [`pvalue`].

use std::fmt::Write;

use super::arc::ChainResult;
use super::dkim::Outcome;
use super::dmarc::{Assessment, Evaluation, Policy};
use super::judge::{Findings, Signing};
use crate::mail::authentication_results::pvalue;
use crate::mail::{Domain, ReversePath};
use crate::pipeline::parcel::{ArcState, Client, IprevVerdict};
use crate::telemetry::labels::{ArcResult, DkimResult, DmarcResult, IprevResult, Label as _};

/// The field's body without the authserv-id, one method a line: `spf=pass …;\r\n\tdkim=pass …`.
pub(super) fn text(findings: &Findings, client: &Client, trusted_arc_sealers: &[Domain]) -> String {
    let mut methods = spf(findings, client);
    methods.extend(dkim(findings));
    for assessment in &findings.assessments {
        let overridden = findings.chain.vouches_for(&assessment.author, trusted_arc_sealers);
        methods.push(dmarc(assessment, if overridden { Override::Arc } else { Override::None }));
    }
    methods.extend(arc(findings));
    methods.push(iprev(findings, client));
    methods.join(";\r\n\t")
}

/// RFC 8601 §2.7.2.
fn spf(findings: &Findings, client: &Client) -> Vec<String> {
    let helo = pvalue(&client.helo);
    let of_helo = format!("spf={} smtp.helo={helo}", findings.early.spf_helo);
    match &findings.reverse_path {
        ReversePath::Null => vec![of_helo],
        ReversePath::Mailbox(mailbox) => {
            let mailbox = pvalue(&mailbox.to_string());
            vec![format!("spf={} smtp.mailfrom={mailbox}", findings.early.spf_mail_from), of_helo]
        }
    }
}

/// RFC 8601 §2.7.1, `header.b` of RFC 6008, `header.a` and `header.s` of RFC 8601 §2.7.1.
fn dkim(findings: &Findings) -> Vec<String> {
    let of_signature = |signature: &super::dkim::Signature| {
        let mut text = format!("dkim={}", of_dkim(&signature.outcome).label());
        match signature.outcome {
            Outcome::Fail(reason)
            | Outcome::Policy(reason)
            | Outcome::Neutral(reason)
            | Outcome::PermError(reason) => {
                let _ = write!(text, " ({reason})");
            }
            Outcome::Pass | Outcome::TempError => {}
        }
        if let Some(domain) = &signature.domain {
            let _ = write!(text, " header.d={domain}");
        }
        let labels = [
            ("s", signature.selector.as_deref().map(pvalue)),
            ("a", signature.algorithm.map(str::to_owned)),
            ("b", signature.b.as_deref().map(pvalue)),
        ];
        let labels =
            labels.into_iter().filter_map(|(name, value)| Some(format!(" header.{name}={}", value?)));
        let labels: String = labels.collect();
        if !labels.is_empty() {
            let _ = write!(text, "\r\n\t{labels}");
        }
        text
    };
    match (findings.signatures.is_empty(), findings.signing) {
        (true, Signing::Unsigned) => vec!["dkim=none".to_owned()],
        (true, Signing::Signed) => vec!["dkim=neutral (no signature can be read)".to_owned()],
        (false, _) => findings.signatures.iter().map(of_signature).collect(),
    }
}

/// The word of a DKIM result, in the field and in metrics.
pub(super) fn of_dkim(outcome: &Outcome) -> DkimResult {
    match outcome {
        Outcome::Pass => DkimResult::Pass,
        Outcome::Fail(_) => DkimResult::Fail,
        Outcome::Policy(_) => DkimResult::Policy,
        Outcome::Neutral(_) => DkimResult::Neutral,
        Outcome::PermError(_) => DkimResult::PermError,
        Outcome::TempError => DkimResult::TempError,
    }
}

/// Whether something else outweighs a DMARC policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Override {
    None,
    Arc,
}

/// RFC 9989 §11.1 (registration in the RFC 8601 registry): `header.from` and `policy.dmarc`.
fn dmarc(assessment: &Assessment, overridden: Override) -> String {
    let word = of_dmarc(assessment.result).label();
    let from = pvalue(assessment.author.as_str());
    let fails = assessment.result == Evaluation::Fail;
    let policy = match assessment.result {
        Evaluation::Pass | Evaluation::Fail => assessment.policy,
        Evaluation::None | Evaluation::TempError => return format!("dmarc={word} header.from={from}"),
    };
    let reason = match overridden {
        Override::Arc if fails && policy != Policy::None => " reason=\"local_policy: arc=pass\"",
        Override::Arc | Override::None => "",
    };
    let policy = policy.word();
    format!("dmarc={word} (p={policy}){reason} header.from={from} policy.dmarc={policy}")
}

/// The word of a DMARC result, in the field and in metrics.
pub(super) fn of_dmarc(evaluation: Evaluation) -> DmarcResult {
    match evaluation {
        Evaluation::None => DmarcResult::None,
        Evaluation::Pass => DmarcResult::Pass,
        Evaluation::Fail => DmarcResult::Fail,
        Evaluation::TempError => DmarcResult::TempError,
    }
}

/// RFC 8617 §10.1: none, pass or fail; nothing while that is not known.
fn arc(findings: &Findings) -> Option<String> {
    match (findings.chain.result, findings.chain.state) {
        (ChainResult::None, _) => Some("arc=none".to_owned()),
        (ChainResult::Pass, ArcState::Pass(sets)) => Some(format!("arc=pass (i={sets})")),
        (ChainResult::Pass, ArcState::None | ArcState::Fail(_) | ArcState::Ended) => {
            Some("arc=pass".to_owned())
        }
        (ChainResult::Fail, _) => Some("arc=fail".to_owned()),
        (ChainResult::TempError, _) => None,
    }
}

/// The word of an ARC result in metrics.
pub(super) fn of_arc(result: ChainResult) -> ArcResult {
    match result {
        ChainResult::None => ArcResult::None,
        ChainResult::Pass => ArcResult::Pass,
        ChainResult::Fail => ArcResult::Fail,
        ChainResult::TempError => ArcResult::TempError,
    }
}

/// RFC 8601 §2.7.3.
fn iprev(findings: &Findings, client: &Client) -> String {
    let word = of_iprev(findings.early.iprev).label();
    let name = findings.early.confirmed_names.first().map(|name| format!(" ({name})")).unwrap_or_default();
    format!("iprev={word}{name} policy.iprev={}", pvalue(&client.ip.to_canonical().to_string()))
}

/// The word of an iprev result, in the field and in metrics.
pub(super) fn of_iprev(verdict: IprevVerdict) -> IprevResult {
    match verdict {
        IprevVerdict::Pass => IprevResult::Pass,
        IprevVerdict::Fail => IprevResult::Fail,
        IprevVerdict::TempError => IprevResult::TempError,
        IprevVerdict::PermError => IprevResult::PermError,
    }
}

#[cfg(test)]
#[path = "results_tests.rs"]
mod tests;
