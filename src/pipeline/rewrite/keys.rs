//! The keys that we sign with, and the records that publish them.

use std::path::PathBuf;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use thiserror::Error;

use crate::config;
use crate::config::files::{self, FileError, SigningKey as Pair};
use crate::mail::base64;
use crate::telemetry::labels::SigningAlgorithm;

/// Why a key cannot be used.
#[derive(Debug, Error)]
pub enum KeyError {
    /// `[dkim]` names none.
    #[error("no DKIM key is configured")]
    None,
    /// The file gives no key.
    #[error("DKIM key {path} {source}")]
    File {
        /// `private_key_file`.
        path: PathBuf,
        /// Why.
        source: FileError,
    },
}

/// Why a signature was not made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("no signature by the DKIM key of selector {selector}")]
pub struct SignError {
    /// Which key.
    pub selector: String,
}

/// All keys of `[dkim]`, in the order of the file: every message is signed with each, and sealed with the first.
pub struct SigningKeys {
    keys: Vec<SigningKey>,
}

/// One key and the name it is published under.
pub(super) struct SigningKey {
    pub(super) selector: String,
    pair: Pair,
}

impl SigningKeys {
    /// Reads the files. Blocks: for start and reload, not for an actor.
    ///
    /// # Errors
    /// The first file that gives no usable key.
    pub fn load(config: &config::Dkim) -> Result<Self, KeyError> {
        let keys = config.keys.iter().map(SigningKey::load).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() { Err(KeyError::None) } else { Ok(Self { keys }) }
    }

    /// The keys, at least one.
    pub(super) fn iter(&self) -> impl Iterator<Item = &SigningKey> {
        self.keys.iter()
    }

    /// Selector and TXT record of each key, as it is to be published (RFC 6376 §3.6.1, RFC 8463 §4).
    #[must_use]
    pub fn records(&self) -> Vec<(String, String)> {
        self.keys.iter().map(|key| (key.selector.clone(), key.record())).collect()
    }
}

impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| &key.selector)).finish()
    }
}

impl SigningKey {
    fn load(config: &config::DkimKey) -> Result<Self, KeyError> {
        let path = &config.private_key_file;
        let pair = files::dkim_key(path).map_err(|source| KeyError::File { path: path.clone(), source })?;
        Ok(Self { selector: config.selector.clone(), pair })
    }

    /// The name of the algorithm in `a=` and in metrics.
    pub(super) fn algorithm(&self) -> SigningAlgorithm {
        match &self.pair {
            Pair::Rsa(_) => SigningAlgorithm::RsaSha256,
            Pair::Ed25519(_) => SigningAlgorithm::Ed25519Sha256,
        }
    }

    /// The signature of canonical octets, in base64: PKCS#1 v1.5 for RSA (RFC 6376 §3.3.2), of the SHA-256 hash for
    /// Ed25519 (RFC 8463 §3).
    ///
    /// # Errors
    /// When the library makes none.
    pub(super) fn sign(&self, octets: &[u8]) -> Result<String, SignError> {
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), octets, &mut signature)
                    .map_err(|_| SignError { selector: self.selector.clone() })?;
                Ok(base64::encode(&signature))
            }
            Pair::Ed25519(pair) => Ok(base64::encode(pair.sign(digest(&SHA256, octets).as_ref()).as_ref())),
        }
    }

    fn record(&self) -> String {
        let (name, public_key) = match &self.pair {
            Pair::Rsa(pair) => ("rsa", rsa_spki(pair.public_key().as_ref())),
            Pair::Ed25519(pair) => ("ed25519", pair.public_key().as_ref().to_vec()),
        };
        format!("v=DKIM1; k={name}; p={}", base64::encode(&public_key))
    }
}

/// `SubjectPublicKeyInfo` around an `RSAPublicKey` (RFC 8017 §A.1, RFC 5280 §4.1): what `p=` holds.
fn rsa_spki(public_key: &[u8]) -> Vec<u8> {
    /// `SEQUENCE { OBJECT IDENTIFIER rsaEncryption, NULL }`.
    const ALGORITHM: [u8; 15] =
        [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
    let bits = der(0x03, &[&[0], public_key].concat());
    der(0x30, &[&ALGORITHM[..], &bits].concat())
}

/// One TLV of DER (ITU-T X.690 §8.1).
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => out.push(short),
        Ok(_) | Err(_) => {
            let length = content.len().to_be_bytes();
            let length: Vec<u8> = length.into_iter().skip_while(|octet| *octet == 0).collect();
            out.push(0x80 | u8::try_from(length.len()).unwrap_or_default());
            out.extend(length);
        }
    }
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
