//! DKIM (RFC 6376) by mail-auth: each signature on its own, side by side, with the rules that mail-auth leaves
//! to its callers.
//!
//! The header section is parsed here, the body is hashed apart from it (off the pool when it is large), and the
//! hashes are put into the parsed message: so nothing is copied. Relaxed hashes are taken of the body
//! without its blank tail, which mail-auth 0.13 canonicalises wrongly (its issue 62).

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use mail_auth::common::crypto::{Algorithm, HashAlgorithm};
use mail_auth::common::headers::Header;
use mail_auth::dkim::{Canonicalization, DkimError};
use mail_auth::{AuthenticatedMessage, DkimResult, Error, MessageAuthenticator, Parameters};

use crate::mail::canonical::without_blank_tail;
use crate::mail::{Domain, base64};

/// For the keys of one message, asked for side by side.
pub(super) const TIME_LIMIT: Duration = Duration::from_secs(10);
/// Bodies past this are hashed off the pool: 64 KiB take about 100 µs a hash, and four may be wanted.
const LARGE_BODY_OCTETS: usize = 64 * 1024;
/// Characters of `b=` that tell one signature from another (RFC 6008 §3: at least 8).
const B_CHARS: usize = 12;

/// One signature and what it is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signature {
    /// What verifying it came to.
    pub(super) outcome: Outcome,
    /// `d=`; `None` when that is no domain, and then it never passes.
    pub(super) domain: Option<Domain>,
    /// `s=`, as the signer wrote it.
    pub(super) selector: String,
    /// `a=`.
    pub(super) algorithm: &'static str,
    /// The beginning of `b=`.
    pub(super) b: String,
}

/// The results of RFC 8601 §2.7.1 that occur, with a reason for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Pass,
    Fail(&'static str),
    /// It may verify, and is not accepted.
    Policy(&'static str),
    PermError(&'static str),
    TempError,
}

impl Signature {
    /// Whether it passes for this domain.
    pub(super) fn passes(&self) -> Option<&Domain> {
        self.domain.as_ref().filter(|_| self.outcome == Outcome::Pass)
    }
}

/// Parses a header section and fills in the hashes of its body. `None` when there is no field at all.
pub(super) async fn parse<'x>(head: &'x [u8], body: &Bytes) -> Option<AuthenticatedMessage<'x>> {
    let mut message = AuthenticatedMessage::parse(head)?;
    let wanted = message.body_hashes.iter().map(|(form, hash, ..)| (*form, *hash)).collect::<Vec<_>>();
    let hashes = if body.len() > LARGE_BODY_OCTETS {
        let body = body.clone();
        // A panic in there gives no hashes, and without its hash no signature passes.
        tokio::task::spawn_blocking(move || body_hashes(&wanted, &body)).await.unwrap_or_default()
    } else {
        body_hashes(&wanted, body)
    };
    let mut hashes = hashes.into_iter();
    for (.., hash) in &mut message.body_hashes {
        *hash = hashes.next().unwrap_or_default();
    }
    for header in &mut message.dkim_headers {
        // No look-ups on behalf of historic extensions (RFC 6651 reports, RFC 6541).
        header.header.r = false;
        header.header.atps = None;
    }
    Some(message)
}

fn body_hashes(wanted: &[(Canonicalization, HashAlgorithm)], body: &[u8]) -> Vec<Vec<u8>> {
    let trimmed = without_blank_tail(body);
    let hash = |(form, hash): &(Canonicalization, HashAlgorithm)| {
        let body = match form {
            Canonicalization::Relaxed => trimmed,
            Canonicalization::Simple => body,
        };
        hash.hash(form.canonical_body(body, 0)).as_ref().to_vec()
    };
    wanted.iter().map(hash).collect()
}

/// Verifies the signatures of a message, from the top, at most `limit`; unparseable ones are passed over, as if
/// they were not there (RFC 6376 §6.1).
pub(super) async fn verify(
    authenticator: &MessageAuthenticator,
    message: &AuthenticatedMessage<'_>,
    limit: usize,
) -> Vec<Signature> {
    join_all(message.dkim_headers.iter().take(limit).map(|field| verify_one(authenticator, message, field)))
        .await
}

