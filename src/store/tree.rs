//! One owner's keys and values, in the order of the keys' octets.

use std::ops::Bound;

use super::{MAX_KEY_OCTETS, MAX_VALUE_OCTETS, Store, StoreError};

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// A named tree of the store. A write is visible to readers at once and durable after the next flush.
/// Calls may wait for the disk: keep them off the runtime's threads where a page may have to be read.
#[derive(Clone)]
pub struct Tree {
    store: Store,
    tree: sled::Tree,
}

impl Tree {
    pub(super) fn new(store: Store, tree: sled::Tree) -> Self {
        Self { store, tree }
    }

    /// The value under a key.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.tree.get(key).map_err(StoreError::from_sled)?.map(|value| value.to_vec()))
    }

    /// Puts a value under a key, in place of what was there.
    ///
    /// # Errors
    /// When key or value is too long, the disk fails, or failed earlier.
    pub fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.store.writable()?;
        check(key, Some(value))?;
        self.store.written(self.tree.insert(key, value)).map(drop)
    }

    /// Removes a key; that it is not there is no error.
    ///
    /// # Errors
    /// When the disk fails, or failed earlier.
    pub fn remove(&self, key: &[u8]) -> Result<(), StoreError> {
        self.store.writable()?;
        self.store.written(self.tree.remove(key)).map(drop)
    }

    /// Writes all of a batch or, after a crash, none of it.
    ///
    /// # Errors
    /// When a key or value is too long (then nothing is written), the disk fails, or failed earlier.
    pub fn apply_batch(&self, batch: Batch) -> Result<(), StoreError> {
        self.store.writable()?;
        let mut writes = sled::Batch::default();
        for (key, value) in batch.writes {
            check(&key, value.as_deref())?;
            match value {
                Some(value) => writes.insert(key, value),
                None => writes.remove(key),
            }
        }
        self.store.written(self.tree.apply_batch(writes))
    }

    /// Every pair whose key starts with `prefix`, in key order; an empty prefix is every pair. Reversible.
    pub fn scan(&self, prefix: &[u8]) -> impl DoubleEndedIterator<Item = Result<Pair, StoreError>> + use<> {
        self.tree.scan_prefix(prefix).map(pair)
    }

    /// Every pair between two keys, in key order. Reversible.
    pub fn range(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> impl DoubleEndedIterator<Item = Result<Pair, StoreError>> + use<> {
        self.tree.range::<&[u8], _>((from, to)).map(pair)
    }
}

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tree({})", String::from_utf8_lossy(&self.tree.name()))
    }
}

/// Writes that belong together. Of several for one key the last counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    writes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Batch {
    /// Puts a value under a key.
    pub fn insert(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.writes.push((key.into(), Some(value.into())));
    }

    /// Removes a key.
    pub fn remove(&mut self, key: impl Into<Vec<u8>>) {
        self.writes.push((key.into(), None));
    }

    /// Puts another batch's writes behind these.
    pub fn append(&mut self, mut other: Self) {
        self.writes.append(&mut other.writes);
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// How many writes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writes.len()
    }
}

fn check(key: &[u8], value: Option<&[u8]>) -> Result<(), StoreError> {
    if key.len() > MAX_KEY_OCTETS {
        return Err(StoreError::KeyTooLong(key.len()));
    }
    match value.map(<[u8]>::len).filter(|octets| *octets > MAX_VALUE_OCTETS) {
        Some(octets) => Err(StoreError::ValueTooLong(octets)),
        None => Ok(()),
    }
}

fn pair(item: sled::Result<(sled::IVec, sled::IVec)>) -> Result<Pair, StoreError> {
    item.map(|(key, value)| (key.to_vec(), value.to_vec())).map_err(StoreError::from_sled)
}
