//! A DMARC Policy Record (RFC 9989 §4.7, §4.8), as octets. Pure.

use std::collections::HashMap;

/// What a domain owner asks of receivers (RFC 9989 §4.7), the strictest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::pipeline::authenticate) enum Policy {
    None,
    Quarantine,
    Reject,
}

/// Whether an identifier must be the Author Domain itself or may be another of its organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alignment {
    Relaxed,
    Strict,
}

/// Whether the domain is a public suffix (`psd=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Suffix {
    Yes,
    No,
    Unsaid,
}

/// The tags that decide anything here, of as many as a record may have.
const TAGS: &[&str] = &["p", "sp", "np", "rua", "adkim", "aspf", "psd", "t"];

/// A DMARC Policy Record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// `p`, `sp` and `np` with their defaults filled in; `None` for a record that asks for nothing.
    pub(super) policies: Option<Policies>,
    pub(super) dkim: Alignment,
    pub(super) spf: Alignment,
    pub(super) suffix: Suffix,
    pub(super) testing: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Policies {
    pub(super) domain: Policy,
    pub(super) subdomain: Policy,
    pub(super) nonexistent: Policy,
}

impl Record {
    /// Reads one TXT record; `None` when it is no DMARC record (RFC 9989 §4.8: `v=DMARC1` comes first, with nothing
    /// before it). A record is octets: what is no text in one tag hides no other, and an unknown one is ignored.
    pub(super) fn parse(record: &[u8]) -> Option<Self> {
        let mut specs = record.split(|octet| *octet == b';');
        // RFC 9989 §4.8: `dmarc-version = "v" equals %s"DMARC1"`, so the name is in any case, and the value is not.
        let (name, version) = tag(specs.next()?)?;
        if record.first().is_some_and(|octet| is_white(*octet))
            || !name.eq_ignore_ascii_case(b"v")
            || version != b"DMARC1"
        {
            return None;
        }
        let mut values = HashMap::new();
        for (name, value) in specs.filter_map(tag) {
            let known = TAGS.iter().find(|known| name.eq_ignore_ascii_case(known.as_bytes()));
            let (Some(name), Ok(value)) = (known, std::str::from_utf8(value)) else { continue };
            values.entry(*name).or_insert_with(|| value.to_ascii_lowercase());
        }
        let value = |name: &str| values.get(name).map(String::as_str);
        let alignment = |name| if value(name) == Some("s") { Alignment::Strict } else { Alignment::Relaxed };
        let suffix = match value("psd") {
            Some("y") => Suffix::Yes,
            Some("n") => Suffix::No,
            Some(_) | None => Suffix::Unsaid,
        };
        Some(Self {
            policies: Policies::read(value("p"), value("sp"), value("np"), value("rua")),
            dkim: alignment("adkim"),
            spf: alignment("aspf"),
            suffix,
            testing: value("t") == Some("y"),
        })
    }
}

/// RFC 9989 §4.8: `equals = *WSP "=" *WSP`.
fn tag(spec: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = spec.iter().position(|octet| *octet == b'=')?;
    Some((trimmed(spec.get(..equals)?), trimmed(spec.get(equals + 1..)?)))
}

fn trimmed(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|octet| !is_white(*octet)).unwrap_or(text.len());
    let end = text.iter().rposition(|octet| !is_white(*octet)).map_or(start, |last| last + 1);
    text.get(start..end).unwrap_or_default()
}

/// `WSP` (RFC 5234 §B.1).
fn is_white(octet: u8) -> bool {
    octet == b' ' || octet == b'\t'
}

impl Policies {
    /// RFC 9989 §4.10.1: without a valid `p`, or with an invalid `sp` or `np`, a record that wants reports is
    /// one of `p=none`, and any other is not applied.
    fn read(p: Option<&str>, sp: Option<&str>, np: Option<&str>, rua: Option<&str>) -> Option<Self> {
        let read = |value: Option<&str>, default| value.map_or(Ok(default), Policy::read);
        let stated = p.and_then(|p| Policy::read(p).ok()).and_then(|domain| {
            let subdomain = read(sp, domain).ok()?;
            Some(Self { domain, subdomain, nonexistent: read(np, subdomain).ok()? })
        });
        let nothing = Self { domain: Policy::None, subdomain: Policy::None, nonexistent: Policy::None };
        let wants_reports = rua.is_some_and(|rua| rua.contains("mailto:"));
        stated.or_else(|| wants_reports.then_some(nothing))
    }
}

struct InvalidPolicy;

impl Policy {
    fn read(value: &str) -> Result<Self, InvalidPolicy> {
        match value {
            "none" => Ok(Self::None),
            "quarantine" => Ok(Self::Quarantine),
            "reject" => Ok(Self::Reject),
            _ => Err(InvalidPolicy),
        }
    }

    /// RFC 9989 §4.7: `t=y` drops enforcement by one level.
    pub(super) fn one_lower(self) -> Self {
        match self {
            Self::Reject => Self::Quarantine,
            Self::Quarantine | Self::None => Self::None,
        }
    }

    /// The word of the record.
    pub(in crate::pipeline::authenticate) fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quarantine => "quarantine",
            Self::Reject => "reject",
        }
    }
}
