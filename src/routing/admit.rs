//! What is asked of a change once, by whoever takes it, before it is applied for good: the checks that need
//! the node's configuration or follow rules. A change that comes from a log has passed them.

use super::apply::Applied;
use super::error::RoutingError;
use super::model::Rule;
use super::resolve::{Stop, is_ours};
use super::table::Table;

/// Refuses a change whose rules lead to ourselves, in a circle, or to too many.
///
/// # Errors
/// With the first of these that is found.
pub(super) fn admit(applied: &Applied) -> Result<(), RoutingError> {
    let table = &applied.table;
    for name in &applied.added_domains {
        if table.options().mx_hosts.contains(name) {
            return Err(RoutingError::DomainIsOurs(name.clone()));
        }
    }
    let rules = applied.touched_rules.iter().filter_map(|id| table.rule(id));
    rules.filter(|rule| rule.enabled).try_for_each(|rule| admit_rule(table, rule))
}

fn admit_rule(table: &Table, rule: &Rule) -> Result<(), RoutingError> {
    if let Some(ours) = rule.destinations().iter().find(|address| is_ours(table, address.domain())) {
        return Err(RoutingError::DestinationIsOurs(ours.clone()));
    }
    let alias = rule.alias();
    match table.follow(rule, alias.clone()) {
        Err(Stop::Cycle(chain)) => Err(RoutingError::RuleCycle { chain }),
        Err(Stop::TooDeep(chain)) => Err(RoutingError::RulesTooDeep { chain }),
        Err(Stop::TooMany) => Err(RoutingError::TooManyFinalDestinations(alias)),
        // What else stops mail may be set right later: a destination verified, a rule added.
        Ok(())
        | Err(
            Stop::UnknownDomain
            | Stop::UnknownRecipient
            | Stop::Waiting(_)
            | Stop::Reject(..)
            | Stop::NoPostmaster,
        ) => Ok(()),
    }
}
