//! What can be wrong with a node file, with the path of the key at fault.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// What is wrong with one key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Problem {
    /// The node file itself could not be read.
    #[error("{}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// The node file is no TOML.
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// Counted from 1, in characters.
        column: usize,
        /// What the parser said.
        message: String,
    },
    /// No such key; perhaps another was meant.
    #[error("unknown key{}", suggestion.as_ref().map(|s| format!(", did you mean {s}?")).unwrap_or_default())]
    Unknown {
        /// The most similar key.
        suggestion: Option<String>,
    },
    /// A variable names a whole section.
    #[error("names a section; set its keys one by one, such as {example}")]
    NamesSection {
        /// A variable that would do.
        example: String,
    },
    /// A key that has no default is not set.
    #[error("is mandatory: {reason}")]
    Missing {
        /// What the key is for.
        reason: String,
    },
    /// The value is of another type.
    #[error("must be {expected}, not {found}")]
    WrongType {
        /// With its article: `a string`.
        expected: String,
        /// TOML's word for the type found, with its article.
        found: &'static str,
    },
    /// The value is of the right type and still none of those that can be.
    #[error("{0}")]
    Invalid(String),
    /// The value contradicts another one.
    #[error("{0}")]
    Conflict(String),
    /// The file named cannot be used.
    #[error("{}: {cause}", path.display())]
    File {
        /// The file named.
        path: PathBuf,
        /// What is wrong with it; never its content.
        cause: String,
    },
}

/// One error: the key's path, where its value came from, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The key's path in the file, such as `dnsbl[0].listed`; empty when it is the file as a whole.
    pub key: String,
    /// The environment variable that set the value, when one did.
    pub variable: Option<String>,
    /// What is wrong.
    pub problem: Problem,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.variable, self.key.as_str()) {
            (Some(variable), key) => write!(f, "{key} (from {variable}): {}", self.problem),
            (None, "") => write!(f, "{}", self.problem),
            (None, key) => write!(f, "{key}: {}", self.problem),
        }
    }
}

impl std::error::Error for ConfigError {}

/// Every error of a node file and its overrides, in the order of the schema; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

/// One error a line, without a final line ending.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
