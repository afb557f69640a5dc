//! Replies as upstreams send them (RFC 5321 §4.2), read within bounds that no upstream can talk past.

use bytes::{Buf, BytesMut};
use thiserror::Error;

use crate::smtp::reply::{Enhanced, Reply, UPSTREAM_REASON, clean};

/// Octets of a reply line that are kept; the rest of the line is cut. RFC 5321 §4.5.3.1.5 allows 512, and
/// upstreams exceed that.
pub const MAX_LINE_OCTETS: usize = 4096;
/// Lines of a reply that are kept; the text of the others is dropped.
pub const MAX_LINES: usize = 100;
/// Octets of all lines together that are kept. What is kept is relayed, searched for the destination of each copy of the
/// message, and stored; upstreams explain themselves in a quarter of it.
pub const MAX_TEXT_OCTETS: usize = 4 * 1024;
/// Octets of one reply, with all line endings, past which it is an error.
pub const MAX_REPLY_OCTETS: usize = 64 * 1024;

/// Why octets are not an SMTP reply. The connection is out of step after any of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReplyError {
    /// A line does not begin with three digits and then a space, a hyphen or its end.
    #[error("a reply line does not begin with a reply code")]
    NoCode,
    /// The code is outside 200 to 599 (RFC 5321 §4.2.1).
    #[error("reply code {0} is not between 200 and 599")]
    CodeOutOfRange(u16),
    /// The lines of one reply differ in their code (RFC 5321 §4.2.1).
    #[error("a reply changes its code from {0} to {1}")]
    CodeChanged(u16, u16),
    /// More than [`MAX_REPLY_OCTETS`].
    #[error("a reply is longer than {MAX_REPLY_OCTETS} octets")]
    TooLong,
}

/// Reads replies from octets that arrive in any pieces. Lines end with CRLF, or with the bare LF that some
/// upstreams send (differs: RFC 5321 §2.3.8, because a reply is read once and never passed on raw).
#[derive(Debug, Default)]
pub struct ReplyDecoder {
    line: Vec<u8>,
    octets: usize,
    code: Option<u16>,
    enhanced: Option<Enhanced>,
    lines: Vec<String>,
    kept_octets: usize,
}

impl ReplyDecoder {
    /// Takes octets from the front of `input` up to the end of a reply, or all of them when none ends there.
    ///
    /// # Errors
    /// When the octets are no reply, or too many for one.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Reply>, ReplyError> {
        while !input.is_empty() {
            let end = input.iter().position(|&b| b == b'\n');
            let piece = input.split_to(end.unwrap_or(input.len()));
            self.octets += piece.len() + usize::from(end.is_some());
            if self.octets > MAX_REPLY_OCTETS {
                return Err(ReplyError::TooLong);
            }
            let room = MAX_LINE_OCTETS.saturating_sub(self.line.len()).min(piece.len());
            self.line.extend_from_slice(piece.get(..room).unwrap_or_default());
            if end.is_none() {
                return Ok(None);
            }
            input.advance(1);
            if let Some(reply) = self.end_line()? {
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }

    /// Takes one whole line into the reply; gives the reply when it was the last.
    fn end_line(&mut self) -> Result<Option<Reply>, ReplyError> {
        let line = std::mem::take(&mut self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        let (code, last, text) = split_line(line)?;
        match self.code {
            Some(first) if first != code => return Err(ReplyError::CodeChanged(first, code)),
            Some(_) | None => self.code = Some(code),
        }
        self.keep(code, &String::from_utf8_lossy(text));
        if !last {
            return Ok(None);
        }
        let synthetic = (code / 100 != 3).then(|| Enhanced(class(code), 0, 0));
        let done = std::mem::take(self);
        let enhanced = done.enhanced.or(synthetic);
        Ok(Some(Reply { code, enhanced, reason: UPSTREAM_REASON, lines: done.lines }))
    }

    /// Keeps a line's text, less the enhanced code that it begins with.
    fn keep(&mut self, code: u16, text: &str) {
        if self.lines.len() == MAX_LINES || self.kept_octets == MAX_TEXT_OCTETS {
            return;
        }
        let found = split_enhanced(text).filter(|(found, _)| found.0 == class(code));
        let text = match (found, self.enhanced) {
            (Some((found, rest)), None) if self.lines.is_empty() => {
                self.enhanced = Some(found);
                rest
            }
            (Some((found, rest)), Some(first)) if found == first => rest,
            (Some(_) | None, _) => text,
        };
        let mut line = clean(text);
        line.truncate(MAX_TEXT_OCTETS - self.kept_octets);
        self.kept_octets += line.len();
        self.lines.push(line);
    }
}

/// The first digit of a reply code.
fn class(code: u16) -> u8 {
    u8::try_from(code / 100).unwrap_or_default()
}

/// Code, whether the line is the reply's last, and text (RFC 5321 §4.2.1).
fn split_line(line: &[u8]) -> Result<(u16, bool, &[u8]), ReplyError> {
    let (digits, rest) = line.split_at_checked(3).ok_or(ReplyError::NoCode)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(ReplyError::NoCode);
    }
    let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    if !(200..=599).contains(&code) {
        return Err(ReplyError::CodeOutOfRange(code));
    }
    match rest.split_first() {
        None => Ok((code, true, &[])),
        Some((b' ', text)) => Ok((code, true, text)),
        Some((b'-', text)) => Ok((code, false, text)),
        Some(_) => Err(ReplyError::NoCode),
    }
}

/// The enhanced code that a text begins with, and what follows (RFC 2034 §4, RFC 3463 §2: one digit, then
/// twice one to three).
fn split_enhanced(text: &str) -> Option<(Enhanced, &str)> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let mut numbers = word.split('.').map(|number| {
        let digits = (1..=3).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| number.parse().ok()).flatten()
    });
    let (class, subject, detail) = (numbers.next()??, numbers.next()??, numbers.next()??);
    if numbers.next().is_some() || ![2, 4, 5].contains(&class) {
        return None;
    }
    Some((Enhanced(u8::try_from(class).ok()?, subject, detail), rest.trim_start()))
}

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;
