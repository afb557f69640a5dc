//! Every reply we can send. The texts stand here and nowhere else; [`CATALOGUE`] lists them all, so that
//! metrics start every row at 0 and a test can hold the list against the RFCs.

use std::fmt;

pub use crate::mail::Enhanced;
use crate::mail::TraceId;

/// Longest reply line with its CRLF, in octets (RFC 5321 §4.5.3.1.5).
pub const MAX_REPLY_LINE_OCTETS: usize = 512;

/// One row of the catalogue. `{}` in the text stands for an argument.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// The basic code.
    pub code: u16,
    /// The enhanced code; greetings, EHLO answers and 354 have none (RFC 2034 §4).
    pub enhanced: Option<Enhanced>,
    /// The word for metrics and logs.
    pub reason: &'static str,
    /// The text behind the codes.
    pub text: &'static str,
    /// For refusals of policy: the anchor of the explanation on the postmaster page; else empty.
    pub anchor: &'static str,
}

impl Row {
    /// The reply of a row that takes no argument.
    #[must_use]
    pub fn reply(&'static self) -> Reply {
        self.with(&[])
    }

    /// The reply with each `{}` replaced by the next argument, cleaned of control and 8-bit octets.
    #[must_use]
    pub fn with(&'static self, arguments: &[&str]) -> Reply {
        let mut arguments = arguments.iter();
        let mut parts = self.text.split("{}");
        let mut text = String::from(parts.next().unwrap_or_default());
        for part in parts {
            text.push_str(&clean(arguments.next().copied().unwrap_or_default()));
            text.push_str(part);
        }
        Reply { code: self.code, enhanced: self.enhanced, reason: self.reason, lines: vec![text] }
    }

    /// The reply of a policy refusal: the text, where to read more, and the trace id.
    #[must_use]
    pub fn refer(&'static self, arguments: &[&str], postmaster_url: &str, trace: TraceId) -> Reply {
        let mut reply = self.with(arguments);
        if let Some(line) = reply.lines.last_mut() {
            line.push_str(&format!(". Refer to {postmaster_url}#{} (trace {trace})", self.anchor));
        }
        reply
    }
}

