//! Owns how a sample is told: what was said and heard, what was looked at, and the outcome.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use super::check::Check;
use super::client::Exchange;
use crate::mail::Address;
use crate::node::Node;

/// The width of the column of what was said.
const SAID: usize = 36;
/// The width of the column of what was looked at.
const WHAT: usize = 20;

/// What became of a sample, in words.
pub(super) struct Transcript {
    text: String,
    as_it_must: bool,
}

impl Transcript {
    /// Nothing has happened yet.
    pub(super) fn new() -> Self {
        Self { text: String::new(), as_it_must: true }
    }

    /// Which way a message goes.
    pub(super) fn way(&mut self, from: IpAddr, name: &str, smtp: SocketAddr) {
        let _infallible = writeln!(self.text, "  {from} -> {name} {smtp}");
    }

    /// A command line.
    pub(super) fn command(&mut self, line: &str) {
        let _infallible = writeln!(self.text, "  $ {line}");
    }

    /// What a client said and heard.
    pub(super) fn dialogue(&mut self, exchanges: &[Exchange]) {
        for exchange in exchanges {
            // The keywords of EHLO are many and say nothing of this sample.
            let lines = if exchange.said.starts_with("EHLO") { 1 } else { exchange.heard.len() };
            for (number, line) in exchange.heard.iter().take(lines).enumerate() {
                let said = if number == 0 { exchange.said.as_str() } else { "" };
                let _infallible = writeln!(self.text, "    {said:<SAID$}  {line}");
            }
        }
    }

    /// How a node resolves an address.
    pub(super) fn route(&mut self, node: &Node, alias: &Address) {
        for step in node.routing().snapshot().explain(alias).steps {
            self.line("route", &format!("{} {}", step.address, step.text));
        }
    }

    /// What was looked at; one that does not hold is one too many.
    pub(super) fn check(&mut self, check: &Check) {
        let mark = if check.holds { "" } else { "   <-- not as it must be" };
        self.line(check.what, &format!("{}{mark}", check.found));
        self.as_it_must &= check.holds;
    }

    /// The whole text, and whether all went as it must.
    pub(super) fn end(mut self, took: &str) -> (String, bool) {
        let verdict = if self.as_it_must { "as it must be" } else { "NOT as it must be" };
        self.line("outcome", &format!("{verdict}, {took}"));
        (self.text, self.as_it_must)
    }

    fn line(&mut self, what: &str, found: &str) {
        let _infallible = writeln!(self.text, "  {what:<WHAT$}{found}");
    }
}
