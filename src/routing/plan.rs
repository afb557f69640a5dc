//! The changes that lead from a table to a document: as few as can be, none when it is there already. A table that
//! was lost is whole again by the last of them, so that no mail is refused for good on the way; a document without
//! a domain does not do that.
//!
//! A rule has no name in a document: it is known by what it is for. Where several rules are for the same, the
//! order among those of one priority is the order of their ids, so a new one comes last.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use ulid::Ulid;

use super::change::{Change, DomainPatch, NewDomain, NewRule, RulePatch, RulesOfDeleted, TempfailSetting};
use super::document::{Document, DocumentError, DomainDocument};
use super::model::{DomainEntry, Matcher, Rule};
use super::table::{Coverage, Table};
use crate::mail::{Address, Domain};

/// What becomes of resources that the document does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prune {
    /// They stay.
    No,
    /// They are deleted.
    Yes,
}

/// The changes that make the table hold what the document does: to be applied as one batch, or in order as
/// several (see [`super::MAX_CHANGES_PER_BATCH`]).
///
/// # Errors
/// With everything that is wrong in the document by itself.
pub fn plan(document: &Document, table: &Table, prune: Prune) -> Result<Vec<Change>, Vec<DocumentError>> {
    let wanted = wanted(document)?;
    let mut planner = Planner { table, prune, changes: Changes::default() };
    planner.destinations(document);
    for (domain, rules) in document.domains.iter().zip(&wanted) {
        planner.domain(domain);
        planner.rules(&domain.name, rules);
    }
    if prune == Prune::Yes {
        planner.prune(document, &wanted);
    }
    let mut changes = planner.changes.in_order();
    if table.coverage() == Coverage::Lost && !document.domains.is_empty() {
        changes.push(Change::DeclareWhole);
    }
    Ok(changes)
}

/// The rules that the document asks for, domain by domain.
fn wanted(document: &Document) -> Result<Vec<Vec<NewRule>>, Vec<DocumentError>> {
    let mut errors = Vec::new();
    let mut names = HashSet::new();
    let mut wanted = Vec::with_capacity(document.domains.len());
    for (index, domain) in document.domains.iter().enumerate() {
        if !names.insert(&domain.name) {
            let path = format!("domains[{index}]");
            errors.push(DocumentError::Twice { path, name: domain.name.to_string() });
        }
        let rule = |(at, rule): (usize, &super::document::RuleDocument)| {
            rule.rule(&domain.name, &format!("domains[{index}].rules[{at}]"))
        };
        let (rules, wrong): (Vec<_>, Vec<_>) =
            domain.rules.iter().enumerate().map(rule).partition(Result::is_ok);
        wanted.push(rules.into_iter().filter_map(Result::ok).collect());
        errors.extend(wrong.into_iter().filter_map(Result::err));
    }
    let mut addresses = HashSet::new();
    for (index, destination) in document.destinations.iter().enumerate() {
        if !addresses.insert(destination.address.folded()) {
            let path = format!("destinations[{index}]");
            errors.push(DocumentError::Twice { path, name: destination.address.to_string() });
        }
    }
    if errors.is_empty() { Ok(wanted) } else { Err(errors) }
}

/// Changes by kind, since some must come before others: destinations exist before rules name them, and go
/// when no rule does.
#[derive(Default)]
struct Changes {
    destinations: Vec<Change>,
    domains: Vec<Change>,
    deleted_rules: Vec<Change>,
    updated_rules: Vec<Change>,
    created_rules: Vec<Change>,
    pruned: Vec<Change>,
}

impl Changes {
    fn in_order(self) -> Vec<Change> {
        [
            self.destinations,
            self.domains,
            self.deleted_rules,
            self.updated_rules,
            self.created_rules,
            self.pruned,
        ]
        .concat()
    }
}

struct Planner<'a> {
    table: &'a Table,
    prune: Prune,
    changes: Changes,
}

