//! The Sender Rewriting Scheme: the reverse-path of a forwarded message is put into a domain of ours, so
//! that SPF holds at the next hop and a bounce finds its way back through us. Pure: no I/O, no clock.
//!
//! There is no RFC; the format is the one that libsrs2, Mail::SRS and postsrsd share:
//!
//! ```text
//! SRS0=HHHH=TT=original-domain=original-local@forwarding-domain
//! SRS1=HHHH=first-host=<what followed "SRS0" at the first host, with its separator>@forwarding-domain
//! SRSA=HHHH=TT=token@forwarding-domain           ours: when an original is too long for the forms above
//! ```
//!
//! * `HHHH` is the first four characters of base64url(HMAC-SHA1(secret, lower case of what follows it, the
//!   separators between the fields left out)). Relays fold the case of local parts and older software
//!   writes base64 with `+` and `/`, so verifying folds both.
//! * `TT` is the day, modulo 1024, in two base32 digits.
//! * The separator behind the tag is `=` when we write, and `=`, `+` or `-` when we read. Only the first three
//!   separators structure an SRS0 address: an original local part may hold any more.
//! * An SRS0 address of another host becomes SRS1, and an SRS1 address changes only its hash and domain: the
//!   bounce comes to us and goes straight to the first host, however many forwarders stand between.
//! * An address whose hash is ours is taken apart before it is rewritten again, so addresses never nest.
//! * An `SRSA` token stands for an original that the caller keeps. It is keyed, and the same for the same
//!   original, so a busy sender takes one record.

mod form;
mod secret;

use std::time::{Duration, SystemTime};

use thiserror::Error;

use self::form::{AliasFields, Direct, Guarded, Tagged};
use self::secret::Purpose;
pub use self::secret::Secret;
use crate::mail::{Address, Domain, MAX_LOCAL_PART_OCTETS};

/// Days after which a timestamp comes round again: two base32 digits.
const TIMESTAMP_DAYS: u64 = 1024;
/// How far ahead of ours the clock of the node that wrote an address may be, in days.
const CLOCK_SKEW_DAYS: u64 = 1;
const SECONDS_A_DAY: u64 = 86_400;
/// Secrets out of use that are known again; past it the one that is longest out of use is forgotten.
const MAX_RETIRED: usize = 16;

/// Rewrites reverse-paths, and takes them apart again.
#[derive(Debug)]
pub struct Srs {
    secrets: Vec<Secret>,
    /// The latest first.
    retired: Vec<Retired>,
    max_age_days: u64,
}

/// A secret that is no longer in use: nothing that it signed is good, and yet nobody guessed it.
#[derive(Debug, Clone)]
struct Retired {
    secret: Secret,
    /// When all that it signed would be too old anyway.
    until: SystemTime,
}

/// The rewritten local part would be longer than 64 octets (RFC 5321 §4.5.3.1.1): use [`Srs::alias`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the SRS form of {original} is longer than {MAX_LOCAL_PART_OCTETS} octets in its local part")]
pub struct SrsTooLong {
    /// The address to keep under an alias: the one given, or what it was made from if it was our own.
    pub original: Address,
}

/// Why an address that looks like SRS is not a return address of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SrsError {
    /// A field is missing, or one of them holds what we never write.
    #[error("malformed SRS address")]
    Malformed,
    /// The hash was made with none of our secrets.
    #[error("wrong hash in SRS address")]
    Forged,
    /// The hash was made with a secret of ours that is no longer in use.
    #[error("SRS address of a secret that is no longer in use")]
    Retired,
    /// The address is older than the maximum age.
    #[error("expired SRS address")]
    Expired,
    /// The address is an alias: [`Srs::decode_alias`] reads it.
    #[error("SRS address is an alias for a stored one")]
    Stored,
}

/// What stands in an alias for an original that did not fit: 80 keyed bits in 16 base32 digits, lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AliasToken(String);

impl AliasToken {
    /// Octets of a token.
    const OCTETS: usize = 16;

