//! A text as its reader takes it: what is encoded for URLs, HTML, mail and logs is decoded, in lower case.

use crate::mail::Domain;

/// How often what was decoded is decoded again: a URL in a page in a message.
const ROUNDS: usize = 4;
/// Entities of HTML that an address may be written with.
const ENTITIES: &[(&str, char)] = &[
    ("amp", '&'),
    ("commat", '@'),
    ("period", '.'),
    ("lowbar", '_'),
    ("plus", '+'),
    ("quot", '"'),
    ("lt", '<'),
    ("gt", '>'),
];
/// Longest entity that is looked for, in octets.
const MAX_ENTITY_OCTETS: usize = 10;

/// What stands between words and between the labels of a host, as white space does; all else may stand for an at sign.
/// An underscore may: Exchange Online names guests so, and no host has one (RFC 952).
const SEPARATORS: &str = ".-,;:/\\\"'`()[]{}<>";

/// One way to read a text.
#[derive(PartialEq, Eq)]
pub(super) struct Reading {
    /// In lower case.
    text: String,
    /// Its letters and digits alone.
    letters: String,
    /// Where in the text each of their octets stands.
    places: Vec<usize>,
    /// Where in them those begin that stand apart from what is before them.
    starts: Vec<usize>,
}

impl Reading {
    /// A text as it stands, and decoded where that makes a difference.
    pub(super) fn all_of(text: &str) -> Vec<Self> {
        let mut decoded = text.to_owned();
        for _ in 0..ROUNDS {
            let again = decode(&decoded);
            if again == decoded {
                break;
            }
            decoded = again;
        }
        let mut texts = vec![text.to_lowercase(), decoded.to_lowercase()];
        texts.dedup();
        texts.into_iter().map(Self::new).collect()
    }

    fn new(text: String) -> Self {
        let mut letters = String::with_capacity(text.len());
        let (mut places, mut starts) = (Vec::with_capacity(text.len()), Vec::new());
        let mut apart = true;
        for (at, c) in text.char_indices() {
            if c.is_alphanumeric() {
                if apart {
                    starts.push(letters.len());
                }
                letters.push(c);
                places.extend(at..at + c.len_utf8());
            }
            apart = !c.is_alphanumeric();
        }
        Self { text, letters, places, starts }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the text has an address, whatever stands between its letters: quotes, spaces, "at" and "dot". The name of
    /// a host that begins with the local part is none: between the two is a dot or a hyphen and no sign.
    pub(super) fn names(&self, local: &Self, domain: &Domain) -> bool {
        let letters_of = |label: &str| label.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
        let labels: Vec<String> = domain.as_str().split('.').map(letters_of).collect();
        let domains = [labels.concat(), labels.join("dot")];
        let is_named =
            |start: &usize| domains.iter().any(|domain| self.is_named_at(*start, &local.letters, domain));
        !local.letters.is_empty() && self.starts.iter().any(is_named)
    }

    /// Whether an address begins at one of the letters: `local@domain`, or `domain!local` and `domain=local` as UUCP and
    /// SRS have it.
    fn is_named_at(&self, start: usize, local: &str, domain: &str) -> bool {
        let is_sign = |c: char| !c.is_whitespace() && !SEPARATORS.contains(c);
        let stands = |at: usize, word: &str| self.behind(at, word).is_some_and(|end| self.is_apart(end));
        let by_sign = |at: usize| self.gap(at).contains(is_sign) && stands(at, domain);
        let by_word = |at: usize| {
            // Else "mail.at.example.org" were no host, and "format example.org" an address.
            let is_word = |end: &usize| self.gap(at) != "." && self.is_apart(*end) == self.is_apart(at);
            self.behind(at, "at").filter(is_word).is_some_and(|end| stands(end, domain))
        };
        let backward = |at: usize| matches!(self.gap(at), "!" | "=") && stands(at, local);
        self.behind(start, local).is_some_and(|at| by_sign(at) || by_word(at))
            || self.behind(start, domain).is_some_and(backward)
    }

    /// Where in the letters a word ends that begins there.
    fn behind(&self, at: usize, word: &str) -> Option<usize> {
        self.letters.get(at..)?.starts_with(word).then_some(at + word.len())
    }

    /// What stands in the text before one of the letters, or at its end.
    fn gap(&self, at: usize) -> &str {
        let start = at.checked_sub(1).and_then(|before| self.places.get(before)).map_or(0, |place| place + 1);
        let end = self.places.get(at).copied().unwrap_or(self.text.len());
        self.text.get(start..end).unwrap_or_default()
    }

    /// Whether one of the letters stands apart from the one before it.
    fn is_apart(&self, at: usize) -> bool {
        at == self.letters.len() || !self.gap(at).is_empty()
    }
}

/// Decodes once.
fn decode(text: &str) -> String {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (c, read) = escape(rest).unwrap_or_else(|| (Escaped::Char(plain(first)), first.len_utf8()));
        match c {
            Escaped::Octet(octet) => octets.push(octet),
            Escaped::Char(c) => octets.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Escaped::Nothing => {}
        }
        rest = rest.get(read..).unwrap_or_default();
    }
    String::from_utf8_lossy(&octets).into_owned()
}

