//! Delivery status notifications as octets: a `multipart/report` (RFC 6522) of a text for people, the
//! machine's `message/delivery-status` (RFC 3464) and the original, or its header section.
//!
//! What others rely on:
//! - Lines end in CRLF and have at most 998 octets without it (RFC 5322 §2.1.1).
//! - Nothing that a sender or an upstream said can end a field, a part or the message: control characters
//!   are replaced, and the boundary stands in no part.
//! - Addresses outside ASCII make the second part `message/global-delivery-status` (RFC 6533 §4); a header
//!   section in UTF-8 is `message/global-headers`. SMTPUTF8 it needs only where its own
//!   recipient does.
//! - It is 7-bit: parts outside ASCII are in base64. Differs: RFC 6533 §4 and §6 would rather have them 8bit,
//!   but a report that a host without 8BITMIME refuses is lost. A whole original that is not 7-bit is
//!   `message/global`, which may be in base64 (RFC 6532 §3.7), where `message/rfc822` may not (RFC 2046 §5.2.1).
//! - Recipients are named by the address the sender wrote; a private destination is no input here. Replies
//!   are taken as they are: who calls has masked it there.

mod original;
mod status;
mod text;

use std::time::SystemTime;

use bytes::Bytes;

use super::{Address, Domain, Enhanced, TraceId, base64, date, header};

/// Longest line without its CRLF that we write; RFC 5322 §2.1.1 allows 998.
const MAX_LINE_OCTETS: usize = 900;
/// Longest Message-ID of the original that is referred to, in octets.
const MAX_MESSAGE_ID_OCTETS: usize = 250;

/// What is told, to whom, about which message.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// Our host's name: Reporting-MTA.
    pub reporting_mta: &'a Domain,
    /// When the original was received.
    pub arrival: SystemTime,
    /// ENVID as written, in xtext.
    pub envelope_id: Option<&'a str>,
    /// Whom it is about; at least one.
    pub recipients: &'a [ReportedRecipient<'a>],
    /// The postmaster or MAILER-DAEMON at the service's domain.
    pub from: &'a Address,
    /// The original's reverse-path.
    pub to: &'a Address,
    /// The report's own id: its Message-ID is this at the domain of `from`.
    pub id: TraceId,
    /// When the report is made.
    pub date: SystemTime,
    /// The original's header section, in pieces.
    pub original_head: &'a [Bytes],
    /// The original's body, where all of it is given back.
    pub original_body: Option<&'a [u8]>,
    /// Where people can read more.
    pub postmaster_url: &'a str,
    /// The original's trace id.
    pub trace: TraceId,
}

/// What is told of one recipient.
#[derive(Debug, Clone, Copy)]
pub struct ReportedRecipient<'a> {
    /// The address the sender wrote: Final-Recipient (RFC 3464 §2.3.2), and what people read.
    pub alias: &'a Address,
    /// ORCPT as written, `addr-type;xtext`.
    pub original_recipient: Option<&'a str>,
    /// What became of the message.
    pub action: Action,
    /// Why, in numbers: of class 5 where it failed, 4 where it is delayed, 2 where it was relayed.
    pub status: Enhanced,
    /// The host that said so, or was tried last.
    pub remote_mta: Option<&'a str>,
    /// What it said, the private destination masked.
    pub diagnostic: Option<Diagnostic<'a>>,
    /// When it was tried last.
    pub last_attempt_at: Option<SystemTime>,
    /// Until when it will be tried again; told only of a delay.
    pub will_retry_until: Option<SystemTime>,
}

/// What became of the message (RFC 3464 §2.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// It went on to a host that tells no more of it.
    Relayed,
    /// It is still being tried.
    Delayed,
    /// It was given up.
    Failed,
}

/// A reply, or for the code 0 what went wrong without one. Where no host is named, it is our own ruling.
#[derive(Debug, Clone, Copy)]
pub struct Diagnostic<'a> {
    /// The basic code; 0 if nobody answered.
    pub code: u16,
    /// The enhanced code.
    pub enhanced: Option<Enhanced>,
    /// Text, a line each.
    pub lines: &'a [String],
}

/// The report as a message, header section and body.
#[must_use]
pub fn build(report: &Report<'_>) -> Vec<u8> {
    let original = original::head(report.original_head);
    let whole = report.original_body.and_then(|body| original::whole(report.original_head, body));
    let returned = whole.unwrap_or_else(|| original::part(&original));
    let parts = [text::part(report), status::part(report), returned];
    let boundary = boundary(report.id, &parts);
    let mut out = fields(report, &original, &boundary).into_bytes();
    for part in &parts {
        out.extend_from_slice(format!("\r\n--{boundary}\r\n").as_bytes());
        out.extend_from_slice(part);
    }
    out.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    out
}