macro_rules! catalogue {
    ($($(#[$doc:meta])* $name:ident = $code:literal $enhanced:expr, $reason:literal, $text:literal $(, $anchor:literal)?;)*) => {
        $($(#[$doc])* pub const $name: &Row = &Row {
            code: $code, enhanced: $enhanced, reason: $reason, text: $text,
            anchor: concat!("" $(, $anchor)?),
        };)*
        /// Every row, in the order of the source.
        pub const CATALOGUE: &[&Row] = &[$($name),*];
    };
}

const fn x(class: u8, subject: u16, detail: u16) -> Option<Enhanced> {
    Some(Enhanced(class, subject, detail))
}

catalogue! {
    /// RFC 5321 §4.3.1. The argument is our hostname.
    GREETING = 220 None, "ok", "{} ESMTP Postroad";
    /// RFC 3207 §4.
    START_TLS = 220 x(2, 0, 0), "ok", "Ready to start TLS";
    /// RFC 5321 §4.1.1.10.
    BYE = 221 x(2, 0, 0), "ok", "Bye";
    /// RFC 5321 §4.1.1.1. The argument is our hostname; EHLO keywords follow as further lines.
    HELLO = 250 None, "ok", "{}";
    /// RSET, NOOP, a BDAT chunk.
    OK = 250 x(2, 0, 0), "ok", "OK";
    /// MAIL was taken.
    SENDER_OK = 250 x(2, 1, 0), "ok", "Sender OK";
    /// RCPT was taken.
    RECIPIENT_OK = 250 x(2, 1, 5), "ok", "Recipient OK";
    /// The message was judged and a rule drops it, or every recipient has it already.
    ACCEPTED = 250 x(2, 0, 0), "accepted", "Accepted (trace {})";
    /// The message is on our disk: the destination has not taken it yet (RFC 5321 §4.2.5).
    QUEUED = 250 x(2, 0, 0), "queued", "Queued (trace {})";
    /// A chunk of a message was read (RFC 3030 §2). The argument is its size.
    CHUNK_OK = 250 x(2, 0, 0), "ok", "{} octets received";
    /// RFC 5321 §3.5.3: neither confirmed nor denied.
    CANNOT_VERIFY = 252 x(2, 5, 0), "ok", "Cannot VRFY, but send the message and we will try";
    /// RFC 5321 §4.1.1.8.
    HELP = 214 x(2, 0, 0), "ok", "Refer to {}";
    /// RFC 5321 §4.3.2.
    START_MAIL = 354 None, "ok", "End data with <CR><LF>.<CR><LF>";

    /// RFC 5321 §3.8: the node is being stopped.
    SHUTTING_DOWN = 421 x(4, 3, 2), "shutdown", "{} shutting down, try another MX";
    /// RFC 5321 §3.8: an operator has the node take no new sessions.
    DRAINED = 421 x(4, 3, 2), "drain", "{} takes no new sessions for now, try another MX";
    /// `limits.sessions`.
    TOO_MANY_SESSIONS = 421 x(4, 3, 2), "sessions", "{} has too many sessions, try again later";
    /// `limits.sessions_per_network`.
    TOO_MANY_SESSIONS_FROM_NETWORK = 421 x(4, 7, 0), "network_sessions", "Too many sessions from your network";
    /// RFC 5321 §4.5.3.2.7.
    TIMEOUT = 421 x(4, 4, 2), "timeout", "Timed out waiting for you";
    /// A message that comes too slowly while memory is short.
    TOO_SLOW = 421 x(4, 4, 2), "slow", "Your message comes too slowly for a busy server, try again later";
    /// `limits.errors`.
    TOO_MANY_ERRORS = 421 x(4, 7, 0), "errors", "Too many errors";
    /// Commands that bring no message.
    TOO_MUCH_JUNK = 421 x(4, 7, 0), "junk", "Too many commands without a message";
    /// A session that has gone on for too long.
    SESSION_OVER = 421 x(4, 7, 0), "session_time", "This session has lasted long enough, connect again";
    /// `limits.transactions`.
    TOO_MANY_TRANSACTIONS = 421 x(4, 7, 0), "transactions", "Enough messages in this session, connect again";
    /// RFC 5321 §4.3.2: the client spoke before our greeting.
    EARLY_TALKER = 554 x(5, 5, 1), "early_talker", "You spoke before the greeting";
    /// The PROXY header of a trusted proxy was missing or malformed.
    BAD_PROXY_HEADER = 554 x(5, 5, 2), "proxy_header", "PROXY header expected";

    /// RFC 5321 §4.5.3.1.4.
    LINE_TOO_LONG = 500 x(5, 5, 2), "line_length", "Command line too long";
    /// A command line held a bare CR, a bare LF or a NUL.
    BAD_COMMAND_OCTET = 500 x(5, 5, 2), "command_octets", "Command lines end with <CR><LF> and hold no other control characters";
    /// RFC 5321 §4.2.4.
    UNKNOWN_COMMAND = 500 x(5, 5, 1), "command", "Command not recognised";
    /// RFC 5321 §4.2.4.
    NOT_IMPLEMENTED = 502 x(5, 5, 1), "command", "Command not implemented";
    /// The argument says what was expected.
    BAD_ARGUMENTS = 501 x(5, 5, 4), "arguments", "Syntax: {}";
    /// The reverse-path is no mailbox. The argument says why.
    BAD_SENDER = 501 x(5, 1, 7), "arguments", "Bad sender: {}";
    /// The forward-path is no mailbox. The argument says why.
    BAD_RECIPIENT = 501 x(5, 1, 3), "arguments", "Bad recipient: {}";
    /// RFC 5321 §4.1.4.
    BAD_SEQUENCE = 503 x(5, 5, 1), "sequence", "Bad sequence of commands: {}";
    /// RFC 5321 §4.1.1.11. The argument is the parameter.
    UNKNOWN_PARAMETER = 555 x(5, 5, 4), "arguments", "Parameter {} not recognised";
    /// RFC 3030 §3: BINARYMIME is not offered.
    BAD_BODY_TYPE = 501 x(5, 5, 4), "arguments", "BODY is 7BIT or 8BITMIME";
    /// RFC 6531 §3.5: a UTF-8 address without SMTPUTF8.
    UTF8_NOT_REQUESTED = 553 x(5, 6, 7), "smtputf8", "A non-ASCII address needs SMTPUTF8";
    /// RFC 3207 §4.
    TLS_NOT_AVAILABLE = 454 x(4, 7, 0), "tls", "TLS not available";
    /// DATA or BDAT with no recipient that was taken (RFC 5321 §3.3).
    NO_RECIPIENTS = 554 x(5, 5, 1), "sequence", "No valid recipients";

    /// RFC 5321 §4.5.3.1.10.
    TOO_MANY_RECIPIENTS = 452 x(4, 5, 3), "recipients", "Too many recipients";
    /// RFC 5321 §4.5.3.1.10, `smtp.split_unvouched`: other recipients were taken, whose copies take another way.
    OTHER_GROUP = 452 x(4, 5, 3), "recipient_group", "Too many recipients for a sender that SPF does not vouch for, send to this one in another transaction", "smtp-errors";
    /// RFC 1870 §6.1. The argument is the limit in octets.
    TOO_LARGE = 552 x(5, 3, 4), "size", "Message is larger than {} octets", "message-size";
    /// No memory or disk for the message now.
    NO_STORAGE = 452 x(4, 3, 1), "storage", "Insufficient system storage, try again later";
    /// RFC 5321 §2.3.8, §4.1.1.4: bare CR or LF, or NUL, in a message.
    BARE_LINE_ENDING = 550 x(5, 5, 2), "bare_line_ending", "Message holds a bare CR, a bare LF or a NUL; lines end with <CR><LF>", "smtp-errors";
    /// A line of the message past our bound.
    MESSAGE_LINE_TOO_LONG = 550 x(5, 5, 2), "line_length", "Message holds a line of more than 65536 octets", "smtp-errors";
    /// `limits.header_octets`.
    HEADER_TOO_LARGE = 552 x(5, 3, 4), "header_size", "Header section is larger than {} octets", "message-size";

    /// [`crate::mail::header::MAX_FIELDS`]. The argument is the limit.
    TOO_MANY_FIELDS = 552 x(5, 3, 4), "header_fields", "Header section has more than {} fields", "message-size";
    /// RFC 5322 §2.2: a line of the header section that is part of no field.
    NO_FIELD = 550 x(5, 6, 0), "header_line", "Header section holds a line that is no field", "smtp-errors";

    /// The address is on a DNSBL. The arguments are the client's address and the zones' names.
    DNSBL_LISTED = 554 x(5, 7, 1), "dnsbl", "{} found on one or more DNSBLs ({})", "spam-and-abusive-traffic";
    /// An operator has blocked the address. The arguments are the client's address and the reason in brackets, or empty.
    BLOCKED = 554 x(5, 7, 1), "blocked", "{} is blocked by the operator of this service{}", "blocked-addresses";
    /// RFC 7505 §4.2. The argument is the sender's domain.
    SENDER_NULL_MX = 550 x(5, 7, 27), "sender_null_mx", "Sender domain {} takes no mail (null MX)", "smtp-errors";
    /// No rule for the recipient.
    UNKNOWN_RECIPIENT = 550 x(5, 1, 1), "unknown_recipient", "No such address here", "smtp-errors";
    /// Not a domain that we route for.
    UNKNOWN_DOMAIN = 550 x(5, 7, 1), "unknown_domain", "We do not route mail for this domain", "smtp-errors";
    /// The rule's destination has not been verified.
    RULE_WAITING = 450 x(4, 2, 1), "rule_waiting", "The destination of this address has not been verified yet", "smtp-errors";
    /// A rule rejects. The argument is its text.
    RULE_REJECT = 550 x(5, 7, 1), "rule_reject", "{}", "smtp-errors";
    /// An SRS address whose hash, age or domain is wrong.
    SRS_INVALID = 550 x(5, 1, 1), "srs_invalid", "Not a valid return address", "sender-rewriting";
    /// Only bounces come to SRS addresses.
    SRS_NOT_A_BOUNCE = 550 x(5, 7, 1), "srs_not_a_bounce", "Return addresses take bounces only (null reverse-path)", "sender-rewriting";
    /// SRS addresses whose hashes are not ours, past a number of them.
    TOO_MANY_SRS_GUESSES = 451 x(4, 7, 0), "srs_guesses", "Too many invalid return addresses, try again later", "sender-rewriting";
    /// Our trace token, or too many Received fields (RFC 5321 §6.3).
    LOOP = 550 x(5, 4, 6), "loop", "Mail loop detected", "smtp-errors";

    /// No From field, several, or one that names no address (RFC 5322 §3.6).
    BAD_FROM = 550 x(5, 6, 0), "from_header", "Message must have one From field with an address", "dmarc-enforcing";
    /// The argument is the From domain.
    DMARC_REJECT = 550 x(5, 7, 26), "dmarc", "Email rejected per DMARC policy for {}", "dmarc";
    /// `authentication.require_pass` (RFC 7372 §3.3). The argument is an SPF explanation (RFC 7208 §6.2) or empty.
    UNAUTHENTICATED = 550 x(5, 7, 26), "unauthenticated", "Neither SPF nor DKIM passes for this message{}", "dmarc-enforcing";
    /// A DNS answer that would decide is missing for now (RFC 7372 §3.2, RFC 7208 §8.6).
    AUTHENTICATION_UNAVAILABLE = 451 x(4, 7, 24), "auth_temperror", "Authentication could not be checked for now", "dmarc-enforcing";

    /// RFC 7505 §4.1. The destination publishes a null MX.
    RECIPIENT_NULL_MX = 556 x(5, 1, 10), "recipient_null_mx", "The destination of this address takes no mail (null MX)", "smtp-errors";
    /// The destination's domain does not exist (RFC 3463 §3.2).
    DESTINATION_UNKNOWN = 550 x(5, 1, 2), "destination_domain", "The destination of this address does not exist", "smtp-errors";
    /// The DNS leads to no host that a connection could go to (RFC 3463 §3.5, RFC 5321 §5.1).
    DESTINATION_UNROUTABLE = 550 x(5, 4, 4), "destination_route", "The destination of this address has no mail server that can be reached", "smtp-errors";
    /// RFC 7504 §4, for a destination all of whose hosts say 521 (§3); the enhanced code is the one that goes with 521.
    DESTINATION_TAKES_NO_MAIL = 556 x(5, 3, 2), "destination_hosts", "The mail servers of this address's destination take no mail at all", "smtp-errors";
    /// RFC 6531 §3.5: the upstream does not offer SMTPUTF8.
    UPSTREAM_WITHOUT_UTF8 = 550 x(5, 6, 7), "smtputf8", "The destination does not take internationalised mail", "smtp-errors";
    /// RFC 6152 §3: converting would break signatures.
    UPSTREAM_WITHOUT_8BIT = 554 x(5, 6, 3), "8bitmime", "The destination does not take 8-bit mail", "smtp-errors";
    /// RFC 8689 §4.2.1: no host of the destination is authenticated and promises the same.
    UPSTREAM_WITHOUT_REQUIRETLS = 550 x(5, 7, 30), "requiretls", "The destination does not support REQUIRETLS", "smtp-errors";
    /// RFC 1870 §6.1 on the other side.
    UPSTREAM_SIZE = 552 x(5, 3, 4), "upstream_size", "Message is larger than the destination takes", "message-size";
    /// No upstream answered: the sender keeps the message.
    NO_ANSWER = 451 x(4, 4, 1), "no_answer", "No answer from the destination, try again later", "smtp-errors";
    /// The upstream has not answered our dot in time.
    LATE_ANSWER = 451 x(4, 4, 2), "late_answer", "The destination has not answered yet, try again later", "smtp-errors";
    /// Some recipients have it, some do not: the retry goes to the rest only.
    PARTLY_DELIVERED = 451 x(4, 3, 0), "partly_delivered", "Not delivered to all recipients yet, try again later", "smtp-errors";
    /// The upstream's complaint was about us, not about the message.
    UPSTREAM_TROUBLE = 451 x(4, 3, 0), "upstream_trouble", "The destination cannot take the message for now", "smtp-errors";
    /// Our own fault.
    INTERNAL = 451 x(4, 3, 0), "internal", "Local error, try again later", "smtp-errors";
}

/// The reason of replies that are an upstream's own.
pub const UPSTREAM_REASON: &str = "upstream";
/// Stands for the lines of an upstream's reply that name the private destination in a way that cannot be masked.
pub const LEFT_OUT: &str = "(left out: it names the private destination)";

/// One reply, ready to be written: what we say, or what an upstream said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The basic code, 200 to 599.
    pub code: u16,
    /// The enhanced code, written on every line that has one (RFC 2034 §4).
    pub enhanced: Option<Enhanced>,
    /// The catalogue's word, or [`UPSTREAM_REASON`].
    pub reason: &'static str,
    /// At least one line of text, without codes and line endings.
    pub lines: Vec<String>,
}

impl Reply {
    /// Whether the reply is a 2xx.
    #[must_use]
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// Whether the reply is a 5xx.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// Appends the wire form: every line with code and enhanced code, wrapped at 512 octets.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let enhanced = self.enhanced.map(|e| format!("{e} ")).unwrap_or_default();
        let room = MAX_REPLY_LINE_OCTETS - 2 - 4 - enhanced.len();
        let wrapped: Vec<&str> = self.lines.iter().flat_map(|line| wrap(line, room)).collect();
        for (index, line) in wrapped.iter().enumerate() {
            let separator = if index + 1 == wrapped.len() { ' ' } else { '-' };
            out.extend_from_slice(format!("{}{separator}{enhanced}{line}\r\n", self.code).as_bytes());
        }
    }
}

