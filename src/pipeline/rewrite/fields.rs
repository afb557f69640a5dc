//! The fields that we put on top of a message, less the signatures: Received and Authentication-Results. The private
//! destination is in none of them.

use std::fmt::Write;
use std::net::IpAddr;

use crate::mail::authentication_results::NAME as AUTHENTICATION_RESULTS;
use crate::mail::{Domain, SmtpUtf8, date};
use crate::pipeline::parcel::{Client, Protocol, Transaction};
use crate::telemetry::labels::Label as _;

/// Longest HELO name that is written, in characters: of a name in the DNS.
const MAX_HELO_CHARS: usize = 253;

/// The time stamp line (RFC 5321 §4.4), with its CRLF:
/// `from HELO (NAME [IP]) by HOSTNAME (Postroad) with PROTOCOL (TLS) id TRACE for <ALIAS>; DATE`. `for` stands there
/// only when the transaction has one recipient, so that no recipient learns of another.
pub(super) fn received(
    transaction: &Transaction,
    confirmed_name: Option<&Domain>,
    hostname: &Domain,
) -> String {
    let client = &transaction.client;
    let literal = address_literal(client.ip);
    let tcp_info = confirmed_name.map_or_else(|| literal.clone(), |name| format!("{name} {literal}"));
    let mut text = format!("Received: from {} ({tcp_info})\r\n", helo(client));
    let protocol = protocol(client.protocol, transaction.envelope.smtp_utf8);
    let _ = write!(text, "\tby {hostname} (Postroad) with {protocol}");
    if let Some(tls) = &client.tls {
        let _ = write!(text, "\r\n\t({} {})", word(tls.version.label()), word(&tls.cipher));
    }
    let _ = write!(text, "\r\n\tid {}", transaction.id);
    if let [alias] = transaction.envelope.recipients.as_slice() {
        let is_sendable = alias.is_ascii() || transaction.envelope.smtp_utf8 == SmtpUtf8::Requested;
        if is_sendable {
            let _ = write!(text, "\r\n\tfor <{alias}>");
        }
    }
    let _ = write!(text, ";\r\n\t{}\r\n", date::rfc5322(transaction.received_at));
    text
}

/// RFC 3848, and RFC 6531 §4.3 for internationalised mail.
fn protocol(protocol: Protocol, smtp_utf8: SmtpUtf8) -> &'static str {
    match (protocol, smtp_utf8) {
        (Protocol::Smtp, _) => "SMTP",
        (Protocol::Esmtp, SmtpUtf8::NotRequested) => "ESMTP",
        (Protocol::Esmtp, SmtpUtf8::Requested) => "UTF8SMTP",
        (Protocol::Esmtps, SmtpUtf8::NotRequested) => "ESMTPS",
        (Protocol::Esmtps, SmtpUtf8::Requested) => "UTF8SMTPS",
    }
}

/// RFC 5321 §4.1.3.
fn address_literal(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(ip) => format!("[{ip}]"),
        IpAddr::V6(ip) => format!("[IPv6:{ip}]"),
    }
}

/// What the client called itself: a domain or an address literal as such, anything else with every character that
/// could mean something replaced.
fn helo(client: &Client) -> String {
    match Domain::parse(&client.helo) {
        Ok(domain) => domain.to_string(),
        Err(_) => word(&client.helo),
    }
}

fn word(text: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    let text: String = text.chars().take(MAX_HELO_CHARS).map(|c| if harmless(c) { c } else { '?' }).collect();
    if text.is_empty() { "unknown".to_owned() } else { text }
}

/// Our field (RFC 8601 §2.2), with its CRLF.
pub(super) fn authentication_results(service_domain: &Domain, results: &str) -> String {
    format!("{AUTHENTICATION_RESULTS}: {service_domain};\r\n\t{}\r\n", methods(results))
}

/// The methods, or the word that there are none.
pub(super) fn methods(results: &str) -> &str {
    if results.is_empty() { "none" } else { results }
}

#[cfg(test)]
#[path = "fields_tests.rs"]
mod tests;
