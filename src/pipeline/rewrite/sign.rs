//! Our DKIM-Signature fields (RFC 6376), and what an ARC-Message-Signature shares with them.
//!
//! Composed here, on mail-auth's hashing: its signer lists every configured field whether it is there or not. The
//! body hash is taken of the body without its blank tail (see `mail::canonical`), so it is right whatever
//! the body ends in.

use mail_auth::common::crypto::HashAlgorithm;
use mail_auth::dkim::Canonicalization;

use super::keys::{SignError, SigningKey};
use crate::mail::Domain;
use crate::mail::canonical::{relaxed_field, without_blank_tail};
use crate::pipeline::parcel::BodyHash;
use crate::telemetry::labels::Label as _;

/// Fields that are signed where they are present, beside From, `Content-*` and `List-*` (RFC 6376 §5.4.1). No trace field:
/// those are added and changed on the way.
const SIGNED: &[&str] = &[
    "to",
    "cc",
    "subject",
    "date",
    "message-id",
    "mime-version",
    "reply-to",
    "in-reply-to",
    "references",
    "sender",
];
/// Most fields beside From that one signature covers, from the bottom up, so that `h=` stays in bounds.
const MAX_SIGNED_FIELDS: usize = 100;
/// Characters a line of our fields (RFC 5322 §2.1.1 recommends 78).
const LINE_CHARS: usize = 72;

/// A field's name and value, as in the section.
pub(super) type Field<'a> = (&'a [u8], &'a [u8]);

/// Whether the DKIM-Signature fields are among what is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signatures {
    /// For ARC (RFC 8617 §4.1.2: "SHOULD … include DKIM-Signature header fields").
    Included,
    /// For DKIM (RFC 6376 §5.4.1: not recommended).
    Excluded,
}

/// Who signs, and when.
#[derive(Clone, Copy)]
pub(super) struct Signer<'a> {
    pub(super) domain: &'a Domain,
    pub(super) key: &'a SigningKey,
    /// Seconds since 1970.
    pub(super) timestamp: u64,
}

/// The hash of a message of our own.
pub(super) fn body_hash(body: &[u8]) -> BodyHash {
    let canonical = Canonicalization::Relaxed.canonical_body(without_blank_tail(body), 0);
    BodyHash::new(HashAlgorithm::Sha256.hash(canonical).as_ref())
}

/// A DKIM-Signature field with its CRLF.
///
/// # Errors
/// When the key makes no signature.
pub(super) fn dkim_signature(
    fields: &[Field<'_>],
    body_hash: &BodyHash,
    signer: Signer<'_>,
) -> Result<String, SignError> {
    let Signer { domain, key, timestamp } = signer;
    let (names, mut signed) = select(fields, Signatures::Excluded);
    let (algorithm, selector) = (key.algorithm().label(), &key.selector);
    let field = format!(
        "DKIM-Signature: v=1; a={algorithm}; c=relaxed/relaxed;\r\n\td={domain}; s={selector};\r\n\tt={timestamp}; \
         h={names};\r\n\tbh={body_hash};\r\n\tb="
    );
    complete(field, &mut signed, key)
}

/// The value of `h=`, and the relaxed form of the fields that it names (RFC 6376 §5.4.2: of several fields of one name
/// the last comes first). From is named once more than it is there, so that none can be added.
pub(super) fn select(fields: &[Field<'_>], signatures: Signatures) -> (String, Vec<u8>) {
    let author = fields.iter().rev().find(|(name, _)| name.eq_ignore_ascii_case(b"from"));
    let others = fields.iter().rev().filter(|(name, _)| is_signed(name, signatures)).take(MAX_SIGNED_FIELDS);
    let mut names = Vec::new();
    let mut canonical = Vec::with_capacity(1024);
    for (name, value) in author.into_iter().chain(others) {
        relaxed_field(name, value, &mut canonical);
        canonical.extend_from_slice(b"\r\n");
        names.push(String::from_utf8_lossy(name).to_ascii_lowercase());
    }
    names.push("from".to_owned());
    (folded_names(&names), canonical)
}

/// Whether a field other than From is covered. A name may hold any printable octet but a colon (RFC 5322 §3.6.8), and
/// so what would end the list of names and begin a tag of its author's (RFC 6376 §3.2): of what begins as a name that
/// we sign, only letters, digits and hyphens make one.
fn is_signed(name: &[u8], signatures: Signatures) -> bool {
    let name = name.to_ascii_lowercase();
    if !name.iter().all(|octet| octet.is_ascii_alphanumeric() || *octet == b'-') {
        return false;
    }
    SIGNED.iter().any(|signed| signed.as_bytes() == name)
        || name.starts_with(b"content-")
        || name.starts_with(b"list-")
        || name == b"dkim-signature" && signatures == Signatures::Included
}

fn folded_names(names: &[String]) -> String {
    let mut text = String::new();
    let mut line = 0;
    for (number, name) in names.iter().enumerate() {
        if number > 0 {
            text.push(':');
            line += 1;
        }
        if line + name.len() > LINE_CHARS - 20 {
            text.push_str("\r\n\t ");
            line = 0;
        }
        text.push_str(name);
        line += name.len();
    }
    text
}

/// Signs `signed` and the field itself with its `b=` empty (RFC 6376 §3.7), and fills in the signature.
pub(super) fn complete(field: String, signed: &mut Vec<u8>, key: &SigningKey) -> Result<String, SignError> {
    let (name, value) = field.split_once(':').unwrap_or((&field, ""));
    relaxed_field(name.as_bytes(), value.as_bytes(), signed);
    let signature = key.sign(signed)?;
    let mut out = field;
    for (number, character) in signature.chars().enumerate() {
        if number > 0 && number % LINE_CHARS == 0 {
            out.push_str("\r\n\t");
        }
        out.push(character);
    }
    out.push_str("\r\n");
    Ok(out)
}

#[cfg(test)]
#[path = "sign_tests.rs"]
mod tests;
