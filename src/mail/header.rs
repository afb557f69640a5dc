//! Header fields found in raw octets (RFC 5322 §2.2), without decoding or copying anything, and what a section must
//! be so that all readers find the same ones ([`check`]).

use std::ops::Range;

/// Most fields of a header section. What protocols allow in one message comes to some 300 (50 ARC sets of three fields,
/// RFC 8617 §4.2.1; 100 Received fields, RFC 5321 §6.3), and what lists and gateways add stays under 100.
pub const MAX_FIELDS: usize = 1_000;

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

/// Why a header section is none that all readers would read alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderFault {
    /// A line is neither the start of a field nor folded under one.
    NoField,
    /// There are more than [`MAX_FIELDS`].
    TooManyFields,
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

/// Checks that every line of a section is part of a field, and that the fields are not too many: readers differ on where
/// a section ends that has other lines, and so on whom its message is from. What comes back is the white space before
/// colons, which receivers take (RFC 5322 §4.5): for some readers it ends the section, so it must not be sent on.
///
/// # Errors
/// For the first line that is none, or that begins a field too many.
pub fn check(section: &[u8]) -> Result<Vec<Range<usize>>, HeaderFault> {
    let (mut at, mut fields, mut blanks) = (0, 0, Vec::new());
    while let Some(rest) = section.get(at..).filter(|rest| !rest.is_empty() && !rest.starts_with(b"\r\n")) {
        let line = rest.get(..line_octets(rest)).unwrap_or(rest);
        if is_folded(line) {
            if fields == 0 {
                return Err(HeaderFault::NoField);
            }
        } else {
            let blank = before_colon(line).ok_or(HeaderFault::NoField)?;
            if !blank.is_empty() {
                blanks.push(at + blank.start..at + blank.end);
            }
            fields += 1;
            if fields > MAX_FIELDS {
                return Err(HeaderFault::TooManyFields);
            }
        }
        at += line.len();
    }
    Ok(blanks)
}

/// What stands between a field's name, of printable ASCII (RFC 5322 §3.6.8), and its colon: nothing, or white space.
fn before_colon(line: &[u8]) -> Option<Range<usize>> {
    let name = line.iter().position(|b| !b.is_ascii_graphic() || *b == b':').filter(|octets| *octets > 0)?;
    let blanks = line.get(name..)?.iter().position(|b| *b != b' ' && *b != b'\t')?;
    (line.get(name + blanks) == Some(&b':')).then_some(name..name + blanks)
}

/// Octets of the From_ line that mbox files have before each message, quoted or not (RFC 4155 appendix A), and that
/// some gateways leave there; 0 where there is none. It is no part of a message, and behind a field of ours it would
/// end the header section. `From :` is a field's name in obsolete syntax, and no such line.
#[must_use]
pub fn from_line_octets(section: &[u8]) -> usize {
    let octets = line_octets(section);
    let line = section.get(..octets).unwrap_or_default();
    let behind = line.strip_prefix(b">").unwrap_or(line).strip_prefix(b"From ");
    if behind.is_some_and(|behind| !behind.trim_ascii_start().starts_with(b":")) { octets } else { 0 }
}

/// Octets of the first field: its line and the folded lines that follow (RFC 5322 §2.2.3).
fn field_octets(rest: &[u8]) -> usize {
    let mut end = 0;
    loop {
        let tail = rest.get(end..).unwrap_or_default();
        end += line_octets(tail);
        if !rest.get(end..).is_some_and(is_folded) {
            return end;
        }
    }
}

/// Octets of the first line with its CRLF; of all, where there is none.
fn line_octets(rest: &[u8]) -> usize {
    let ends = |at: &usize| at.checked_sub(1).and_then(|before| rest.get(before)) == Some(&b'\r');
    memchr::memchr_iter(b'\n', rest).find(ends).map_or(rest.len(), |at| at + 1)
}

fn is_folded(line: &[u8]) -> bool {
    line.starts_with(b" ") || line.starts_with(b"\t")
}

#[cfg(test)]
#[path = "header_tests.rs"]
mod tests;
