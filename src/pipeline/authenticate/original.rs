//! The message as its signers saw it: its fields, what DKIM and ARC fields say, and the hashes of its body that
//! they want, each taken once (off the pool when the body is large).
//!
//! Relaxed hashes are taken of the body without its blank tail, which mail-auth 0.13 canonicalises wrongly (its
//! issue 62).

use bytes::Bytes;
use mail_auth::common::crypto::HashAlgorithm;
use mail_auth::dkim::Canonicalization;

use super::dkim::{self, Candidate};
use crate::mail::Domain;
use crate::mail::canonical::without_blank_tail;
use crate::mail::dkim::{Form, Section, arc};

/// Bodies past this are hashed off the pool: 64 KiB take about 100 µs a hash, and two may be wanted.
const LARGE_BODY_OCTETS: usize = 64 * 1024;

/// What there is to verify.
#[derive(Debug)]
pub(super) struct Original<'x> {
    /// The header section.
    pub(super) section: Section<'x>,
    /// The DKIM-Signature fields that are looked at, from the top.
    pub(super) candidates: Vec<Candidate>,
    /// The ARC sets.
    pub(super) chain: arc::Chain,
    hashes: Hashes,
}

impl<'x> Original<'x> {
    /// Reads a header section and hashes the body, for at most `limit` signatures.
    pub(super) async fn read(head: &'x [u8], body: &Bytes, authors: &[Domain], limit: usize) -> Self {
        let section = Section::new(head);
        let candidates = dkim::candidates(&section, authors, limit);
        let chain = arc::Chain::read(&section);
        let sealed = match &chain {
            arc::Chain::Whole(sets) => Some(sets.signature.body),
            arc::Chain::Absent | arc::Chain::Unreadable | arc::Chain::Broken(_) => None,
        };
        let wanted: Vec<Form> = candidates.iter().filter_map(Candidate::body).chain(sealed).collect();
        let hashes = if body.len() > LARGE_BODY_OCTETS && !wanted.is_empty() {
            let body = body.clone();
            // A panic in there gives no hashes, and without its hash no signature passes.
            tokio::task::spawn_blocking(move || Hashes::of(&body, &wanted)).await.unwrap_or_default()
        } else {
            Hashes::of(body, &wanted)
        };
        Self { section, candidates, chain, hashes }
    }

    /// Whether this is the SHA-256 hash of the body in this form; `false` for a form that was not wanted.
    pub(super) fn has_body_hash(&self, form: Form, hash: &[u8]) -> bool {
        let known = match form {
            Form::Simple => &self.hashes.simple,
            Form::Relaxed => &self.hashes.relaxed,
        };
        known.as_deref() == Some(hash)
    }
}

/// Of each form that is wanted.
#[derive(Debug, Default)]
struct Hashes {
    simple: Option<Vec<u8>>,
    relaxed: Option<Vec<u8>>,
}

impl Hashes {
    fn of(body: &[u8], wanted: &[Form]) -> Self {
        let hash = |form, (canonical, octets): (Canonicalization, &[u8])| {
            let octets = canonical.canonical_body(octets, 0);
            wanted.contains(&form).then(|| HashAlgorithm::Sha256.hash(octets).as_ref().to_vec())
        };
        Self {
            simple: hash(Form::Simple, (Canonicalization::Simple, body)),
            relaxed: hash(Form::Relaxed, (Canonicalization::Relaxed, without_blank_tail(body))),
        }
    }
}

#[cfg(test)]
#[path = "original_tests.rs"]
mod tests;