/// What an escape stands for.
enum Escaped {
    /// Of UTF-8.
    Octet(u8),
    Char(char),
    Nothing,
}

/// The escape that a text begins with, and its length.
fn escape(text: &str) -> Option<(Escaped, usize)> {
    let after = text.get(1..)?;
    match text.as_bytes().first()? {
        // RFC 3986 §2.1, quoted-printable (RFC 2045 §6.7), xtext (RFC 3461 §4).
        b'%' | b'=' => Some((Escaped::Octet(hex_octet(after)?), 3)),
        b'+' if !after.starts_with(|c: char| c.is_ascii_lowercase()) => {
            Some((Escaped::Octet(hex_octet(after)?), 3))
        }
        b'&' => entity(after).map(|(c, read)| (Escaped::Char(c), read + 1)),
        b'\\' => Some(backslashed(after)),
        _ => None,
    }
}

fn hex_octet(text: &str) -> Option<u8> {
    let digits = text.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
    u8::from_str_radix(digits, 16).ok()
}

/// An entity of HTML behind its ampersand; the semicolon of a number may be missing, as browsers have it.
fn entity(text: &str) -> Option<(char, usize)> {
    let text = text.get(..text.floor_char_boundary(MAX_ENTITY_OCTETS))?;
    if let Some(number) = text.strip_prefix('#') {
        let (radix, digits) = match number.strip_prefix(['x', 'X']) {
            Some(digits) => (16, digits),
            None => (10, number),
        };
        let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
        let c = char::from_u32(u32::from_str_radix(digits.get(..end)?, radix).ok()?)?;
        let semicolon = usize::from(digits.get(end..)?.starts_with(';'));
        return Some((c, text.len() - digits.len() + end + semicolon));
    }
    let (name, _) = text.split_once(';')?;
    let (_, c) = ENTITIES.iter().find(|(known, _)| name.eq_ignore_ascii_case(known))?;
    Some((*c, name.len() + 1))
}

/// What follows a backslash: `x40`, `x{40}` (RFC 6533 §3), `u0040`, or a character that it quotes, which is read next.
fn backslashed(text: &str) -> (Escaped, usize) {
    let by_number = || {
        let number = text.strip_prefix(['x', 'X', 'u', 'U'])?;
        let (digits, around) = match number.strip_prefix('{').and_then(|braced| braced.split_once('}')) {
            Some((digits, _)) => (digits, 2),
            None if text.starts_with(['x', 'X']) => (number.get(..2)?, 0),
            None => (number.get(..4)?, 0),
        };
        let c = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
        Some((Escaped::Char(c), 2 + digits.len() + around))
    };
    by_number().unwrap_or((Escaped::Nothing, 1))
}

/// Full-width forms (U+FF01 to U+FF5E) are those of ASCII.
fn plain(c: char) -> char {
    match c {
        '\u{FF01}'..='\u{FF5E}' => char::from_u32(u32::from(c) - 0xFEE0).unwrap_or(c),
        c => c,
    }
}
