//! The ARC sets of a message (RFC 8617 §4): whether they make a chain, before any key is asked for (§5.2, steps 1
//! to 3).

use std::collections::BTreeMap;

use super::signature::{domain, number, required};
use super::{Algorithm, Section, Signature, SignatureError, Signer};
use crate::mail::Domain;
use crate::mail::tags::Tags;
use crate::mail::token::{self, Kind};

/// RFC 8617 §4.2.1: instances are 1 to 50.
pub const MAX_SETS: u8 = 50;

/// `cv=`: how the chain below was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validation {
    /// There was none.
    None,
    /// It was valid.
    Pass,
    /// It was not.
    Fail,
}

/// An ARC-Seal field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// Who sealed.
    pub signer: Signer,
    /// `cv=`.
    pub validation: Validation,
}

impl Seal {
    fn read(tags: &Tags<'_>) -> Result<Self, SignatureError> {
        // RFC 8617 §4.1.3: "the DKIM "h" tag is NOT allowed and, if found, MUST result in a cv status of "fail"".
        if tags.get("h").is_some() {
            return Err(SignatureError::Fields);
        }
        let validation = match required(tags, "cv")? {
            "none" => Validation::None,
            "pass" => Validation::Pass,
            "fail" => Validation::Fail,
            _ => return Err(SignatureError::Validation),
        };
        number(tags, "t")?;
        Ok(Self { signer: Signer::read(tags)?, validation })
    }
}

/// One set, by the places of its fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Of ARC-Authentication-Results.
    pub results: usize,
    /// Of ARC-Message-Signature.
    pub message: usize,
    /// `d=` of that, if it is a domain.
    pub message_domain: Option<Domain>,
    /// Of ARC-Seal.
    pub place: usize,
    /// The seal.
    pub seal: Seal,
}

/// Sets that may make a valid chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sets {
    /// The sets, the oldest first; there is one at least.
    pub sets: Vec<Set>,
    /// The newest ARC-Message-Signature, the one that must still verify.
    pub signature: Signature,
}

/// What a message carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chain {
    /// No ARC field.
    Absent,
    /// Fields that cannot be read, so that it is not known which instance would be next.
    Unreadable,
    /// Sets that make no valid chain, whatever their signatures.
    Broken(Broken),
    /// A chain, if its signatures verify.
    Whole(Box<Sets>),
}

/// A chain that is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken {
    /// The greatest instance.
    pub newest: u8,
    /// Whether a seal says so already.
    pub said: bool,
}

impl Chain {
    /// Reads the ARC fields of a section.
    #[must_use]
    pub fn read(section: &Section<'_>) -> Self {
        match Parts::read(section) {
            Ok(parts) if parts.is_empty() => Self::Absent,
            Ok(parts) => parts.chain(section),
            Err(_) => Self::Unreadable,
        }
    }
}

/// The fields of a kind by their instance.
type ByInstance<T> = BTreeMap<u8, Vec<(usize, T)>>;

#[derive(Default)]
struct Parts {
    results: ByInstance<()>,
    messages: ByInstance<Option<Domain>>,
    seals: ByInstance<Seal>,
}

impl Parts {
    fn read(section: &Section<'_>) -> Result<Self, SignatureError> {
        let mut parts = Self::default();
        for place in section.places(RESULTS) {
            let instance = instance_of_results(section.value(*place)).ok_or(SignatureError::Instance)?;
            parts.results.entry(instance).or_default().push((*place, ()));
        }
        for place in section.places(MESSAGE) {
            let tags = Tags::parse(section.value(*place))?;
            let signer = tags.get("d").and_then(domain);
            parts.messages.entry(instance_of(&tags)?).or_default().push((*place, signer));
        }
        for place in section.places(SEAL) {
            let tags = Tags::parse(section.value(*place))?;
            parts.seals.entry(instance_of(&tags)?).or_default().push((*place, Seal::read(&tags)?));
        }
        Ok(parts)
    }

