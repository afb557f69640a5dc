//! Command lines out of a stream of octets (RFC 5321 §2.3.8).
//!
//! A line ends at LF, so that the session stays in step with any client, but only CRLF makes it a valid
//! one: a bare LF gets its own error reply and its text is never obeyed.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;

use super::command::{Following, MAX_COMMAND_LINE_OCTETS, following};

/// Octets of one over-long line that are read and thrown away before the session is given up.
pub const MAX_DISCARDED_OCTETS: usize = 65_536;

/// What came off the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A line without its CRLF.
    Complete(Bytes),
    /// A line that ended at a bare LF or holds a CR of its own.
    Malformed,
    /// A line longer than [`MAX_COMMAND_LINE_OCTETS`]; it has been read to its end.
    TooLong,
    /// A line that is malformed or too long, and begins as BDAT does: octets follow of which nobody knows how many.
    Chunk,
    /// A line that does not end within [`MAX_DISCARDED_OCTETS`].
    Endless,
}

/// Splits buffered octets into lines.
#[derive(Debug, Default)]
pub struct LineDecoder {
    discarded: usize,
    /// Whether the line of which octets were thrown away begins as BDAT does.
    is_chunk: bool,
}

impl LineDecoder {
    /// Takes the next line off the buffer; `None` when more octets are needed.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Option<Line> {
        match memchr(b'\n', buffer) {
            Some(at) => {
                let line = buffer.split_to(at + 1).freeze();
                Some(self.finish(line))
            }
            None if self.discarded + buffer.len() >= MAX_DISCARDED_OCTETS => Some(Line::Endless),
            None => {
                if self.discarded > 0 || buffer.len() > MAX_COMMAND_LINE_OCTETS {
                    self.is_chunk |= self.discarded == 0 && is_chunk(buffer);
                    self.discarded += buffer.len();
                    buffer.advance(buffer.len());
                }
                None
            }
        }
    }

    fn finish(&mut self, line: Bytes) -> Line {
        let was_chunk = std::mem::take(&mut self.is_chunk);
        let discarded = std::mem::take(&mut self.discarded);
        match line.strip_suffix(b"\r\n") {
            _ if was_chunk => Line::Chunk,
            _ if discarded > 0 => Line::TooLong,
            Some(text) if line.len() <= MAX_COMMAND_LINE_OCTETS && memchr(b'\r', text).is_none() => {
                Line::Complete(line.slice(..line.len() - 2))
            }
            _ if is_chunk(&line) => Line::Chunk,
            _ if line.len() > MAX_COMMAND_LINE_OCTETS => Line::TooLong,
            _ => Line::Malformed,
        }
    }
}

fn is_chunk(line: &[u8]) -> bool {
    following(line) != Following::Command
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
