//! Records in octets: what master text cannot say of names and texts, and tests of mail authentication need.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_resolver::proto::rr::rdata::{CNAME, MX, PTR, TXT};
use hickory_resolver::proto::rr::{Name, RData};

use super::zones::ZoneError;

/// Octets of one string of a TXT record (RFC 1035 §3.3).
const MAX_STRING_OCTETS: usize = 255;

/// The data of a record. A name is its labels with dots between, a trailing dot or not; whatever octets a label
/// has stand for themselves (RFC 2181 §11), so that no label holds a dot. The empty name is the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data<'a> {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// What the name is an alias of.
    Cname(&'a [u8]),
    /// Preference and exchange.
    Mx(u16, &'a [u8]),
    /// The name of an address.
    Ptr(&'a [u8]),
    /// Strings; one of more than 255 octets becomes several.
    Txt(&'a [&'a [u8]]),
}

impl Data<'_> {
    pub(super) fn to_rdata(&self) -> Result<RData, ZoneError> {
        Ok(match self {
            Self::A(address) => RData::A((*address).into()),
            Self::Aaaa(address) => RData::AAAA((*address).into()),
            Self::Cname(target) => RData::CNAME(CNAME(name(target)?)),
            Self::Mx(preference, exchange) => RData::MX(MX::new(*preference, name(exchange)?)),
            Self::Ptr(target) => RData::PTR(PTR(name(target)?)),
            Self::Txt(strings) => RData::TXT(TXT::from_bytes(cut(strings))),
        })
    }
}

/// Reads an absolute name label by label.
pub(super) fn name(octets: &[u8]) -> Result<Name, ZoneError> {
    let relative = octets.strip_suffix(b".").unwrap_or(octets);
    let labels: Vec<&[u8]> =
        if relative.is_empty() { Vec::new() } else { relative.split(|octet| *octet == b'.').collect() };
    Name::from_labels(labels)
        .map_err(|source| ZoneError::Name { name: String::from_utf8_lossy(octets).into_owned(), source })
}

/// RFC 1035 §3.3.14: at least one string, which may be empty.
fn cut<'a>(strings: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for string in strings {
        if string.is_empty() {
            pieces.push(*string);
        }
        pieces.extend(string.chunks(MAX_STRING_OCTETS));
    }
    if pieces.is_empty() { vec![&[]] } else { pieces }
}
