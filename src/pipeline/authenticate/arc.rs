//! The ARC chain that came with a message (RFC 8617 §5.2): what `mail::dkim::arc` read, and its keys.

use std::time::UNIX_EPOCH;

use aws_lc_rs::digest::{Context, Digest, SHA256, digest};
use futures_util::future::{join, join_all};

use super::body::Hashes;
use super::dkim::Outcome;
use super::keys::{Proof, Prover};
use super::original::Original;
use crate::clock;
use crate::mail::dkim::arc::{self, Broken, MAX_SETS, Set, Sets};
use crate::mail::dkim::{Extent, Form, Section, Signer};
use crate::mail::{Domain, authentication_results};
use crate::pipeline::parcel::ArcState;

/// A chain and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chain {
    /// Whether and how it can be continued.
    pub(super) state: ArcState,
    /// The result (RFC 8617 §4.4), or that it is not known for now.
    pub(super) result: ChainResult,
    /// Every domain that sealed or signed; empty unless the chain is valid, or may be.
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
        self.result == ChainResult::Pass && self.speaks_for(author, trusted)
    }

    /// Whether it would vouch for this author if a key of it were there that DNS does not give for now.
    pub(super) fn may_vouch_for(&self, author: &Domain, trusted: &[Domain]) -> bool {
        self.result == ChainResult::TempError && self.speaks_for(author, trusted)
    }

    fn speaks_for(&self, author: &Domain, trusted: &[Domain]) -> bool {
        !self.sealers.is_empty()
            && self.sealers.iter().all(|sealer| trusted.contains(sealer))
            && self.first_says_pass.contains(author)
    }
}

/// What a header section says of a chain, and the digests of what it covers.
#[derive(Debug)]
pub(super) enum Evidence {
    Absent,
    Unreadable,
    Broken(Broken),
    Whole(Box<Whole>),
}

/// A chain, if its signatures verify.
#[derive(Debug)]
pub(super) struct Whole {
    sets: Sets,
    /// What the newest message signature covers.
    covered: Digest,
    /// What each seal covers.
    sealed: Vec<Digest>,
    first_says_pass: Vec<Domain>,
}

impl Evidence {
    /// `authors` are those of whom it is asked what the first sealer said.
    pub(super) fn take(section: &Section<'_>, authors: &[Domain]) -> Self {
        let sets = match arc::Chain::read(section) {
            arc::Chain::Absent => return Self::Absent,
            arc::Chain::Unreadable => return Self::Unreadable,
            arc::Chain::Broken(broken) => return Self::Broken(broken),
            arc::Chain::Whole(sets) => *sets,
        };
        let Some(newest) = sets.sets.last() else { return Self::Unreadable };
        Self::Whole(Box::new(Whole {
            covered: digest(&SHA256, &section.covered(newest.message, &sets.signature)),
            sealed: sealed(section, &sets.sets),
            first_says_pass: first_says_pass(section, &sets.sets, authors),
            sets,
        }))
    }

    /// The form of the body whose hash is wanted.
    pub(super) fn body(&self) -> Option<Form> {
        match self {
            Self::Whole(whole) => Some(whole.sets.signature.body),
            Self::Absent | Self::Unreadable | Self::Broken(_) => None,
        }
    }

    /// How many signatures have keys to ask for.
    pub(super) fn proofs(&self) -> usize {
        match self {
            Self::Whole(whole) => whole.sealed.len() + 1,
            Self::Absent | Self::Unreadable | Self::Broken(_) => 0,
        }
    }
}

/// Validates the chain of a message.
pub(super) async fn verify(prover: &Prover<'_>, original: &Original) -> Chain {
    let whole = match &original.head.chain {
        Evidence::Absent => return Chain::without_word(ArcState::None, ChainResult::None),
        Evidence::Unreadable => return Chain::without_word(ArcState::Ended, ChainResult::Fail),
        Evidence::Broken(broken) => return Chain::without_word(state_of(*broken), ChainResult::Fail),
        Evidence::Whole(whole) => whole,
    };
    let sets = &whole.sets.sets;
    let count = u8::try_from(sets.len()).unwrap_or(MAX_SETS);
    let word = Chain {
        state: if count < MAX_SETS { ArcState::Pass(count) } else { ArcState::Ended },
        result: ChainResult::Pass,
        sealers: sealers(sets),
        first_says_pass: whole.first_says_pass.clone(),
    };
    match signatures(prover, &original.hashes, whole).await {
        ChainResult::Pass => word,
        // A set of ours would have to say cv=fail, which cannot be taken back.
        ChainResult::TempError => Chain { state: ArcState::Ended, result: ChainResult::TempError, ..word },
        ChainResult::None | ChainResult::Fail => {
            let broken = Broken { newest: count, said: false };
            Chain::without_word(state_of(broken), ChainResult::Fail)
        }
    }
}

