//! Mailbox addresses and domains, parsed once at the edge (RFC 5321 §4.1.2, RFC 6531 §3.3).
//!
//! An [`Address`] keeps its local part in the unquoted, semantic form: `"a b"@c` holds `a b`. Quotes are
//! put back where the wire needs them, so that a quoted local part stays a valid one through SRS.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use icu_normalizer::ComposingNormalizerBorrowed;
use thiserror::Error;

/// Longest local part, in octets of the unquoted form (RFC 5321 §4.5.3.1.1).
pub const MAX_LOCAL_PART_OCTETS: usize = 64;
/// Longest domain, in octets (RFC 5321 §4.5.3.1.2; RFC 1035 §2.3.4 leaves 253 for text).
pub const MAX_DOMAIN_OCTETS: usize = 253;
/// Longest path with its punctuation, in octets (RFC 5321 §4.5.3.1.3). SMTPUTF8 counts octets too (RFC 6531 §3.3).
pub const MAX_PATH_OCTETS: usize = 256;

/// Why a text is not an address or a domain.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AddressError {
    /// No `@`, or nothing on one side of it.
    #[error("address \"{0}\" is not of the form local@domain")]
    NotAMailbox(String),
    /// The local part is neither a dot-atom nor a quoted string.
    #[error("local part \"{0}\" is neither a dot-atom nor a quoted string")]
    LocalPart(String),
    /// The domain is not a host name in letters, digits and hyphens, nor convertible to one by IDNA.
    #[error("domain \"{0}\" is not a valid host name")]
    Domain(String),
    /// A part is longer than RFC 5321 §4.5.3.1 allows.
    #[error("address is longer than {limit} octets in its {part}")]
    TooLong {
        /// Which part: `local part`, `domain` or `path`.
        part: &'static str,
        /// The limit in octets.
        limit: usize,
    },
}

/// A domain name in lower-case A-labels without a trailing dot, or an address literal in brackets.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(Arc<str>);

impl Domain {
    /// Parses a domain name or an address literal; U-labels become A-labels (RFC 5891, UTS 46).
    ///
    /// # Errors
    /// When the text is no host name, or too long.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.len() > 4 * MAX_DOMAIN_OCTETS {
            return Err(AddressError::TooLong { part: "domain", limit: MAX_DOMAIN_OCTETS });
        }
        if let Some(inner) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
            return Self::parse_literal(text, inner);
        }
        let text = text.strip_suffix('.').unwrap_or(text);
        let ascii = if is_ldh(text) {
            text.to_ascii_lowercase()
        } else {
            idna::domain_to_ascii_strict(text).map_err(|_| AddressError::Domain(excerpt(text)))?
        };
        if ascii.len() > MAX_DOMAIN_OCTETS {
            return Err(AddressError::TooLong { part: "domain", limit: MAX_DOMAIN_OCTETS });
        }
        if !is_ldh(&ascii) {
            return Err(AddressError::Domain(excerpt(text)));
        }
        Ok(Self(ascii.into()))
    }

    fn parse_literal(text: &str, inner: &str) -> Result<Self, AddressError> {
        // RFC 5321 §4.1.3: IPv4 as it is, IPv6 behind a tag; the tag is case-insensitive.
        let tagged =
            inner.get(..5).filter(|tag| tag.eq_ignore_ascii_case("IPv6:")).and_then(|_| inner.get(5..));
        let literal = match tagged {
            Some(v6) => v6.parse::<Ipv6Addr>().map(|ip| format!("[IPv6:{ip}]")).ok(),
            None => inner.parse::<Ipv4Addr>().map(|ip| format!("[{ip}]")).ok(),
        };
        literal.map(|l| Self(l.into())).ok_or_else(|| AddressError::Domain(excerpt(text)))
    }

    /// The name in lower-case A-labels.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the other domain or a name below it.
    #[must_use]
    pub fn is_at_or_below(&self, parent: &Self) -> bool {
        self.0.strip_suffix(&*parent.0).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    /// Whether this is an address literal such as `[192.0.2.1]`, which has no DNS records.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        self.0.starts_with('[')
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Domain({})", self.0)
    }
}

impl std::borrow::Borrow<str> for Domain {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A mailbox: local part and domain. Equality is exact; see [`Address::folded`] for the form rules compare.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    local: Box<str>,
    domain: Domain,
}

