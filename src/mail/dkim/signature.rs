//! One signature: a DKIM-Signature field (RFC 6376 §3.5), or an ARC-Message-Signature, which is one but for its
//! `i=` and `v=` (RFC 8617 §4.1.2).

use std::fmt;
use std::ops::Range;

use super::{Algorithm, Form};
use crate::mail::tags::{self, TagError, Tags};
use crate::mail::{Domain, base64};

/// Most names of `h=`. Signers that name every field twice have about a hundred.
pub(super) const MAX_NAMES: usize = 512;

/// Why a signature is ignored (RFC 6376 §6.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The field is no tag list.
    Tags(#[from] TagError),
    /// A required tag is not there.
    Incomplete,
    /// `v=` is not 1.
    Version,
    /// The algorithm of `a=` is not known.
    Algorithm,
    /// A canonical form of `c=` is not known.
    Canonicalization,
    /// No way to fetch the key that `q=` names is known.
    Query,
    /// `d=` is no domain.
    Domain,
    /// `s=` can stand in no name.
    Selector,
    /// `h=` names no fields, or what it may not.
    Fields,
    /// `h=` names more than [`MAX_NAMES`] fields.
    TooManyFields,
    /// `h=` leaves out From.
    FromNotSigned,
    /// `i=` cannot be read.
    UnreadableIdentity,
    /// `i=` is neither in `d=` nor below it.
    Identity,
    /// A number is none.
    Number,
    /// `x=` is not after `t=`.
    Expiry,
    /// `b=` or `bh=` is no base64.
    Encoding,
    /// The `cv=` of a seal is none.
    Validation,
    /// The instance of an ARC field is none.
    Instance,
}

impl SignatureError {
    /// In words, for people.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Tags(error) => error.reason(),
            Self::Incomplete => "a required tag is missing",
            Self::Version => "incompatible version",
            Self::Algorithm => "unknown algorithm",
            Self::Canonicalization => "unknown canonicalization",
            Self::Query => "unknown query method",
            Self::Domain => "invalid domain",
            Self::Selector => "invalid selector",
            Self::Fields => "invalid h=",
            Self::TooManyFields => "too many fields in h=",
            Self::FromNotSigned => "From not signed",
            Self::UnreadableIdentity => "invalid i=",
            Self::Identity => "i= is not in d=",
            Self::Number => "invalid number",
            Self::Expiry => "x= is not after t=",
            Self::Encoding => "invalid base64",
            Self::Validation => "invalid cv=",
            Self::Instance => "invalid instance",
        }
    }
}

impl fmt::Display for SignatureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

/// Who signed, and the signature: what every signed field of DKIM and ARC holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// `a=`.
    pub algorithm: Algorithm,
    /// `d=`.
    pub domain: Domain,
    /// `s=` in A-labels.
    pub selector: Domain,
    /// `b=`.
    pub signature: Vec<u8>,
    /// Where in the field's value that of `b=` stands.
    pub span: Range<usize>,
}

impl Signer {
    pub(super) fn read(tags: &Tags<'_>) -> Result<Self, SignatureError> {
        let algorithm = Algorithm::of(required(tags, "a")?).ok_or(SignatureError::Algorithm)?;
        let signature = octets(required(tags, "b")?)?;
        let domain = domain(required(tags, "d")?).ok_or(SignatureError::Domain)?;
        let selector = name(required(tags, "s")?).ok_or(SignatureError::Selector)?;
        let span = tags.span("b").ok_or(SignatureError::Incomplete)?;
        Ok(Self { algorithm, domain, selector, signature, span })
    }
}

/// How much of the body a signature covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// Its beginning (`l=`), behind which anybody may add (RFC 6376 §8.2).
    Beginning,
}

/// A signature over fields and body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Who signed.
    pub signer: Signer,
    /// The form of the fields.
    pub fields: Form,
    /// The form of the body.
    pub body: Form,
    /// The names of `h=`, in lower case and in order.
    pub names: Vec<String>,
    /// `bh=`.
    pub body_hash: Vec<u8>,
    /// The domain of `i=`, if it is given.
    pub identity: Option<Domain>,
    /// `t=`, in seconds since 1970.
    pub signed_at: Option<u64>,
    /// `x=`, in seconds since 1970.
    pub expires: Option<u64>,
    /// Whether there is an `l=`.
    pub extent: Extent,
}

impl Signature {
    /// A DKIM-Signature field's.
    ///
    /// # Errors
    /// When it is to be ignored, whatever its key.
    pub fn of_dkim(tags: &Tags<'_>) -> Result<Self, SignatureError> {
        if required(tags, "v")? != "1" {
            return Err(SignatureError::Version);
        }
        // RFC 6376 §3.5, q=: methods that are not known are passed over.
        if tags.get("q").is_some_and(|methods| !tags::items(methods).any(|method| method == "dns/txt")) {
            return Err(SignatureError::Query);
        }
        let identity = tags.get("i").map(identity).transpose()?;
        let signature = Self { identity, ..Self::read(tags)? };
        if !signature.names.iter().any(|name| name == "from") {
            return Err(SignatureError::FromNotSigned);
        }
        let domain = &signature.signer.domain;
        if signature.identity.as_ref().is_some_and(|identity| !identity.is_at_or_below(domain)) {
            return Err(SignatureError::Identity);
        }
        Ok(signature)
    }

