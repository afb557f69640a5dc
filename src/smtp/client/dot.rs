//! Transparency: the message as DATA carries it (RFC 5321 §4.5.2).

/// Where the next octet stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Position {
    /// At the start of a line, where a dot is doubled.
    #[default]
    LineStart,
    /// Inside a line.
    Middle,
    /// Behind a CR that is held back until it is known what follows.
    AfterCr,
}

/// Doubles the dots at the start of lines over a message that comes in any chunks. Messages here have CRLF
/// line endings only; a bare CR or LF would nevertheless leave as CRLF (RFC 5321 §2.3.8), so that no
/// mistake elsewhere can smuggle an end of data past an upstream.
#[derive(Debug, Default)]
pub struct DotStuffer {
    position: Position,
}

impl DotStuffer {
    /// Appends the wire form of the next octets to `out`.
    pub fn stuff(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        let mut rest = chunk;
        while let Some((&first, tail)) = rest.split_first() {
            match self.position {
                Position::AfterCr => {
                    self.end_line(out);
                    rest = if first == b'\n' { tail } else { rest };
                    continue;
                }
                Position::LineStart if first == b'.' => out.push(b'.'),
                Position::LineStart | Position::Middle => {}
            }
            let run = rest.iter().position(|b| matches!(b, b'\r' | b'\n')).unwrap_or(rest.len());
            let (text, ending) = rest.split_at(run);
            out.extend_from_slice(text);
            match ending.split_first() {
                None => self.position = Position::Middle,
                Some((b'\r', _)) => self.position = Position::AfterCr,
                Some(_) => self.end_line(out),
            }
            rest = ending.get(1..).unwrap_or_default();
        }
    }

    /// Appends the end of data, after a CRLF for a last line that has none.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        if self.position != Position::LineStart {
            self.end_line(out);
        }
        out.extend_from_slice(b".\r\n");
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\r\n");
        self.position = Position::LineStart;
    }
}

#[cfg(test)]
#[path = "dot_tests.rs"]
mod tests;
