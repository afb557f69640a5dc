//! Environment variables that beat the file: `POSTROAD__SECTION__KEY`.

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::config::error::{ConfigError, Problem};
use crate::config::load::closest;
use crate::config::schema::{self, Kind};

/// Only names that begin so are read: Kubernetes injects `POSTROAD_PORT` and the like.
const PREFIX: &str = "POSTROAD__";

/// The process's environment variables that name keys, with their values.
#[must_use]
pub fn variables() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .map(|(name, value)| (name, value.to_string_lossy().into_owned()))
        .collect()
}

/// Puts the variables' values into the file's table. Returns which variable set which key.
pub(super) fn apply(
    table: &mut Table,
    variables: &[(String, String)],
    errors: &mut Vec<ConfigError>,
) -> BTreeMap<String, String> {
    let mut origins = BTreeMap::new();
    for (name, text) in variables {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let path = rest.to_ascii_lowercase().replace("__", ".");
        match set(table, &path, text) {
            Ok(()) => {
                origins.insert(path, name.clone());
            }
            Err(problem) => errors.push(ConfigError { key: path, variable: Some(name.clone()), problem }),
        }
    }
    origins
}

fn set(table: &mut Table, path: &str, text: &str) -> Result<(), Problem> {
    let (section, name) = path.rsplit_once('.').unwrap_or(("", path));
    let Some(key) = schema::find(section, name) else { return Err(unknown(path)) };
    let value = value_of(key.kind, text);
    if section.is_empty() {
        table.insert(name.to_owned(), value);
        return Ok(());
    }
    let inner = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    // A section that is no table is an error of the file, found when it is read.
    if let Some(inner) = inner.as_table_mut() {
        inner.insert(name.to_owned(), value);
    }
    Ok(())
}

/// A TOML value, or else the text itself. Where a string is expected, what looks like a number is one too.
fn value_of(kind: Kind, text: &str) -> Value {
    let value = text.parse().unwrap_or_else(|_| Value::String(text.to_owned()));
    match kind {
        Kind::Text(_) | Kind::File | Kind::Duration(..) if !value.is_str() => Value::String(text.to_owned()),
        Kind::Text(_)
        | Kind::File
        | Kind::Duration(..)
        | Kind::Flag
        | Kind::FlagOr(_)
        | Kind::Number(..)
        | Kind::Choice(..)
        | Kind::List(_)
        | Kind::Tables => value,
    }
}

fn unknown(path: &str) -> Problem {
    let example = schema::KEYS.iter().find(|key| key.section == path);
    match example {
        Some(key) => Problem::NamesSection { example: variable(&key.path()) },
        None => Problem::Unknown { suggestion: closest(path).map(|path| variable(&path)) },
    }
}

fn variable(path: &str) -> String {
    format!("{PREFIX}{}", path.to_ascii_uppercase().replace('.', "__"))
}
