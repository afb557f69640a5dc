//! SMTP commands as clients send them (RFC 5321 §4.1.1), parsed from one line without its CRLF.
//!
//! Deviations, each because mail that people want arrives so: white space after `FROM:` and `TO:` and at
//! the end of a line is passed over; source routes are read and forgotten (RFC 5321 appendix C).

use super::reply::{self, Reply};
use crate::mail::{
    Address, AddressError, BodyType, MAX_ENVELOPE_ID_OCTETS, MAX_ORIGINAL_RECIPIENT_OCTETS, MAX_PATH_OCTETS,
    MessageRequest, Notify, RecipientRequest, RequireTls, Return, ReversePath, SmtpUtf8, xtext,
};

/// Longest command line with its CRLF, in octets. RFC 5321 §4.5.3.1.4 asks for 512, each extension for
/// more (RFC 1870 §3: 26, RFC 6152 §2: 17, RFC 6531 §3.1: 10, RFC 3461 §4: some 550 for RCPT); four times the
/// base leaves room for all.
pub const MAX_COMMAND_LINE_OCTETS: usize = 2048;

/// Longest EHLO argument kept, in octets (RFC 5321 §4.5.3.1.2).
const MAX_HELO_OCTETS: usize = 255;

/// A command whose syntax is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `EHLO name`
    Ehlo(String),
    /// `HELO name`
    Helo(String),
    /// `MAIL FROM:<path> …`
    Mail(Mail),
    /// `RCPT TO:<path> …`
    Rcpt(Rcpt),
    /// `DATA`
    Data,
    /// `BDAT octets [LAST]` (RFC 3030 §2)
    Bdat(Chunk),
    /// `STARTTLS` (RFC 3207 §4)
    StartTls,
    /// `RSET`
    Rset,
    /// `NOOP`
    Noop,
    /// `VRFY` or `EXPN`
    Vrfy,
    /// `HELP`
    Help,
    /// `QUIT`
    Quit,
}

/// What MAIL said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// FROM.
    pub reverse_path: ReversePath,
    /// SIZE, in octets (RFC 1870).
    pub size_octets: Option<u64>,
    /// BODY.
    pub body_type: BodyType,
    /// SMTPUTF8.
    pub smtp_utf8: SmtpUtf8,
    /// RET, ENVID and REQUIRETLS.
    pub request: MessageRequest,
}

/// What RCPT said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rcpt {
    /// TO; `None` for `<Postmaster>` without a domain (RFC 5321 §4.1.1.3).
    pub recipient: Option<Address>,
    /// Whether the path or ORCPT as written needs SMTPUTF8.
    pub charset: Charset,
    /// NOTIFY and ORCPT.
    pub request: RecipientRequest,
}

/// Whether a path is ASCII as written: a U-label is not, though its A-label is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    /// Only ASCII.
    Ascii,
    /// Something else: needs SMTPUTF8 (RFC 6531 §3.5).
    Utf8,
}

/// What BDAT said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Octets that follow the command.
    pub octets: u64,
    /// Whether more chunks follow.
    pub position: ChunkPosition,
}

/// Whether a chunk ends its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkPosition {
    /// `LAST` was given.
    Last,
    /// More follow.
    More,
}

/// The verb of a line, known or not: the `command` label of metrics.
#[must_use]
pub fn verb(line: &[u8]) -> &'static str {
    let word = line.split(|b| *b == b' ' || *b == b':').next().unwrap_or_default();
    VERBS.iter().find(|verb| word.eq_ignore_ascii_case(verb.as_bytes())).copied().unwrap_or("OTHER")
}

const BDAT: &[u8] = b"BDAT";
/// Digits of a chunk's size that are read: an octet count of 64 bits has no more.
const MAX_SIZE_DIGITS: usize = 19;

/// Every word of the `command` label that a client's line can give.
pub const VERBS: &[&str] = &[
    "EHLO", "HELO", "MAIL", "RCPT", "DATA", "BDAT", "STARTTLS", "RSET", "NOOP", "VRFY", "EXPN", "HELP",
    "QUIT",
];

