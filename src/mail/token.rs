//! The lexical layer of structured header fields (RFC 5322 §3.2): words, quoted strings and specials, with
//! comments and folding white space taken out. Takes any octets; linear in time, without recursion.

use thiserror::Error;

/// A quoted string, a comment or a backslash that does not end, or a parenthesis that nothing opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("unbalanced quotes or comments")]
pub struct Unbalanced;

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A run of octets that are neither white space, quote, parenthesis nor special.
    Word(String),
    /// The content of a quoted string, its quoted pairs resolved.
    Quoted(String),
    /// One of the specials that the caller named.
    Special(u8),
}

/// One token of a field's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Whether comments or white space stand directly before it.
    pub detached: bool,
}

/// Cuts a field's value into tokens; octets that are not UTF-8 become U+FFFD.
///
/// # Errors
/// When quotes or comments are unbalanced: readers will not agree on what such a field says.
pub fn tokens(value: &[u8], specials: &[u8]) -> Result<Vec<Token>, Unbalanced> {
    let mut found = Vec::new();
    let mut rest = value;
    let mut detached = false;
    while let Some((&first, tail)) = rest.split_first() {
        let kind = match first {
            b' ' | b'\t' | b'\r' | b'\n' => {
                detached = true;
                rest = tail;
                continue;
            }
            b'(' => {
                detached = true;
                rest = behind_comment(tail).ok_or(Unbalanced)?;
                continue;
            }
            b')' => return Err(Unbalanced),
            b'"' => {
                let (text, behind) = quoted(tail).ok_or(Unbalanced)?;
                rest = behind;
                Kind::Quoted(text)
            }
            special if specials.contains(&special) => {
                rest = tail;
                Kind::Special(special)
            }
            _ => {
                let (word, behind) = rest.split_at(word_octets(rest, specials));
                rest = behind;
                Kind::Word(String::from_utf8_lossy(word).into_owned())
            }
        };
        found.push(Token { kind, detached });
        detached = false;
    }
    Ok(found)
}

fn word_octets(rest: &[u8], specials: &[u8]) -> usize {
    rest.iter().position(|b| b" \t\r\n()\"".contains(b) || specials.contains(b)).unwrap_or(rest.len())
}

/// What follows a comment whose opening parenthesis is already gone (RFC 5322 §3.2.2: comments nest).
fn behind_comment(octets: &[u8]) -> Option<&[u8]> {
    let mut depth = 1_usize;
    let mut octets = octets.iter();
    while depth > 0 {
        match octets.next()? {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b'\\' => {
                octets.next()?;
            }
            _ => {}
        }
    }
    Some(octets.as_slice())
}

/// The content of a quoted string whose opening quote is already gone, and what follows it. Folding inside
/// is not part of the text (RFC 5322 §3.2.4).
fn quoted(octets: &[u8]) -> Option<(String, &[u8])> {
    let mut text = Vec::new();
    let mut octets = octets.iter();
    loop {
        match octets.next()? {
            b'"' => return Some((String::from_utf8_lossy(&text).into_owned(), octets.as_slice())),
            b'\\' => text.push(*octets.next()?),
            b'\r' | b'\n' => {}
            octet => text.push(*octet),
        }
    }
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
