//! A key record (RFC 6376 §3.6.1), as a verifier of mail reads it.

use std::fmt;

use super::Algorithm;
use crate::mail::base64;
use crate::mail::tags::{self, TagError, Tags};

/// Longest record that is read, in octets: the longest key that is used, RSA of 8,192 bits, has 1,400 in base64.
const MAX_RECORD_OCTETS: usize = 4096;

/// Why a record holds no key that a signature over mail could be checked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The record is no tag list.
    Tags(#[from] TagError),
    /// It has more than [`MAX_RECORD_OCTETS`].
    TooLong,
    /// `v=` is there, and not first or not `DKIM1`.
    Version,
    /// `k=` is not known, or does not fit the signature's algorithm.
    Kind,
    /// `h=` does not list SHA-256, the one hash that is left (RFC 8301 §3.1).
    Hash,
    /// `s=` does not list mail.
    Service,
    /// There is no `p=`, or it is no base64.
    Missing,
    /// `p=` is empty.
    Revoked,
}

impl KeyError {
    /// In words, for people.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Tags(TagError::Duplicate) => "duplicate tag in the key record",
            Self::Tags(TagError::Syntax | TagError::TooMany) => "the key record is no tag list",
            Self::TooLong => "the key record is too long",
            Self::Version => "the key record is not of DKIM1",
            Self::Kind => "inappropriate key algorithm",
            Self::Hash => "inappropriate hash algorithm",
            Self::Service => "the key is not for mail",
            Self::Missing => "no key in the record",
            Self::Revoked => "key revoked",
        }
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

/// `k=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A SubjectPublicKeyInfo, as everybody writes it, or an RSAPublicKey, as RFC 6376 §3.6.1 says.
    Rsa,
    /// 32 octets (RFC 8463 §4.2).
    Ed25519,
}

/// Whether the domain stands by what it signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It does.
    Live,
    /// `t=y`: "Verifiers MUST NOT treat messages from Signers in testing mode differently from unsigned email".
    Testing,
}

/// Which domains `i=` may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// `d=` and all below it.
    Below,
    /// `t=s`: `d=` itself.
    Exact,
}

/// A public key for signatures over mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// What it is.
    pub kind: Kind,
    /// `p=`.
    pub octets: Vec<u8>,
    /// Whether signatures count.
    pub mode: Mode,
    /// Whom it may speak for.
    pub reach: Reach,
}

impl Key {
    /// Reads a TXT record for a signature of this algorithm.
    ///
    /// # Errors
    /// When the record is to be ignored, or its key must not be used.
    pub fn parse(record: &[u8], algorithm: Algorithm) -> Result<Self, KeyError> {
        if record.len() > MAX_RECORD_OCTETS {
            return Err(KeyError::TooLong);
        }
        // What is no text, in a note or in a tag that nobody knows, spoils nothing else: it is U+FFFD, which no tag that
        // counts may hold.
        let text = String::from_utf8_lossy(record);
        let tags = Tags::parse(text.as_bytes())?;
        if tags.get("v").is_some_and(|version| version != "DKIM1" || !tags.begins_with("v")) {
            return Err(KeyError::Version);
        }
        let kind = match (tags.get("k").unwrap_or("rsa"), algorithm) {
            ("rsa", Algorithm::RsaSha1 | Algorithm::RsaSha256) => Kind::Rsa,
            ("ed25519", Algorithm::Ed25519Sha256) => Kind::Ed25519,
            _ => return Err(KeyError::Kind),
        };
        let lists = |name, any_of: &[&str]| {
            tags.get(name).is_none_or(|list| tags::items(list).any(|item| any_of.contains(&item)))
        };
        if !lists("h", &["sha256"]) {
            return Err(KeyError::Hash);
        }
        if !lists("s", &["*", "email"]) {
            return Err(KeyError::Service);
        }
        let octets = tags.get("p").and_then(base64::decode).ok_or(KeyError::Missing)?;
        if octets.is_empty() {
            return Err(KeyError::Revoked);
        }
        let flagged = |flag| tags.get("t").is_some_and(|flags| tags::items(flags).any(|item| item == flag));
        let mode = if flagged("y") { Mode::Testing } else { Mode::Live };
        let reach = if flagged("s") { Reach::Exact } else { Reach::Below };
        Ok(Self { kind, octets, mode, reach })
    }
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
