//! Message octets out of DATA and BDAT: dot-unstuffing and the true end of data (RFC 5321 §4.5.2), and
//! the check that keeps us from being a vehicle for SMTP smuggling.
//!
//! Only `<CRLF>.<CRLF>` ends DATA. Bare CR, bare LF, NUL and over-long lines are noted, and the message
//! is refused once its true end was read, so that what follows is never taken for commands.

use memchr::{memchr, memchr3};

/// Longest line of a message, without CRLF, in octets. RFC 5321 §4.5.3.1.6 asks for 998 and up; longer
/// ones exist in the wild and pass unchanged.
pub const MAX_MESSAGE_LINE_OCTETS: usize = 65_536;

/// Removes dot-stuffing and finds the end of DATA.
#[derive(Debug, Default)]
pub struct DataDecoder {
    state: State,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Behind CRLF, or at the start.
    #[default]
    LineStart,
    /// Behind the dot that began a line.
    Dot,
    /// Behind `.CR` at the start of a line.
    DotCr,
    /// Within a line.
    Within,
    /// Behind a CR within a line.
    Cr,
}

/// How far a call to [`DataDecoder::decode`] got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// All input was taken; the message goes on.
    More,
    /// The message ended behind this many octets of input.
    End(usize),
}

impl DataDecoder {
    /// Appends the message octets found in `input` to `out`.
    pub fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Progress {
        let mut at = 0;
        while let Some(&octet) = input.get(at) {
            match (self.state, octet) {
                (State::LineStart, b'.') => self.state = State::Dot,
                (State::Dot, b'\r') => self.state = State::DotCr,
                (State::DotCr, b'\n') => {
                    self.state = State::LineStart;
                    return Progress::End(at + 1);
                }
                (State::DotCr, _) => {
                    out.push(b'\r');
                    self.state = State::Within;
                    continue;
                }
                (State::Cr, b'\n') => {
                    out.extend_from_slice(b"\r\n");
                    self.state = State::LineStart;
                }
                (State::Cr, _) => {
                    out.push(b'\r');
                    self.state = State::Within;
                    continue;
                }
                (State::LineStart | State::Within, b'\r') => self.state = State::Cr,
                (State::LineStart | State::Dot | State::Within, _) => {
                    self.state = State::Within;
                    let rest = input.get(at..).unwrap_or_default();
                    let run = rest.get(..memchr(b'\r', rest).unwrap_or(rest.len())).unwrap_or_default();
                    out.extend_from_slice(run);
                    at += run.len();
                    continue;
                }
            }
            at += 1;
        }
        Progress::More
    }
}

/// What is wrong with the octets of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A bare CR, a bare LF or a NUL (RFC 5321 §2.3.8, §4.1.1.4; RFC 5322 §2.3).
    BareLineEnding,
    /// A line past [`MAX_MESSAGE_LINE_OCTETS`].
    LineTooLong,
}

/// Looks at all octets of a message, in pieces of any size, and remembers the first fault.
#[derive(Debug, Default)]
pub struct ContentCheck {
    line_octets: usize,
    after_cr: bool,
    fault: Option<Fault>,
}

impl ContentCheck {
    /// Looks at the next piece.
    pub fn check(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while self.fault.is_none() && !rest.is_empty() {
            if std::mem::take(&mut self.after_cr) {
                match rest.split_first() {
                    Some((b'\n', tail)) => {
                        self.line_octets = 0;
                        rest = tail;
                        continue;
                    }
                    _ => self.fault = Some(Fault::BareLineEnding),
                }
                continue;
            }
            let run = memchr3(b'\r', b'\n', 0, rest).unwrap_or(rest.len());
            self.line_octets += run;
            if self.line_octets > MAX_MESSAGE_LINE_OCTETS {
                self.fault = Some(Fault::LineTooLong);
            }
            match rest.get(run) {
                None => {}
                Some(b'\r') => self.after_cr = true,
                Some(_) => self.fault = Some(self.fault.unwrap_or(Fault::BareLineEnding)),
            }
            rest = rest.get(run + 1..).unwrap_or_default();
        }
    }

    /// The first fault of the whole message; call it once the last piece was looked at.
    #[must_use]
    pub fn finish(&self) -> Option<Fault> {
        if self.after_cr { self.fault.or(Some(Fault::BareLineEnding)) } else { self.fault }
    }
}

#[cfg(test)]
#[path = "data_tests.rs"]
mod tests;