/// Parses one line.
///
/// # Errors
/// The reply to give: 500, 501, 502, 553 or 555.
pub fn parse(line: &[u8]) -> Result<Command, Reply> {
    let line = std::str::from_utf8(line).map_err(|_| reply::BAD_COMMAND_OCTET.reply())?;
    if line.chars().any(char::is_control) {
        return Err(reply::BAD_COMMAND_OCTET.reply());
    }
    let line = line.trim_end_matches(' ');
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    match word.to_ascii_uppercase().as_str() {
        "EHLO" => Ok(Command::Ehlo(helo(rest, "EHLO")?)),
        "HELO" => Ok(Command::Helo(helo(rest, "HELO")?)),
        "MAIL" => mail(rest).map(Command::Mail),
        "RCPT" => rcpt(rest).map(Command::Rcpt),
        "BDAT" => bdat(rest).map(Command::Bdat),
        "DATA" => bare(rest, "DATA", Command::Data),
        "STARTTLS" => bare(rest, "STARTTLS", Command::StartTls),
        "RSET" => bare(rest, "RSET", Command::Rset),
        "QUIT" => bare(rest, "QUIT", Command::Quit),
        "NOOP" => Ok(Command::Noop),
        "VRFY" | "EXPN" => Ok(Command::Vrfy),
        "HELP" => Ok(Command::Help),
        "AUTH" | "ETRN" | "TURN" | "ATRN" | "SEND" | "SOML" | "SAML" | "BURL" | "LHLO" => {
            Err(reply::NOT_IMPLEMENTED.reply())
        }
        _ => Err(reply::UNKNOWN_COMMAND.reply()),
    }
}

fn bare(rest: &str, syntax: &str, command: Command) -> Result<Command, Reply> {
    if rest.is_empty() { Ok(command) } else { Err(reply::BAD_ARGUMENTS.with(&[syntax])) }
}

/// RFC 5321 §4.1.4: the name need not resolve, and a server must not refuse mail for it; so anything
/// without spaces is taken, and judged later.
fn helo(rest: &str, verb: &str) -> Result<String, Reply> {
    let name = rest.trim();
    if name.is_empty() || name.len() > MAX_HELO_OCTETS || name.contains(' ') || !name.is_ascii() {
        return Err(reply::BAD_ARGUMENTS.with(&[&format!("{verb} hostname")]));
    }
    Ok(name.to_owned())
}

fn mail(rest: &str) -> Result<Mail, Reply> {
    const SYNTAX: &str = "MAIL FROM:<address> [SIZE=octets] [BODY=7BIT|8BITMIME] [SMTPUTF8] [RET=FULL|HDRS] [ENVID=xtext] [REQUIRETLS]";
    let (path, parameters) = path(rest, "FROM:").ok_or_else(|| reply::BAD_ARGUMENTS.with(&[SYNTAX]))?;
    let reverse_path = if path.is_empty() {
        ReversePath::Null
    } else {
        ReversePath::Mailbox(mailbox(path).map_err(|e| reply::BAD_SENDER.with(&[&e.to_string()]))?)
    };
    let mut mail = Mail {
        reverse_path,
        size_octets: None,
        body_type: BodyType::default(),
        smtp_utf8: SmtpUtf8::default(),
        request: MessageRequest::default(),
    };
    let mut seen = Vec::new();
    for parameter in parameters.split(' ').filter(|parameter| !parameter.is_empty()) {
        let (keyword, value) = parameter.split_once('=').map_or((parameter, None), |(k, v)| (k, Some(v)));
        let keyword = keyword.to_ascii_uppercase();
        match (keyword.as_str(), value) {
            ("SIZE", Some(value)) => mail.size_octets = Some(size(value)?),
            ("BODY", Some(value)) => mail.body_type = body_type(value)?,
            ("SMTPUTF8", None) => mail.smtp_utf8 = SmtpUtf8::Requested,
            ("RET", Some(value)) => mail.request.ret = Some(ret(value)?),
            ("ENVID", Some(value)) => mail.request.envelope_id = Some(envelope_id(value)?),
            // RFC 8689 §2: no value.
            ("REQUIRETLS", None) => mail.request.require_tls = RequireTls::Yes,
            ("SIZE" | "BODY" | "SMTPUTF8" | "RET" | "ENVID" | "REQUIRETLS", _) => {
                return Err(reply::BAD_ARGUMENTS.with(&[SYNTAX]));
            }
            _ => return Err(reply::UNKNOWN_PARAMETER.with(&[&keyword])),
        }
        if seen.contains(&keyword) {
            return Err(reply::BAD_ARGUMENTS.with(&[SYNTAX]));
        }
        seen.push(keyword);
    }
    if !path.is_ascii() && mail.smtp_utf8 == SmtpUtf8::NotRequested {
        return Err(reply::UTF8_NOT_REQUESTED.reply());
    }
    Ok(mail)
}

