//! What others have tried on mail authentication, played through a node. The data is not ours and stays where it
//! lies: the variables below name the folders, and where one is not set its tests say so and prove nothing.
//!
//! * `POSTROAD_CASES`: inputs that went wrong once, `authentication/NN-MM.json`.
//! * `POSTROAD_SUITES`: public suites, `rfc7208-tests.yml`, `rfc4408-tests.yml`, `arc-validation.yml` and
//!   `arc-signing.yml`.
//!
//! Each test prints how many of its cases are right, and fails with a list of the others and what was heard.

mod arc_signing;
mod arc_validation;
mod cases;
mod check_host;
mod differential;
mod internet;
mod openspf;
mod spf;

use std::path::PathBuf;

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The folder that a variable names; `None`, and a word about it, when it is not set.
fn folder(variable: &str) -> Option<PathBuf> {
    let folder = std::env::var_os(variable).map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: {variable} is not set");
    }
    folder
}

/// The documents of a suite, one a section; `None` when it is to be skipped.
fn suite<Section: DeserializeOwned>(file: &str) -> Option<Vec<Section>> {
    let path = folder("POSTROAD_SUITES")?.join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let sections = serde_norway::Deserializer::from_str(&text).map(|document| {
        Option::<Section>::deserialize(document).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    });
    Some(sections.flatten().collect())
}

/// The cases of a suite, counted.
struct Tally {
    of: &'static str,
    right: usize,
    /// A line for each case that is wrong.
    wrong: Vec<String>,
}

impl Tally {
    fn new(of: &'static str) -> Self {
        Self { of, right: 0, wrong: Vec::new() }
    }

    /// Counts one case: its name, and what speaks against it.
    fn count(&mut self, name: &str, result: Result<(), String>) {
        match result {
            Ok(()) => self.right += 1,
            Err(heard) => self.wrong.push(format!("{name}: {heard}")),
        }
    }

    /// Prints the count, and fails when a case is wrong, or when there are fewer than there must be.
    fn close(mut self, least: usize) {
        let all = self.right + self.wrong.len();
        println!("{}: {} of {all}", self.of, self.right);
        self.wrong.sort();
        assert!(self.wrong.is_empty(), "{}:\n{}", self.of, self.wrong.join("\n"));
        assert!(all >= least, "{}: only {all} of {least} cases are there", self.of);
    }
}
