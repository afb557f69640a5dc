//! DKIM (RFC 6376): each signature on its own, side by side, and what it is worth. What a field says is read by
//! `mail::dkim`, its key is asked for by [`super::keys`].

use std::time::UNIX_EPOCH;

use aws_lc_rs::digest::{Digest, SHA256, digest};
use futures_util::future::join_all;

use super::body::Hashes;
use super::dmarc::second_level;
use super::keys::{Proof, Prover};
use super::original::Original;
use crate::clock;
use crate::mail::Domain;
use crate::mail::dkim::{self, Algorithm, Extent, Form, Mode, Section, SignatureError};
use crate::mail::tags::Tags;
use crate::pipeline::receiver::FIELDS_ON_TOP;

/// Characters of `b=` that tell one signature from another (RFC 6008 §3: at least 8).
const B_CHARS: usize = 12;

/// How long a message may wait in a queue (RFC 5321 §4.5.4.1: 4 to 5 days).
const SECONDS_UNDER_WAY: u64 = 5 * 24 * 60 * 60;
/// Longest signature that every verifier takes: RFC 8301 §3.2 asks for keys of up to 4096 bits.
const MAX_COMMON_OCTETS: usize = 4096 / 8;

/// One signature and what it is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signature {
    /// What verifying it came to.
    pub(super) outcome: Outcome,
    /// `d=`; `None` when that is no domain, and then it never passes.
    pub(super) domain: Option<Domain>,
    /// `s=`, as the signer wrote it.
    pub(super) selector: Option<String>,
    /// `a=`, when it is known.
    pub(super) algorithm: Option<&'static str>,
    /// The beginning of `b=`.
    pub(super) b: Option<String>,
    /// Of the names of `h=` those of fields that we add ([`FIELDS_ON_TOP`]), in lower case.
    pub(super) signed: Vec<String>,
    /// What other verifiers make of it.
    pub(super) endurance: Endurance,
}

/// What a receiver makes of a signature that passes here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endurance {
    /// The same, even if it gets the message days later.
    Lasting,
    /// Perhaps something else: it expires soon, is of the future, or its key is longer than every verifier takes.
    Doubtful,
}

