//! The words for how an address is resolved, for `postroadctl resolve`.

use ulid::Ulid;

use super::model::{Rule, RuleAction};
use super::resolve::{MatchedBy, Regard, Resolution, Walk};
use super::table::Table;
use crate::mail::Address;

/// How an address is resolved, and by which steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Where it ends.
    pub resolution: Resolution,
    /// What was looked at, in order: at most a few hundred.
    pub steps: Vec<Step>,
}

/// One step of a resolution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// How many rules led here.
    pub depth: usize,
    /// The address that was looked at.
    pub address: String,
    /// The rule that it met.
    pub rule: Option<Ulid>,
    /// What was found, in words.
    pub text: String,
}

impl Table {
    /// Resolves an address like [`Table::resolve`], and says how.
    #[must_use]
    pub fn explain(&self, address: &Address) -> Explanation {
        let mut steps = Vec::new();
        let resolution = self.walk(address, &mut Walk::new(self, Regard::AsItIs, Some(&mut steps)));
        Explanation { resolution, steps }
    }
}

/// How an address met a rule, and what the rule does.
pub(super) fn met(rule: &Rule, matcher: MatchedBy) -> String {
    let how = match matcher {
        MatchedBy::Exact => "has a rule",
        MatchedBy::Subaddress => "has a rule without its subaddress",
        MatchedBy::CatchAll => "meets the catch-all",
        MatchedBy::Role => "is a role address",
    };
    match &rule.action {
        RuleAction::Forward(destinations) => {
            let to: Vec<String> = destinations.iter().map(ToString::to_string).collect();
            format!("{how}: forward to {}", to.join(", "))
        }
        RuleAction::Drop => format!("{how}: drop"),
        RuleAction::Reject(text) => format!("{how}: reject with \"{text}\""),
    }
}
