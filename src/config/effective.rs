//! `postroad config show` and `config diff`: the values that count, as a node file.

use std::fmt::Write as _;

use crate::config::Config;
use crate::config::schema::{Form, KEYS, Key, Kind, SECTIONS};
use crate::config::settings::{Settings, default};

/// Which keys are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    All,
    /// Those whose values are not the defaults, with these behind them.
    Differing,
}

impl Config {
    /// Every key that has a value: the file's, the environment's, or the default. Secrets are in files of their own, of which
    /// it has the paths.
    #[must_use]
    pub fn effective(&self) -> String {
        print(&self.settings, Which::All)
    }

    /// The keys whose values are not the defaults, each with its default where it has one.
    #[must_use]
    pub fn beside_defaults(&self) -> String {
        print(&self.settings, Which::Differing)
    }
}

fn print(settings: &Settings, which: Which) -> String {
    let mut out = String::new();
    for section in SECTIONS.iter().filter(|section| section.form != Form::Inline) {
        let name = section.path.trim_end_matches("[]");
        let header = if section.form == Form::Array { format!("[[{name}]]") } else { format!("[{name}]") };
        for at in 0..settings.count(section.path) {
            let keys = KEYS.iter().copied().filter(|key| key.section == section.path);
            let lines: Vec<String> = keys.filter_map(|key| line(settings, key, at, which)).collect();
            // That an optional section is there says something on its own.
            if !lines.is_empty() || section.form == Form::OptionalTable {
                let _ = writeln!(out, "{header}");
            }
            for line in lines {
                let _ = writeln!(out, "{line}");
            }
        }
    }
    out
}

/// A key with its value in one of the tables of its section.
fn line(settings: &Settings, key: &Key, at: usize, which: Which) -> Option<String> {
    let value = settings.values(key).into_iter().nth(at)??;
    // Tables in sections of their own are printed there.
    let is_elsewhere = key.kind == Kind::Tables
        && value.as_array().is_some_and(|items| has_section(key) || items.is_empty());
    if is_elsewhere {
        return None;
    }
    match (which, default(key)) {
        (Which::Differing, Some(default)) if default == value => None,
        (Which::Differing, Some(default)) => Some(format!("{} = {value} # default: {default}", key.name)),
        (Which::Differing, None) | (Which::All, _) => Some(format!("{} = {value}", key.name)),
    }
}

fn has_section(key: &Key) -> bool {
    let path = format!("{}[]", key.path());
    SECTIONS.iter().any(|section| section.path == path && section.form == Form::Array)
}

#[cfg(test)]
#[path = "effective_tests.rs"]
mod tests;
