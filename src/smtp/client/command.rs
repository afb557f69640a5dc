//! The commands this client sends (RFC 5321 §4.1.1), as lines with their CRLF.

use super::{Capabilities, Extension};
use crate::mail::{
    Address, BodyType, Domain, MAX_ORIGINAL_RECIPIENT_OCTETS, MessageRequest, Notify, RecipientRequest,
    RequireTls, Return, ReversePath, SmtpUtf8, xtext,
};

/// What MAIL says about the message; each is said only to an upstream that offers the extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailParameters<'a> {
    /// Octets of the message, for SIZE (RFC 1870 §6); not said where they are not known.
    pub octets: Option<u64>,
    /// For BODY (RFC 6152 §2).
    pub body_type: BodyType,
    /// Whether the message needs SMTPUTF8 (RFC 6531 §3.4).
    pub smtp_utf8: SmtpUtf8,
    /// For RET and ENVID (RFC 3461 §4.3, §4.4), and REQUIRETLS (RFC 8689 §4.2).
    pub request: &'a MessageRequest,
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
pub fn mail(reverse_path: &ReversePath, parameters: MailParameters<'_>, offered: &Capabilities) -> String {
    let mut line = format!("MAIL FROM:<{reverse_path}>");
    if let Some(octets) = parameters.octets.filter(|_| offered.offers(Extension::Size)) {
        line.push_str(&format!(" SIZE={octets}"));
    }
    if parameters.body_type == BodyType::EightBitMime && offered.offers(Extension::EightBitMime) {
        line.push_str(" BODY=8BITMIME");
    }
    if parameters.smtp_utf8 == SmtpUtf8::Requested && offered.offers(Extension::SmtpUtf8) {
        line.push_str(" SMTPUTF8");
    }
    if parameters.request.require_tls == RequireTls::Yes && offered.offers(Extension::RequireTls) {
        line.push_str(" REQUIRETLS");
    }
    if offered.offers(Extension::Dsn) {
        match parameters.request.ret {
            Some(Return::Full) => line.push_str(" RET=FULL"),
            Some(Return::Headers) => line.push_str(" RET=HDRS"),
            None => {}
        }
        if let Some(envelope_id) = &parameters.request.envelope_id {
            line.push_str(&format!(" ENVID={envelope_id}"));
        }
    }
    line.push_str("\r\n");
    line
}

/// RCPT (RFC 5321 §4.1.1.3), with NOTIFY and ORCPT where DSN is offered (RFC 3461 §5.2.1, §5.2.2). ORCPT
/// outside ASCII is said in the form that needs no SMTPUTF8 (RFC 6533 §3), and left out where that is too
/// long.
#[must_use]
pub fn rcpt(forward_path: &Address, request: &RecipientRequest, offered: &Capabilities) -> String {
    let mut line = format!("RCPT TO:<{forward_path}>");
    if offered.offers(Extension::Dsn) {
        line.push_str(&notify(request.notify));
        let original_recipient = request.original_recipient.as_deref().map(xtext::to_ascii);
        if let Some(text) = original_recipient.filter(|text| text.len() <= MAX_ORIGINAL_RECIPIENT_OCTETS) {
            line.push_str(&format!(" ORCPT={text}"));
        }
    }
    line.push_str("\r\n");
    line
}

/// NOTIFY with a space before it (RFC 3461 §4.1), or nothing.
fn notify(notify: Notify) -> String {
    let (success, failure, delay) = match notify {
        Notify::Unsaid => return String::new(),
        Notify::Never => return " NOTIFY=NEVER".to_owned(),
        Notify::On { success, failure, delay } => (success, failure, delay),
    };
    let words = [(success, "SUCCESS"), (failure, "FAILURE"), (delay, "DELAY")];
    let asked: Vec<&str> = words.into_iter().filter(|(wanted, _)| *wanted).map(|(_, word)| word).collect();
    format!(" NOTIFY={}", asked.join(","))
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
