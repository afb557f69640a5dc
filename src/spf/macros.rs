//! Macro strings (RFC 7208 §7): checked once, expanded to octets.
//!
//! ```text
//! macro-expand = "%{" letter *DIGIT ["r"] *delimiter "}" / "%%" / "%_" / "%-"
//! ```
//!
//! Whoever wrote one is a stranger: it is kept as its text, so that a record takes no more memory than it has octets,
//! and what it stands for is made only as far as it counts.

use std::net::IpAddr;
use std::time::SystemTime;

use super::{SyntaxError, excerpt};

/// Longest name that a macro string becomes; of a longer one labels are cut from the left (RFC 7208 §7.3).
pub const MAX_NAME_OCTETS: usize = 253;
/// Longest text that is made of the text of an explanation.
const MAX_TEXT_OCTETS: usize = 2048;
/// What may separate the parts of a value (RFC 7208 §7.1 `delimiter`).
const DELIMITERS: &[u8] = b".-+,/_=";
/// What is left as it is where a value is escaped for a URL (RFC 3986 §2.3 `unreserved`), beside letters and digits.
const UNRESERVED: &[u8] = b"-._~";

/// A macro string that follows the grammar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MacroString {
    text: Box<[u8]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part<'a> {
    Literal(&'a [u8]),
    /// What `%%`, `%_` and `%-` stand for.
    Fixed(&'static str),
    Macro(Macro<'a>),
}

/// `%{…}`
#[derive(Debug, Clone, PartialEq, Eq)]
struct Macro<'a> {
    letter: Letter,
    escaping: Escaping,
    /// How many parts are kept, from the right; at least 1.
    kept: usize,
    order: Order,
    delimiters: &'a [u8],
}

/// RFC 7208 §7.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Letter {
    Sender,
    LocalPart,
    SenderDomain,
    Domain,
    Ip,
    ValidatedName,
    IpFamily,
    Helo,
    IpText,
    Receiver,
    Timestamp,
}

/// Whether the letter is written large (RFC 7208 §7.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escaping {
    None,
    Url,
}

/// Whether the parts are turned round (`r`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    AsIs,
    Reversed,
}

/// Whose mail is checked, for macros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// The client.
    pub ip: IpAddr,
    /// What the client said with EHLO or HELO.
    pub helo: String,
    /// The local part of MAIL FROM without quotes: `"a b"` is asked for as `a b`, as the mailbox it means.
    pub local: String,
    /// The domain of MAIL FROM.
    pub domain: String,
}

/// Where a macro string stands.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Whose mail is checked.
    pub sender: &'a Sender,
    /// The domain whose record is evaluated.
    pub domain: &'a [u8],
    /// The name for `%{p}`; `None`: "unknown".
    pub validated: Option<&'a [u8]>,
    /// For the text of an explanation.
    pub explained: Option<Explained<'a>>,
}

/// What only the text of an explanation may say (RFC 7208 §7.2).
#[derive(Debug, Clone, Copy)]
pub struct Explained<'a> {
    /// `%{r}`: who checks.
    pub receiver: &'a str,
    /// `%{t}`: when.
    pub at: SystemTime,
}

/// Where a macro string may stand: what it may hold depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a term of a record.
    Term,
    /// The text of an explanation (`explain-string`): spaces are allowed there, and the letters `c`, `r` and `t`.
    Explanation,
}

impl MacroString {
    /// Reads a `domain-spec`; an error shows `term`.
    pub(super) fn domain(text: &[u8], term: &[u8]) -> Result<Self, SyntaxError> {
        let parsed = Self::any(text, term)?;
        if parsed.ends_as_domain() { Ok(parsed) } else { Err(SyntaxError::Domain(excerpt(term))) }
    }

    /// Reads the value of a modifier that nobody knows; an error shows `term`.
    pub(super) fn any(text: &[u8], term: &[u8]) -> Result<Self, SyntaxError> {
        Self::parse(text, Place::Term).ok_or_else(|| SyntaxError::Macro(excerpt(term)))
    }

    /// Reads the text of an explanation (RFC 7208 §6.2); `None` when it is none.
    #[must_use]
    pub fn explanation(text: &[u8]) -> Option<Self> {
        Self::parse(text, Place::Explanation)
    }

    fn parse(text: &[u8], place: Place) -> Option<Self> {
        let mut rest = text;
        while !rest.is_empty() {
            rest = Part::parse(rest, place)?.1;
        }
        Some(Self { text: text.into() })
    }

