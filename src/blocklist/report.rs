//! What a zone says of an address, for an operator who asks. Pure.

use std::net::Ipv4Addr;
use std::time::Duration;

/// Texts of a listing that are told.
const MAX_TEXTS: usize = 4;
/// Characters of each.
const MAX_TEXT_CHARS: usize = 300;
/// Stands for a text that names the subscriber's key.
const LEFT_OUT: &str = "(left out: it names the key of key_file)";

/// What a zone says of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneReport {
    /// The configured name.
    pub zone: String,
    /// What it means.
    pub verdict: ZoneVerdict,
    /// The addresses that it answered with, at most 16; none when it does not list, or gave no answer.
    pub codes: Vec<Ipv4Addr>,
    /// Its words on a listing (RFC 5782 §2.1), up to four.
    pub texts: Vec<String>,
    /// For how much longer the answer is kept; `None` when there is none.
    pub kept_for: Option<Duration>,
}

/// What an answer means, or why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZoneVerdict {
    /// The zone lists the address.
    Listed,
    /// It does not, or by codes only that the configuration does not count.
    NotListed,
    /// The answer is one that no zone gives of an address: mostly that we may not ask.
    Nonsense,
    /// The question failed.
    Failed,
    /// No answer in time.
    TimedOut,
    /// The zone is not asked for addresses of this family.
    SwitchedOff {
        /// What its test points say.
        why: &'static str,
    },
}

/// TXT records as texts for people: the first of them, without control characters, and never with a subscriber's key.
pub(super) fn texts(records: &[Vec<u8>], key: Option<&str>) -> Vec<String> {
    let key = key.map(str::to_ascii_lowercase);
    let shown = |octets: &Vec<u8>| {
        let text = String::from_utf8_lossy(octets);
        if key.as_ref().is_some_and(|key| text.to_ascii_lowercase().contains(key)) {
            return LEFT_OUT.to_owned();
        }
        text.chars().filter(|c| !c.is_control()).take(MAX_TEXT_CHARS).collect()
    };
    records.iter().take(MAX_TEXTS).map(shown).collect()
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
