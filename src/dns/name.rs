//! Names as the DNS has them: labels of any octets (RFC 2181 §11).

use std::fmt;

use hickory_resolver::proto::rr::Name;

use super::{DnsError, absolute, relative_text};

/// An absolute name. Equality does not see the case of ASCII letters (RFC 4343 §3).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DnsName(Name);

impl DnsName {
    /// The name whose labels stand between the dots of a text, whatever their octets; one dot at the end may be
    /// there or not. `None` for what no query can hold (RFC 1035 §2.3.4): a label that is empty or of more
    /// than 63 octets, or more than 255 octets in all.
    #[must_use]
    pub fn from_octets(text: &[u8]) -> Option<Self> {
        let text = text.strip_suffix(b".").unwrap_or(text);
        Name::from_labels(text.split(|b| *b == b'.')).ok().map(Self)
    }

    /// The labels with dots between them, as they are, without a dot at the end.
    #[must_use]
    pub fn octets(&self) -> Vec<u8> {
        self.0.iter().collect::<Vec<_>>().join(&b'.')
    }

    /// How many labels it has; the root has none.
    #[must_use]
    pub fn labels(&self) -> usize {
        self.0.iter().len()
    }

    /// Whether it is this name, or stands below it in the tree.
    #[must_use]
    pub fn is_at_or_below(&self, name: &Self) -> bool {
        name.0.zone_of(&self.0)
    }

    pub(super) fn new(mut name: Name) -> Self {
        name.set_fqdn(true);
        Self(name)
    }
}

/// Without the last dot, and with escapes where a label is no text (RFC 1035 §5.1).
impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&relative_text(&self.0))
    }
}

/// What names something that can be asked for.
pub trait AsName {
    /// The name, or why it is none.
    ///
    /// # Errors
    /// When no query can hold it.
    fn as_name(&self) -> Result<DnsName, DnsError>;
}

/// Host names and domains, with last dot or without.
impl AsName for str {
    fn as_name(&self) -> Result<DnsName, DnsError> {
        absolute(self).map(DnsName)
    }
}

impl AsName for String {
    fn as_name(&self) -> Result<DnsName, DnsError> {
        self.as_str().as_name()
    }
}

impl AsName for DnsName {
    fn as_name(&self) -> Result<DnsName, DnsError> {
        Ok(self.clone())
    }
}

impl From<DnsName> for Name {
    fn from(name: DnsName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &[u8]) -> DnsName {
        DnsName::from_octets(text).unwrap()
    }

    #[test]
    fn rfc2181_11_labels_hold_any_octet() {
        let odd = name(b"a b=\x00\xFF%.Example.com.");
        assert_eq!(odd.octets(), b"a b=\x00\xFF%.Example.com");
        assert_eq!(odd.labels(), 3);
    }

    #[test]
    fn rfc1035_2_3_4_empty_and_long_labels_and_long_names_cannot_be_asked_for() {
        let long = [b"x".repeat(64), b".example".to_vec()].concat();
        let whole = [b"x".repeat(63).as_slice(); 4].join(&b'.');
        for text in [b"a..example".as_slice(), b".example", b"", b".", &long, &whole] {
            assert_eq!(DnsName::from_octets(text), None, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn rfc4343_3_case_does_not_count() {
        assert_eq!(name(b"MX.example.COM"), name(b"mx.example.com"));
        assert!(name(b"a.MX.example.com").is_at_or_below(&name(b"mx.EXAMPLE.com.")));
        assert!(name(b"mx.example.com").is_at_or_below(&name(b"mx.example.com")));
        assert!(!name(b"amx.example.com").is_at_or_below(&name(b"mx.example.com")));
    }
}