/// RFC 1870 §5: one to twenty digits.
fn size(value: &str) -> Result<u64, Reply> {
    if value.is_empty() || value.len() > 20 || !value.bytes().all(|b| b.is_ascii_digit()) {
        return Err(reply::BAD_ARGUMENTS.with(&["SIZE=octets"]));
    }
    Ok(value.parse().unwrap_or(u64::MAX))
}

fn body_type(value: &str) -> Result<BodyType, Reply> {
    match value.to_ascii_uppercase().as_str() {
        "7BIT" => Ok(BodyType::SevenBit),
        "8BITMIME" => Ok(BodyType::EightBitMime),
        _ => Err(reply::BAD_BODY_TYPE.reply()),
    }
}

/// RFC 3461 §4.3.
fn ret(value: &str) -> Result<Return, Reply> {
    match value.to_ascii_uppercase().as_str() {
        "FULL" => Ok(Return::Full),
        "HDRS" => Ok(Return::Headers),
        _ => Err(reply::BAD_ARGUMENTS.with(&["RET=FULL or RET=HDRS"])),
    }
}

/// RFC 3461 §4.4: xtext of printable ASCII, 1 to 100 octets.
fn envelope_id(value: &str) -> Result<String, Reply> {
    let fits = (1..=MAX_ENVELOPE_ID_OCTETS).contains(&value.len()) && value.is_ascii();
    if !fits || xtext::decode(value).is_none() {
        return Err(reply::BAD_ARGUMENTS.with(&["ENVID=xtext, printable, up to 100 octets"]));
    }
    Ok(value.to_owned())
}

fn rcpt(rest: &str) -> Result<Rcpt, Reply> {
    const SYNTAX: &str = "RCPT TO:<address> [NOTIFY=NEVER|SUCCESS,FAILURE,DELAY] [ORCPT=type;xtext]";
    let (path, parameters) = path(rest, "TO:")
        .filter(|(p, _)| !p.is_empty())
        .ok_or_else(|| reply::BAD_ARGUMENTS.with(&[SYNTAX]))?;
    let mut request = RecipientRequest::default();
    let mut seen = Vec::new();
    for parameter in parameters.split(' ').filter(|parameter| !parameter.is_empty()) {
        let (keyword, value) = parameter.split_once('=').map_or((parameter, None), |(k, v)| (k, Some(v)));
        let keyword = keyword.to_ascii_uppercase();
        match (keyword.as_str(), value) {
            ("NOTIFY", Some(value)) => request.notify = notify(value)?,
            ("ORCPT", Some(value)) => request.original_recipient = Some(original_recipient(value)?),
            ("NOTIFY" | "ORCPT", None) => return Err(reply::BAD_ARGUMENTS.with(&[SYNTAX])),
            _ => return Err(reply::UNKNOWN_PARAMETER.with(&[&keyword])),
        }
        if seen.contains(&keyword) {
            return Err(reply::BAD_ARGUMENTS.with(&[SYNTAX]));
        }
        seen.push(keyword);
    }
    let charset = if path.is_ascii() && parameters.is_ascii() { Charset::Ascii } else { Charset::Utf8 };
    if path.eq_ignore_ascii_case("postmaster") {
        return Ok(Rcpt { recipient: None, charset, request });
    }
    let recipient = mailbox(path).map_err(|e| reply::BAD_RECIPIENT.with(&[&e.to_string()]))?;
    Ok(Rcpt { recipient: Some(recipient), charset, request })
}

/// RFC 3461 §4.1: NEVER alone, or a list of the others.
fn notify(value: &str) -> Result<Notify, Reply> {
    const SYNTAX: &str = "NOTIFY=NEVER, or a list of SUCCESS, FAILURE and DELAY";
    if value.eq_ignore_ascii_case("NEVER") {
        return Ok(Notify::Never);
    }
    let (mut success, mut failure, mut delay) = (false, false, false);
    for word in value.split(',') {
        match word.to_ascii_uppercase().as_str() {
            "SUCCESS" => success = true,
            "FAILURE" => failure = true,
            "DELAY" => delay = true,
            _ => return Err(reply::BAD_ARGUMENTS.with(&[SYNTAX])),
        }
    }
    Ok(Notify::On { success, failure, delay })
}