impl Address {
    /// Parses `local@domain`, the local part a dot-atom or a quoted string.
    ///
    /// # Errors
    /// When it is no mailbox, or a part of it is too long.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (local, domain) = text
            .rsplit_once('@')
            .filter(|(local, domain)| !local.is_empty() && !domain.is_empty())
            .ok_or_else(|| AddressError::NotAMailbox(excerpt(text)))?;
        let local = match local.strip_prefix('"') {
            Some(rest) => unquote(rest).ok_or_else(|| AddressError::LocalPart(excerpt(local)))?,
            None if is_dot_atom(local) => local.to_owned(),
            None => return Err(AddressError::LocalPart(excerpt(local))),
        };
        Self::from_parts(&local, Domain::parse(domain)?)
    }

    /// Joins an unquoted local part and a domain.
    ///
    /// # Errors
    /// When the local part is empty, too long, or holds an octet that even a quoted string may not.
    pub fn from_parts(local: &str, domain: Domain) -> Result<Self, AddressError> {
        if local.is_empty() || local.chars().any(|c| c.is_control()) {
            return Err(AddressError::LocalPart(excerpt(local)));
        }
        if local.len() > MAX_LOCAL_PART_OCTETS {
            return Err(AddressError::TooLong { part: "local part", limit: MAX_LOCAL_PART_OCTETS });
        }
        Ok(Self { local: local.into(), domain })
    }

    /// The local part, unquoted, in the case it was written.
    #[must_use]
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The domain.
    #[must_use]
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Whether the address can be sent without SMTPUTF8 (RFC 6531).
    #[must_use]
    pub fn is_ascii(&self) -> bool {
        self.local.is_ascii()
    }

    /// The address with its local part in lower case: how rules and records compare addresses, since
    /// local parts of the domains that we host are case-insensitive.
    #[must_use]
    pub fn folded(&self) -> Self {
        Self { local: self.local.to_lowercase().into(), domain: self.domain.clone() }
    }

    /// The form by which an alias finds its rule: as [`Address::folded`], and composed, since devices write one name in
    /// NFC or NFD (RFC 6532 §3.1). For look-ups only: what is shown and sent is as it was written.
    #[must_use]
    pub fn lookup_form(&self) -> Self {
        if self.local.is_ascii() {
            return self.folded();
        }
        let local = ComposingNormalizerBorrowed::new_nfc().normalize(&self.local.to_lowercase()).into_owned();
        Self { local: local.into(), domain: self.domain.clone() }
    }

    /// The address without its subaddress (`user+tag` becomes `user`, RFC 5233), if it has one.
    #[must_use]
    pub fn without_subaddress(&self) -> Option<Self> {
        let (user, _) = self.local.split_once('+').filter(|(user, _)| !user.is_empty())?;
        Some(Self { local: user.into(), domain: self.domain.clone() })
    }
}

/// The wire form, the local part quoted where it must be (RFC 5321 §4.1.2).
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_dot_atom(&self.local) {
            return write!(f, "{}@{}", self.local, self.domain);
        }
        f.write_str("\"")?;
        for c in self.local.chars() {
            if c == '"' || c == '\\' {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        write!(f, "\"@{}", self.domain)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

/// Letters, digits and hyphens in labels of 1 to 63 octets; underscores are let through, as hosts with
/// them send mail every day.
fn is_ldh(text: &str) -> bool {
    !text.is_empty()
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}

/// RFC 5322 §3.2.3 with the non-ASCII characters of RFC 6531 §3.3.
fn is_dot_atom(text: &str) -> bool {
    let atext = |c: char| {
        c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || (!c.is_ascii() && !c.is_control())
    };
    text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(atext))
}

/// The content of a quoted string whose opening quote is already gone; `None` unless it ends the text.
fn unquote(rest: &str) -> Option<String> {
    let mut out = String::with_capacity(rest.len());
    let mut chars = rest.chars();
    loop {
        match chars.next()? {
            '"' => return chars.next().is_none().then_some(out),
            '\\' => out.push(chars.next().filter(|c| (' '..='~').contains(c))?),
            c if c.is_control() => return None,
            c => out.push(c),
        }
    }
}

/// At most 80 characters of what a peer wrote, for error texts.
fn excerpt(text: &str) -> String {
    text.chars().take(80).map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
#[path = "address_tests.rs"]
mod tests;
