//! The facts that this node found out itself, as they are told: the latest of each key, in the order in which they came.
//! Bounded in count and octets: the eldest of the kind of least worth makes room first, and there is one kind. Pure.

use std::collections::{BTreeMap, HashMap};

use crate::blocklist::{Finding, Question};

/// Facts that are kept: as many as a zone's verdicts are.
pub(super) const MAX_KEPT: usize = 32_768;
/// Octets of all of them.
pub(super) const MAX_KEPT_OCTETS: usize = 8 << 20;
/// What a fact takes beside its codes.
const FACT_OCTETS: usize = 240;

/// What is told.
#[derive(Debug, Default)]
pub(super) struct Kept {
    by_key: HashMap<Question, (u64, Finding)>,
    order: BTreeMap<u64, Question>,
    octets: usize,
    /// The number of the last one.
    last: u64,
}

impl Kept {
    /// Keeps the latest of a key. How many others made room before their time.
    pub(super) fn keep(&mut self, key: Question, finding: Finding) -> usize {
        self.last += 1;
        self.octets += octets(&finding);
        if let Some((number, before)) = self.by_key.insert(key, (self.last, finding)) {
            self.octets -= octets(&before);
            self.order.remove(&number);
        }
        self.order.insert(self.last, key);
        let mut dropped = 0;
        while self.by_key.len() > MAX_KEPT || self.octets > MAX_KEPT_OCTETS {
            let Some((_, eldest)) = self.order.pop_first() else { break };
            if let Some((_, finding)) = self.by_key.remove(&eldest) {
                self.octets -= octets(&finding);
                dropped += usize::from(finding.remaining().is_some());
            }
        }
        dropped
    }

    /// Whether there is one after this number.
    pub(super) fn has_after(&self, number: u64) -> bool {
        self.last > number
    }

    /// The next of those after this number that still count, and the number of the last that was looked at.
    pub(super) fn after(&self, number: u64, most: usize) -> (Vec<(Question, Finding)>, u64) {
        let (mut facts, mut up_to) = (Vec::new(), number);
        for (number, key) in self.order.range(number.saturating_add(1)..) {
            if facts.len() == most {
                return (facts, up_to);
            }
            up_to = *number;
            let fact = self.by_key.get(key).filter(|(_, finding)| finding.remaining().is_some());
            facts.extend(fact.map(|(_, finding)| (*key, finding.clone())));
        }
        (facts, self.last)
    }

    /// How many there are, and their octets.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        (self.by_key.len(), self.octets)
    }
}

fn octets(finding: &Finding) -> usize {
    FACT_OCTETS + size_of_val(finding.codes())
}

#[cfg(test)]
#[path = "kept_tests.rs"]
mod tests;
