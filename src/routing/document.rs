//! The routing table as a YAML file, for `postroadctl apply` and `export`: what an operator keeps under
//! version control. An unknown key is an error, and what has its default is left out on export.
//!
//! ```yaml
//! domains:
//!   - name: example.com
//!     onTempfail: relay            # default: the node's
//!     subaddressing: true          # default
//!     enabled: true                # default
//!     rules:
//!       - to: info                 # or catchAll: true
//!         forward: [me@example.net]   # or drop: true, or reject: "text"
//!         priority: 0              # default
//!         name: front desk         # default: none
//!         enabled: true            # default
//! destinations:
//!   - address: me@example.net
//!     verified: true               # left out: as it is, and unverified when it is new
//! ```

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::check::{check_label, checked_action, checked_matcher};
use super::error::RoutingError;
use super::model::{Matcher, Rule, RuleAction};
use super::table::Table;
use super::wire;
use super::{Destination, DomainEntry, NewRule};
use crate::config::OnTempfail;
use crate::mail::{Address, Domain};

/// Largest document, in octets: a million rules of the usual size fit.
pub(super) const MAX_DOCUMENT_OCTETS: usize = 128 << 20;

/// A whole routing table.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document {
    /// Every domain with its rules.
    #[serde(default)]
    pub domains: Vec<DomainDocument>,
    /// Destinations. What rules name and this does not is created unverified.
    #[serde(default)]
    pub destinations: Vec<DestinationDocument>,
}

/// A domain in a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DomainDocument {
    /// Its name.
    pub name: Domain,
    /// See [`DomainEntry::on_tempfail`].
    #[serde(default, with = "wire::tempfail", skip_serializing_if = "Option::is_none")]
    pub on_tempfail: Option<OnTempfail>,
    /// See [`DomainEntry::subaddressing`].
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub subaddressing: bool,
    /// See [`DomainEntry::enabled`].
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub enabled: bool,
    /// Its rules; those with the same priority in the order of their creation.
    #[serde(default)]
    pub rules: Vec<RuleDocument>,
}

/// A rule in a document: one of `to` and `catchAll`, one of `forward`, `drop` and `reject`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuleDocument {
    /// The local part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Whether it is for every local part without a rule.
    #[serde(default, skip_serializing_if = "is_no")]
    pub catch_all: bool,
    /// Destinations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward: Option<Vec<Address>>,
    /// Whether mail is judged and gone.
    #[serde(default, skip_serializing_if = "is_no")]
    pub drop: bool,
    /// The text to reject with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reject: Option<String>,
    /// See [`Rule::priority`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: i32,
    /// See [`Rule::label`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// See [`Rule::enabled`].
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub enabled: bool,
}

/// A destination in a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DestinationDocument {
    /// The address.
    pub address: Address,
    /// Whether its owner has confirmed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<bool>,
}

/// What is wrong with a document, and where: `domains[0].rules[3]`.
#[derive(Debug, Clone, Error)]
pub enum DocumentError {
    /// It is too large.
    #[error("the document is larger than {MAX_DOCUMENT_OCTETS} octets")]
    TooLarge,
    /// There is nothing in it.
    #[error("the document is empty; an empty table is written `domains: []`")]
    Empty,
    /// It is no YAML, or has a key or a value that it cannot have.
    #[error("{0}")]
    Syntax(String),
    /// A rule has both, or neither.
    #[error("{0}: give one of to and catchAll")]
    Matcher(String),
    /// A rule has several of them, or none.
    #[error("{0}: give one of forward, drop and reject")]
    Action(String),
    /// A rule cannot be.
    #[error("{path}: {cause}")]
    Rule {
        /// Where.
        path: String,
        /// Why.
        cause: Box<RoutingError>,
    },
    /// A domain or a destination stands there twice.
    #[error("{path}: {name} stands there already")]
    Twice {
        /// Where.
        path: String,
        /// What.
        name: String,
    },
}