/// The results of RFC 8601 §2.7.1 that occur, with a reason for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Pass,
    Fail(&'static str),
    /// It may verify, and is not accepted.
    Policy(&'static str),
    /// It "contained syntax errors or \[was\] not otherwise able to be processed".
    Neutral(&'static str),
    PermError(&'static str),
    TempError,
}

impl Signature {
    /// Whether it passes for this domain.
    pub(super) fn passes(&self) -> Option<&Domain> {
        self.domain.as_ref().filter(|_| self.outcome == Outcome::Pass)
    }
}

/// A DKIM-Signature field that is looked at.
#[derive(Debug)]
pub(super) struct Candidate {
    /// What is told of it, whatever it is worth.
    labels: Labels,
    /// With the digest of what it covers.
    reading: Result<(dkim::Signature, Digest), Outcome>,
    /// In seconds since 1970.
    read_at: u64,
}

/// A DKIM-Signature field.
struct Field {
    place: usize,
    labels: Labels,
    reading: Result<dkim::Signature, Outcome>,
}

#[derive(Debug, Default)]
struct Labels {
    domain: Option<Domain>,
    selector: Option<String>,
    algorithm: Option<&'static str>,
    b: Option<String>,
}

/// The signatures of a section, from the top. Of more than `limit` those count first that may speak for an author, then
/// those that can be read: else a stack of others on top would hide the author's own.
pub(super) fn candidates(section: &Section<'_>, authors: &[Domain], limit: usize) -> Vec<Candidate> {
    let now = clock::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
    let fields = section.places("dkim-signature").iter().rev();
    let mut found: Vec<_> = fields.map(|place| Field::read(section, *place, now)).collect();
    if found.len() > limit {
        found.sort_by_key(|field| field.rank(authors));
        found.truncate(limit);
        found.sort_by_key(|field| field.place);
    }
    found.into_iter().map(|field| field.candidate(section, now)).collect()
}

impl Field {
    fn read(section: &Section<'_>, place: usize, now: u64) -> Self {
        let tags = Tags::parse(section.value(place));
        let labels = tags.as_ref().map(Labels::of).unwrap_or_default();
        let signature = tags.map_err(SignatureError::from).and_then(|tags| dkim::Signature::of_dkim(&tags));
        let reading = signature.map_err(ignored).and_then(|signature| acceptable(signature, now));
        Self { place, labels, reading }
    }

    /// The author's own comes first, since nobody else can make one that verifies; then those that may align.
    fn rank(&self, authors: &[Domain]) -> u8 {
        let Ok(signature) = &self.reading else { return 4 };
        let signer = &signature.signer.domain;
        let rank = authors.iter().map(|author| {
            if author == signer {
                0
            } else if author.is_at_or_below(signer) || signer.is_at_or_below(author) {
                1
            } else if second_level(author.as_str()) == second_level(signer.as_str()) {
                2
            } else {
                3
            }
        });
        rank.min().unwrap_or(3)
    }

    fn candidate(self, section: &Section<'_>, now: u64) -> Candidate {
        let Self { place, labels, reading } = self;
        let reading = reading.map(|signature| {
            let covered = digest(&SHA256, &section.covered(place, &signature));
            (signature, covered)
        });
        Candidate { labels, reading, read_at: now }
    }
}

impl Candidate {
    /// The form of the body whose hash is wanted.
    pub(super) fn body(&self) -> Option<Form> {
        self.reading.as_ref().ok().map(|(signature, _)| signature.body)
    }

    fn signed(&self) -> Vec<String> {
        let Ok((signature, _)) = &self.reading else { return Vec::new() };
        let is_ours = |name: &&String| FIELDS_ON_TOP.iter().any(|ours| ours.eq_ignore_ascii_case(name));
        signature.names.iter().filter(is_ours).cloned().collect()
    }

    fn endurance(&self) -> Endurance {
        let lasts = self.reading.as_ref().is_ok_and(|(signature, _)| {
            signature.holds(self.read_at, self.read_at + SECONDS_UNDER_WAY)
                && signature.signer.signature.len() <= MAX_COMMON_OCTETS
        });
        if lasts { Endurance::Lasting } else { Endurance::Doubtful }
    }
}

impl Labels {
    fn of(tags: &Tags<'_>) -> Self {
        let b = |value: &str| {
            value.chars().filter(|c| !c.is_ascii_whitespace()).take(B_CHARS).collect::<String>()
        };
        let domain = |name| Domain::parse(name).ok().filter(|domain| !domain.is_literal());
        Self {
            domain: tags.get("d").and_then(domain),
            selector: tags.get("s").filter(|selector| !selector.is_empty()).map(str::to_owned),
            algorithm: tags.get("a").and_then(Algorithm::of).map(Algorithm::name),
            b: tags.get("b").map(b).filter(|b| !b.is_empty()),
        }
    }
}

/// What becomes of a signature that is to be ignored (RFC 6376 §6.1.1). RFC 8601 §2.7.1 has `neutral` for syntax
/// errors and what cannot be processed, and `permerror` for what is missing for good, "such as a required header
/// field being absent".
fn ignored(error: SignatureError) -> Outcome {
    match error {
        SignatureError::FromNotSigned | SignatureError::Identity => Outcome::PermError(error.reason()),
        SignatureError::Tags(_)
        | SignatureError::Incomplete
        | SignatureError::Version
        | SignatureError::Algorithm
        | SignatureError::Canonicalization
        | SignatureError::Query
        | SignatureError::Domain
        | SignatureError::Selector
        | SignatureError::Fields
        | SignatureError::TooManyFields
        | SignatureError::UnreadableIdentity
        | SignatureError::Number
        | SignatureError::Expiry
        | SignatureError::Encoding
        | SignatureError::Validation
        | SignatureError::Instance => Outcome::Neutral(error.reason()),
    }
}

/// What can be said of a signature without its key.
fn acceptable(signature: dkim::Signature, now: u64) -> Result<dkim::Signature, Outcome> {
    if signature.signer.algorithm == Algorithm::RsaSha1 {
        // RFC 8301 §3.1: "MUST NOT be used for signing or verifying".
        return Err(Outcome::Policy("rsa-sha1 is historic"));
    }
    if signature.extent == Extent::Beginning {
        // RFC 6376 §8.2.
        return Err(Outcome::Policy("l= leaves the body open"));
    }
    if signature.has_expired(now) {
        return Err(Outcome::Fail("signature expired"));
    }
    Ok(signature)
}

/// Verifies the signatures that are looked at, from the top.
pub(super) async fn verify(prover: &Prover<'_>, original: &Original) -> Vec<Signature> {
    let candidates = original.head.candidates.iter();
    join_all(candidates.map(|candidate| verify_one(prover, &original.hashes, candidate))).await
}

async fn verify_one(prover: &Prover<'_>, hashes: &Hashes, candidate: &Candidate) -> Signature {
    let outcome = match &candidate.reading {
        Ok((signature, covered)) => check(prover, hashes, (signature, covered)).await,
        Err(outcome) => *outcome,
    };
    let Labels { domain, selector, algorithm, b } = &candidate.labels;
    Signature {
        outcome,
        domain: domain.clone(),
        selector: selector.clone(),
        algorithm: *algorithm,
        b: b.clone(),
        signed: candidate.signed(),
        endurance: candidate.endurance(),
    }
}

async fn check(
    prover: &Prover<'_>,
    hashes: &Hashes,
    (signature, covered): (&dkim::Signature, &Digest),
) -> Outcome {
    if !hashes.has(signature.body, &signature.body_hash) {
        return Outcome::Fail("body hash did not verify");
    }
    match prover.prove(&signature.signer, signature.identity.as_ref(), covered).await {
        Proof::Good(Mode::Live) => Outcome::Pass,
        Proof::Good(Mode::Testing) => Outcome::Policy("the key is for testing"),
        Proof::Bad(outcome) => outcome,
    }
}

#[cfg(test)]
#[path = "dkim_tests.rs"]
mod tests;
