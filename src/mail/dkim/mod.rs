//! What DKIM signatures (RFC 6376), their keys and ARC sets (RFC 8617) say, and what they cover. Read to the letter
//! here; the keys are asked for and the cryptography is done by `pipeline::authenticate`.

pub mod arc;
mod key;
mod new_key;
mod section;
mod signature;

pub use key::{Key, KeyError, Kind, Mode, Reach};
pub use new_key::NewKey;
pub use section::Section;
pub use signature::{Extent, Signature, SignatureError, Signer};

/// An algorithm of `a=`. Values are case-sensitive (RFC 6376 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Historic: "MUST NOT be used for signing or verifying" (RFC 8301 §3.1).
    RsaSha1,
    /// RFC 6376 §3.3.2.
    RsaSha256,
    /// RFC 8463.
    Ed25519Sha256,
}

impl Algorithm {
    /// The algorithm of this name, if it is known.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        [Self::RsaSha1, Self::RsaSha256, Self::Ed25519Sha256].into_iter().find(|known| known.name() == name)
    }

    /// As `a=` has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RsaSha1 => "rsa-sha1",
            Self::RsaSha256 => "rsa-sha256",
            Self::Ed25519Sha256 => "ed25519-sha256",
        }
    }
}

/// A canonical form (RFC 6376 §3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    Simple,
    /// Whatever relays do to white space.
    Relaxed,
}

impl Form {
    fn of(name: &str) -> Option<Self> {
        match name {
            "simple" => Some(Self::Simple),
            "relaxed" => Some(Self::Relaxed),
            _ => None,
        }
    }
}
