//! Takes values out of a parsed node file by their rows in the schema, and notes everything that is wrong.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use toml::{Table, Value};

use crate::config::error::{ConfigError, Problem};
use crate::config::files::FileError;
use crate::config::schema::{self, Key, Kind, Presence};
use crate::mail::{Address, Domain};

/// The longest file path taken, in octets: Linux's PATH_MAX.
const MAX_PATH_OCTETS: usize = 4096;

/// Everything found wrong so far, and which keys the environment set.
#[derive(Debug, Default)]
pub(super) struct Notes {
    errors: RefCell<Vec<ConfigError>>,
    variables: BTreeMap<String, String>,
}

impl Notes {
    /// Starts with the keys, by path, that environment variables have set.
    pub(super) fn new(variables: BTreeMap<String, String>) -> Self {
        Self { errors: RefCell::default(), variables }
    }

    /// Notes what is wrong with the key of this path, which may end in indices.
    pub(super) fn add(&self, key: String, problem: Problem) {
        let variable = self
            .variables
            .iter()
            .find(|(path, _)| {
                key.strip_prefix(path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('['))
            })
            .map(|(_, variable)| variable.clone());
        self.errors.borrow_mut().push(ConfigError { key, variable, problem });
    }

    /// Everything noted, each once.
    pub(super) fn into_errors(self) -> Vec<ConfigError> {
        let mut errors: Vec<ConfigError> = Vec::new();
        for error in self.errors.into_inner() {
            if !errors.contains(&error) {
                errors.push(error);
            }
        }
        errors
    }
}

/// A value that is written as a string.
pub(super) trait FromText: Sized {
    /// Parses it, or says what it is not.
    fn from_text(text: &str) -> Result<Self, String>;
}

/// One table of the file.
pub(super) struct Section<'a> {
    path: String,
    table: Option<&'a Table>,
    notes: &'a Notes,
}

impl<'a> Section<'a> {
    /// The file as a whole.
    pub(super) fn root(table: &'a Table, notes: &'a Notes) -> Self {
        Self { path: String::new(), table: Some(table), notes }
    }

    /// The table of this name in a root; empty when there is none.
    pub(super) fn section(&self, name: &str) -> Self {
        let table = self.table.and_then(|table| table.get(name)).and_then(Value::as_table);
        Self { path: schema::join(&self.path, name), table, notes: self.notes }
    }

    /// The table itself.
    pub(super) fn table(&self) -> Table {
        self.table.cloned().unwrap_or_default()
    }

    /// Whether the file has this section.
    pub(super) fn is_there(&self) -> bool {
        self.table.is_some()
    }

