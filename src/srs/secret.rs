//! Owns the SRS secrets and everything computed with them.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;

/// RFC 4648 §5.
const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// Octets of the HMAC that the four characters of a hash show.
const HASH_OCTETS: usize = 3;

/// What a hash is for. Local parts hold no control characters, so the purposes share no input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// SRS0 and SRS1, as all SRS software computes it.
    Address,
    /// The hash of an alias.
    Alias,
    /// The token in an alias.
    Token,
}

impl Purpose {
    fn prefix(self) -> &'static str {
        match self {
            Self::Address => "",
            Self::Alias => "\0alias\0",
            Self::Token => "\0token\0",
        }
    }
}

/// A key for SRS hashes. It is never shown, and the memory that holds it is wiped when it is dropped
/// (AWS-LC's `HMAC_CTX_cleanup`).
#[derive(Clone)]
pub struct Secret(hmac::Key);

impl Secret {
    /// Takes the octets of a secret: one line of the secret file, without its line ending.
    #[must_use]
    pub fn new(octets: &[u8]) -> Self {
        // SHA-1 because that is the format: an HMAC needs no collision resistance of its hash.
        Self(hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, octets))
    }

    /// Takes the content of a secret file: one secret a line, the first signs; white space around a line
    /// and empty lines count for nothing.
    #[must_use]
    pub fn from_lines(text: &str) -> Vec<Self> {
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(|l| Self::new(l.as_bytes())).collect()
    }

    /// Whether both are the same secret: a key is not shown, so what they make of one text is compared.
    pub(super) fn is(&self, other: &Self) -> bool {
        let proof = |secret: &Self| secret.mac(Purpose::Token, "");
        verify_slices_are_equal(&proof(self), &proof(other)).is_ok()
    }

    /// The whole HMAC, 20 octets. Addresses are hashed in lower case, tokens as they are.
    pub(super) fn mac(&self, purpose: Purpose, text: &str) -> Vec<u8> {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(purpose.prefix().as_bytes());
        match purpose {
            Purpose::Address | Purpose::Alias => context.update(lower(text).as_bytes()),
            Purpose::Token => context.update(text.as_bytes()),
        }
        context.sign().as_ref().to_vec()
    }

    /// The four characters that stand in an address.
    pub(super) fn hash(&self, purpose: Purpose, text: &str) -> String {
        let mac = self.mac(purpose, text);
        let bits = mac.iter().take(HASH_OCTETS).fold(0_usize, |bits, octet| bits << 8 | usize::from(*octet));
        let digit = |shift: u32| BASE64URL.get(bits >> shift & 63).copied().unwrap_or(b'A');
        [18, 12, 6, 0].into_iter().map(|shift| char::from(digit(shift))).collect()
    }

    /// Whether a hash is this secret's, its case folded and both base64 alphabets read.
    pub(super) fn verify(&self, purpose: Purpose, hash: &str, text: &str) -> bool {
        verify_slices_are_equal(&fold(hash), &fold(&self.hash(purpose, text))).is_ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Lower case letter by letter, both small sigmas as one: what a relay made of a text must not depend on
/// what stood before it.
pub(super) fn lower(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).map(|c| if c == 'ς' { 'σ' } else { c }).collect()
}

fn fold(hash: &str) -> Vec<u8> {
    let alike = |octet: u8| match octet {
        b'+' => b'-',
        b'/' => b'_',
        other => other.to_ascii_lowercase(),
    };
    hash.bytes().map(alike).collect()
}
