//! The values of a node file by key, as the schema has them: for what differs between two files. Knows nothing of
//! what a value means.

use toml::{Table, Value};

use crate::config::schema::{Effect, Form, KEYS, Key, Kind, Presence, SECTIONS};

/// A file's table, the environment's values in it. Holds paths of secrets, never a secret.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings(Table);

impl Settings {
    pub(super) fn new(table: Table) -> Self {
        Self(table)
    }

    pub(super) fn table(&self) -> &Table {
        &self.0
    }

    /// Whether the file, not a default, gives a key of a section that stands there once.
    pub(super) fn has(&self, key: &Key) -> bool {
        sections(&self.0, key.section).iter().any(|section| section.contains_key(key.name))
    }

    /// The keys of this class whose values here and there differ. A default counts as the value that it is.
    pub(super) fn differing(&self, other: &Self, effect: Effect) -> Vec<&'static Key> {
        // The keys of its tables stand for an array of tables.
        let keys = KEYS.iter().copied().filter(|key| key.effect == effect && key.kind != Kind::Tables);
        keys.filter(|key| self.values(key) != other.values(key)).collect()
    }

    /// These settings with the other's values of these keys, none of which stands in an array of tables.
    pub(super) fn with(&self, keys: &[&Key], other: &Self) -> Self {
        let mut table = self.0.clone();
        for key in keys {
            // Where leaving a section out means something, it comes back as a whole: the kept keys need the others of it.
            let whole = other.0.get(key.section).filter(|_| !self.0.contains_key(key.section));
            if let Some(whole) = whole.filter(|_| is_optional(key.section)) {
                table.insert(key.section.to_owned(), whole.clone());
                continue;
            }
            if let Some(value) = other.values(key).into_iter().next().flatten() {
                let section = table.entry(key.section).or_insert_with(|| Value::Table(Table::new()));
                if let Some(section) = section.as_table_mut() {
                    section.insert(key.name.to_owned(), value);
                }
            } else if is_optional(key.section) {
                table.remove(key.section);
            } else if let Some(section) = table.get_mut(key.section).and_then(Value::as_table_mut) {
                section.remove(key.name);
            }
        }
        Self(table)
    }

    /// How many tables a section has: one where it is left out and that means its defaults.
    pub(super) fn count(&self, section: &str) -> usize {
        match sections(&self.0, section).len() {
            0 if !section.contains("[]") && !is_optional(section) => 1,
            count => count,
        }
    }

    /// The key's value in each table of its section: one, but for arrays of tables.
    pub(super) fn values(&self, key: &Key) -> Vec<Option<Value>> {
        let sections = sections(&self.0, key.section);
        if sections.is_empty() && !key.section.contains("[]") && !is_optional(key.section) {
            return vec![default(key)];
        }
        sections.into_iter().map(|section| section.get(key.name).cloned().or_else(|| default(key))).collect()
    }
}

/// The tables at a section's path in the schema.
fn sections<'a>(table: &'a Table, path: &str) -> Vec<&'a Table> {
    let mut at = vec![table];
    for step in path.split('.').filter(|step| !step.is_empty()) {
        let inner = at.into_iter().filter_map(|table| table.get(step.trim_end_matches("[]")));
        at = inner.flat_map(tables).collect();
    }
    at
}

fn tables(value: &Value) -> Vec<&Table> {
    match value {
        Value::Table(table) => vec![table],
        Value::Array(items) => items.iter().filter_map(Value::as_table).collect(),
        Value::String(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {
            Vec::new()
        }
    }
}

/// Whether leaving the section out means something else than its defaults.
fn is_optional(section: &str) -> bool {
    SECTIONS.iter().any(|row| row.path == section && row.form == Form::OptionalTable)
}

/// What the key has where the file and the environment say nothing.
pub(super) fn default(key: &Key) -> Option<Value> {
    match key.presence {
        Presence::Default(text) => text.parse().ok(),
        Presence::Mandatory(_) | Presence::Optional(_) => None,
    }
}