    /// Whether the file, not a default, gives the key.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.table.is_some_and(|table| table.contains_key(key.name))
    }

    /// Notes what is wrong with a key of this section.
    pub(super) fn wrong(&self, key: &Key, problem: Problem) {
        self.notes.add(self.path_of(key), problem);
    }

    /// Notes a value that cannot be.
    pub(super) fn invalid(&self, key: &Key, reason: impl Into<String>) {
        self.wrong(key, Problem::Invalid(reason.into()));
    }

    /// Notes a mandatory key that is not there.
    pub(super) fn missing(&self, key: &Key) {
        self.wrong(key, Problem::Missing { reason: first_sentence(key.reason) });
    }

    /// A key with a default or a mandatory one, written as a string.
    pub(super) fn one<T: FromText>(&self, key: &Key) -> Option<T> {
        let value = self.value(key)?;
        self.text_of(key, None, &value)
    }

    /// A key that can be left out, written as a string; the outer `None` is an error.
    pub(super) fn optional<T: FromText>(&self, key: &Key) -> Option<Option<T>> {
        if self.has(key) { self.one(key).map(Some) } else { Some(None) }
    }

    /// An array of strings.
    pub(super) fn list<T: FromText>(&self, key: &Key) -> Option<Vec<T>> {
        let value = self.value(key)?;
        let Some(items) = value.as_array() else {
            self.wrong_type(key, None, "an array of strings", &value);
            return None;
        };
        let read: Vec<Option<T>> =
            items.iter().enumerate().map(|(index, item)| self.text_of(key, Some(index), item)).collect();
        read.into_iter().collect()
    }

    /// An integer within the bounds of its row.
    pub(super) fn number<T: TryFrom<u64>>(&self, key: &Key) -> Option<T> {
        let value = self.value(key)?;
        let Kind::Number(min, max, _) = key.kind else { return None };
        let Some(number) = value.as_integer() else {
            self.wrong_type(key, None, "an integer", &value);
            return None;
        };
        let within = u64::try_from(number).ok().filter(|number| (min..=max).contains(number));
        let typed = within.and_then(|number| T::try_from(number).ok());
        if typed.is_none() {
            self.invalid(key, format!("{number} is out of bounds ({})", key.expected()));
        }
        typed
    }

    /// One of the integers of its row.
    pub(super) fn choice<T: TryFrom<u64>>(&self, key: &Key) -> Option<T> {
        let value = self.value(key)?;
        let Kind::Choice(numbers, _) = key.kind else { return None };
        let Some(number) = value.as_integer() else {
            self.wrong_type(key, None, "an integer", &value);
            return None;
        };
        let chosen = u64::try_from(number).ok().filter(|number| numbers.contains(number));
        let typed = chosen.and_then(|number| T::try_from(number).ok());
        if typed.is_none() {
            self.invalid(key, format!("{number} cannot be ({})", key.expected()));
        }
        typed
    }

    /// A duration within the bounds of its row.
    pub(super) fn duration(&self, key: &Key) -> Option<Duration> {
        let value = self.value(key)?;
        let Kind::Duration(min, max) = key.kind else { return None };
        let Some(text) = value.as_str() else {
            self.wrong_type(key, None, "a string such as \"45s\" or \"5d\"", &value);
            return None;
        };
        let Ok(duration) = humantime::parse_duration(text) else {
            self.invalid(key, format!("\"{text}\" is not a duration such as \"45s\" or \"5d\""));
            return None;
        };
        if !(Duration::from_secs(min)..=Duration::from_secs(max)).contains(&duration) {
            self.invalid(key, format!("\"{text}\" is out of bounds ({})", key.expected()));
            return None;
        }
        Some(duration)
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, key: &Key) -> Option<bool> {
        let value = self.value(key)?;
        let flag = value.as_bool();
        if flag.is_none() {
            self.wrong_type(key, None, "true or false", &value);
        }
        flag
    }

    /// `true`, the word of its row, or `false`, each with its meaning.
    pub(super) fn flag_or_word<T>(&self, key: &Key, [yes, between, no]: [T; 3]) -> Option<T> {
        let value = self.value(key)?;
        let Kind::FlagOr(word) = key.kind else { return None };
        match &value {
            Value::Boolean(true) => Some(yes),
            Value::Boolean(false) => Some(no),
            Value::String(text) if text == word => Some(between),
            Value::String(text) => {
                self.invalid(key, format!("\"{text}\" is none of {}", key.expected()));
                None
            }
            Value::Integer(_) | Value::Float(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => {
                self.wrong_type(key, None, &key.expected(), &value);
                None
            }
        }
    }

    /// One word of a closed set.
    pub(super) fn word<T: Copy>(&self, key: &Key, words: &[(&str, T)]) -> Option<T> {
        let text: String = self.one(key)?;
        let meaning = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        if meaning.is_none() {
            self.invalid(key, format!("\"{text}\" is none of {}", key.expected()));
        }
        meaning
    }

    /// Whether the file gives an array with nothing in it.
    pub(super) fn is_empty_array(&self, key: &Key) -> bool {
        let value = self.table.and_then(|table| table.get(key.name));
        value.and_then(Value::as_array).is_some_and(Vec::is_empty)
    }

    /// The tables of an array of tables.
    pub(super) fn tables(&self, key: &Key) -> Vec<Self> {
        let Some(value) = self.table.and_then(|table| table.get(key.name)) else { return Vec::new() };
        let Some(items) = value.as_array() else {
            self.wrong_type(key, None, "an array of tables", value);
            return Vec::new();
        };
        let path = self.path_of(key);
        let mut sections = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            match item.as_table() {
                Some(table) => sections.push(Self { path, table: Some(table), notes: self.notes }),
                None => self.wrong_type(key, Some(index), "a table", item),
            }
        }
        sections
    }

    /// A mandatory file and what reading it gave.
    pub(super) fn file<T>(
        &self,
        key: &Key,
        read: impl FnOnce(&Path) -> Result<T, FileError>,
    ) -> Option<(PathBuf, T)> {
        let path: PathBuf = self.one(key)?;
        match read(&path) {
            Ok(content) => Some((path, content)),
            Err(cause) => {
                self.wrong(key, Problem::File { path, cause: cause.to_string() });
                None
            }
        }
    }

    /// A file that can be left out; the outer `None` is an error.
    pub(super) fn optional_file<T>(
        &self,
        key: &Key,
        read: impl FnOnce(&Path) -> Result<T, FileError>,
    ) -> Option<Option<(PathBuf, T)>> {
        if self.has(key) { self.file(key, read).map(Some) } else { Some(None) }
    }

    /// The file's value, or the default's; notes a mandatory key that is not there.
    fn value(&self, key: &Key) -> Option<Value> {
        if let Some(value) = self.table.and_then(|table| table.get(key.name)) {
            return Some(value.clone());
        }
        match key.presence {
            Presence::Default(text) => text.parse().ok(),
            Presence::Mandatory(_) | Presence::Optional(_) => {
                self.missing(key);
                None
            }
        }
    }

    fn text_of<T: FromText>(&self, key: &Key, index: Option<usize>, value: &Value) -> Option<T> {
        let Some(text) = value.as_str() else {
            self.wrong_type(key, index, "a string", value);
            return None;
        };
        T::from_text(text)
            .map_err(|reason| self.notes.add(indexed(self.path_of(key), index), Problem::Invalid(reason)))
            .ok()
    }

    fn wrong_type(&self, key: &Key, index: Option<usize>, expected: &str, value: &Value) {
        let problem = Problem::WrongType { expected: expected.to_owned(), found: type_of(value) };
        self.notes.add(indexed(self.path_of(key), index), problem);
    }

    fn path_of(&self, key: &Key) -> String {
        schema::join(&self.path, key.name)
    }
}