/// RFC 3461 §4.2: an address type and the address in xtext, up to 500 octets; RFC 6533 §3: with the type
/// `utf-8` in any characters.
fn original_recipient(value: &str) -> Result<String, Reply> {
    let syntax = || reply::BAD_ARGUMENTS.with(&["ORCPT=type;xtext, printable, up to 500 octets"]);
    let (addr_type, address) = value.split_once(';').ok_or_else(syntax)?;
    let atext = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b);
    let is_atom = !addr_type.is_empty() && addr_type.bytes().all(atext);
    let in_charset = address.is_ascii() || addr_type.eq_ignore_ascii_case("utf-8");
    let fits = value.len() <= MAX_ORIGINAL_RECIPIENT_OCTETS && !address.is_empty();
    if !is_atom || !in_charset || !fits || xtext::decode(address).is_none() {
        return Err(syntax());
    }
    Ok(value.to_owned())
}

/// What BDAT should have said.
#[must_use]
pub fn bad_bdat() -> Reply {
    reply::BAD_ARGUMENTS.with(&["BDAT octets [LAST]"])
}

fn bdat(rest: &str) -> Result<Chunk, Reply> {
    let (digits, last) = rest.split_once(' ').unwrap_or((rest, ""));
    let octets = octets(digits.as_bytes()).ok_or_else(bad_bdat)?;
    let position = match last.trim().to_ascii_uppercase().as_str() {
        "" => ChunkPosition::More,
        "LAST" => ChunkPosition::Last,
        _ => return Err(bad_bdat()),
    };
    Ok(Chunk { octets, position })
}

/// What follows a line that [`parse`] refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Following {
    /// The next command.
    Command,
    /// A chunk of so many octets.
    Chunk(u64),
    /// A chunk, and nobody knows of how many octets.
    UnknownChunk,
}

/// What a client sends behind a line. The octets of a chunk follow BDAT without a reply between them (RFC 3030 §2),
/// refused or not: taken for commands, they would be obeyed.
#[must_use]
pub fn following(line: &[u8]) -> Following {
    let Some((word, rest)) = line.split_at_checked(BDAT.len()) else { return Following::Command };
    if !word.eq_ignore_ascii_case(BDAT) || rest.first().is_some_and(u8::is_ascii_alphanumeric) {
        return Following::Command;
    }
    let size = rest.split(|b| matches!(b, b' ' | b'\t')).find(|word| !word.is_empty()).unwrap_or_default();
    octets(size).map_or(Following::UnknownChunk, Following::Chunk)
}

/// A chunk's size: digits, as many as RFC 3030 §2 allows at least.
fn octets(digits: &[u8]) -> Option<u64> {
    let fits = (1..=MAX_SIZE_DIGITS).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| fits)?.parse().ok()
}

/// Splits `FROM:<path> parameters` into the content of the brackets and the rest.
fn path<'a>(rest: &'a str, keyword: &str) -> Option<(&'a str, &'a str)> {
    let head = rest.get(..keyword.len())?;
    let rest = rest.get(keyword.len()..)?.trim_start_matches(' ');
    if !head.eq_ignore_ascii_case(keyword) {
        return None;
    }
    let inner = rest.strip_prefix('<')?;
    let end = closing_bracket(inner)?;
    let parameters = inner.get(end + 1..)?;
    (parameters.is_empty() || parameters.starts_with(' ')).then_some((inner.get(..end)?, parameters))
}

/// Where the path ends: the first `>` outside a quoted string (RFC 5321 §4.1.2).
fn closing_bracket(inner: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in inner.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '>' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// The mailbox of a path: a source route before it is dropped (RFC 5321 appendix C).
fn mailbox(path: &str) -> Result<Address, AddressError> {
    if path.len() + 2 > MAX_PATH_OCTETS {
        return Err(AddressError::TooLong { part: "path", limit: MAX_PATH_OCTETS });
    }
    let mailbox = match path.strip_prefix('@') {
        Some(route) => route.split_once(':').map_or(path, |(_, mailbox)| mailbox),
        None => path,
    };
    Address::parse(mailbox)
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
