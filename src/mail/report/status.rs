//! The second part: the fields that programs read (RFC 3464 §2).

use std::time::SystemTime;

use super::{Action, Report, ReportedRecipient, one_line, printable, reply_lines, said_by};
use crate::mail::{Address, date, xtext};

/// Lines of a reply that are given; the text for people has the same.
pub(super) const MAX_REPLY_LINES: usize = 50;

/// The part: `message/delivery-status`, or `message/global-delivery-status` where an address is not ASCII
/// (RFC 6533 §4).
pub(super) fn part(report: &Report<'_>) -> Vec<u8> {
    let mut fields = field("Reporting-MTA", &format!("dns; {}", report.reporting_mta));
    if let Some(envelope_id) = report.envelope_id.and_then(xtext::decode) {
        fields = field("Original-Envelope-Id", &printable(&envelope_id)) + &fields;
    }
    fields += &date_field("Arrival-Date", Some(report.arrival));
    for recipient in report.recipients {
        fields += "\r\n";
        fields += &recipient_fields(recipient);
    }
    let content_type =
        if fields.is_ascii() { "message/delivery-status" } else { "message/global-delivery-status" };
    super::part(content_type, fields.as_bytes())
}

/// The group of one recipient, in the order of RFC 3464 §2.3.
fn recipient_fields(recipient: &ReportedRecipient<'_>) -> String {
    let action = match recipient.action {
        Action::Failed => "failed",
        Action::Delayed => "delayed",
        Action::Relayed => "relayed",
    };
    let mut fields = recipient.original_recipient.and_then(original_recipient).unwrap_or_default();
    fields += &field("Final-Recipient", &final_recipient(recipient.alias));
    fields += &field("Action", action);
    fields += &field("Status", &recipient.status.to_string());
    if let Some(host) = recipient.remote_mta.filter(|host| !host.is_empty()) {
        fields += &field("Remote-MTA", &format!("dns; {}", printable(host)));
    }
    if let Some(diagnostic) = &recipient.diagnostic {
        // RFC 3464 §2.3.6: of the type smtp only what an SMTP server said.
        let diagnostic_type = if said_by(recipient).is_some() { "smtp" } else { "X-Postroad" };
        let lines: Vec<String> = reply_lines(diagnostic).into_iter().take(MAX_REPLY_LINES).collect();
        if !lines.is_empty() {
            fields += &format!("Diagnostic-Code: {diagnostic_type};\r\n {}\r\n", lines.join("\r\n "));
        }
    }
    fields += &date_field("Last-Attempt-Date", recipient.last_attempt_at);
    if recipient.action == Action::Delayed {
        fields += &date_field("Will-Retry-Until", recipient.will_retry_until);
    }
    fields
}

/// ORCPT decoded (RFC 3461 §6.3); what does not decode is left out.
fn original_recipient(orcpt: &str) -> Option<String> {
    let (addr_type, address) = orcpt.split_once(';')?;
    Some(field("Original-Recipient", &format!("{}; {}", printable(addr_type), xtext::decode(address)?)))
}

fn final_recipient(alias: &Address) -> String {
    format!("{}; {alias}", if alias.is_ascii() { "rfc822" } else { "utf-8" })
}

fn field(name: &str, value: &str) -> String {
    format!("{name}: {}\r\n", one_line(value))
}

fn date_field(name: &str, time: Option<SystemTime>) -> String {
    time.map(|time| field(name, &date::rfc5322(time))).unwrap_or_default()
}