    /// A token as it is kept.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_one = text.len() == Self::OCTETS
            && text.bytes().all(|octet| matches!(octet, b'a'..=b'z' | b'2'..=b'7'));
        is_one.then(|| Self(text.to_owned()))
    }

    /// The token in lower case, the key under which the original is kept.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Srs {
    /// Takes the secrets, of which the first signs and all verify, and the days for which an address is
    /// good (at most 1022, what the timestamp can tell apart).
    ///
    /// Without a secret everything is refused: an encoded address would not verify.
    #[must_use]
    pub fn new(secrets: Vec<Secret>, max_age_days: u16) -> Self {
        let max_age_days = u64::from(max_age_days).min(TIMESTAMP_DAYS - CLOCK_SKEW_DAYS - 1);
        Self { secrets, retired: Vec::new(), max_age_days }
    }

    /// Takes the place of another, whose secrets it knows again when it sees their hashes, for as long as these would
    /// have been good.
    ///
    /// In memory only: to know after a restart what was taken out of the file meanwhile, secrets in use would have to
    /// be kept in a second place.
    #[must_use]
    pub fn after(mut self, previous: &Self, now: SystemTime) -> Self {
        let days = self.max_age_days + CLOCK_SKEW_DAYS;
        let until = now + Duration::from_secs(days * SECONDS_A_DAY);
        let dropped = previous.secrets.iter().map(|secret| Retired { secret: secret.clone(), until });
        let earlier = previous.retired.iter().filter(|retired| retired.until > now).cloned();
        let is_in_use = |retired: &Retired| self.secrets.iter().any(|secret| secret.is(&retired.secret));
        self.retired =
            dropped.chain(earlier).filter(|retired| !is_in_use(retired)).take(MAX_RETIRED).collect();
        self
    }

    /// Rewrites a reverse-path into the forwarding domain.
    ///
    /// # Errors
    /// When the rewritten local part is longer than 64 octets; [`Srs::alias`] is the way out.
    pub fn encode(
        &self,
        original: &Address,
        forwarding: &Domain,
        now: SystemTime,
    ) -> Result<Address, SrsTooLong> {
        let unwrapped = self.own_original(original);
        let original = unwrapped.as_ref().unwrap_or(original);
        let local = match Tagged::of(original.local()) {
            Some(Tagged::Zero(rest)) => self.guard(original.domain().as_str(), rest),
            Some(Tagged::One(rest)) => match Guarded::parse(rest) {
                Some(guarded) => self.guard(&guarded.host.to_ascii_lowercase(), guarded.rest),
                None => self.direct(original, now),
            },
            // The hash covers no domain, so an alias of ours stays as it is and keeps its age.
            Some(Tagged::Alias(rest))
                if AliasFields::parse(rest).is_some_and(|stored| self.owns(&stored)) =>
            {
                original.local().to_owned()
            }
            Some(Tagged::Alias(_)) | None => self.direct(original, now),
        };
        Address::from_parts(&local, forwarding.clone()).map_err(|_| SrsTooLong { original: original.clone() })
    }

    /// Takes a recipient address apart: `None` when it is no SRS address, else where its bounces go.
    ///
    /// The caller has made sure that the domain is ours: elsewhere such an address is one like any other.
    ///
    /// # Errors
    /// When the address was not made by us, or too long ago; for an alias, [`SrsError::Stored`].
    pub fn decode(&self, address: &Address, now: SystemTime) -> Result<Option<Address>, SrsError> {
        match Tagged::of(address.local()) {
            None => Ok(None),
            Some(Tagged::Zero(rest)) => {
                let direct = Direct::parse(rest).ok_or(SrsError::Malformed)?;
                self.verify(Purpose::Address, direct.hash, &direct.hashed(), now)?;
                self.check_age(direct.stamp, now)?;
                original(direct.local, direct.domain).map(Some)
            }
            Some(Tagged::One(rest)) => {
                let guarded = Guarded::parse(rest).ok_or(SrsError::Malformed)?;
                self.verify(Purpose::Address, guarded.hash, &guarded.hashed(), now)?;
                original(&format!("SRS0{}", guarded.rest), guarded.host).map(Some)
            }
            Some(Tagged::Alias(_)) => Err(SrsError::Stored),
        }
    }

    /// Makes an alias of fixed length for an original that is too long, and the token to keep it under
    /// for as long as addresses are good.
    #[must_use]
    pub fn alias(
        &self,
        original: &Address,
        forwarding: &Domain,
        now: SystemTime,
    ) -> Option<(Address, AliasToken)> {
        let token = form::base32(
            &self.secrets.first()?.mac(Purpose::Token, &original.to_string()),
            AliasToken::OCTETS,
        );
        let stamp = form::stamp(day(now));
        let hash = self.sign(Purpose::Alias, &format!("{stamp}{token}"));
        let address =
            Address::from_parts(&format!("SRSA={hash}={stamp}={token}"), forwarding.clone()).ok()?;
        Some((address, AliasToken(token.to_ascii_lowercase())))
    }

    /// Reads an alias: `None` when the address is none, else the token of the original.
    ///
    /// # Errors
    /// When the alias was not made by us, or too long ago.
    pub fn decode_alias(&self, address: &Address, now: SystemTime) -> Result<Option<AliasToken>, SrsError> {
        let Some(Tagged::Alias(rest)) = Tagged::of(address.local()) else { return Ok(None) };
        let stored = AliasFields::parse(rest).ok_or(SrsError::Malformed)?;
        self.verify(Purpose::Alias, stored.hash, &stored.hashed(), now)?;
        self.check_age(stored.stamp, now)?;
        Ok(Some(AliasToken(stored.token.to_ascii_lowercase())))
    }

    /// The original of an address that we made ourselves, of whatever age, also when another forwarder has
    /// guarded it since.
    fn own_original(&self, address: &Address) -> Option<Address> {
        let rest = match Tagged::of(address.local())? {
            Tagged::Zero(rest) => rest,
            Tagged::One(rest) => Guarded::parse(rest)?.rest,
            Tagged::Alias(_) => return None,
        };
        let direct = Direct::parse(rest)?;
        if !self.is_ours(Purpose::Address, direct.hash, &direct.hashed()) {
            return None;
        }
        original(direct.local, direct.domain).ok()
    }

    fn owns(&self, stored: &AliasFields<'_>) -> bool {
        self.is_ours(Purpose::Alias, stored.hash, &stored.hashed())
    }

    fn direct(&self, original: &Address, now: SystemTime) -> String {
        let stamp = form::stamp(day(now));
        let (domain, local) = (original.domain(), original.local());
        let hash = self.sign(Purpose::Address, &format!("{stamp}{domain}{local}"));
        format!("SRS0={hash}={stamp}={domain}={local}")
    }

    fn guard(&self, host: &str, rest: &str) -> String {
        let hash = self.sign(Purpose::Address, &format!("{host}{rest}"));
        format!("SRS1={hash}={host}={rest}")
    }

    fn sign(&self, purpose: Purpose, text: &str) -> String {
        self.secrets.first().map(|secret| secret.hash(purpose, text)).unwrap_or_default()
    }

    /// Tries every secret in use, whichever fits, so that the time taken tells nothing.
    fn is_ours(&self, purpose: Purpose, hash: &str, text: &str) -> bool {
        self.secrets.iter().fold(false, |ours, secret| ours | secret.verify(purpose, hash, text))
    }

    fn verify(&self, purpose: Purpose, hash: &str, text: &str, now: SystemTime) -> Result<(), SrsError> {
        if self.is_ours(purpose, hash, text) {
            return Ok(());
        }
        let mut known = self.retired.iter().filter(|retired| retired.until > now);
        let was_ours = known.any(|retired| retired.secret.verify(purpose, hash, text));
        Err(if was_ours { SrsError::Retired } else { SrsError::Forged })
    }

    fn check_age(&self, stamp: &str, now: SystemTime) -> Result<(), SrsError> {
        let written = form::stamp_day(stamp).ok_or(SrsError::Malformed)?;
        let age = (day(now) + CLOCK_SKEW_DAYS + TIMESTAMP_DAYS - written) % TIMESTAMP_DAYS;
        if age <= self.max_age_days + CLOCK_SKEW_DAYS { Ok(()) } else { Err(SrsError::Expired) }
    }
}

/// Whether an address looks like a return address, valid or not.
#[must_use]
pub fn has_form(address: &Address) -> bool {
    Tagged::of(address.local()).is_some()
}

/// The original that an address says it stands for, in lower case and without hashes and days: the same in all
/// guesses at one original, whichever domain of ours they are in. `None` where there is no hash to guess.
#[must_use]
pub fn claim(address: &Address) -> Option<String> {
    form::claim(address.local())
}

/// The day of a wall time, modulo 1024.
fn day(now: SystemTime) -> u64 {
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    seconds / SECONDS_A_DAY % TIMESTAMP_DAYS
}

fn original(local: &str, domain: &str) -> Result<Address, SrsError> {
    let domain = Domain::parse(domain).map_err(|_| SrsError::Malformed)?;
    Address::from_parts(local, domain).map_err(|_| SrsError::Malformed)
}

#[cfg(test)]
mod tests;
