//! Owns the spelling of SRS local parts: tags, fields, timestamps. It knows no secrets.

use data_encoding::BASE32_NOPAD;

use super::secret::lower;
use crate::mail::Domain;

/// Digits of a timestamp: a day modulo 1024.
const STAMP_DIGITS: usize = 2;
/// Digits of a token: 80 bits.
const TOKEN_DIGITS: usize = 16;

/// A local part by its tag; each holds what follows the tag, beginning with the separator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tagged<'a> {
    /// `SRS0`: written by the first forwarder.
    Zero(&'a str),
    /// `SRS1`: written by a later one.
    One(&'a str),
    /// `SRSA`: an alias.
    Alias(&'a str),
}

impl<'a> Tagged<'a> {
    /// Recognises a tag, whatever its case, with one of the three separators behind it.
    pub(super) fn of(local: &'a str) -> Option<Self> {
        let (tag, rest) = local.split_at_checked(4)?;
        if !rest.starts_with(['=', '+', '-']) {
            return None;
        }
        match tag.to_ascii_uppercase().as_str() {
            "SRS0" => Some(Self::Zero(rest)),
            "SRS1" => Some(Self::One(rest)),
            "SRSA" => Some(Self::Alias(rest)),
            _ => None,
        }
    }
}

/// The fields of SRS0.
pub(super) struct Direct<'a> {
    pub(super) hash: &'a str,
    pub(super) stamp: &'a str,
    pub(super) domain: &'a str,
    pub(super) local: &'a str,
}

impl<'a> Direct<'a> {
    /// Splits at the first three separators behind the tag's own.
    pub(super) fn parse(rest: &'a str) -> Option<Self> {
        let mut fields = rest.get(1..)?.splitn(4, '=');
        Some(Self {
            hash: fields.next()?,
            stamp: fields.next()?,
            domain: fields.next()?,
            local: fields.next().filter(|local| !local.is_empty())?,
        })
    }

    pub(super) fn hashed(&self) -> String {
        [self.stamp, self.domain, self.local].concat()
    }
}

/// The fields of SRS1.
pub(super) struct Guarded<'a> {
    pub(super) hash: &'a str,
    /// The host that wrote SRS0.
    pub(super) host: &'a str,
    /// What followed its tag, beginning with its separator; opaque to all others.
    pub(super) rest: &'a str,
}

impl<'a> Guarded<'a> {
    pub(super) fn parse(rest: &'a str) -> Option<Self> {
        let mut fields = rest.get(1..)?.splitn(3, '=');
        let hash = fields.next()?;
        let host = fields.next().filter(|host| Domain::parse(host).is_ok())?;
        let rest = fields.next().filter(|rest| rest.len() > 1 && rest.starts_with(['=', '+', '-']))?;
        Some(Self { hash, host, rest })
    }

    pub(super) fn hashed(&self) -> String {
        [self.host, self.rest].concat()
    }
}

/// The fields of an alias.
pub(super) struct AliasFields<'a> {
    pub(super) hash: &'a str,
    pub(super) stamp: &'a str,
    pub(super) token: &'a str,
}

impl<'a> AliasFields<'a> {
    pub(super) fn parse(rest: &'a str) -> Option<Self> {
        let mut fields = rest.get(1..)?.splitn(3, '=');
        let (hash, stamp) = (fields.next()?, fields.next()?);
        let token = fields.next()?;
        let valid =
            token.len() == TOKEN_DIGITS && BASE32_NOPAD.decode(token.to_ascii_uppercase().as_bytes()).is_ok();
        valid.then_some(Self { hash, stamp, token })
    }

    pub(super) fn hashed(&self) -> String {
        [self.stamp, self.token].concat()
    }
}

/// What a local part says that it stands for, without the hashes and days of it, so that it is the same in all guesses
/// at one original; `None` when there is no hash to guess.
pub(super) fn claim(local: &str) -> Option<String> {
    let direct = |rest| Direct::parse(rest).map(|direct| format!("{}={}", direct.domain, direct.local));
    let claim = match Tagged::of(local)? {
        Tagged::Zero(rest) => direct(rest)?,
        Tagged::One(rest) => {
            let guarded = Guarded::parse(rest)?;
            direct(guarded.rest).unwrap_or_else(|| guarded.hashed())
        }
        Tagged::Alias(rest) => AliasFields::parse(rest)?.token.to_owned(),
    };
    Some(lower(&claim))
}

/// Two base32 digits for a day below 1024: the first ten bits of two octets.
pub(super) fn stamp(day: u64) -> String {
    let [.., high, low] = (day << 6).to_be_bytes();
    base32(&[high, low], STAMP_DIGITS)
}

/// The day that two base32 digits stand for, whatever their case.
pub(super) fn stamp_day(stamp: &str) -> Option<u64> {
    // Two octets are four digits, without the bits that the last one has too many.
    let digits = Some(stamp).filter(|stamp| stamp.len() == STAMP_DIGITS)?.to_ascii_uppercase() + "AA";
    let octets = BASE32_NOPAD.decode(digits.as_bytes()).ok()?;
    Some(octets.into_iter().fold(0, |bits, octet| bits << 8 | u64::from(octet)) >> 6)
}

/// The first `digits` base32 digits of some octets, at most as many as they hold.
pub(super) fn base32(octets: &[u8], digits: usize) -> String {
    let mut text = BASE32_NOPAD.encode(octets);
    text.truncate(digits);
    text
}