    /// Its parts, in order. It was read before, so that none is missing.
    fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let mut rest = &*self.text;
        std::iter::from_fn(move || {
            let (part, behind) = Part::parse(rest, Place::Explanation).filter(|_| !rest.is_empty())?;
            rest = behind;
            Some(part)
        })
    }

    /// `domain-end = ( "." toplabel [ "." ] ) / macro-expand`
    fn ends_as_domain(&self) -> bool {
        match self.parts().last() {
            Some(Part::Macro(_) | Part::Fixed(_)) => true,
            Some(Part::Literal(text)) => {
                let text = text.strip_suffix(b".").unwrap_or(text);
                let dot = text.iter().rposition(|b| *b == b'.');
                dot.and_then(|dot| text.get(dot + 1..)).is_some_and(is_top_label)
            }
            None => false,
        }
    }

    fn has(&self, letters: &[Letter]) -> bool {
        self.parts().any(|part| matches!(part, Part::Macro(found) if letters.contains(&found.letter)))
    }

    /// Whether it holds `%{p}`, for which the client's names must be looked up.
    #[must_use]
    pub fn names_the_client(&self) -> bool {
        self.has(&[Letter::ValidatedName])
    }

    /// Whether it holds `%{l}` or `%{s}`.
    #[must_use]
    pub fn names_the_mailbox(&self) -> bool {
        self.has(&[Letter::LocalPart, Letter::Sender])
    }

    /// The name that it stands for, as `%{d}` has it in the record of that name: labels with dots between, and
    /// none behind the last.
    #[must_use]
    pub fn name(&self, context: &Context<'_>) -> Vec<u8> {
        let mut name = self.end_of_text(context);
        if name.ends_with(b".") {
            name.pop();
        }
        let excess = name.len().saturating_sub(MAX_NAME_OCTETS);
        if excess > 0 {
            let dot = name.iter().skip(excess - 1).position(|b| *b == b'.');
            name.drain(..dot.map_or(name.len(), |dot| excess + dot));
        }
        name
    }

    /// Of what is too long for a name the end: two octets more show a last dot, and where a label is cut.
    fn end_of_text(&self, context: &Context<'_>) -> Vec<u8> {
        let mut pieces = Vec::new();
        let mut octets = 0;
        for part in self.parts().collect::<Vec<_>>().iter().rev() {
            let mut piece = Vec::new();
            part.append(context, &mut piece);
            octets += piece.len();
            pieces.push(piece);
            if octets > MAX_NAME_OCTETS + 1 {
                break;
            }
        }
        pieces.reverse();
        pieces.concat()
    }

    /// The text that it stands for, cut where it is much longer than anybody is shown.
    #[must_use]
    pub fn text(&self, context: &Context<'_>) -> Vec<u8> {
        let mut text = Vec::new();
        for part in self.parts() {
            part.append(context, &mut text);
            if text.len() > MAX_TEXT_OCTETS {
                break;
            }
        }
        text.truncate(MAX_TEXT_OCTETS);
        text
    }
}

/// `toplabel`: letters, digits and hyphens, not a hyphen at either end, and not digits alone.
fn is_top_label(label: &[u8]) -> bool {
    let ends = [label.first(), label.last()];
    ends.iter().all(|end| end.is_some_and(u8::is_ascii_alphanumeric))
        && label.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
        && !label.iter().all(u8::is_ascii_digit)
}

impl<'a> Part<'a> {
    /// The first part of a text that is not empty, and what is behind it.
    fn parse(text: &'a [u8], place: Place) -> Option<(Self, &'a [u8])> {
        match text {
            [b'%', b'{', rest @ ..] => {
                let end = rest.iter().position(|b| *b == b'}')?;
                let (inside, rest) = rest.split_at_checked(end)?;
                Some((Self::Macro(Macro::parse(inside, place)?), rest.get(1..)?))
            }
            [b'%', b'%', rest @ ..] => Some((Self::Fixed("%"), rest)),
            [b'%', b'_', rest @ ..] => Some((Self::Fixed(" "), rest)),
            [b'%', b'-', rest @ ..] => Some((Self::Fixed("%20"), rest)),
            [b'%', ..] => None,
            _ => {
                let end = text.iter().position(|b| *b == b'%').unwrap_or(text.len());
                let (literal, rest) = text.split_at_checked(end)?;
                let allowed = |b: &u8| b.is_ascii_graphic() || *b == b' ' && place == Place::Explanation;
                literal.iter().all(allowed).then_some((Self::Literal(literal), rest))
            }
        }
    }

    fn append(&self, context: &Context<'_>, text: &mut Vec<u8>) {
        match self {
            Self::Literal(octets) => text.extend_from_slice(octets),
            Self::Fixed(octets) => text.extend_from_slice(octets.as_bytes()),
            Self::Macro(expanded) => expanded.append(context, text),
        }
    }
}