impl Document {
    /// Reads a document.
    ///
    /// # Errors
    /// When it is too large, no YAML, or holds a key or a value that it cannot have.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        if text.len() > MAX_DOCUMENT_OCTETS {
            return Err(DocumentError::TooLarge);
        }
        let document: Self =
            serde_norway::from_str(text).map_err(|cause| DocumentError::Syntax(cause.to_string()))?;
        // With pruning, an empty table deletes everything: whoever wants that says so.
        if document == Self::default() && !text.contains("domains:") {
            return Err(DocumentError::Empty);
        }
        Ok(document)
    }

    /// Writes it as YAML.
    ///
    /// # Errors
    /// When a value has no form in YAML, which none of ours is without.
    pub fn to_yaml(&self) -> Result<String, DocumentError> {
        serde_norway::to_string(self).map_err(|cause| DocumentError::Syntax(cause.to_string()))
    }

    /// The table as a document: [`super::plan()`] of it changes nothing.
    #[must_use]
    pub fn of(table: &Table) -> Self {
        let domain = |entry: &DomainEntry| DomainDocument {
            name: entry.name.clone(),
            on_tempfail: entry.on_tempfail,
            subaddressing: entry.subaddressing,
            enabled: entry.enabled,
            rules: table.rules(&entry.name).map(|rule| RuleDocument::of(rule)).collect(),
        };
        let destination = |entry: &Destination| DestinationDocument {
            address: entry.address.clone(),
            verified: Some(entry.verified_at.is_some()),
        };
        Self {
            domains: table.domains().map(|entry| domain(entry)).collect(),
            destinations: table.destinations().map(|entry| destination(entry)).collect(),
        }
    }
}

impl RuleDocument {
    fn of(rule: &Rule) -> Self {
        let mut document = Self {
            to: None,
            catch_all: false,
            forward: None,
            drop: false,
            reject: None,
            priority: rule.priority,
            name: rule.label.clone(),
            enabled: rule.enabled,
        };
        match &rule.matcher {
            Matcher::Local(local) => document.to = Some(local.clone()),
            Matcher::CatchAll => document.catch_all = true,
        }
        match &rule.action {
            RuleAction::Forward(destinations) => document.forward = Some(destinations.clone()),
            RuleAction::Drop => document.drop = true,
            RuleAction::Reject(text) => document.reject = Some(text.clone()),
        }
        document
    }

    /// The rule that it asks for, as it would stand in the table.
    pub(super) fn rule(&self, domain: &Domain, path: &str) -> Result<NewRule, DocumentError> {
        let matcher = match (&self.to, self.catch_all) {
            (Some(local), false) => Matcher::Local(local.clone()),
            (None, true) => Matcher::CatchAll,
            (Some(_), true) | (None, false) => return Err(DocumentError::Matcher(path.to_owned())),
        };
        let action = match (&self.forward, self.drop, &self.reject) {
            (Some(destinations), false, None) => RuleAction::Forward(destinations.clone()),
            (None, true, None) => RuleAction::Drop,
            (None, false, Some(text)) => RuleAction::Reject(text.clone()),
            _ => return Err(DocumentError::Action(path.to_owned())),
        };
        let wrong = |cause| DocumentError::Rule { path: path.to_owned(), cause: Box::new(cause) };
        check_label(&self.name).map_err(wrong)?;
        Ok(NewRule {
            domain: domain.clone(),
            matcher: checked_matcher(&matcher, domain).map_err(wrong)?,
            action: checked_action(&action).map_err(wrong)?,
            priority: self.priority,
            label: self.name.clone(),
            enabled: self.enabled,
        })
    }
}

fn yes() -> bool {
    true
}

fn is_yes(value: &bool) -> bool {
    *value
}

fn is_no(value: &bool) -> bool {
    !*value
}

fn is_zero(value: &i32) -> bool {
    *value == 0
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
