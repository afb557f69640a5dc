//! The first part: what people read.

use super::status::MAX_REPLY_LINES;
use super::{Action, Diagnostic, Report, ReportedRecipient, one_line, printable, reply_lines, said_by};
use crate::mail::date;

/// The part: plain text, in UTF-8 where an address is.
pub(super) fn part(report: &Report<'_>) -> Vec<u8> {
    let text = text(report);
    let charset = if text.is_ascii() { "us-ascii" } else { "utf-8" };
    super::part(&format!("text/plain; charset={charset}"), text.as_bytes())
}

fn text(report: &Report<'_>) -> String {
    let mut text = format!(
        "This is the mail system of {}.\r\n\
         It is about your message of {}.\r\n",
        report.from.domain(),
        date::rfc5322(report.arrival),
    );
    for action in [Action::Failed, Action::Delayed, Action::Relayed] {
        let mut told = report.recipients.iter().filter(|recipient| recipient.action == action).peekable();
        if told.peek().is_none() {
            continue;
        }
        text += &format!("\r\n{}\r\n", opening(action));
        told.for_each(|recipient| text += &paragraph(recipient));
        text += &format!("\r\n{}\r\n", closing(action));
    }
    let url = one_line(&printable(report.postmaster_url));
    text + &format!("\r\nMore about this: {url}\r\nIf you ask us, name the trace {}.\r\n", report.trace)
}

fn opening(action: Action) -> &'static str {
    match action {
        Action::Failed => "It could not be delivered to:",
        Action::Delayed => "It has not been delivered yet to:",
        Action::Relayed => "It was passed on for:",
    }
}

fn closing(action: Action) -> &'static str {
    match action {
        Action::Failed => "It will not be tried again. Its header is attached.",
        Action::Delayed => "This is a warning only: you need not send the message again.",
        Action::Relayed => "You will hear no more of it unless something goes wrong further on.",
    }
}

/// One recipient: the address, what was said of it, and what comes next.
fn paragraph(recipient: &ReportedRecipient<'_>) -> String {
    let mut text = format!("\r\n    {}\r\n", one_line(&recipient.alias.to_string()));
    if let Some(diagnostic) = &recipient.diagnostic {
        text += &said(said_by(recipient), diagnostic);
    }
    let until = recipient.will_retry_until.filter(|_| recipient.action == Action::Delayed);
    if let Some(until) = until {
        text += &format!("    It will be tried until {}.\r\n", date::rfc5322(until));
    }
    text
}

fn said(host: Option<&str>, diagnostic: &Diagnostic<'_>) -> String {
    let lines = reply_lines(diagnostic);
    if lines.is_empty() {
        return String::new();
    }
    let whose = match host.map(printable) {
        Some(host) => one_line(&format!("    The mail server {host} said:")),
        None => "    No mail server took it:".to_owned(),
    };
    let words: String =
        lines.iter().take(MAX_REPLY_LINES).map(|line| format!("        {line}\r\n")).collect();
    format!("{whose}\r\n{words}")
}
