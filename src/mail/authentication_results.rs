//! Authentication-Results fields (RFC 8601): finding those that claim to be ours, reading what a sealed one
//! says of DMARC, and writing values from peers so that they cannot be taken for anything else.

use std::ops::Range;

use super::token::{self, Kind, Token};
use super::{Domain, header};

/// The field's name.
pub const NAME: &str = "Authentication-Results";
/// Words before the first `;` that are looked at: the authserv-id and its version are two.
const MAX_ID_WORDS: usize = 16;
/// Ids of a section that are read as domains, every prefix of one counted; real mail has a few dozen fields with one or
/// two words of it each. IDNA takes up to 15 µs for one.
const MAX_IDS: usize = 256;
/// Author Domains that a field's DMARC results are read of: a From field names one, and we take no more than five.
const MAX_AUTHORS: usize = 16;
/// Longest value taken over from a peer, in characters. The longest address has 320 octets.
const MAX_VALUE_CHARS: usize = 320;

/// The whole fields of a header section whose authserv-id is ours, in order: nobody else may speak for us, so
/// they are left out (RFC 8601 §5). The id is found in every form that a reader may accept as ours: any
/// case, quoted, folded, with comments inside, with a version behind it, with a last dot, in U-labels. A
/// field that does not even parse is ours when it names us anywhere. Past [`MAX_IDS`] nobody looks any more, and all are
/// left out.
#[must_use]
pub fn forged(section: &[u8], ours: &Domain) -> Vec<Range<usize>> {
    let mut left = MAX_IDS;
    header::fields(section)
        .filter(|field| field.is(NAME) && claims(field.value, ours, &mut left))
        .map(|field| field.range)
        .collect()
}

fn claims(value: &[u8], ours: &Domain, left: &mut usize) -> bool {
    let Ok(tokens) = token::tokens(value, b";") else { return mentions(value, ours) };
    let mut id = String::new();
    for token in tokens.iter().take(MAX_ID_WORDS) {
        match &token.kind {
            Kind::Word(text) | Kind::Quoted(text) => id.push_str(text),
            Kind::Special(_) => break,
        }
        let Some(fewer) = left.checked_sub(1) else { return true };
        *left = fewer;
        // Each prefix is a candidate: white space and comments may stand inside the id or before its version.
        if Domain::parse(id.trim()).is_ok_and(|id| id == *ours) {
            return true;
        }
    }
    false
}

fn mentions(value: &[u8], ours: &Domain) -> bool {
    let squeezed: Vec<u8> =
        value.iter().filter(|b| b.is_ascii_graphic() && **b != b'\\').map(u8::to_ascii_lowercase).collect();
    squeezed.windows(ours.as_str().len()).any(|window| window == ours.as_str().as_bytes())
}

/// Whether the value of an ARC-Authentication-Results field says `dmarc=pass` for this Author Domain
/// (RFC 8617 §4.1.1: instance, authserv-id, then the methods of RFC 8601 §2.2).
#[must_use]
pub fn says_dmarc_pass(value: &[u8], author: &Domain) -> bool {
    let Ok(tokens) = token::tokens(value, b";=") else { return false };
    let passes = tokens.split(|token| token.kind == Kind::Special(b';')).filter_map(|statement| {
        let mut pairs = statement.windows(3).filter_map(pair);
        let passes = pairs.next().is_some_and(|(method, result)| is(method, "dmarc") && is(result, "pass"));
        passes.then_some(pairs)
    });
    let mut authors = passes.flatten().filter(|(property, _)| is(property, "header.from")).take(MAX_AUTHORS);
    authors.any(|(_, value)| Domain::parse(value).is_ok_and(|domain| domain == *author))
}

fn is(text: &str, word: &str) -> bool {
    text.eq_ignore_ascii_case(word)
}

/// `name = value` out of three tokens.
fn pair(three: &[Token]) -> Option<(&str, &str)> {
    match three {
        [name, equals, value] if equals.kind == Kind::Special(b'=') => Some((text(name)?, text(value)?)),
        _ => None,
    }
}

fn text(token: &Token) -> Option<&str> {
    match &token.kind {
        Kind::Word(text) | Kind::Quoted(text) => Some(text),
        Kind::Special(_) => None,
    }
}

/// A `pvalue` (RFC 8601 §2.2) that says `text` and nothing else: as it is when it is made of token
/// characters and at most one `@`, else as a quoted string. Characters beyond printable ASCII become `?`,
/// so that the field needs no SMTPUTF8; what is longer than any address is cut.
#[must_use]
pub fn pvalue(text: &str) -> String {
    let cleaned = text.chars().take(MAX_VALUE_CHARS).map(|c| if (' '..='~').contains(&c) { c } else { '?' });
    let cleaned: String = cleaned.collect();
    let plain = |part: &str| !part.is_empty() && part.bytes().all(is_token_octet);
    let (local, domain) = cleaned.split_once('@').unwrap_or((&cleaned, "-"));
    if (plain(local) || local.is_empty()) && plain(domain) && !cleaned.is_empty() {
        return cleaned;
    }
    let escaped = cleaned.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

/// RFC 2045 §5.1 `token`.
fn is_token_octet(octet: u8) -> bool {
    octet.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&octet)
}

#[cfg(test)]
#[path = "authentication_results_tests.rs"]
mod tests;
