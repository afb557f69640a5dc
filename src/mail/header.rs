//! Header fields found in raw octets (RFC 5322 §2.2), without decoding or copying anything.

use std::ops::Range;

/// One header field: where it stands in the section, and its name and value as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field<'a> {
    /// From the first octet of the name to behind the CRLF that ends the last folded line.
    pub range: Range<usize>,
    /// The name without the white space that obsolete syntax allows before the colon (RFC 5322 §4.5).
    pub name: &'a [u8],
    /// All octets behind the colon, folding and last CRLF included.
    pub value: &'a [u8],
}

impl Field<'_> {
    /// Whether the field has this name; names are case-insensitive (RFC 5322 §1.2.2).
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// Where the body starts: behind the first empty line. `None` when there is no empty line (no body).
#[must_use]
pub fn section_end(octets: &[u8]) -> Option<usize> {
    if octets.starts_with(b"\r\n") {
        return Some(2);
    }
    octets.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// The fields of a header section, in order. Lines that are no field (no colon) are passed over.
pub fn fields(section: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = section.get(at..).filter(|rest| !rest.is_empty() && !rest.starts_with(b"\r\n"))?;
            let start = at;
            let len = field_octets(rest);
            at += len;
            let octets = rest.get(..len)?;
            let Some(colon) = octets.iter().position(|&b| b == b':') else { continue };
            let name = octets.get(..colon)?.trim_ascii_end();
            if name.is_empty() || name.iter().any(|b| !(33..=126).contains(b)) {
                continue;
            }
            return Some(Field { range: start..at, name, value: octets.get(colon + 1..)? });
        }
    })
}

/// Folded lines before the first field, which belong to none: a field put before them would take them in as
/// its own. Empty for a well-formed section.
#[must_use]
pub fn orphans(section: &[u8]) -> Range<usize> {
    let folded = section.first().is_some_and(|b| *b == b' ' || *b == b'\t');
    0..if folded { field_octets(section) } else { 0 }
}

/// Whether every line of the section is part of a field: parsers differ on whether one that is none ends it.
#[must_use]
pub fn is_well_formed(section: &[u8]) -> bool {
    let end = section.len() - if section.ends_with(b"\r\n\r\n") || section == b"\r\n" { 2 } else { 0 };
    let mut at = 0;
    fields(section).all(|field| field.range.start == std::mem::replace(&mut at, field.range.end)) && at == end
}

/// Octets of the first field: its line and the folded lines that follow (RFC 5322 §2.2.3).
fn field_octets(rest: &[u8]) -> usize {
    let mut end = 0;
    loop {
        let Some(tail) = rest.get(end..) else { return rest.len() };
        let Some(line) = tail.windows(2).position(|pair| pair == b"\r\n") else { return rest.len() };
        end += line + 2;
        if !rest.get(end).is_some_and(|b| *b == b' ' || *b == b'\t') {
            return end;
        }
    }
}

#[cfg(test)]
#[path = "header_tests.rs"]
mod tests;