async fn verify_one(
    authenticator: &MessageAuthenticator,
    message: &AuthenticatedMessage<'_>,
    field: &Header<'_, mail_auth::dkim::Signature>,
) -> Signature {
    let tags = &field.header;
    let domain = Domain::parse(&tags.d).ok().filter(|domain| !domain.is_literal());
    let outcome = match refused(tags, domain.as_ref()) {
        Some(outcome) => outcome,
        None => {
            let headers = match tags.ch {
                Canonicalization::Relaxed => plain_names(message),
                Canonicalization::Simple => message.headers.clone(),
            };
            let alone = AuthenticatedMessage {
                headers,
                body_hashes: message.body_hashes.clone(),
                dkim_headers: vec![field.clone()],
                ..AuthenticatedMessage::default()
            };
            let verified = authenticator.verify_dkim(Parameters::new(&alone));
            let verified = tokio::time::timeout(TIME_LIMIT, verified).await;
            verified
                .map_or(Outcome::TempError, |found| found.first().map_or(NO_RESULT, |o| outcome(o.result())))
        }
    };
    let b = base64::encode(&tags.b).chars().take(B_CHARS).collect();
    Signature { outcome, domain, selector: tags.s.clone(), algorithm: tags.a.name(), b }
}

/// The fields with names as the relaxed form has them: mail-auth does not find `From :` as From, which obsolete syntax
/// allows (RFC 5322 §4.5), so that a signed one would fail, and one added beside a signed one pass.
pub(super) fn plain_names<'x>(message: &AuthenticatedMessage<'x>) -> Vec<(&'x [u8], &'x [u8])> {
    message.headers.iter().map(|(name, value)| (name.trim_ascii_end(), *value)).collect()
}

const NO_RESULT: Outcome = Outcome::PermError("not evaluated");

/// What can be said of a signature without its key.
fn refused(tags: &mail_auth::dkim::Signature, domain: Option<&Domain>) -> Option<Outcome> {
    if tags.a == Algorithm::RsaSha1 {
        // RFC 8301 §3.1: "MUST NOT be used for signing or verifying".
        return Some(Outcome::Policy("rsa-sha1 is historic"));
    }
    if tags.v != 1 {
        return Some(Outcome::PermError("incompatible version"));
    }
    if domain.is_none() {
        return Some(Outcome::PermError("invalid domain"));
    }
    // RFC 6376 §6.1.1: "If the "h=" tag does not include the From header field, the Verifier MUST ignore the
    // DKIM-Signature header field and return PERMFAIL (From field not signed)."
    let signs_from = tags.h.iter().any(|name| name.eq_ignore_ascii_case("from"));
    (!signs_from).then_some(Outcome::PermError("From not signed"))
}

fn outcome(result: &DkimResult) -> Outcome {
    match result {
        DkimResult::Pass => Outcome::Pass,
        DkimResult::TempError(_) => Outcome::TempError,
        DkimResult::PermError(error) => Outcome::PermError(match error {
            Error::Dns(_) => "no key",
            Error::Dkim(DkimError::RevokedPublicKey) => "key revoked",
            Error::ParseError
            | Error::MissingParameters
            | Error::NoHeadersFound
            | Error::Base64
            | Error::NotAligned
            | Error::Io(_)
            | Error::Crypto(_)
            | Error::Dkim(_)
            | Error::Arc(_)
            | Error::Dkim2(_) => "unusable key",
        }),
        DkimResult::Neutral(error) | DkimResult::Fail(error) => Outcome::Fail(match error {
            Error::Dkim(DkimError::FailedBodyHashMatch) => "body hash did not verify",
            Error::Dkim(DkimError::SignatureExpired) => "signature expired",
            Error::Dkim(DkimError::FailedAuidMatch) => "i= is not in d=",
            // Keys of fewer than 1024 bits end here too: AWS-LC takes none (RFC 8301 §3.2).
            Error::ParseError
            | Error::MissingParameters
            | Error::NoHeadersFound
            | Error::Base64
            | Error::NotAligned
            | Error::Io(_)
            | Error::Crypto(_)
            | Error::Dns(_)
            | Error::Dkim(_)
            | Error::Arc(_)
            | Error::Dkim2(_) => "signature did not verify",
        }),
        DkimResult::None => NO_RESULT,
    }
}

#[cfg(test)]
#[path = "dkim_tests.rs"]
mod tests;
