//! MTA-STS policies as text (RFC 8461 §3.1, §3.2): the record that announces one, and the policy itself. Pure.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

use crate::mail::Domain;

/// Octets of a policy; RFC 8461 §3.3 suggests a limit of 64 KiB.
pub const MAX_POLICY_OCTETS: usize = 64 * 1024;
/// Longest life of a policy (RFC 8461 §3.2: at most 31557600 s, about a year); larger values count as this.
pub const MAX_AGE: Duration = Duration::from_secs(31_557_600);
/// Patterns of a policy; a domain with more hosts would not fit its MX records into a response.
const MAX_PATTERNS: usize = 100;
/// Octets of an id (RFC 8461 §3.1).
const MAX_ID_OCTETS: usize = 32;

/// What a domain wants of its senders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StsPolicy {
    /// How failures are treated.
    pub mode: StsMode,
    /// How long the policy holds after it was fetched; at most [`MAX_AGE`].
    pub max_age: Duration,
    /// At most 100; at least one unless the mode is `none`.
    patterns: Vec<Pattern>,
}

/// How failures are treated (RFC 8461 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StsMode {
    /// No delivery to a host that fails.
    Enforce,
    /// Delivery as if there were no policy, and a report.
    Testing,
    /// As if there were no policy.
    None,
}

/// One `mx` field (RFC 8461 §4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    /// This host.
    Host(Domain),
    /// `*.` and a domain: the hosts one label below it.
    Below(Domain),
}

/// What is wrong with a policy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StsPolicyError {
    /// More than [`MAX_POLICY_OCTETS`], or more than 100 `mx` fields.
    #[error("the policy is too large")]
    TooLarge,
    /// Not UTF-8, or a line that is no field.
    #[error("the policy is not lines of \"key: value\"")]
    Syntax,
    /// A field is not there.
    #[error("the policy has no {0}")]
    Missing(&'static str),
    /// A field's value is none of those that it may have.
    #[error("the policy's {0} is wrong")]
    Value(&'static str),
}

impl StsPolicy {
    /// Reads a policy. Lines end in CRLF or LF, unknown keys are passed over, and of a key other than `mx`
    /// that is there twice the first counts (RFC 8461 §3.2).
    ///
    /// # Errors
    /// When it is too large, a line is no field, or a mandatory field is missing or wrong.
    pub fn parse(octets: &[u8]) -> Result<Self, StsPolicyError> {
        if octets.len() > MAX_POLICY_OCTETS {
            return Err(StsPolicyError::TooLarge);
        }
        let text = std::str::from_utf8(octets).map_err(|_| StsPolicyError::Syntax)?;
        let (mut version, mut mode, mut max_age, mut patterns) = (None, None, None, Vec::new());
        for line in text.lines().map(|line| line.trim_matches([' ', '\t', '\r'])) {
            if line.is_empty() {
                continue;
            }
            let (key, value) = line.split_once(':').ok_or(StsPolicyError::Syntax)?;
            let value = value.trim_matches([' ', '\t']);
            match key {
                "version" => version = version.or(Some(value)),
                "mode" => mode = mode.or(Some(value)),
                "max_age" => max_age = max_age.or(Some(value)),
                "mx" if patterns.len() == MAX_PATTERNS => return Err(StsPolicyError::TooLarge),
                "mx" => patterns.push(Pattern::parse(value).ok_or(StsPolicyError::Value("mx"))?),
                _ => {}
            }
        }
        if version.ok_or(StsPolicyError::Missing("version"))? != "STSv1" {
            return Err(StsPolicyError::Value("version"));
        }
        let mode = parse_mode(mode.ok_or(StsPolicyError::Missing("mode"))?)?;
        let max_age = parse_max_age(max_age.ok_or(StsPolicyError::Missing("max_age"))?)?;
        if patterns.is_empty() && mode != StsMode::None {
            return Err(StsPolicyError::Missing("mx"));
        }
        Ok(Self { mode, max_age, patterns })
    }

    /// Whether a pattern names this MX host; it is in lower case and without trailing dot, as a [`Domain`] is.
    #[must_use]
    pub fn names(&self, host: &str) -> bool {
        self.patterns.iter().any(|pattern| match pattern {
            Pattern::Host(name) => name.as_str() == host,
            // RFC 8461 §4.1, RFC 6125 §6.4.3: the wildcard is one whole label, the left-most.
            Pattern::Below(parent) => {
                host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == parent.as_str())
            }
        })
    }

    /// The `mx` fields' values, for reports.
    pub fn patterns(&self) -> impl Iterator<Item = String> + '_ {
        self.patterns.iter().map(ToString::to_string)
    }
}

/// The policy as text, its known fields only.
impl fmt::Display for StsPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.mode {
            StsMode::Enforce => "enforce",
            StsMode::Testing => "testing",
            StsMode::None => "none",
        };
        write!(f, "version: STSv1\nmode: {mode}\n")?;
        self.patterns().try_for_each(|pattern| writeln!(f, "mx: {pattern}"))?;
        writeln!(f, "max_age: {}", self.max_age.as_secs())
    }
}

impl Pattern {
    fn parse(value: &str) -> Option<Self> {
        let (name, wildcard) = match value.strip_prefix("*.") {
            Some(parent) => (parent, true),
            None => (value, false),
        };
        let domain = Domain::parse(name).ok().filter(|domain| !domain.is_literal())?;
        Some(if wildcard { Self::Below(domain) } else { Self::Host(domain) })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) => write!(f, "{name}"),
            Self::Below(parent) => write!(f, "*.{parent}"),
        }
    }
}

fn parse_mode(value: &str) -> Result<StsMode, StsPolicyError> {
    match value {
        "enforce" => Ok(StsMode::Enforce),
        "testing" => Ok(StsMode::Testing),
        "none" => Ok(StsMode::None),
        _ => Err(StsPolicyError::Value("mode")),
    }
}

/// One to ten digits (RFC 8461 §3.2).
fn parse_max_age(value: &str) -> Result<Duration, StsPolicyError> {
    if !(1..=10).contains(&value.len()) || !value.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(StsPolicyError::Value("max_age"));
    }
    let seconds = value.parse().map_err(|_| StsPolicyError::Value("max_age"))?;
    Ok(Duration::from_secs(seconds).min(MAX_AGE))
}

/// The id that a domain's `_mta-sts` TXT records announce; `None` when there is not exactly one such record
/// (RFC 8461 §3.1), or it is wrong.
#[must_use]
pub fn announced_id(records: &[Vec<u8>]) -> Option<String> {
    let mut announcing = records.iter().filter_map(|record| {
        let text = std::str::from_utf8(record).ok()?;
        let rest = text.strip_prefix("v=STSv1")?.trim_start_matches([' ', '\t']);
        rest.strip_prefix(';')
    });
    let (fields, None) = (announcing.next()?, announcing.next()) else { return None };
    let fields = fields.split(';').filter_map(|field| field.split_once('='));
    let id = fields.map(|(key, value)| (key.trim(), value.trim())).find(|(key, _)| *key == "id")?.1;
    let fits =
        (1..=MAX_ID_OCTETS).contains(&id.len()) && id.bytes().all(|octet| octet.is_ascii_alphanumeric());
    fits.then(|| id.to_owned())
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
