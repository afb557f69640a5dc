//! Owns how results are printed: tables for people, proto3 JSON for programs.

use std::io::Write;
use std::time::Duration;

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use serde::ser::SerializeMap;

use super::failure::{Failure, printable};
use crate::clock;
use crate::proto::Timestamp;

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Table,
    /// proto3 JSON, one object a line.
    Json,
}

/// Standard output and standard error.
pub(super) struct Output<'a> {
    format: Format,
    /// Which server the commands that we suggest are for, unless it is the default.
    server: Option<String>,
    /// Whether it is said which node says what.
    names_nodes: bool,
    out: &'a mut (dyn Write + Send),
    err: &'a mut (dyn Write + Send),
}

/// A resource that a table has a row for.
pub(super) trait Row: Serialize {
    /// The names of the columns.
    const COLUMNS: &'static [&'static str];

    /// The cells, as many as there are columns.
    fn cells(&self) -> Vec<String>;

    /// The node that has it, of what only one has.
    fn node(&self) -> Option<&str> {
        None
    }
}

impl<'a> Output<'a> {
    pub(super) fn new(
        format: Format,
        server: Option<String>,
        out: &'a mut (dyn Write + Send),
        err: &'a mut (dyn Write + Send),
    ) -> Self {
        Self { format, server, names_nodes: false, out, err }
    }

    /// Whether people read it.
    pub(super) fn is_table(&self) -> bool {
        self.format == Format::Table
    }

    /// Says from now on which node says what.
    pub(super) fn name_nodes(&mut self) {
        self.names_nodes = true;
    }

    /// Whether it is said which node says what.
    pub(super) fn names_nodes(&self) -> bool {
        self.names_nodes
    }

    /// Prints one resource of each node: in JSON one object a line.
    pub(super) fn of_each<R: Row>(&mut self, resources: &[R]) -> Result<(), Failure> {
        match self.format {
            Format::Table => self.rows(resources),
            Format::Json => resources.iter().try_for_each(|resource| self.json(resource)),
        }
    }

    /// Prints one resource.
    pub(super) fn resource<R: Row>(&mut self, resource: &R) -> Result<(), Failure> {
        match self.format {
            Format::Table => self.rows(std::slice::from_ref(resource)),
            Format::Json => self.json(resource),
        }
    }

    /// Prints a list: in JSON one object with the resources under `key`.
    pub(super) fn list<R: Row>(&mut self, key: &'static str, resources: &[R]) -> Result<(), Failure> {
        match self.format {
            Format::Table => self.rows(resources),
            Format::Json => self.json(&Keyed(key, resources)),
        }
    }

    /// Prints what a removal prints.
    pub(super) fn removed(&mut self, name: &str) -> Result<(), Failure> {
        match self.format {
            Format::Table => {
                self.talk(&format!("{name} removed"));
                Ok(())
            }
            Format::Json => self.line("{}"),
        }
    }

    /// Prints one message as a line of JSON.
    pub(super) fn json(&mut self, message: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(message)
            .map_err(|error| Failure::Local(format!("answer cannot be shown as JSON: {error}")))?;
        self.line(&text)
    }

    /// Prints one line of data.
    pub(super) fn line(&mut self, text: &str) -> Result<(), Failure> {
        writeln!(self.out, "{text}")?;
        Ok(self.out.flush()?)
    }

    /// Prints octets of data as they are.
    pub(super) fn raw(&mut self, text: &str) -> Result<(), Failure> {
        self.out.write_all(text.as_bytes())?;
        Ok(self.out.flush()?)
    }

    /// Says something on standard error.
    pub(super) fn talk(&mut self, text: &str) {
        // Standard error is closed: nowhere is left to say so.
        let _ = writeln!(self.err, "{text}");
    }

    /// Says, to people, which command comes next, for the same server.
    pub(super) fn next(&mut self, command: &str) {
        if self.is_table() {
            let server = self.server.as_ref().map(|url| format!("--server {url} ")).unwrap_or_default();
            self.talk(&format!("next: postroadctl {server}{command}"));
        }
    }

    fn rows<R: Row>(&mut self, resources: &[R]) -> Result<(), Failure> {
        if resources.is_empty() {
            self.talk("none");
            return Ok(());
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        let node_of = |resource: &R| resource.node().filter(|_| self.names_nodes).map(ToOwned::to_owned);
        let node_column = resources.first().and_then(node_of).map(|_| "NODE");
        table.set_header(node_column.iter().chain(R::COLUMNS));
        for resource in resources {
            let cells = node_of(resource).into_iter().chain(resource.cells());
            table.add_row(cells.map(|cell| printable(&cell)));
        }
        for line in table.lines() {
            writeln!(self.out, "{}", line.trim_end())?;
        }
        Ok(self.out.flush()?)
    }
}

/// `{"rules": […]}`
struct Keyed<'a, R>(&'static str, &'a [R]);

impl<R: Serialize> Serialize for Keyed<'_, R> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.0, self.1)?;
        map.end()
    }
}

/// `3h 12m ago`, or `-` for none.
pub(super) fn ago(time: Option<&Timestamp>) -> String {
    let Some(at) = time.and_then(Timestamp::time) else { return "-".to_owned() };
    let passed = clock::now().duration_since(at).unwrap_or_default();
    rounded(passed).map_or_else(|| "now".to_owned(), |passed| format!("{passed} ago"))
}

/// `in 3h 12m`, `now` for what is due, or `-` for none.
pub(super) fn ahead(time: Option<&Timestamp>) -> String {
    let Some(at) = time.and_then(Timestamp::time) else { return "-".to_owned() };
    let left = at.duration_since(clock::now()).unwrap_or_default();
    rounded(left).map_or_else(|| "now".to_owned(), |left| format!("in {left}"))
}

/// The time in two units at most; `None` below a second.
fn rounded(time: Duration) -> Option<String> {
    let seconds = match time.as_secs() {
        0 => return None,
        seconds @ 1..=3_599 => seconds,
        seconds @ 3_600..=86_399 => seconds - seconds % 60,
        seconds => seconds - seconds % 3_600,
    };
    Some(humantime::format_duration(Duration::from_secs(seconds)).to_string())
}

/// `2026-11-23T18:00:00Z`, or `-` for none.
pub(super) fn rfc3339(time: Option<&Timestamp>) -> String {
    time.and_then(Timestamp::time)
        .map_or_else(|| "-".to_owned(), |at| humantime::format_rfc3339_seconds(at).to_string())
}

/// `yes` or `no`.
pub(super) fn yes_no(value: Option<bool>) -> String {
    if value.unwrap_or_default() { "yes" } else { "no" }.to_owned()
}