/// The header section with its empty line. `Auto-Submitted` keeps responders quiet (RFC 3834 §5.2).
fn fields(report: &Report<'_>, original: &[u8], boundary: &str) -> String {
    let Report { from, to, id, .. } = report;
    let subject = match worst(report) {
        Action::Failed => "Mail not delivered",
        Action::Delayed => "Mail delayed, still being tried",
        Action::Relayed => "Mail passed on",
    };
    let references = message_id(original)
        .map(|original| format!("In-Reply-To: {original}\r\nReferences: {original}\r\n"))
        .unwrap_or_default();
    format!(
        "From: Mail Delivery System <{from}>\r\n\
         To: <{to}>\r\n\
         Subject: {subject}\r\n\
         Date: {}\r\n\
         Message-ID: <{id}@{}>\r\n\
         {references}\
         Auto-Submitted: auto-replied\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status;\r\n\
         \tboundary=\"{boundary}\"\r\n\
         \r\n\
         This is a delivery status notification in MIME format (RFC 3464).\r\n",
        date::rfc5322(report.date),
        from.domain(),
    )
}

/// One part: its type, and its content in 7 bits.
fn part(content_type: &str, content: &[u8]) -> Vec<u8> {
    if content.is_ascii() {
        return [b"Content-Type: ", content_type.as_bytes(), b"\r\n\r\n", content].concat();
    }
    encoded_part(content_type, content)
}

/// One part, whatever its octets are.
fn encoded_part(content_type: &str, content: &[u8]) -> Vec<u8> {
    let encoded = base64::encode_lines(content);
    format!("Content-Type: {content_type}\r\nContent-Transfer-Encoding: base64\r\n\r\n{encoded}").into_bytes()
}

/// The worst that happened to any recipient.
fn worst(report: &Report<'_>) -> Action {
    report.recipients.iter().map(|recipient| recipient.action).max().unwrap_or(Action::Failed)
}

/// The original's Message-ID, if it is one (RFC 5322 §3.6.4) and not too long to refer to.
fn message_id(original: &[u8]) -> Option<String> {
    let field = header::fields(original).find(|field| field.is("Message-ID"))?;
    let text = std::str::from_utf8(field.value).ok()?.trim();
    let inner = text.strip_prefix('<')?.strip_suffix('>')?;
    let plain = inner.bytes().all(|b| b.is_ascii_graphic() && b != b'<' && b != b'>');
    (plain && inner.contains('@') && text.len() <= MAX_MESSAGE_ID_OCTETS).then(|| text.to_owned())
}

/// A boundary that stands in none of the parts. `=_` stands in no quoted-printable or base64 text
/// (RFC 2045 §6.7).
fn boundary(id: TraceId, parts: &[Vec<u8>]) -> String {
    let mut boundary = format!("=_{id}");
    while parts.iter().any(|part| part.windows(boundary.len()).any(|octets| octets == boundary.as_bytes())) {
        boundary.push('_');
    }
    boundary
}

/// Printable ASCII only: everything else becomes `?`.
fn printable(text: &str) -> String {
    text.chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' }).collect()
}

/// The text without control characters, cut to what fits a line.
fn one_line(text: &str) -> String {
    let mut line: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    line.truncate(line.floor_char_boundary(MAX_LINE_OCTETS));
    line
}

/// The host whose reply the diagnostic is, if it is one.
fn said_by<'a>(recipient: &ReportedRecipient<'a>) -> Option<&'a str> {
    let is_reply = recipient.diagnostic.is_some_and(|diagnostic| diagnostic.code != 0);
    recipient.remote_mta.filter(|host| is_reply && !host.is_empty())
}

/// The lines of a reply: printable, none empty, none too long, each under its codes.
fn reply_lines(diagnostic: &Diagnostic<'_>) -> Vec<String> {
    let enhanced = diagnostic.enhanced.map(|enhanced| format!("{enhanced} ")).unwrap_or_default();
    let codes = if diagnostic.code == 0 { String::new() } else { format!("{} {enhanced}", diagnostic.code) };
    let lines = diagnostic.lines.iter().map(|line| printable(line)).filter(|line| !line.trim().is_empty());
    let lines: Vec<String> = lines.map(|line| one_line(&format!("{codes}{line}"))).collect();
    if lines.is_empty() && !codes.is_empty() {
        return vec![codes.trim_end().to_owned()];
    }
    lines
}

#[cfg(test)]
mod tests;
