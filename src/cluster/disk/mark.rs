//! What the store says of the table that stood in it: a record in a tree of its own.
//!
//! The store's mark tells a lost store from none; this is the like of it for `raft/`. It is in the store, since it speaks of
//! the trees there: a store that is put back from a copy of the time before has its table taken over again, should `raft/`
//! be gone. It says which table was taken over, too: a version that knows no `raft/` goes on with that in the store, and
//! what is changed there is not known here.

use super::error::DiskError;
use crate::routing::{Fingerprint, fingerprint};
use crate::store::{Store, Tree};

const TREE: &str = "cluster";
const KEY: &[u8] = b"table";
const TAKEN_OVER: &str = "taken over at revision ";
const LOST: &[u8] = b"lost";

/// Where the table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// In the store, if there is one.
    InStore,
    /// Under `raft/`.
    TakenOver,
    /// It was under `raft/`, which was found gone, and nothing has taken its place yet.
    Lost,
}

/// The record.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    store: Store,
    tree: Tree,
}

impl Mark {
    pub(crate) fn open(store: &Store) -> Result<Self, DiskError> {
        Ok(Self { store: store.clone(), tree: store.tree(TREE)? })
    }

    pub(crate) fn read(&self) -> Result<Standing, DiskError> {
        Ok(match self.tree.get(KEY)?.as_deref() {
            None => Standing::InStore,
            Some(LOST) => Standing::Lost,
            Some(_) => Standing::TakenOver,
        })
    }

    /// Whether it cannot say: the store is in the place of one that is lost.
    pub(crate) fn is_of_another_store(&self) -> bool {
        self.store.replaces_lost()
    }

    /// Notes, durably, that the table is lost. Blocks on the disk.
    pub(crate) fn lose(&self) -> Result<(), DiskError> {
        self.write(LOST)
    }

    /// Notes, durably, that the store's table is taken over, and says where it is another than the one that was. Blocks on
    /// the disk.
    pub(crate) fn take_over(&self) -> Result<(), DiskError> {
        let Fingerprint { revision, digest } = fingerprint(&self.store).map_err(DiskError::OldTable)?;
        let now = format!("{TAKEN_OVER}{revision}, {digest}");
        let before = self.tree.get(KEY)?.map(|octets| String::from_utf8_lossy(&octets).into_owned());
        match before.as_deref().and_then(|before| before.strip_prefix(TAKEN_OVER)) {
            Some(_) if before.as_ref() == Some(&now) => return Ok(()),
            Some(before) => tracing::error!(
                taken_over_at = before.split(',').next().unwrap_or_default(),
                revision,
                "an earlier version of Postroad has changed the routing table, or suspensions, in store/ since raft/ took \
                 its place: these changes are not used here; make them again. This is said once"
            ),
            None => {}
        }
        self.write(now.as_bytes())
    }

    fn write(&self, value: &[u8]) -> Result<(), DiskError> {
        if self.tree.get(KEY)?.as_deref() == Some(value) {
            return Ok(());
        }
        self.tree.insert(KEY, value)?;
        Ok(self.store.flush_durably()?)
    }
}