fn indexed(path: String, index: Option<usize>) -> String {
    index.map_or_else(|| path.clone(), |index| format!("{path}[{index}]"))
}

/// TOML's word for a value's type, with its article.
pub(super) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a string",
        Value::Integer(_) => "an integer",
        Value::Float(_) => "a float",
        Value::Boolean(_) => "a boolean",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "an array",
        Value::Table(_) => "a table",
    }
}

/// A reason's first sentence, without its full stop.
fn first_sentence(reason: &str) -> String {
    reason.trim().split(". ").next().unwrap_or_default().trim_end_matches('.').to_owned()
}

impl FromText for String {
    fn from_text(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

impl FromText for PathBuf {
    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > MAX_PATH_OCTETS || text.contains('\0') {
            return Err(format!("is not a path of 1 to {MAX_PATH_OCTETS} octets"));
        }
        Ok(Self::from(text))
    }
}

impl FromText for Domain {
    fn from_text(text: &str) -> Result<Self, String> {
        let domain = Self::parse(text).map_err(|error| error.to_string())?;
        if domain.is_literal() {
            return Err(format!("\"{domain}\" is an address literal; a host name is needed"));
        }
        Ok(domain)
    }
}

impl FromText for Address {
    fn from_text(text: &str) -> Result<Self, String> {
        Self::parse(text).map_err(|error| error.to_string())
    }
}

impl FromText for SocketAddr {
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| {
            format!("\"{text}\" is not an address with a port, such as 127.0.0.1:25 or [::1]:25")
        })
    }
}

impl FromText for IpAddr {
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("\"{text}\" is not an IPv4 or IPv6 address"))
    }
}

/// A network, or an address alone.
impl FromText for IpNet {
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse()
            .or_else(|_| text.parse::<IpAddr>().map(Self::from))
            .map_err(|_| format!("\"{text}\" is not a network such as 192.0.2.0/24"))
    }
}

/// A network, or an address alone.
impl FromText for Ipv4Net {
    fn from_text(text: &str) -> Result<Self, String> {
        match IpNet::from_text(text)? {
            IpNet::V4(net) => Ok(net),
            IpNet::V6(_) => Err(format!("\"{text}\" is not an IPv4 network such as 127.0.0.0/24")),
        }
    }
}
