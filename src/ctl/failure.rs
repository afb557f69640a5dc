//! Why a command did not do it, as one line that a person can act on.

use std::fmt;
use std::io;

use tonic::{Code, Status};
use tonic_types::StatusExt;

/// The word of a server that does not know the node that is meant.
const UNKNOWN_NODE: &str = "NODE_NOT_FOUND";
/// Longest text of a server's that is shown, in characters.
const MAX_SHOWN: usize = 2000;

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// The command line asks for what cannot be. Status 2.
    Usage(String),
    /// The server cannot be reached, or a file cannot be used.
    Local(String),
    /// The server refused.
    Refused(Box<Status>),
    /// A write ended so, and may have been made.
    Unknown {
        /// How it ended.
        cause: Box<Self>,
        /// The id to repeat it under.
        request_id: String,
    },
    /// Standard output failed.
    Output(io::Error),
}

impl Failure {
    /// The exit status: 2 for wrong usage, else 1.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Local(_) | Self::Refused(_) | Self::Unknown { .. } | Self::Output(_) => 1,
        }
    }

    /// Whether whoever read our output has seen enough, as `head` does.
    pub(super) fn is_closed_pipe(&self) -> bool {
        match self {
            Self::Output(error) => error.kind() == io::ErrorKind::BrokenPipe,
            Self::Usage(_) | Self::Local(_) | Self::Refused(_) | Self::Unknown { .. } => false,
        }
    }

    /// Whether whoever was meant has not answered, or not in time.
    pub(super) fn is_silence(&self) -> bool {
        match self {
            Self::Local(_) => true,
            Self::Refused(status) => {
                matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded)
                    || status.get_details_error_info().is_some_and(|info| info.reason == UNKNOWN_NODE)
            }
            Self::Usage(_) | Self::Unknown { .. } | Self::Output(_) => false,
        }
    }

    /// Whether the server refused with this code.
    pub(super) fn is(&self, code: Code) -> bool {
        match self {
            Self::Refused(status) => status.code() == code,
            Self::Usage(_) | Self::Local(_) | Self::Unknown { .. } | Self::Output(_) => false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::Local(text) => f.write_str(&printable(text)),
            Self::Refused(status) => f.write_str(&printable(&refusal(status))),
            Self::Unknown { cause, request_id } => {
                let id = quoted(request_id);
                write!(f, "{cause}; it may have been done: repeat the command with --request-id {id}")
            }
            Self::Output(error) => write!(f, "standard output: {error}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// The text, what the details add to it, and the reason for those who look it up.
fn refusal(status: &Status) -> String {
    let details = status.get_error_details();
    let mut parts = vec![match status.message() {
        "" => status.code().description().to_owned(),
        message => message.to_owned(),
    }];
    let violations = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
    parts.extend(
        violations
            .iter()
            .filter(|violation| !status.message().contains(violation.description.as_str()))
            .map(|violation| format!("{}: {}", violation.field, violation.description)),
    );
    let unmet = details.precondition_failure().map(|unmet| unmet.violations.as_slice()).unwrap_or_default();
    parts.extend(
        unmet
            .iter()
            .filter(|violation| !status.message().contains(violation.description.as_str()))
            .map(|violation| format!("{}: {}", violation.subject, violation.description)),
    );
    let mut text = parts.join("; ");
    if let Some(retry) = details.retry_info().and_then(|retry| retry.retry_delay) {
        text = format!("{text}; try again in {} s", retry.as_secs().max(1));
    }
    match details.error_info() {
        Some(info) => format!("{text} ({})", info.reason),
        None => text,
    }
}

/// A word of a shell.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@+".contains(c);
    if text.chars().all(is_plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// One line without control characters, which could move the cursor or change colours.
pub(super) fn printable(text: &str) -> String {
    text.chars().take(MAX_SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