impl<'a> Macro<'a> {
    /// Reads what stands between the braces.
    fn parse(inside: &'a [u8], place: Place) -> Option<Self> {
        let (letter, rest) = inside.split_first()?;
        let escaping = if letter.is_ascii_uppercase() { Escaping::Url } else { Escaping::None };
        let letter = Letter::parse(letter.to_ascii_lowercase(), place)?;
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        let (digits, rest) = rest.split_at_checked(digits)?;
        let (order, delimiters) = match rest {
            [b'r' | b'R', rest @ ..] => (Order::Reversed, rest),
            rest => (Order::AsIs, rest),
        };
        let delimiters = delimiters.iter().all(|b| DELIMITERS.contains(b)).then_some(delimiters)?;
        let delimiters = if delimiters.is_empty() { b".".as_slice() } else { delimiters };
        Some(Self { letter, escaping, kept: kept(digits)?, order, delimiters })
    }

    fn append(&self, context: &Context<'_>, text: &mut Vec<u8>) {
        let value = self.letter.value(context);
        let mut parts: Vec<&[u8]> = value.split(|b| self.delimiters.contains(b)).collect();
        if self.order == Order::Reversed {
            parts.reverse();
        }
        let kept = parts.get(parts.len().saturating_sub(self.kept)..).unwrap_or_default().join(&b'.');
        match self.escaping {
            Escaping::None => text.extend_from_slice(&kept),
            Escaping::Url => escape(&kept, text),
        }
    }
}

/// How many parts `digits` keeps: all without any. "If a DIGIT is specified, the value MUST be nonzero" (RFC 7208
/// §7.3); a number past any value's parts is as good as the largest.
fn kept(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() {
        return Some(usize::MAX);
    }
    let value = digits.iter().fold(0_usize, |value, digit| {
        value.saturating_mul(10).saturating_add(usize::from(digit.saturating_sub(b'0')))
    });
    (value > 0).then_some(value)
}

/// RFC 3986 §2.1.
fn escape(value: &[u8], text: &mut Vec<u8>) {
    for octet in value {
        if octet.is_ascii_alphanumeric() || UNRESERVED.contains(octet) {
            text.push(*octet);
        } else {
            text.extend_from_slice(format!("%{octet:02X}").as_bytes());
        }
    }
}

impl Letter {
    fn parse(letter: u8, place: Place) -> Option<Self> {
        match (letter, place) {
            (b's', _) => Some(Self::Sender),
            (b'l', _) => Some(Self::LocalPart),
            (b'o', _) => Some(Self::SenderDomain),
            (b'd', _) => Some(Self::Domain),
            (b'i', _) => Some(Self::Ip),
            (b'p', _) => Some(Self::ValidatedName),
            (b'v', _) => Some(Self::IpFamily),
            (b'h', _) => Some(Self::Helo),
            (b'c', Place::Explanation) => Some(Self::IpText),
            (b'r', Place::Explanation) => Some(Self::Receiver),
            (b't', Place::Explanation) => Some(Self::Timestamp),
            _ => None,
        }
    }

    fn value(self, context: &Context<'_>) -> Vec<u8> {
        let Context { sender, domain, validated, explained } = context;
        match self {
            Self::Sender => format!("{}@{}", sender.local, sender.domain).into_bytes(),
            Self::LocalPart => sender.local.clone().into_bytes(),
            Self::SenderDomain => sender.domain.clone().into_bytes(),
            Self::Domain => domain.to_vec(),
            Self::Ip => dotted(sender.ip).into_bytes(),
            Self::ValidatedName => validated.unwrap_or(UNKNOWN).to_vec(),
            Self::IpFamily => if sender.ip.is_ipv4() { "in-addr" } else { "ip6" }.into(),
            Self::Helo => sender.helo.clone().into_bytes(),
            Self::IpText => sender.ip.to_string().into_bytes(),
            Self::Receiver => explained.map_or(UNKNOWN, |explained| explained.receiver.as_bytes()).to_vec(),
            Self::Timestamp => seconds(explained.map(|explained| explained.at)).to_string().into_bytes(),
        }
    }
}

/// RFC 7208 §7.3, of `%{p}`: the word where there is no name.
const UNKNOWN: &[u8] = b"unknown";

/// An IPv4 address as it is written, an IPv6 address as 32 digits with dots between (RFC 7208 §7.3).
fn dotted(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => {
            let digits = format!("{:032X}", u128::from(ip));
            digits.chars().flat_map(|digit| ['.', digit]).skip(1).collect()
        }
    }
}

/// Seconds since 1970 (RFC 7208 §7.2).
fn seconds(at: Option<SystemTime>) -> u64 {
    let since = at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
#[path = "macros_tests.rs"]
mod tests;
