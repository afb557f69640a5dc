//! Which replies can be given to which command: the series of `smtp_responses_total` that start at 0.

use crate::smtp::reply::{self, Reply, Row, UPSTREAM_REASON};

/// What a reply answers: the `command` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpCommand {
    /// The connection itself: greetings and what is said instead of them.
    Connect,
    /// HELO.
    Helo,
    /// EHLO.
    Ehlo,
    /// STARTTLS.
    StartTls,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA, and the final dot.
    Data,
    /// BDAT.
    Bdat,
    /// RSET.
    Rset,
    /// NOOP.
    Noop,
    /// VRFY and EXPN.
    Vrfy,
    /// HELP.
    Help,
    /// QUIT.
    Quit,
    /// A line that is no command of ours, or none at all: a time limit, a drain.
    Other,
}

use SmtpCommand::{
    Bdat, Connect, Data, Ehlo, Helo, Help, Mail, Noop, Other, Quit, Rcpt, Rset, StartTls, Vrfy,
};

/// Every command.
const ALL: &[SmtpCommand] =
    &[Connect, Helo, Ehlo, StartTls, Mail, Rcpt, Data, Bdat, Rset, Noop, Vrfy, Help, Quit, Other];
/// Those that carry a message.
const CONTENT: &[SmtpCommand] = &[Data, Bdat];
/// Those at which an envelope is judged, up to its content.
const RECIPIENT: &[SmtpCommand] = &[Rcpt, Data, Bdat];
/// Those that end a session which has gone on for too long.
const ANYWHERE: &[SmtpCommand] =
    &[Helo, Ehlo, StartTls, Mail, Rcpt, Data, Bdat, Rset, Noop, Vrfy, Help, Quit, Other];

/// The rows of the catalogue by the commands that can be answered so. A test holds it to be complete.
const ANSWERS: &[(&Row, &[SmtpCommand])] = &[
    (reply::GREETING, &[Connect]),
    (reply::START_TLS, &[StartTls]),
    (reply::BYE, &[Quit]),
    (reply::HELLO, &[Helo, Ehlo]),
    (reply::OK, &[Rset, Noop, Bdat]),
    (reply::SENDER_OK, &[Mail]),
    (reply::RECIPIENT_OK, &[Rcpt]),
    (reply::ACCEPTED, CONTENT),
    (reply::QUEUED, CONTENT),
    (reply::CHUNK_OK, &[Bdat]),
    (reply::CANNOT_VERIFY, &[Vrfy]),
    (reply::HELP, &[Help]),
    (reply::START_MAIL, &[Data]),
    (reply::SHUTTING_DOWN, ALL),
    (reply::DRAINED, &[Connect]),
    (reply::TOO_MANY_SESSIONS, &[Connect]),
    (reply::TOO_MANY_SESSIONS_FROM_NETWORK, &[Connect]),
    (reply::TIMEOUT, &[Data, Bdat, Other]),
    (reply::TOO_SLOW, &[Data, Other]),
    (reply::TOO_MANY_ERRORS, ANYWHERE),
    (reply::TOO_MUCH_JUNK, &[Helo, Ehlo, Rcpt, Rset, Noop, Vrfy, Help]),
    (reply::SESSION_OVER, &[Other]),
    (reply::TOO_MANY_TRANSACTIONS, &[Mail]),
    (reply::EARLY_TALKER, &[Connect]),
    (reply::BAD_PROXY_HEADER, &[Connect]),
    (reply::LINE_TOO_LONG, &[Other]),
    (reply::BAD_COMMAND_OCTET, &[Other]),
    (reply::UNKNOWN_COMMAND, &[Other]),
    (reply::NOT_IMPLEMENTED, &[Other]),
    (reply::BAD_ARGUMENTS, ANYWHERE),
    (reply::BAD_SENDER, &[Mail]),
    (reply::BAD_RECIPIENT, &[Rcpt]),
    (reply::BAD_SEQUENCE, &[Helo, Ehlo, StartTls, Mail, Rcpt, Data, Bdat]),
    (reply::UNKNOWN_PARAMETER, &[Mail, Rcpt]),
    (reply::BAD_BODY_TYPE, &[Mail]),
    (reply::UTF8_NOT_REQUESTED, &[Mail, Rcpt]),
    (reply::TLS_NOT_AVAILABLE, &[StartTls]),
    (reply::NO_RECIPIENTS, CONTENT),
    (reply::TOO_MANY_RECIPIENTS, &[Rcpt]),
    (reply::OTHER_GROUP, &[Rcpt]),
    (reply::TOO_LARGE, &[Mail, Data, Bdat]),
    (reply::NO_STORAGE, &[Mail, Data, Bdat]),
    (reply::BARE_LINE_ENDING, CONTENT),
    (reply::MESSAGE_LINE_TOO_LONG, CONTENT),
    (reply::HEADER_TOO_LARGE, CONTENT),
    (reply::TOO_MANY_FIELDS, CONTENT),
    (reply::NO_FIELD, CONTENT),
    (reply::DNSBL_LISTED, RECIPIENT),
    (reply::BLOCKED, &[Rcpt]),
    (reply::SENDER_NULL_MX, &[Mail, Rcpt, Data, Bdat]),
    (reply::UNKNOWN_RECIPIENT, RECIPIENT),
    (reply::UNKNOWN_DOMAIN, RECIPIENT),
    (reply::RULE_WAITING, RECIPIENT),
    (reply::RULE_REJECT, RECIPIENT),
    (reply::SRS_INVALID, RECIPIENT),
    (reply::SRS_NOT_A_BOUNCE, RECIPIENT),
    (reply::TOO_MANY_SRS_GUESSES, &[Rcpt]),
    (reply::LOOP, RECIPIENT),
    (reply::BAD_FROM, CONTENT),
    (reply::DMARC_REJECT, CONTENT),
    (reply::UNAUTHENTICATED, CONTENT),
    (reply::AUTHENTICATION_UNAVAILABLE, RECIPIENT),
    (reply::RECIPIENT_NULL_MX, RECIPIENT),
    (reply::DESTINATION_UNKNOWN, RECIPIENT),
    (reply::DESTINATION_UNROUTABLE, RECIPIENT),
    (reply::DESTINATION_TAKES_NO_MAIL, RECIPIENT),
    (reply::UPSTREAM_WITHOUT_REQUIRETLS, RECIPIENT),
    (reply::UPSTREAM_WITHOUT_UTF8, RECIPIENT),
    (reply::UPSTREAM_WITHOUT_8BIT, RECIPIENT),
    (reply::UPSTREAM_SIZE, RECIPIENT),
    (reply::NO_ANSWER, RECIPIENT),
    (reply::LATE_ANSWER, CONTENT),
    (reply::PARTLY_DELIVERED, CONTENT),
    (reply::UPSTREAM_TROUBLE, RECIPIENT),
    (reply::INTERNAL, ALL),
];

