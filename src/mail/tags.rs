//! Tag lists (RFC 6376 §3.2), which DKIM and ARC fields and key records are made of. Read to the letter: two
//! readers that differ on a sloppy list differ on who signed.

use std::fmt;
use std::ops::Range;

use thiserror::Error;

/// Most tags of a list. The largest in use, a DKIM-Signature with every registered tag, has 13.
pub const MAX_TAGS: usize = 64;
/// Digits of a number; longer ones count as infinite (RFC 6376 §3.5, `t=`).
const MAX_DIGITS: usize = 12;
/// What folding white space is made of (RFC 6376 §2.8).
const WHITE: [char; 4] = [' ', '\t', '\r', '\n'];

/// Why something is no tag list. It is then as if none of its tags were there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TagError {
    /// Something is not of the form `name=value`, or holds an octet that none may.
    Syntax,
    /// "Tags with duplicate names MUST NOT occur within a single tag-list".
    Duplicate,
    /// More than [`MAX_TAGS`].
    TooMany,
}

impl TagError {
    /// In words, for people.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Syntax => "not a tag list",
            Self::Duplicate => "duplicate tag",
            Self::TooMany => "too many tags",
        }
    }
}

impl fmt::Display for TagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

/// One tag.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tag<'a> {
    name: &'a str,
    value: &'a str,
    /// The value with the white space around it.
    span: Range<usize>,
}

/// A tag list: its names, which are case-sensitive, each there once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tags<'a> {
    tags: Vec<Tag<'a>>,
}

impl<'a> Tags<'a> {
    /// Reads the value of a header field, or a TXT record. Non-ASCII characters pass in values, as U-labels and
    /// local parts are made of them (RFC 8616 §5); differs: white space behind a last `;` is let through, which
    /// the grammar has no place for and many records have.
    ///
    /// # Errors
    /// When any of it is wrong.
    pub fn parse(octets: &'a [u8]) -> Result<Self, TagError> {
        let octets = octets.strip_suffix(b"\r\n").unwrap_or(octets);
        let text = std::str::from_utf8(octets).map_err(|_| TagError::Syntax)?;
        if !is_folded_well(octets) {
            return Err(TagError::Syntax);
        }
        let mut tags: Vec<Tag<'a>> = Vec::with_capacity(12);
        let mut start = 0;
        for spec in text.split(';') {
            let at = start;
            start += spec.len() + 1;
            let is_last = start > text.len();
            if is_last && !tags.is_empty() && spec.trim_matches(WHITE).is_empty() {
                break;
            }
            let tag = Tag::parse(spec, at).ok_or(TagError::Syntax)?;
            if tags.iter().any(|earlier| earlier.name == tag.name) {
                return Err(TagError::Duplicate);
            }
            if tags.len() == MAX_TAGS {
                return Err(TagError::TooMany);
            }
            tags.push(tag);
        }
        Ok(Self { tags })
    }

    /// A tag's value, without the white space around it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.tags.iter().find(|tag| tag.name == name).map(|tag| tag.value)
    }

    /// Where in the octets a tag's value stands, with the white space around it (RFC 6376 §3.7: that of `b=` is
    /// not signed).
    #[must_use]
    pub fn span(&self, name: &str) -> Option<Range<usize>> {
        self.tags.iter().find(|tag| tag.name == name).map(|tag| tag.span.clone())
    }

    /// Whether the list begins with this tag.
    #[must_use]
    pub fn begins_with(&self, name: &str) -> bool {
        self.tags.first().is_some_and(|tag| tag.name == name)
    }
}

impl<'a> Tag<'a> {
    /// `at` is where the text stands in the list.
    fn parse(spec: &'a str, at: usize) -> Option<Self> {
        let (name, value) = spec.split_once('=')?;
        let span = at + name.len() + 1..at + spec.len();
        let (name, value) = (name.trim_matches(WHITE), value.trim_matches(WHITE));
        let starts_right = name.starts_with(|c: char| c.is_ascii_alphabetic());
        let is_name = starts_right && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let is_value = value.bytes().all(|b| b >= b' ' && b != 0x7f || b"\t\r\n".contains(&b));
        (is_name && is_value).then_some(Self { name, value, span })
    }
}

/// Whether every CR and LF is part of a fold: CRLF with white space behind it.
fn is_folded_well(octets: &[u8]) -> bool {
    let mut rest = octets;
    while let Some(at) = memchr::memchr2(b'\r', b'\n', rest) {
        match rest.get(at..) {
            Some([b'\r', b'\n', b' ' | b'\t', tail @ ..]) => rest = tail,
            Some(_) | None => return false,
        }
    }
    true
}

/// The items of a list with colons between, without the white space around them (`h=`, `q=`, `s=`, `t=`).
pub fn items(value: &str) -> impl Iterator<Item = &str> {
    value.split(':').map(|item| item.trim_matches(WHITE))
}

/// A number; one that is longer than twelve digits is the greatest there is, so that none wraps.
#[must_use]
pub fn number(value: &str) -> Option<u64> {
    if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    if value.len() > MAX_DIGITS { Some(u64::MAX) } else { value.parse().ok() }
}

/// Text in dkim-quoted-printable (RFC 6376 §2.11): white space is not part of it, and `=` begins two hexadecimal
/// digits. `None` when they are not there, or stand for no UTF-8.
#[must_use]
pub fn unquoted(value: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(value.len());
    let mut rest = value.bytes().filter(|b| !b" \t\r\n".contains(b));
    while let Some(octet) = rest.next() {
        octets.push(if octet == b'=' { digit(rest.next()?)? << 4 | digit(rest.next()?)? } else { octet });
    }
    String::from_utf8(octets).ok()
}

fn digit(octet: u8) -> Option<u8> {
    char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
#[path = "tags_tests.rs"]
mod tests;
