//! What an upstream said it can do, in its answer to EHLO (RFC 5321 §4.1.1.1).

use crate::smtp::reply::Reply;

/// An EHLO keyword that this client knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extension {
    /// RFC 6152.
    EightBitMime,
    /// RFC 6531.
    SmtpUtf8,
    /// RFC 2920.
    Pipelining,
    /// RFC 3207.
    StartTls,
    /// RFC 3030.
    Chunking,
    /// RFC 3461.
    Dsn,
    /// RFC 2034.
    EnhancedStatusCodes,
    /// RFC 8689.
    RequireTls,
    /// RFC 1870.
    Size,
}

/// The keywords by name; names are case-insensitive (RFC 5321 §2.4).
const KEYWORDS: &[(&str, Extension)] = &[
    ("8BITMIME", Extension::EightBitMime),
    ("SMTPUTF8", Extension::SmtpUtf8),
    ("PIPELINING", Extension::Pipelining),
    ("STARTTLS", Extension::StartTls),
    ("CHUNKING", Extension::Chunking),
    ("DSN", Extension::Dsn),
    ("ENHANCEDSTATUSCODES", Extension::EnhancedStatusCodes),
    ("REQUIRETLS", Extension::RequireTls),
    ("SIZE", Extension::Size),
];

/// The extensions and limits of one session. An upstream that only took HELO has none: the default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capabilities {
    extensions: Vec<Extension>,
    size_limit: Option<u64>,
    mails_max: Option<usize>,
    recipients_max: Option<usize>,
}

impl Capabilities {
    /// Reads the answer to EHLO. Its first line is the upstream's name; unknown keywords and parameters that
    /// are no numbers are passed over.
    #[must_use]
    pub fn parse(reply: &Reply) -> Self {
        let mut capabilities = Self::default();
        for line in reply.lines.iter().skip(1) {
            let mut words = line.split_ascii_whitespace();
            let keyword = words.next().unwrap_or_default();
            if keyword.eq_ignore_ascii_case("LIMITS") {
                words.for_each(|limit| capabilities.take_limit(limit));
                continue;
            }
            let known = KEYWORDS.iter().find(|(name, _)| keyword.eq_ignore_ascii_case(name));
            let Some((_, extension)) = known else { continue };
            if *extension == Extension::Size {
                capabilities.size_limit = words.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0);
            }
            if !capabilities.offers(*extension) {
                capabilities.extensions.push(*extension);
            }
        }
        capabilities
    }

    /// One `NAME=VALUE` of LIMITS (RFC 9422 §4). A limit of 0 would allow nothing and is passed over.
    fn take_limit(&mut self, limit: &str) {
        let Some((name, value)) = limit.split_once('=') else { return };
        let Some(value) = value.parse().ok().filter(|value| *value > 0) else { return };
        match name.to_ascii_uppercase().as_str() {
            "MAILMAX" => self.mails_max = Some(value),
            "RCPTMAX" => self.recipients_max = Some(value),
            _ => {}
        }
    }

    /// Whether the extension is offered.
    #[must_use]
    pub fn offers(&self, extension: Extension) -> bool {
        self.extensions.contains(&extension)
    }

    /// Largest message taken, in octets; none when nothing or `SIZE 0` was said (RFC 1870 §4).
    #[must_use]
    pub fn size_limit(&self) -> Option<u64> {
        self.size_limit
    }

    /// Transactions a connection (RFC 9422 §4.1).
    #[must_use]
    pub fn mails_max(&self) -> Option<usize> {
        self.mails_max
    }

    /// Recipients a transaction (RFC 9422 §4.2).
    #[must_use]
    pub fn recipients_max(&self) -> Option<usize> {
        self.recipients_max
    }
}

#[cfg(test)]
#[path = "capabilities_tests.rs"]
mod tests;
