//! The message as its signers saw it: its fields, what DKIM and ARC fields say, and the hashes of its body.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::body::{Hashes, Wanted};
use super::dkim::{self, Candidate};
use crate::mail::dkim::{Form, Section, arc};
use crate::mail::{Domain, Message};
use crate::pipeline::refusal::Refusal;

/// What there is to verify.
#[derive(Debug)]
pub(super) struct Original<'x> {
    /// The header section.
    pub(super) section: Section<'x>,
    /// The DKIM-Signature fields that are looked at, from the top.
    pub(super) candidates: Vec<Candidate>,
    /// The ARC sets.
    pub(super) chain: arc::Chain,
    /// The body's.
    pub(super) hashes: Hashes,
}

impl<'x> Original<'x> {
    /// Reads the header section and hashes the body, for at most `limit` signatures.
    ///
    /// # Errors
    /// When the body cannot be brought into memory.
    pub(super) async fn read(
        message: &'x Message,
        authors: &[Domain],
        limit: usize,
        contiguous: &Arc<Semaphore>,
    ) -> Result<Self, Refusal> {
        let section = Section::new(message.head());
        let candidates = dkim::candidates(&section, authors, limit);
        let chain = arc::Chain::read(&section);
        let sealed = match &chain {
            arc::Chain::Whole(sets) => Some(sets.signature.body),
            arc::Chain::Absent | arc::Chain::Unreadable | arc::Chain::Broken(_) => None,
        };
        let mut forms = candidates.iter().filter_map(Candidate::body).chain(sealed);
        let wanted = if forms.any(|form| form == Form::Simple) { Wanted::Both } else { Wanted::Relaxed };
        let hashes = Hashes::of(message, wanted, contiguous).await?;
        Ok(Self { section, candidates, chain, hashes })
    }
}

#[cfg(test)]
#[path = "original_tests.rs"]
mod tests;