impl Planner<'_> {
    fn destinations(&mut self, document: &Document) {
        for wanted in &document.destinations {
            let address = wanted.address.clone();
            let change = match self.table.destination(&address) {
                None => Change::CreateDestination { address, verified: wanted.verified.unwrap_or(false) },
                Some(found) => match wanted.verified {
                    Some(verified) if verified != found.verified_at.is_some() => {
                        Change::UpdateDestination { address, verified, etag: None }
                    }
                    Some(_) | None => continue,
                },
            };
            self.changes.destinations.push(change);
        }
    }

    fn domain(&mut self, wanted: &DomainDocument) {
        let Some(found) = self.table.domain(&wanted.name) else {
            self.changes.domains.push(Change::CreateDomain(NewDomain {
                name: wanted.name.clone(),
                enabled: wanted.enabled,
                on_tempfail: wanted.on_tempfail,
                subaddressing: wanted.subaddressing,
            }));
            return;
        };
        let patch = domain_patch(found, wanted);
        if patch != DomainPatch::default() {
            let name = wanted.name.clone();
            self.changes.domains.push(Change::UpdateDomain { name, patch, etag: None });
        }
    }

    fn rules(&mut self, domain: &Domain, wanted: &[NewRule]) {
        let mut groups: BTreeMap<&Matcher, Group<'_>> = BTreeMap::new();
        for (index, rule) in wanted.iter().enumerate() {
            groups.entry(&rule.matcher).or_default().wanted.push((index, rule));
        }
        for rule in self.table.rules(domain) {
            groups.entry(&rule.matcher).or_default().found.push(rule);
        }
        let mut created = Vec::new();
        for group in groups.into_values() {
            let paired = group.pair();
            for (rule, wanted) in paired.kept {
                let patch = rule_patch(rule, wanted);
                if patch != RulePatch::default() {
                    self.changes.updated_rules.push(Change::UpdateRule { id: rule.id, patch, etag: None });
                }
            }
            created.extend(paired.created);
            let unwanted = if self.prune == Prune::Yes { paired.left } else { Vec::new() };
            let deleted = paired.replaced.into_iter().chain(unwanted);
            self.changes.deleted_rules.extend(deleted.map(|id| Change::DeleteRule { id, etag: None }));
        }
        created.sort_by_key(|(index, _)| *index);
        self.changes
            .created_rules
            .extend(created.into_iter().map(|(_, new)| Change::CreateRule(new.clone())));
    }

    fn prune(&mut self, document: &Document, wanted: &[Vec<NewRule>]) {
        let names: HashSet<&Domain> = document.domains.iter().map(|domain| &domain.name).collect();
        let domains = self.table.domains().filter(|domain| !names.contains(&domain.name));
        self.changes.pruned.extend(domains.map(|domain| Change::DeleteDomain {
            name: domain.name.clone(),
            rules: RulesOfDeleted::Delete,
            etag: None,
        }));
        let listed = document.destinations.iter().map(|destination| destination.address.folded());
        let named = wanted.iter().flatten().flat_map(|rule| rule.action.destinations()).map(Address::folded);
        let kept: HashSet<Address> = listed.chain(named).collect();
        let destinations =
            self.table.destinations().filter(|destination| !kept.contains(&destination.address.folded()));
        self.changes.pruned.extend(destinations.map(|destination| Change::DeleteDestination {
            address: destination.address.clone(),
            etag: None,
        }));
    }
}

/// The rules of one domain that are for the same.
#[derive(Default)]
struct Group<'a> {
    /// With their places in the document.
    wanted: Vec<(usize, &'a NewRule)>,
    found: Vec<&'a Arc<Rule>>,
}

/// What becomes of a group.
#[derive(Default)]
struct Paired<'a> {
    kept: Vec<(&'a Rule, &'a NewRule)>,
    created: Vec<(usize, &'a NewRule)>,
    /// Found, and in the place of one that must be created to come last.
    replaced: Vec<Ulid>,
    /// Found, and not wanted.
    left: Vec<Ulid>,
}