    fn is_empty(&self) -> bool {
        self.results.is_empty() && self.messages.is_empty() && self.seals.is_empty()
    }

    fn chain(self, section: &Section<'_>) -> Chain {
        let newest = [self.results.keys().last(), self.messages.keys().last(), self.seals.keys().last()];
        let newest = newest.into_iter().flatten().max().copied().unwrap_or_default();
        let said = self.seals.values().flatten().any(|(_, seal)| seal.validation == Validation::Fail);
        let Some(sets) = self.sets() else { return Chain::Broken(Broken { newest, said }) };
        let signature =
            sets.last().map(|set| Tags::parse(section.value(set.message)).map_err(SignatureError::from));
        match signature.map(|tags| tags.and_then(|tags| Signature::of_arc(&tags))) {
            Some(Ok(signature)) if uses_sha1(&sets, &signature) => Chain::Broken(Broken { newest, said }),
            Some(Ok(signature)) => Chain::Whole(Box::new(Sets { sets, signature })),
            Some(Err(_)) | None => Chain::Unreadable,
        }
    }

    /// RFC 8617 §5.2, step 3: each set is whole, none is missing or there twice, and the first says `none`, the
    /// others `pass`.
    fn sets(self) -> Option<Vec<Set>> {
        let mut sets = Vec::with_capacity(self.seals.len());
        let counts = [self.results.len(), self.messages.len(), self.seals.len()];
        let parts = self.results.into_iter().zip(self.messages).zip(self.seals);
        for (number, (((i, results), (j, messages)), (k, seals))) in (1_u8..).zip(parts) {
            if [i, j, k] != [number; 3] {
                return None;
            }
            let (results, ()) = only(results)?;
            let (message, message_domain) = only(messages)?;
            let (place, seal) = only(seals)?;
            let expected = if number == 1 { Validation::None } else { Validation::Pass };
            if seal.validation != expected {
                return None;
            }
            sets.push(Set { results, message, message_domain, place, seal });
        }
        (counts == [sets.len(); 3]).then_some(sets)
    }
}

const RESULTS: &str = "arc-authentication-results";
const MESSAGE: &str = "arc-message-signature";
const SEAL: &str = "arc-seal";

fn only<T>(mut fields: Vec<T>) -> Option<T> {
    fields.pop().filter(|_| fields.is_empty())
}

/// RFC 8301 §3.1 holds for ARC too (RFC 8617 §4.1.2, §4.1.3). Of the message signatures only the newest is verified.
fn uses_sha1(sets: &[Set], newest: &Signature) -> bool {
    let mut signers = sets.iter().map(|set| &set.seal.signer).chain([&newest.signer]);
    signers.any(|signer| signer.algorithm == Algorithm::RsaSha1)
}

fn instance_of(tags: &Tags<'_>) -> Result<u8, SignatureError> {
    instance(required(tags, "i")?).ok_or(SignatureError::Instance)
}

/// RFC 8617 §4.2.1: one or two digits, 1 to 50.
fn instance(text: &str) -> Option<u8> {
    let digits = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|instance| digits && (1..=MAX_SETS).contains(instance))
}

/// RFC 8617 §4.1.1: the instance comes first in ARC-Authentication-Results, and a `;` behind it.
#[must_use]
pub fn instance_of_results(value: &[u8]) -> Option<u8> {
    let end = value.iter().position(|b| *b == b';')?;
    let tokens = token::tokens(value.get(..end)?, b"=").ok()?;
    let [name, equals, number] = tokens.as_slice() else { return None };
    match (&name.kind, &equals.kind, &number.kind) {
        (Kind::Word(name), Kind::Special(b'='), Kind::Word(number)) if name == "i" => instance(number),
        _ => None,
    }
}

#[cfg(test)]
#[path = "arc_tests.rs"]
mod tests;
