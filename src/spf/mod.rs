//! The words of SPF (RFC 7208): what a record says, and what its macros become. Pure; `check_host` evaluates.
//!
//! A record is parsed whole before anything is looked up (§4.6), and whatever does not follow the grammar of
//! §12 to the letter makes it an error: a receiver that guesses what a broken term means lets in whom its owner
//! did not. Records and names are octets; nothing here takes them for text.

mod macros;
mod record;
mod term;

use std::fmt;

use thiserror::Error;

pub use macros::{Context, Explained, MAX_NAME_OCTETS, MacroString, Sender};
pub use record::{MAX_RECORD_OCTETS, Record, select};
pub use term::{Directive, Mechanism, PrefixLengths, Qualifier};

/// An SPF result (RFC 7208 §2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpfVerdict {
    /// Authorised.
    Pass,
    /// Not authorised.
    Fail,
    /// Probably not authorised.
    SoftFail,
    /// The domain asserts nothing.
    Neutral,
    /// No record.
    None,
    /// DNS did not answer.
    TempError,
    /// The record cannot be interpreted.
    PermError,
}

impl SpfVerdict {
    /// The word of the result, in Authentication-Results (RFC 8601 §2.7.2), metrics and records.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::SoftFail => "softfail",
            Self::Neutral => "neutral",
            Self::None => "none",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

impl fmt::Display for SpfVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why a record is no record; each is a permerror (RFC 7208 §4.5, §4.6). Terms are quoted as far as they are
/// printable, at most 80 characters of them.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SyntaxError {
    /// RFC 7208 §4.5: there must be one.
    #[error("several SPF records")]
    SeveralRecords,
    /// More than anybody needs.
    #[error("a record of more than {MAX_RECORD_OCTETS} octets")]
    TooLong,
    /// No mechanism of this name.
    #[error("unknown mechanism in \"{0}\"")]
    Mechanism(String),
    /// Something must follow the name, or must not, or is not of the form it must have.
    #[error("bad argument in \"{0}\"")]
    Argument(String),
    /// A `%` that begins no macro, a macro that is none, or an octet that no macro string holds.
    #[error("bad macro string in \"{0}\"")]
    Macro(String),
    /// A `domain-spec` that does not end as a domain does.
    #[error("bad domain in \"{0}\"")]
    Domain(String),
    /// Not an address of the family.
    #[error("bad address in \"{0}\"")]
    Address(String),
    /// Not a prefix length of the family.
    #[error("bad prefix length in \"{0}\"")]
    PrefixLength(String),
    /// RFC 7208 §6: `redirect` and `exp` stand at most once.
    #[error("a second \"{0}\"")]
    Twice(&'static str),
}

/// What of a term an error shows.
fn excerpt(term: &[u8]) -> String {
    let shown = term.iter().take(80).map(|b| if b.is_ascii_graphic() { char::from(*b) } else { '?' });
    shown.collect()
}
