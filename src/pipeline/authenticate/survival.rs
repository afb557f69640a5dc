//! Whether the receivers behind us can judge a message by its author's own signature: it passes here, and nothing that
//! we do breaks it.
//!
//! We touch nothing that is there, put fields on top ([`FIELDS_ON_TOP`]) and leave out what was forged in our name. DKIM
//! takes the fields of a name from the bottom up (RFC 6376 §5.4.2), so one more on top breaks a signature only where
//! `h=` names it oftener than the message has it. An ARC set counts for nothing here: where the answer matters, none is
//! put on.
//!
//! Wherever it is not certain, a receiver is taken to need our help.

use std::ops::Range;

use futures_util::future::join_all;

use super::dkim::{Endurance, Signature};
use super::dmarc::{self, Evaluation, Identifier, Method, Proof};
use crate::dns::Dns;
use crate::mail::dkim::{Algorithm, Section};
use crate::mail::{Domain, authentication_results};
use crate::pipeline::receiver::{FIELDS_ON_TOP, ReceiverHelp};

const SIGNATURE: &str = "DKIM-Signature";
/// Signatures past which a receiver may not look.
const MAX_SIGNATURES: usize = 5;

/// What of a header section decides whether a signature survives.
#[derive(Debug)]
pub(super) struct Survey {
    /// How many fields there are of each name of [`FIELDS_ON_TOP`].
    there: Vec<(&'static str, usize)>,
    signatures: usize,
    omitted: Omitted,
}

impl Survey {
    /// `forged` is left out.
    pub(super) fn of(section: &Section<'_>, forged: &[Range<usize>]) -> Self {
        let count = |name| section.places(name).len();
        let there = FIELDS_ON_TOP.iter().map(|name| (*name, count(name))).collect();
        let omitted = if forged.is_empty() { Omitted::Nothing } else { Omitted::Results };
        Self { there, signatures: count(SIGNATURE), omitted }
    }
}

/// What receivers can authenticate of a message by its signatures once it has been through us.
pub(super) fn survivors(survey: &Survey, signatures: &[Signature]) -> Vec<Identifier> {
    if survey.signatures > MAX_SIGNATURES {
        return Vec::new();
    }
    // Large receivers do not verify Ed25519 (RFC 8463) yet.
    let is_common = |signature: &&Signature| {
        signature.algorithm == Some(Algorithm::RsaSha256.name()) && signature.endurance == Endurance::Lasting
    };
    signatures
        .iter()
        .filter(is_common)
        .filter(|signature| survives(&signature.signed, survey))
        .filter_map(Signature::passes)
        .map(|domain| Identifier { domain: domain.clone(), method: Method::Dkim, proof: Proof::Proven })
        .collect()
}

/// What is left out of a message on its way through us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Omitted {
    Nothing,
    /// Authentication-Results fields in our name.
    Results,
}

/// Whether a signature over the fields of these names covers the same octets before us and behind us.
fn survives(signed: &[String], survey: &Survey) -> bool {
    survey.there.iter().all(|(name, there)| {
        let times = signed.iter().filter(|signed| signed.trim().eq_ignore_ascii_case(name)).count();
        if times == 0 {
            return true;
        }
        let is_results = name.eq_ignore_ascii_case(authentication_results::NAME);
        // The signature itself is not among what it names (RFC 6376 §5.4), but some verifiers may count it.
        let itself = usize::from(name.eq_ignore_ascii_case(SIGNATURE));
        times + itself <= *there && !(is_results && survey.omitted == Omitted::Results)
    })
}

/// Whether every Author Domain is authenticated by these identifiers alone. Asks only where one is not the author itself.
pub(super) async fn help(dns: &Dns, authors: &[Domain], survivors: &[Identifier]) -> ReceiverHelp {
    if authors.is_empty() || survivors.is_empty() {
        return ReceiverHelp::Needed;
    }
    let stand = join_all(authors.iter().map(|author| stands(dns, author, survivors))).await;
    if stand.into_iter().all(|stands| stands) { ReceiverHelp::NotNeeded } else { ReceiverHelp::Needed }
}

/// The author itself is aligned in either mode (RFC 9989 §4.4), and is all that counts where no policy applies; of
/// others the author's record decides.
async fn stands(dns: &Dns, author: &Domain, survivors: &[Identifier]) -> bool {
    survivors.iter().any(|survivor| survivor.domain == *author)
        || dmarc::assess(dns, author, survivors).await.result == Evaluation::Pass
}

#[cfg(test)]
#[path = "survival_tests.rs"]
mod tests;
