//! Signatures as the demo world's sender makes them.

use mail_auth::common::crypto::{RsaKey, Sha256};
use mail_auth::common::headers::HeaderWriter as _;
use mail_auth::dkim::DkimSigner;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::mail::dkim::NewKey;

/// The DKIM-Signature field, with its CRLF, for a message.
///
/// # Errors
/// When the message has no header section to sign.
pub fn signature(
    key: &NewKey,
    domain: &str,
    selector: &str,
    message: &[u8],
) -> Result<String, mail_auth::Error> {
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.der().to_vec()));
    let signature = DkimSigner::from_key(RsaKey::<Sha256>::from_key_der(der)?)
        .domain(domain)
        .selector(selector)
        .headers(["From", "To", "Subject", "Date", "Message-ID"])
        .sign(message)?;
    Ok(signature.to_header())
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