/// RFC 8617 §5.1: a failed chain is sealed once more, and not at all once its newest seal says so.
fn state_of(broken: Broken) -> ArcState {
    if broken.newest < MAX_SETS && !broken.said { ArcState::Fail(broken.newest) } else { ArcState::Ended }
}

/// RFC 8617 §5.2, steps 4 and 6: the newest message signature and every seal. What is certain counts before what is
/// only unknown for now.
async fn signatures(prover: &Prover<'_>, hashes: &Hashes, whole: &Whole) -> ChainResult {
    let Whole { sets, covered, sealed, .. } = whole;
    let signature = &sets.signature;
    let now = clock::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
    let counts = signature.extent == Extent::Whole && !signature.has_expired(now);
    if !counts || !hashes.has(signature.body, &signature.body_hash) {
        return ChainResult::Fail;
    }
    let seals = sets.sets.iter().zip(sealed).map(|(set, digest)| prove(prover, &set.seal.signer, digest));
    let (message, seals) = join(prove(prover, &signature.signer, covered), join_all(seals)).await;
    let outcomes = || seals.iter().chain([&message]);
    if outcomes().any(|outcome| *outcome == ChainResult::Fail) {
        ChainResult::Fail
    } else if outcomes().any(|outcome| *outcome == ChainResult::TempError) {
        ChainResult::TempError
    } else {
        ChainResult::Pass
    }
}

/// Differs: a seal counts whatever `t=y` says of its key. That flag speaks for the mail of a domain, and whose seals
/// count for anything is the operator's to say (`trusted_arc_sealers`).
async fn prove(prover: &Prover<'_>, signer: &Signer, digest: &Digest) -> ChainResult {
    match prover.prove(signer, None, digest).await {
        Proof::Good(_) => ChainResult::Pass,
        Proof::Bad(Outcome::TempError) => ChainResult::TempError,
        Proof::Bad(_) => ChainResult::Fail,
    }
}

/// What each seal covers (RFC 8617 §5.1.1): the sets below it and its own, each as results, signature, seal.
fn sealed(section: &Section<'_>, sets: &[Set]) -> Vec<Digest> {
    let mut below = Context::new(&SHA256);
    let of_set = |set: &Set| {
        let mut part = Vec::with_capacity(2048);
        section.push_relaxed(set.results, &mut part);
        section.push_relaxed(set.message, &mut part);
        below.update(&part);
        let mut own = Vec::with_capacity(1024);
        section.push_own(set.place, Form::Relaxed, &set.seal.signer.span, &mut own);
        let mut whole = below.clone();
        whole.update(&own);
        let mut seal = Vec::with_capacity(1024);
        section.push_relaxed(set.place, &mut seal);
        below.update(&seal);
        whole.finish()
    };
    sets.iter().map(of_set).collect()
}

fn sealers(sets: &[Set]) -> Vec<Domain> {
    let seals = sets.iter().map(|set| Some(&set.seal.signer.domain));
    let domains = seals.chain(sets.iter().map(|set| set.message_domain.as_ref()));
    // A name that is no domain makes the whole list worth nothing.
    domains.map(Option::<&Domain>::cloned).collect::<Option<_>>().unwrap_or_default()
}

fn first_says_pass(section: &Section<'_>, sets: &[Set], authors: &[Domain]) -> Vec<Domain> {
    let Some(first) = sets.first() else { return Vec::new() };
    let value = section.value(first.results);
    let says = |author: &&Domain| authentication_results::says_dmarc_pass(value, author);
    authors.iter().filter(says).cloned().collect()
}

#[cfg(test)]
#[path = "arc_tests.rs"]
mod tests;
