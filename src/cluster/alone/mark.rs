//! What the store says of the table that stood in it: a record in a tree of its own.
//!
//! The store's mark tells a lost store from none; this is the like of it for `raft/`. It is in the store, since it speaks of
//! the trees there: a store that is put back from a copy of the time before has its table taken over again, should `raft/`
//! be gone.

use super::error::AloneError;
use crate::store::{Store, Tree};

const TREE: &str = "cluster";
const KEY: &[u8] = b"table";
const TAKEN_OVER: &[u8] = b"taken over";
const LOST: &[u8] = b"lost";

/// Where the table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// In the store, if there is one.
    InStore,
    /// Under `raft/`.
    TakenOver,
    /// It was under `raft/`, which was found gone, and nothing has taken its place yet.
    Lost,
}

/// The record.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    store: Store,
    tree: Tree,
}

impl Mark {
    pub(super) fn open(store: &Store) -> Result<Self, AloneError> {
        Ok(Self { store: store.clone(), tree: store.tree(TREE)? })
    }

    pub(super) fn read(&self) -> Result<Standing, AloneError> {
        Ok(match self.tree.get(KEY)?.as_deref() {
            None => Standing::InStore,
            Some(LOST) => Standing::Lost,
            Some(_) => Standing::TakenOver,
        })
    }

    /// Writes it, durably, unless it says so already. Blocks on the disk.
    pub(super) fn write(&self, standing: Standing) -> Result<(), AloneError> {
        if self.read()? == standing {
            return Ok(());
        }
        match standing {
            Standing::InStore => self.tree.remove(KEY)?,
            Standing::TakenOver => self.tree.insert(KEY, TAKEN_OVER)?,
            Standing::Lost => self.tree.insert(KEY, LOST)?,
        }
        Ok(self.store.flush_durably()?)
    }
}
