//! The commands this client sends (RFC 5321 §4.1.1), as lines with their CRLF.

use super::{Capabilities, Extension};
use crate::mail::{Address, BodyType, Domain, ReversePath, SmtpUtf8};

/// What MAIL says about the message; each is said only to an upstream that offers the extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailParameters {
    /// Octets of the message, for SIZE (RFC 1870 §6).
    pub octets: u64,
    /// For BODY (RFC 6152 §2).
    pub body_type: BodyType,
    /// Whether the message needs SMTPUTF8 (RFC 6531 §3.4).
    pub smtp_utf8: SmtpUtf8,
}

/// EHLO (RFC 5321 §4.1.1.1).
#[must_use]
pub fn ehlo(name: &Domain) -> String {
    format!("EHLO {name}\r\n")
}

/// HELO, for upstreams that do not know EHLO (RFC 5321 §3.2).
#[must_use]
pub fn helo(name: &Domain) -> String {
    format!("HELO {name}\r\n")
}

/// MAIL (RFC 5321 §4.1.1.2).
#[must_use]
pub fn mail(reverse_path: &ReversePath, parameters: MailParameters, offered: &Capabilities) -> String {
    let mut line = format!("MAIL FROM:<{reverse_path}>");
    if offered.offers(Extension::Size) {
        line.push_str(&format!(" SIZE={}", parameters.octets));
    }
    if parameters.body_type == BodyType::EightBitMime && offered.offers(Extension::EightBitMime) {
        line.push_str(" BODY=8BITMIME");
    }
    if parameters.smtp_utf8 == SmtpUtf8::Requested && offered.offers(Extension::SmtpUtf8) {
        line.push_str(" SMTPUTF8");
    }
    line.push_str("\r\n");
    line
}

/// RCPT (RFC 5321 §4.1.1.3).
#[must_use]
pub fn rcpt(forward_path: &Address) -> String {
    format!("RCPT TO:<{forward_path}>\r\n")
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
