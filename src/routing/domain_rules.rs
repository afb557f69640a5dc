//! The rules of one domain.

use std::sync::Arc;

use rpds::{HashTrieMapSync, RedBlackTreeMapSync};

use super::model::{DomainEntry, Matcher, Rank, Rule};

/// A domain with its rules, in the order of matching and by local part.
#[derive(Clone)]
pub(super) struct DomainRules {
    pub(super) entry: Arc<DomainEntry>,
    pub(super) order: RedBlackTreeMapSync<Rank, Arc<Rule>>,
    by_local: HashTrieMapSync<Box<str>, Vec<Arc<Rule>>>,
    catch_all: Vec<Arc<Rule>>,
}

impl DomainRules {
    /// A domain without rules.
    pub(super) fn new(entry: Arc<DomainEntry>) -> Self {
        Self {
            entry,
            order: RedBlackTreeMapSync::new_sync(),
            by_local: HashTrieMapSync::new_sync(),
            catch_all: Vec::new(),
        }
    }

    /// The rule that counts for a local part by its name.
    pub(super) fn exact(&self, local: &str) -> Option<&Arc<Rule>> {
        first_enabled(self.by_local.get(local)?)
    }

    /// The rule that counts for every other local part.
    pub(super) fn catch_all(&self) -> Option<&Arc<Rule>> {
        first_enabled(&self.catch_all)
    }

    /// Adds a rule that is not there.
    pub(super) fn add(&mut self, rule: &Arc<Rule>) {
        self.order.insert_mut(rule.rank(), rule.clone());
        let Matcher::Local(local) = &rule.matcher else {
            insert_in_order(&mut self.catch_all, rule);
            return;
        };
        match self.by_local.get_mut(local.as_str()) {
            Some(rules) => insert_in_order(rules, rule),
            None => self.by_local.insert_mut(local.as_str().into(), vec![rule.clone()]),
        }
    }

    /// Removes a rule.
    pub(super) fn remove(&mut self, rule: &Rule) {
        self.order.remove_mut(&rule.rank());
        let Matcher::Local(local) = &rule.matcher else {
            self.catch_all.retain(|other| other.id != rule.id);
            return;
        };
        let Some(rules) = self.by_local.get_mut(local.as_str()) else { return };
        rules.retain(|other| other.id != rule.id);
        if rules.is_empty() {
            self.by_local.remove_mut(local.as_str());
        }
    }
}

fn first_enabled(rules: &[Arc<Rule>]) -> Option<&Arc<Rule>> {
    rules.iter().find(|rule| rule.enabled)
}

fn insert_in_order(rules: &mut Vec<Arc<Rule>>, rule: &Arc<Rule>) {
    let at = rules.partition_point(|other| other.rank() < rule.rank());
    rules.insert(at, rule.clone());
}