impl<'a> Group<'a> {
    fn pair(self) -> Paired<'a> {
        let mut paired = Paired::default();
        let mut wanted: BTreeMap<i32, Vec<(usize, &NewRule)>> = BTreeMap::new();
        for (index, rule) in self.wanted {
            wanted.entry(rule.priority).or_default().push((index, rule));
        }
        let mut found: BTreeMap<i32, Vec<&Arc<Rule>>> = BTreeMap::new();
        for rule in self.found {
            found.entry(rule.priority).or_default().push(rule);
        }
        // Within a priority first: the wanted ones are among the found in their order, or else take their
        // places from the first on.
        let mut rest: Vec<(Option<Ulid>, usize, &NewRule)> = Vec::new();
        let mut spare: Vec<&Arc<Rule>> = Vec::new();
        for (priority, wanted) in wanted {
            let found = found.remove(&priority).unwrap_or_default();
            let chosen = subsequence(&wanted, &found)
                .unwrap_or_else(|| (0..found.len().min(wanted.len())).collect::<HashSet<_>>());
            let (places, left): (Vec<_>, Vec<_>) =
                found.into_iter().enumerate().partition(|(at, _)| chosen.contains(at));
            spare.extend(left.into_iter().map(|(_, rule)| rule));
            let last = places.last().map(|(_, rule)| rule.id);
            let unplaced = wanted.get(places.len()..).unwrap_or_default();
            rest.extend(unplaced.iter().map(|(index, new)| (last, *index, *new)));
            let kept = places.into_iter().zip(&wanted).map(|((_, rule), (_, new))| (&**rule, *new));
            paired.kept.extend(kept);
        }
        spare.extend(found.into_values().flatten());
        spare.sort_by_key(|rule| rule.id);
        paired.settle(rest, spare);
        paired
    }
}

impl<'a> Paired<'a> {
    /// Gives each wanted rule without a place a spare one, if that keeps it behind those of its priority; else
    /// it is created, and a spare one goes.
    fn settle(&mut self, rest: Vec<(Option<Ulid>, usize, &'a NewRule)>, mut spare: Vec<&'a Arc<Rule>>) {
        let mut floors: BTreeMap<i32, Option<Ulid>> = BTreeMap::new();
        let mut unplaced = 0;
        for (last, index, new) in rest {
            let floor = floors.entry(new.priority).or_insert(last);
            match spare.iter().position(|rule| floor.is_none_or(|floor| rule.id > floor)) {
                Some(at) => {
                    let rule = spare.remove(at);
                    *floor = Some(rule.id);
                    self.kept.push((rule, new));
                }
                None => {
                    // Nothing found is greater than what is made now.
                    *floor = Some(Ulid(u128::MAX));
                    self.created.push((index, new));
                    unplaced += 1;
                }
            }
        }
        let ids = spare.into_iter().map(|rule| rule.id);
        (self.replaced, self.left) = (ids.clone().take(unplaced).collect(), ids.skip(unplaced).collect());
    }
}

/// The places of the wanted rules among the found ones, when all are there in the same order.
fn subsequence(wanted: &[(usize, &NewRule)], found: &[&Arc<Rule>]) -> Option<HashSet<usize>> {
    let mut found = found.iter().enumerate();
    wanted
        .iter()
        .map(|(_, new)| {
            found.find(|(_, rule)| rule_patch(rule, new) == RulePatch::default()).map(|(at, _)| at)
        })
        .collect()
}

fn domain_patch(found: &DomainEntry, wanted: &DomainDocument) -> DomainPatch {
    DomainPatch {
        enabled: (found.enabled != wanted.enabled).then_some(wanted.enabled),
        on_tempfail: (found.on_tempfail != wanted.on_tempfail).then_some(TempfailSetting(wanted.on_tempfail)),
        subaddressing: (found.subaddressing != wanted.subaddressing).then_some(wanted.subaddressing),
    }
}

fn rule_patch(found: &Rule, wanted: &NewRule) -> RulePatch {
    RulePatch {
        matcher: None,
        action: (found.action != wanted.action).then(|| wanted.action.clone()),
        priority: (found.priority != wanted.priority).then_some(wanted.priority),
        label: (found.label != wanted.label).then(|| wanted.label.clone()),
        enabled: (found.enabled != wanted.enabled).then_some(wanted.enabled),
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
