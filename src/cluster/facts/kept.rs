//! The facts of one kind that this node found out itself, as they are told: the latest of each key, in the order in which they
//! came. Bounded in count and octets: the eldest makes room first. Each kind has bounds of its own, so that a flood of one
//! costs none of another. Pure.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::time::Duration;

/// Facts of a kind that are kept: as many as a zone's verdicts are.
pub(super) const MAX_KEPT: usize = 32_768;
/// Octets of all of them.
pub(super) const MAX_KEPT_OCTETS: usize = 8 << 20;
/// What a fact takes beside its text.
const FACT_OCTETS: usize = 240;

/// What counts for a while.
pub(super) trait Lasting {
    /// For how much longer; nothing when it does not any more.
    fn remaining(&self) -> Option<Duration>;

    /// Octets that it takes beside those of its type.
    fn octets(&self) -> usize;
}

/// What is told.
#[derive(Debug)]
pub(super) struct Kept<K, V> {
    by_key: HashMap<K, (u64, V)>,
    order: BTreeMap<u64, K>,
    octets: usize,
    /// The number of the last one.
    last: u64,
}

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self { by_key: HashMap::new(), order: BTreeMap::new(), octets: 0, last: 0 }
    }
}

impl<K: Clone + Eq + Hash, V: Clone + Lasting> Kept<K, V> {
    /// Keeps the latest of a key. How many others made room before their time.
    pub(super) fn keep(&mut self, key: K, fact: V) -> usize {
        self.last += 1;
        self.octets += octets(&fact);
        if let Some((number, before)) = self.by_key.insert(key.clone(), (self.last, fact)) {
            self.octets -= octets(&before);
            self.order.remove(&number);
        }
        self.order.insert(self.last, key);
        let mut dropped = 0;
        while self.by_key.len() > MAX_KEPT || self.octets > MAX_KEPT_OCTETS {
            let Some((_, eldest)) = self.order.pop_first() else { break };
            if let Some((_, fact)) = self.by_key.remove(&eldest) {
                self.octets -= octets(&fact);
                dropped += usize::from(fact.remaining().is_some());
            }
        }
        dropped
    }

    /// Tells it no more; whether it was told.
    pub(super) fn remove(&mut self, key: &K) -> bool {
        let Some((number, fact)) = self.by_key.remove(key) else { return false };
        self.octets -= octets(&fact);
        self.order.remove(&number);
        true
    }

    /// Whether there is one after this number.
    pub(super) fn has_after(&self, number: u64) -> bool {
        self.last > number
    }

    /// The next of those after this number that still count, and the number of the last that was looked at.
    pub(super) fn after(&self, number: u64, most: usize) -> (Vec<(K, V)>, u64) {
        let (mut facts, mut up_to) = (Vec::new(), number);
        for (number, key) in self.order.range(number.saturating_add(1)..) {
            if facts.len() == most {
                return (facts, up_to);
            }
            up_to = *number;
            let fact = self.by_key.get(key).filter(|(_, fact)| fact.remaining().is_some());
            facts.extend(fact.map(|(_, fact)| (key.clone(), fact.clone())));
        }
        (facts, self.last)
    }

    /// How many there are, and their octets.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        (self.by_key.len(), self.octets)
    }
}

fn octets(fact: &impl Lasting) -> usize {
    FACT_OCTETS + fact.octets()
}

#[cfg(test)]
#[path = "kept_tests.rs"]
mod tests;
