//! The Author Domains of a message: whom its From field claims to be from (RFC 5322 §3.6.2, RFC 9989 §3.2.2).
//!
//! What DMARC judges must be what a reader is shown, and readers parse From in many ways. So this parser does
//! not choose: every domain behind an `@` outside of comments and quoted strings is an author's, whether in
//! an address, a source route, a group or an unquoted display name; a From field whose quotes or comments do
//! not balance is read a second time with none of them meaning anything. A message comes here with a header section
//! that all readers find the same fields in ([`header::check`]), so there is no second From field but for some of them.

use thiserror::Error;

use super::header;
use super::token::{self, Kind, Token};
use super::{AddressError, Domain};

/// Distinct domains that a From field may name. Each costs a DMARC evaluation; real ones name one.
const MAX_AUTHOR_DOMAINS: usize = 5;
/// At signs that are looked behind, whatever stands there. Real fields have one; who answers more authors than this may
/// find no host that takes so many recipients at once (RFC 5321 §4.5.3.1.8).
const MAX_AT_SIGNS: usize = 100;

/// Why a message has no author that could be judged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AuthorError {
    /// RFC 5322 §3.6: exactly one.
    #[error("{0} From fields")]
    NotOne(usize),
    /// The field names no address.
    #[error("no address in the From field")]
    NoAddress,
    /// An address whose domain is none.
    #[error("an address in the From field is invalid: {0}")]
    Invalid(#[from] AddressError),
    /// More than a message of any use has.
    #[error("more than {MAX_AUTHOR_DOMAINS} domains or {MAX_AT_SIGNS} at signs in the From field")]
    TooMany,
}

/// The domains of the one From field of a header section, at least one, without doubles. A domain may be an
/// address literal.
///
/// # Errors
/// When there is no From field, or more than one, or it has no address, too many, or one that readers may take for
/// something else.
pub fn authors(section: &[u8]) -> Result<Vec<Domain>, AuthorError> {
    let fields = header::fields(section).filter(|field| field.is("From")).collect::<Vec<_>>();
    match fields.as_slice() {
        [field] => domains(field.value),
        found => Err(AuthorError::NotOne(found.len())),
    }
}

fn domains(value: &[u8]) -> Result<Vec<Domain>, AuthorError> {
    let tokens = token::tokens(value, SPECIALS).or_else(|_| token::tokens(&without_quoting(value), SPECIALS));
    let tokens = tokens.unwrap_or_default();
    let mut found = Vec::new();
    let signs = tokens.iter().enumerate().filter(|(_, token)| token.kind == Kind::Special(b'@'));
    for (number, (at, _)) in signs.enumerate() {
        if number == MAX_AT_SIGNS {
            return Err(AuthorError::TooMany);
        }
        let Some(domain) = domain_behind(tokens.get(at + 1..).unwrap_or_default())? else { continue };
        if !found.contains(&domain) {
            found.push(domain);
        }
        if found.len() > MAX_AUTHOR_DOMAINS {
            return Err(AuthorError::TooMany);
        }
    }
    if found.is_empty() { Err(AuthorError::NoAddress) } else { Ok(found) }
}

/// Of the specials of RFC 5322 §3.2.3, those that end a word; dots stay in words.
const SPECIALS: &[u8] = b"<>@,;:[]";

fn without_quoting(value: &[u8]) -> Vec<u8> {
    value.iter().map(|b| if b"\"()\\".contains(b) { b' ' } else { *b }).collect()
}

/// The domain that follows an `@`, with the white space and comments around its dots that obsolete syntax
/// allows (RFC 5322 §4.4). `None` for an `@` that belongs to no address, such as `Sales @ Example`.
fn domain_behind(tokens: &[Token]) -> Result<Option<Domain>, AddressError> {
    let Some((first, rest)) = tokens.split_first() else { return Ok(None) };
    let text = match &first.kind {
        Kind::Word(word) => with_obsolete_dots(word, rest),
        Kind::Special(b'[') => literal(rest),
        Kind::Quoted(text) => format!("\"{text}\""),
        Kind::Special(_) => return Ok(None),
    };
    match Domain::parse(&text) {
        Ok(domain) => Ok(Some(domain)),
        Err(_) if first.detached => Ok(None),
        Err(error) => Err(error),
    }
}

fn with_obsolete_dots(word: &str, rest: &[Token]) -> String {
    let mut text = word.to_owned();
    for token in rest {
        match &token.kind {
            Kind::Word(next) if text.ends_with('.') || next.starts_with('.') => text.push_str(next),
            Kind::Word(_) | Kind::Quoted(_) | Kind::Special(_) => break,
        }
    }
    text
}

/// Ends at whatever no literal holds, the next `@` at the latest: a field of brackets that nothing closes is walked
/// through once and not once for each.
fn literal(rest: &[Token]) -> String {
    let mut text = String::from("[");
    for token in rest {
        match &token.kind {
            Kind::Word(word) => text.push_str(word),
            Kind::Special(b':') => text.push(':'),
            Kind::Special(b']') => {
                text.push(']');
                break;
            }
            Kind::Special(_) | Kind::Quoted(_) => break,
        }
    }
    text
}

#[cfg(test)]
#[path = "author_tests.rs"]
mod tests;
