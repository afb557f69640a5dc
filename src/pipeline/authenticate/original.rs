//! The message as its signers saw it: what its header section says, the digests of what its signatures cover, and the
//! hashes of its body. All that is reckoned of a message before its DNS is asked, in one piece; of a large header
//! section on a place of its own ([`crate::pipeline::cores`]).

use std::ops::Range;

use tracing::debug;

use super::arc::Evidence;
use super::body::{Hashes, Wanted, Works};
use super::dkim::{self, Candidate};
use super::judge::Signing;
use super::survival::Survey;
use crate::mail::author::{self, AuthorError};
use crate::mail::dkim::{Form, Section};
use crate::mail::{Domain, Message, authentication_results};
use crate::pipeline::refusal::Refusal;

/// Header sections past this are not read on an async thread: at worst, with as many signatures as are looked at over
/// all of it, 16 KiB take about 500 µs. Most of real mail stays under it.
const SMALL_HEAD_OCTETS: usize = 16 * 1024;

/// What there is to verify.
#[derive(Debug)]
pub(super) struct Original {
    /// What the header section says.
    pub(super) head: Head,
    /// The body's.
    pub(super) hashes: Hashes,
}

/// What a header section says.
#[derive(Debug)]
pub(super) struct Head {
    /// The Author Domains.
    pub(super) authors: Vec<Domain>,
    /// The DKIM-Signature fields that are looked at, from the top.
    pub(super) candidates: Vec<Candidate>,
    /// Whether there are any.
    pub(super) signing: Signing,
    /// The ARC sets.
    pub(super) chain: Evidence,
    /// Authentication-Results fields in our name.
    pub(super) forged: Vec<Range<usize>>,
    /// What of it signatures may name that we put fields on top of.
    pub(super) survey: Survey,
}

impl Original {
    /// Reads the header section and hashes the body, for at most `limit` signatures; `ours` is our authserv-id.
    ///
    /// # Errors
    /// When there is no author to judge, or the body cannot be brought into memory.
    pub(super) async fn read(
        message: &Message,
        ours: &Domain,
        limit: usize,
        works: &Works,
    ) -> Result<Self, Refusal> {
        let head = if message.head().len() <= SMALL_HEAD_OCTETS {
            Head::read(message.head(), ours, limit)
        } else {
            let (octets, ours) = (message.head().clone(), ours.clone());
            let read = works.cores.run(move || Head::read(&octets, &ours, limit)).await;
            read.map_err(|_panic| Refusal::Internal)?
        };
        let head = head.map_err(|reason| {
            debug!(%reason, "no author");
            Refusal::BadFrom
        })?;
        let mut forms = head.candidates.iter().filter_map(Candidate::body).chain(head.chain.body());
        let wanted = if forms.any(|form| form == Form::Simple) { Wanted::Both } else { Wanted::Relaxed };
        let hashes = Hashes::of(message, wanted, works).await?;
        Ok(Self { head, hashes })
    }

    /// How many signatures have keys to ask for.
    pub(super) fn proofs(&self) -> usize {
        self.head.candidates.len() + self.head.chain.proofs()
    }
}

impl Head {
    fn read(octets: &[u8], ours: &Domain, limit: usize) -> Result<Self, AuthorError> {
        let authors = author::authors(octets)?;
        let section = Section::new(octets);
        let signed = !section.places("DKIM-Signature").is_empty();
        let forged = authentication_results::forged(octets, ours);
        Ok(Self {
            candidates: dkim::candidates(&section, &authors, limit),
            signing: if signed { Signing::Signed } else { Signing::Unsigned },
            chain: Evidence::take(&section, &authors),
            survey: Survey::of(&section, &forged),
            authors,
            forged,
        })
    }
}

#[cfg(test)]
#[path = "original_tests.rs"]
mod tests;