    /// An ARC-Message-Signature field's. Here `i=` is the instance, and `v=` has no meaning. Differs: of the ARC
    /// fields, all of which are not to be signed by it (RFC 8617 §4.1.2), only a seal is refused, as everybody's
    /// test messages sign the others.
    ///
    /// # Errors
    /// When it is to be ignored, whatever its key.
    pub fn of_arc(tags: &Tags<'_>) -> Result<Self, SignatureError> {
        let signature = Self::read(tags)?;
        if signature.names.iter().any(|name| name == "arc-seal") {
            return Err(SignatureError::Fields);
        }
        Ok(signature)
    }

    /// Whether its time is over; `now` is in seconds since 1970.
    #[must_use]
    pub fn has_expired(&self, now: u64) -> bool {
        self.expires.is_some_and(|expires| now > expires)
    }

    /// Whether it holds all the time from `now` until then, in seconds since 1970. RFC 6376 §3.5 lets verifiers ignore one
    /// that is of the future.
    #[must_use]
    pub fn holds(&self, now: u64, until: u64) -> bool {
        self.signed_at.is_none_or(|signed_at| signed_at <= now) && !self.has_expired(until)
    }

    fn read(tags: &Tags<'_>) -> Result<Self, SignatureError> {
        let signer = Signer::read(tags)?;
        let (fields, body) = tags.get("c").map_or(Ok((Form::Simple, Form::Simple)), forms)?;
        let body_hash = octets(required(tags, "bh")?)?;
        let names = names(required(tags, "h")?)?;
        let (signed_at, expires) = (number(tags, "t")?, number(tags, "x")?);
        // RFC 6376 §3.5: "The value of the "x=" tag MUST be greater than the value of the "t=" tag if both are present."
        if signed_at.zip(expires).is_some_and(|(signed_at, expires)| expires <= signed_at) {
            return Err(SignatureError::Expiry);
        }
        let extent = if number(tags, "l")?.is_some() { Extent::Beginning } else { Extent::Whole };
        Ok(Self { signer, fields, body, names, body_hash, identity: None, signed_at, expires, extent })
    }
}

pub(super) fn required<'a>(tags: &Tags<'a>, name: &str) -> Result<&'a str, SignatureError> {
    tags.get(name).ok_or(SignatureError::Incomplete)
}

pub(super) fn number(tags: &Tags<'_>, name: &str) -> Result<Option<u64>, SignatureError> {
    tags.get(name).map(|value| tags::number(value).ok_or(SignatureError::Number)).transpose()
}

/// RFC 6376 §3.5: a `domain-name` has two labels at least and no dot at its end.
pub(super) fn domain(text: &str) -> Option<Domain> {
    name(text).filter(|domain| domain.as_str().contains('.'))
}

fn name(text: &str) -> Option<Domain> {
    Domain::parse(text).ok().filter(|name| !name.is_literal() && !text.ends_with('.'))
}

fn octets(value: &str) -> Result<Vec<u8>, SignatureError> {
    base64::decode(value).filter(|octets| !octets.is_empty()).ok_or(SignatureError::Encoding)
}

/// RFC 6376 §3.5: the form of the body is simple where it is not said.
fn forms(value: &str) -> Result<(Form, Form), SignatureError> {
    let (fields, body) = value.split_once('/').unwrap_or((value, "simple"));
    Form::of(fields).zip(Form::of(body)).ok_or(SignatureError::Canonicalization)
}

/// Differs: a name that is empty is passed over, beside others, as everybody does.
fn names(value: &str) -> Result<Vec<String>, SignatureError> {
    let names = tags::items(value).filter(|name| !name.is_empty()).take(MAX_NAMES + 1);
    let names: Vec<String> = names.map(str::to_ascii_lowercase).collect();
    if names.len() > MAX_NAMES {
        return Err(SignatureError::TooManyFields);
    }
    // RFC 5322 §3.6.8.
    let is_name = |name: &String| name.bytes().all(|b| b.is_ascii_graphic());
    if names.is_empty() || !names.iter().all(is_name) {
        return Err(SignatureError::Fields);
    }
    Ok(names)
}

/// The domain of `i=` (RFC 6376 §3.5): `[ Local-part ] "@" domain-name` in quoted-printable. The local part is the
/// signer's own affair.
fn identity(value: &str) -> Result<Domain, SignatureError> {
    let (_, domain_name) = value.rsplit_once('@').ok_or(SignatureError::UnreadableIdentity)?;
    let text = tags::unquoted(domain_name).ok_or(SignatureError::UnreadableIdentity)?;
    domain(&text).ok_or(SignatureError::UnreadableIdentity)
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;