impl SmtpCommand {
    /// The command that a verb names, whether or not the rest of its line is right.
    #[must_use]
    pub fn of(verb: &str) -> Self {
        match verb {
            "HELO" => Helo,
            "EHLO" => Ehlo,
            "STARTTLS" => StartTls,
            "MAIL" => Mail,
            "RCPT" => Rcpt,
            "DATA" => Data,
            "BDAT" => Bdat,
            "RSET" => Rset,
            "NOOP" => Noop,
            "VRFY" | "EXPN" => Vrfy,
            "HELP" => Help,
            "QUIT" => Quit,
            _ => Other,
        }
    }

    /// The label's text.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Connect => "connect",
            Helo => "helo",
            Ehlo => "ehlo",
            StartTls => "starttls",
            Mail => "mail",
            Rcpt => "rcpt",
            Data => "data",
            Bdat => "bdat",
            Rset => "rset",
            Noop => "noop",
            Vrfy => "vrfy",
            Help => "help",
            Quit => "quit",
            Other => "other",
        }
    }
}

/// The `code` label: our own codes as they are, those of upstreams by their class, since upstreams invent.
pub(super) fn code_label(reply: &Reply) -> String {
    if reply.reason == UPSTREAM_REASON { format!("{}xx", reply.code / 100) } else { reply.code.to_string() }
}

/// The labels command, code and reason of every reply that can be given.
pub(super) fn all() -> impl Iterator<Item = [String; 3]> {
    let own = ANSWERS.iter().flat_map(|(row, commands)| {
        commands.iter().map(|command| [command.label().into(), row.code.to_string(), row.reason.into()])
    });
    let relayed = RECIPIENT.iter().flat_map(|command| {
        ["2xx", "4xx", "5xx"].map(|class| [command.label().into(), class.into(), UPSTREAM_REASON.into()])
    });
    own.chain(relayed)
}

#[cfg(test)]
#[path = "responses_tests.rs"]
mod tests;
