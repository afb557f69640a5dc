//! Reads a node file and the environment into a [`Config`], or into all the errors at once.

use std::collections::BTreeMap;
use std::path::Path;

use toml::{Table, Value};

use crate::config::error::{ConfigError, ConfigErrors, Problem};
use crate::config::read::{Notes, Section, type_of};
use crate::config::schema::{self, Effect, KEYS, Key, Kind, SECTIONS};
use crate::config::{Config, environment, files, sections};

/// How alike two names must be (Jaro-Winkler, 0 to 1) for the one to be suggested for the other.
const SUGGESTION_LIKENESS: f64 = 0.8;

impl Config {
    /// Reads the file, lets the variables beat it, and checks everything, the named files too.
    ///
    /// # Errors
    /// Everything that is wrong, each with its key's path.
    pub fn load(path: &Path, variables: &[(String, String)]) -> Result<Self, ConfigErrors> {
        let unreadable = |cause: String| {
            let problem = Problem::Unreadable { path: path.to_owned(), cause };
            ConfigErrors(vec![ConfigError { key: String::new(), variable: None, problem }])
        };
        let octets = files::read(path).map_err(|error| unreadable(error.to_string()))?;
        let text = String::from_utf8(octets).map_err(|_| unreadable("is not UTF-8 text".to_owned()))?;
        Self::parse(&text, variables)
    }

    /// As [`Config::load`], from the file's text.
    ///
    /// # Errors
    /// Everything that is wrong, each with its key's path.
    pub fn parse(text: &str, variables: &[(String, String)]) -> Result<Self, ConfigErrors> {
        let mut table: Table = text.parse().map_err(|error| syntax(text, &error))?;
        let mut errors = Vec::new();
        let origins = environment::apply(&mut table, variables, &mut errors);
        read(&table, origins, errors)
    }

    /// This configuration with the values of `running` for the keys that need a restart, and those keys whose values
    /// differ.
    ///
    /// # Errors
    /// When the kept values and the new ones contradict each other.
    pub(super) fn keeping(self, running: &Self) -> Result<(Self, Vec<&'static Key>), ConfigErrors> {
        let kept = running.settings.differing(&self.settings, Effect::Restart);
        if kept.is_empty() {
            return Ok((self, kept));
        }
        let settings = self.settings.with(&kept, &running.settings);
        Ok((read(settings.table(), BTreeMap::new(), Vec::new())?, kept))
    }

    /// The live keys whose values differ in `next`.
    pub(super) fn changed(&self, next: &Self) -> Vec<&'static Key> {
        self.settings.differing(&next.settings, Effect::Live)
    }
}

/// Builds the configuration from a file's table, with the errors that were found before.
fn read(
    table: &Table,
    origins: BTreeMap<String, String>,
    mut errors: Vec<ConfigError>,
) -> Result<Config, ConfigErrors> {
    let notes = Notes::new(origins);
    note_unknown(table, "", "", &notes);
    let config = sections::config(&Section::root(table, &notes));
    errors.extend(notes.into_errors());
    match config {
        Some(config) if errors.is_empty() => Ok(config),
        _ => Err(ConfigErrors(errors)),
    }
}

fn syntax(text: &str, error: &toml::de::Error) -> ConfigErrors {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let problem = Problem::Syntax {
        line: before.matches('\n').count() + 1,
        column: before.rsplit('\n').next().unwrap_or_default().chars().count() + 1,
        message: error.message().replace('\n', ", "),
    };
    ConfigErrors(vec![ConfigError { key: String::new(), variable: None, problem }])
}

/// Notes every key of the table that the schema does not know; `at` is the path in the schema, `shown` that
/// in the file.
fn note_unknown(table: &Table, at: &str, shown: &str, notes: &Notes) {
    for (name, value) in table {
        let (path, shown) = (schema::join(at, name), schema::join(shown, name));
        match (schema::find(at, name).map(|key| key.kind), value) {
            (Some(Kind::Tables), Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    if let Some(item) = item.as_table() {
                        note_unknown(item, &format!("{path}[]"), &format!("{shown}[{index}]"), notes);
                    }
                }
            }
            (Some(_), _) => {}
            (None, Value::Table(inner)) if schema::is_section(&path) => {
                note_unknown(inner, &path, &shown, notes);
            }
            (None, other) if schema::is_section(&path) => {
                let problem = Problem::WrongType { expected: "a table".to_owned(), found: type_of(other) };
                notes.add(shown, problem);
            }
            (None, _) => {
                notes.add(shown, Problem::Unknown { suggestion: closest(&path) });
            }
        }
    }
}

/// The path in the schema that is most like this one: first within the same section, then the same name in
/// another, then any.
pub(super) fn closest(path: &str) -> Option<String> {
    let (section, name) = path.rsplit_once('.').unwrap_or(("", path));
    let inner = SECTIONS.iter().map(|row| row.path).filter(|path| !path.ends_with("[]"));
    let neighbours = KEYS.iter().filter(|key| key.section == section).map(|key| key.path());
    let neighbours = neighbours.chain(inner.filter(|_| section.is_empty()).map(str::to_owned));
    let elsewhere = || KEYS.iter().filter(|key| key.name == name).map(|key| key.path()).next();
    most_alike(path, neighbours)
        .or_else(elsewhere)
        .or_else(|| most_alike(path, KEYS.iter().map(|key| key.path())))
        .map(|path| path.replace("[]", ""))
}

fn most_alike(path: &str, candidates: impl Iterator<Item = String>) -> Option<String> {
    let scored: BTreeMap<u64, String> = candidates
        .map(|candidate| (strsim::jaro_winkler(last(path), last(&candidate)), candidate))
        .filter(|(likeness, _)| *likeness >= SUGGESTION_LIKENESS)
        .map(|(likeness, candidate)| (likeness.to_bits(), candidate))
        .collect();
    scored.into_values().next_back()
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}
