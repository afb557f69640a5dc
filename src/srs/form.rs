//! Owns the spelling of SRS local parts: tags, fields, timestamps. It knows no secrets.

use crate::mail::Domain;

/// RFC 4648 §6.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
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
pub(super) struct Stored<'a> {
    pub(super) hash: &'a str,
    pub(super) stamp: &'a str,
    pub(super) token: &'a str,
}

impl<'a> Stored<'a> {
    pub(super) fn parse(rest: &'a str) -> Option<Self> {
        let mut fields = rest.get(1..)?.splitn(3, '=');
        let (hash, stamp) = (fields.next()?, fields.next()?);
        let token = fields.next()?;
        let valid = token.len() == TOKEN_DIGITS && token.bytes().all(|digit| base32_value(digit).is_some());
        valid.then_some(Self { hash, stamp, token })
    }

    pub(super) fn hashed(&self) -> String {
        [self.stamp, self.token].concat()
    }
}

/// Two base32 digits for a day below 1024.
pub(super) fn stamp(day: u64) -> String {
    [day >> 5, day].into_iter().map(base32_digit).collect()
}

/// The day that two base32 digits stand for, whatever their case.
pub(super) fn stamp_day(stamp: &str) -> Option<u64> {
    let &[high, low] = stamp.as_bytes() else { return None };
    Some(base32_value(high)? << 5 | base32_value(low)?)
}

/// The first `digits` base32 digits of some octets, at most as many as they hold.
pub(super) fn base32(octets: &[u8], digits: usize) -> String {
    let bits = octets.iter().flat_map(|octet| (0..8).rev().map(move |bit| u64::from(octet >> bit & 1)));
    let bits: Vec<u64> = bits.take(digits * 5).collect();
    bits.chunks_exact(5)
        .map(|five| base32_digit(five.iter().fold(0, |value, bit| value << 1 | bit)))
        .collect()
}

fn base32_digit(value: u64) -> char {
    let index = usize::try_from(value & 31).unwrap_or_default();
    char::from(BASE32.get(index).copied().unwrap_or(b'A'))
}

fn base32_value(digit: u8) -> Option<u64> {
    let digit = digit.to_ascii_uppercase();
    BASE32.iter().position(|known| *known == digit).and_then(|at| u64::try_from(at).ok())
}