/// An upstream's reply and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamReply {
    /// The MX host's name.
    pub host: String,
    /// What it said: cleaned, bounded, with an enhanced code.
    pub reply: Reply,
}

/// The first line in the form logs use: `550 5.1.1 text`.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        write!(f, " {}", self.lines.first().map_or("", String::as_str))
    }
}

/// Cuts an ASCII line into pieces of at most `room` octets, at spaces where there are any.
fn wrap(line: &str, room: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = line;
    while rest.len() > room {
        let cut = rest.get(..room).and_then(|head| head.rfind(' ')).filter(|at| *at > 0).unwrap_or(room);
        let Some((head, tail)) = rest.split_at_checked(cut) else { break };
        pieces.push(head);
        rest = tail.trim_start_matches(' ');
    }
    pieces.push(rest);
    pieces
}

/// Printable ASCII only: everything else becomes `?` (RFC 5321 §4.2).
#[must_use]
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' }).collect()
}

/// The first lines of a text, at most so many of them and so many octets in all; the last may be cut.
#[must_use]
pub fn first_words(lines: &[String], most_lines: usize, most_octets: usize) -> Vec<String> {
    let mut room = most_octets;
    let mut kept = Vec::new();
    for line in lines.iter().take(most_lines) {
        let (words, rest) = line.split_at(line.floor_char_boundary(room));
        kept.push(words.to_owned());
        if !rest.is_empty() {
            break;
        }
        room -= words.len();
    }
    kept
}

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;
