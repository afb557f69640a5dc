//! A key to sign with that is made here: RSA-2048 (RFC 8301 §3.2), and the record that publishes its public half.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;

use crate::mail::base64;

/// Base64 digits a line of PEM (RFC 7468 §2).
const PEM_LINE_OCTETS: usize = 64;
/// Octets of one string of a TXT record (RFC 1035 §3.3).
const TXT_STRING_OCTETS: usize = 255;

/// A new key in both its forms.
pub struct NewKey {
    private: Vec<u8>,
    public: Vec<u8>,
}

impl NewKey {
    /// Makes one; it takes a tenth of a second or so.
    ///
    /// # Errors
    /// When the library cannot.
    pub fn generate() -> Result<Self, Unspecified> {
        let pair = KeyPair::generate(KeySize::Rsa2048)?;
        let private: Pkcs8V1Der<'_> = pair.as_der()?;
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der()?;
        Ok(Self { private: private.as_ref().to_vec(), public: public.as_ref().to_vec() })
    }

    /// The private key: PKCS#8, DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.private
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

    /// The data of the TXT record that publishes it (RFC 6376 §3.6.1), in master text: quoted strings of at most 255 octets.
    #[must_use]
    pub fn record(&self) -> String {
        let text = format!("v=DKIM1; h=sha256; k=rsa; p={}", base64::encode(&self.public));
        let strings: Vec<String> =
            pieces(&text, TXT_STRING_OCTETS).into_iter().map(|piece| format!("\"{piece}\"")).collect();
        strings.join(" ")
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
#[path = "new_key_tests.rs"]
mod tests;
