//! The ARC chain that came with a message (RFC 8617 §5.2), by mail-auth.

use mail_auth::arc::ChainValidation;
use mail_auth::common::crypto::Algorithm;
use mail_auth::{AuthenticatedMessage, DkimResult, MessageAuthenticator, Parameters};

use super::dkim::{TIME_LIMIT, plain_names};
use crate::mail::{Domain, authentication_results};
use crate::pipeline::parcel::ArcState;

/// RFC 8617 §4.2.1: instances are 1 to 50.
const MAX_SETS: usize = 50;

/// A chain and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chain {
    /// Whether and how it can be continued.
    pub(super) state: ArcState,
    /// The result (RFC 8617 §4.4), or that it is not known for now.
    pub(super) result: ChainResult,
    /// Every domain that sealed or signed; empty unless the chain is valid.
    pub(super) sealers: Vec<Domain>,
    /// Of the Author Domains asked about: those for which the first sealer says that DMARC passed.
    pub(super) first_says_pass: Vec<Domain>,
}

/// See [`Chain::result`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChainResult {
    None,
    Pass,
    Fail,
    TempError,
}

impl Chain {
    /// No chain, or none that says anything.
    pub(super) fn without_word(state: ArcState, result: ChainResult) -> Self {
        Self { state, result, sealers: Vec::new(), first_says_pass: Vec::new() }
    }

    /// Whether an unbroken chain of sealers that are all trusted begins with a DMARC pass for this author. One
    /// stranger in it, and the first word may be the stranger's own.
    pub(super) fn vouches_for(&self, author: &Domain, trusted: &[Domain]) -> bool {
        self.result == ChainResult::Pass
            && !self.sealers.is_empty()
            && self.sealers.iter().all(|sealer| trusted.contains(sealer))
            && self.first_says_pass.contains(author)
    }
}

/// Validates the chain of a message whose body hashes are filled in.
pub(super) async fn verify(
    authenticator: &MessageAuthenticator,
    message: &AuthenticatedMessage<'_>,
    authors: &[Domain],
) -> Chain {
    let sets = message.as_headers.len().max(message.ams_headers.len()).max(message.aar_headers.len());
    if message.has_arc_errors || sets > MAX_SETS {
        return Chain::without_word(ArcState::Ended, ChainResult::Fail);
    }
    if sets == 0 {
        return Chain::without_word(ArcState::None, ChainResult::None);
    }
    let plain = AuthenticatedMessage { headers: plain_names(message), ..message.clone() };
    let verified = tokio::time::timeout(TIME_LIMIT, authenticator.verify_arc(Parameters::new(&plain))).await;
    match verified.as_ref().map(mail_auth::ArcOutput::result) {
        Ok(DkimResult::Pass) if !uses_sha1(message) => {
            let count = u8::try_from(sets).unwrap_or(u8::MAX);
            let state = if sets < MAX_SETS { ArcState::Pass(count) } else { ArcState::Ended };
            Chain {
                state,
                result: ChainResult::Pass,
                sealers: sealers(message),
                first_says_pass: first_says_pass(message, authors),
            }
        }
        // A set of ours would have to say cv=fail, which cannot be taken back.
        Ok(DkimResult::TempError(_)) | Err(_) => Chain::without_word(ArcState::Ended, ChainResult::TempError),
        Ok(
            DkimResult::Pass
            | DkimResult::Neutral(_)
            | DkimResult::Fail(_)
            | DkimResult::PermError(_)
            | DkimResult::None,
        ) => Chain::without_word(broken(message), ChainResult::Fail),
    }
}

/// RFC 8617 §5.1: a failed chain is sealed once more, and not at all once its newest seal says so.
fn broken(message: &AuthenticatedMessage<'_>) -> ArcState {
    let instances = message.as_headers.iter().map(|field| field.header.i);
    let instances = instances.chain(message.ams_headers.iter().map(|field| field.header.i));
    let newest = instances.chain(message.aar_headers.iter().map(|field| field.header.i)).max().unwrap_or(0);
    let says_so = message.as_headers.iter().any(|field| field.header.cv == ChainValidation::Fail);
    match u8::try_from(newest) {
        Ok(newest) if usize::from(newest) < MAX_SETS && !says_so => ArcState::Fail(newest),
        Ok(_) | Err(_) => ArcState::Ended,
    }
}

/// RFC 8301 §3.1 holds for ARC too (RFC 8617 §4.1.2, §4.1.3).
fn uses_sha1(message: &AuthenticatedMessage<'_>) -> bool {
    message.as_headers.iter().any(|field| field.header.a == Algorithm::RsaSha1)
        || message.ams_headers.last().is_some_and(|field| field.header.a == Algorithm::RsaSha1)
}

fn sealers(message: &AuthenticatedMessage<'_>) -> Vec<Domain> {
    let seals = message.as_headers.iter().map(|field| field.header.d.as_str());
    let names: Vec<&str> =
        seals.chain(message.ams_headers.iter().map(|field| field.header.d.as_str())).collect();
    // A name that is no domain makes the whole list worth nothing.
    names.iter().map(|name| Domain::parse(name)).collect::<Result<_, _>>().unwrap_or_default()
}

fn first_says_pass(message: &AuthenticatedMessage<'_>, authors: &[Domain]) -> Vec<Domain> {
    let Some(first) = message.aar_headers.iter().find(|field| field.header.i == 1) else { return Vec::new() };
    let says = |author: &&Domain| authentication_results::says_dmarc_pass(first.value, author);
    authors.iter().filter(says).cloned().collect()
}

#[cfg(test)]
#[path = "arc_tests.rs"]
mod tests;
