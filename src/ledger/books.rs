//! What is known of copies, by this node and by others.

use std::collections::HashMap;
use std::time::SystemTime;

use super::record::Record;
use super::shared::{Teller, Told};
use super::{Key, MAX_RECORDS, MAX_TOLD, Recorded};

/// What others know of one copy, at most.
const MAX_TOLD_OF_ONE: usize = 8;

#[derive(Default)]
pub(super) struct Books {
    pub(super) own: HashMap<Key, Record>,
    told: HashMap<Key, Vec<(Teller, Told)>>,
}

impl Books {
    pub(super) fn of(own: HashMap<Key, Record>) -> Self {
        Self { own, told: HashMap::new() }
    }

    /// How many copies something is known of, at most.
    pub(super) fn len(&self) -> usize {
        self.own.len() + self.told.len()
    }

    /// What came of a copy: that the destination has it is more than that it may have it, and that more than that it refused.
    pub(super) fn recall(&self, key: &Key, now: SystemTime) -> Option<&Recorded> {
        let own = self.own.get(key).filter(|record| !record.is_over(now)).map(|record| &record.answer);
        let told = self.told.get(key).into_iter().flatten();
        let told = told.filter(|(_, told)| told.remaining().is_some()).filter_map(|(_, told)| told.answer());
        own.into_iter().chain(told).max_by_key(|answer| match answer {
            Recorded::Delivered(_) | Recorded::Queued => 2,
            Recorded::Open => 1,
            Recorded::Refused(_) => 0,
        })
    }

    /// Keeps an answer of this node's own, as the record that there is of the copy or as a new one; whether there is room.
    pub(super) fn keep(&mut self, key: Key, answer: Recorded, at: SystemTime) -> bool {
        let before = self.own.get(&key).map(|record| record.id);
        if before.is_none() && self.own.len() >= MAX_RECORDS {
            return false;
        }
        let id = before.unwrap_or_else(rand::random);
        self.own.insert(key, Record::new(id, answer, at));
        true
    }

    /// Takes the open record of a copy away, if it is this one, or any.
    pub(super) fn end_open(&mut self, key: &Key, id: Option<u64>) -> Option<Record> {
        let found = self.own.get(key)?;
        let is_it = found.answer == Recorded::Open && id.is_none_or(|id| id == found.id);
        if is_it { self.own.remove(key) } else { None }
    }

    /// Takes away what is known of a copy, but for that it is being offered here: what is over thereby.
    pub(super) fn forget(&mut self, key: &Key) -> Vec<Told> {
        let own = if self.is_settled(key) { self.own.remove(key) } else { None };
        let told = self.told.remove(key).unwrap_or_default().into_iter().map(|(_, told)| told.ended());
        own.as_ref().and_then(Told::over).into_iter().chain(told).collect()
    }

    fn is_settled(&self, key: &Key) -> bool {
        self.own.get(key).is_some_and(|record| record.answer != Recorded::Open)
    }

    /// Another node knows something of a copy; whether that is new here.
    pub(super) fn hear(&mut self, key: Key, told: Told, by: Teller) -> bool {
        let has_room = self.told.len() < MAX_TOLD || self.told.contains_key(&key);
        if !has_room {
            return false;
        }
        let known = self.told.entry(key).or_default();
        let Some((_, before)) = known.iter_mut().find(|(_, before)| before.id() == told.id()) else {
            let has_room = known.len() < MAX_TOLD_OF_ONE;
            if has_room {
                known.push((by, told));
            }
            return has_room;
        };
        // That it was open is no news of what is settled.
        let is_news = told.answer() != Some(&Recorded::Open) || before.answer() == Some(&Recorded::Open);
        if is_news {
            *before = told;
        }
        is_news
    }

    /// A record is over, here or elsewhere: this node's own, if it is that and settled, and whether it was known of another.
    pub(super) fn hear_over(&mut self, key: &Key, id: u64) -> (Option<Record>, bool) {
        let is_own = self.is_settled(key) && self.own.get(key).is_some_and(|record| record.id == id);
        let own = if is_own { self.own.remove(key) } else { None };
        (own, self.forget_told(key, id))
    }

    /// Forgets all that a process told; one that takes its place tells anew.
    pub(super) fn hear_death(&mut self, of: Teller) {
        self.retain_told(|by, _| by != of);
    }

    /// Takes what is over away; this node's own of it.
    pub(super) fn expire(&mut self, now: SystemTime) -> Vec<Key> {
        self.retain_told(|_, told| told.remaining().is_some());
        let over: Vec<Key> =
            self.own.iter().filter(|(_, record)| record.is_over(now)).map(|(key, _)| *key).collect();
        for key in &over {
            self.own.remove(key);
        }
        over
    }

    fn retain_told(&mut self, holds: impl Fn(Teller, &Told) -> bool) {
        self.told.retain(|_, known| {
            known.retain(|(by, told)| holds(*by, told));
            !known.is_empty()
        });
    }

    /// Whether any was taken away.
    fn forget_told(&mut self, key: &Key, id: u64) -> bool {
        let Some(known) = self.told.get_mut(key) else { return false };
        let before = known.len();
        known.retain(|(_, told)| told.id() != id);
        let are_fewer = known.len() < before;
        if known.is_empty() {
            self.told.remove(key);
        }
        are_fewer
    }
}
