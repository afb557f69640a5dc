//! Copies that are being offered, for as long as they are.

use super::{Key, Ledger, Recorded};
use crate::clock;

/// Copies that are being offered. Dropped, those of which nothing else is known by then are not any more.
pub struct UnderWay {
    ledger: Ledger,
    pub(super) open: Vec<(Key, u64)>,
}

impl Ledger {
    /// Notes copies that are about to be offered, or are, and of which nothing is known yet: a retry waits for them.
    #[must_use]
    pub fn begin(&self, keys: Vec<Key>) -> UnderWay {
        let at = clock::now();
        let open = self.inner.change(|books| {
            let mut open = Vec::new();
            for key in keys {
                if books.recall(&key, at).is_none() && books.keep(key, Recorded::Open, at) {
                    self.inner.tell_own(books, &key);
                    open.extend(books.own.get(&key).map(|record| (key, record.id)));
                }
            }
            open
        });
        UnderWay { ledger: self.clone(), open }
    }
}

impl UnderWay {
    /// Leaves these open: their upstreams still owe an answer.
    pub fn leave(&mut self, keys: &[Key]) {
        self.open.retain(|(key, _)| !keys.contains(key));
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        for (key, id) in &self.open {
            self.ledger.inner.end_open(key, Some(*id));
        }
    }
}

impl std::fmt::Debug for UnderWay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UnderWay").field("open", &self.open).finish_non_exhaustive()
    }
}
