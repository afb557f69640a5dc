//! Copies that are being offered, for as long as they are.

use super::record::Record;
use super::{Key, Ledger, Recorded};
use crate::clock;

/// Copies that are being offered. Dropped, those of which nothing else is known by then are not any more.
pub struct UnderWay {
    ledger: Ledger,
    pub(super) keys: Vec<Key>,
}

impl Ledger {
    /// Notes copies that are about to be offered, or are, and of which nothing is known yet: a retry waits for them.
    #[must_use]
    pub fn begin(&self, keys: Vec<Key>) -> UnderWay {
        let at = clock::now();
        let is_new = |key: &Key| self.recall(key).is_none();
        let keys: Vec<Key> = keys.into_iter().filter(is_new).collect();
        for key in &keys {
            self.keep(*key, Record::new(Recorded::Open, at));
        }
        self.tell(&keys);
        UnderWay { ledger: self.clone(), keys }
    }
}

impl UnderWay {
    /// Leaves these open: their upstreams still owe an answer.
    pub fn leave(&mut self, keys: &[Key]) {
        self.keys.retain(|key| !keys.contains(key));
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        for key in &self.keys {
            self.ledger.forget_open(key);
        }
    }
}

impl std::fmt::Debug for UnderWay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UnderWay").field("keys", &self.keys).finish_non_exhaustive()
    }
}
