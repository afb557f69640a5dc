//! Keys that the demo world makes for itself: RSA-2048 DKIM keys with their records, and signatures as a
//! sender makes them.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use mail_auth::common::crypto::{RsaKey, Sha256};
use mail_auth::common::headers::HeaderWriter;
use mail_auth::dkim::DkimSigner;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use thiserror::Error;

use crate::mail::base64;

/// Base64 digits a line of PEM (RFC 7468 §2).
const PEM_LINE_OCTETS: usize = 64;
/// Octets of one string of a TXT record (RFC 1035 §3.3), rounded down.
const TXT_STRING_OCTETS: usize = 250;

/// Why a key cannot be made or used.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The library refuses.
    #[error("the key cannot be made")]
    Generate(#[from] Unspecified),
    /// The message cannot be signed.
    #[error("the message cannot be signed")]
    Sign(#[from] mail_auth::Error),
}

/// An RSA-2048 key (RFC 8301 §3.2) in both its forms.
pub struct DkimKey {
    private: Vec<u8>,
    public: Vec<u8>,
}

impl DkimKey {
    /// Makes a new key; it takes a tenth of a second or so.
    ///
    /// # Errors
    /// When the library cannot.
    pub fn generate() -> Result<Self, KeyError> {
        let pair = KeyPair::generate(KeySize::Rsa2048)?;
        let private: Pkcs8V1Der<'_> = pair.as_der()?;
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der()?;
        Ok(Self { private: private.as_ref().to_vec(), public: public.as_ref().to_vec() })
    }

    /// The private key for a file (PKCS#8, RFC 7468 §10).
    #[must_use]
    pub fn pem(&self) -> String {
        let text = base64::encode(&self.private);
        let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
        for line in pieces(&text, PEM_LINE_OCTETS) {
            pem.push_str(line);
            pem.push('\n');
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        pem
    }

    /// The public key as the data of a TXT record in master text (RFC 6376 §3.6.1): quoted strings.
    #[must_use]
    pub fn record(&self) -> String {
        let text = format!("v=DKIM1; k=rsa; p={}", base64::encode(&self.public));
        let strings: Vec<String> =
            pieces(&text, TXT_STRING_OCTETS).into_iter().map(|piece| format!("\"{piece}\"")).collect();
        strings.join(" ")
    }

    /// The DKIM-Signature field, with its CRLF, for a message.
    ///
    /// # Errors
    /// When the message has no header section to sign.
    pub fn signature(&self, domain: &str, selector: &str, message: &[u8]) -> Result<String, KeyError> {
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.private.clone()));
        let signature = DkimSigner::from_key(RsaKey::<Sha256>::from_key_der(der)?)
            .domain(domain)
            .selector(selector)
            .headers(["From", "To", "Subject", "Date", "Message-ID"])
            .sign(message)?;
        Ok(signature.to_header())
    }
}

/// Cuts ASCII text into pieces of at most `octets`.
fn pieces(text: &str, octets: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((piece, tail)) = rest.split_at_checked(octets) {
        pieces.push(piece);
        rest = tail;
    }
    if !rest.is_empty() {
        pieces.push(rest);
    }
    pieces
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
