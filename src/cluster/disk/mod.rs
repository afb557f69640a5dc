//! The folder `raft/` in the data directory: who the node is, and what it keeps of the cluster.
//!
//! ```text
//! raft.lock        beside it: held by the process that takes part
//! raft/identity    who the node is, to what it is bound, and which of the folders counts
//! raft/NUMBER/     log/ and snapshot
//! raft/unfinished/ the next folder, while it is made
//! ```
//!
//! - What a node is changes by one durable write of its identity ([`Identity::write`]). Where another log, or another table,
//!   belongs to what it becomes, the folder is finished before ([`renew()`]); the one before stays where it is, and is read by
//!   nobody.
//! - Damage is told from a disk that refuses for now, and from what a later version wrote ([`DiskError`]): a node goes on
//!   forwarding by what can be read of what is damaged ([`read()`]).
//! - Whether the table that an earlier version kept in the store has been taken over is noted there ([`Mark`]).

mod error;
mod identity;
mod lock;
mod mark;
mod read;
mod renew;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;

pub use error::{Damage, DiskError};
pub use identity::{Adopted, Bound, Identity, IdentityError};

pub(super) use self::mark::{Mark, Standing};
pub(super) use self::read::{Again, Found, Remains, Whole, inherited, left, read};
pub(super) use self::renew::{Contents, Stands, before, renew, stands};
use super::founding::NodeName;
use super::{log, snapshot};
use crate::routing::RoutingOptions;
use crate::store::Store;

/// How often a node tries to take part whose disk refused, where nothing else is said.
pub const TRIED_EVERY: Duration = Duration::from_secs(10);

/// Where a node keeps what it keeps of the cluster, and what it begins with.
pub struct Place {
    /// The node's data directory.
    pub data_dir: PathBuf,
    /// `node.name`.
    pub name: NodeName,
    /// Where an earlier version kept the table.
    pub store: Store,
    /// What the table is shown with.
    pub options: RoutingOptions,
    /// How often a node tries to take part whose disk refused.
    pub tried_every: Duration,
}

impl Place {
    /// The folder of what the node keeps of the cluster.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        folder(&self.data_dir)
    }

    /// Takes the lock, for as long as the file is open.
    pub(super) async fn lock(&self) -> Result<Arc<File>, DiskError> {
        let data_dir = self.data_dir.clone();
        Ok(Arc::new(spawn_blocking(move || lock::take(&data_dir)).await??))
    }
}

/// The folder of what a node keeps of the cluster.
#[must_use]
pub fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("raft")
}

/// Looks for what a start would refuse, and for damage; changes nothing. How many vote, as far as the snapshot says. Blocks
/// while log and snapshot are read.
///
/// # Errors
/// With what is found.
pub fn inspect(data_dir: &Path, options: RoutingOptions) -> Result<usize, DiskError> {
    lock::look(data_dir)?;
    let folder = folder(data_dir);
    let identity = match Identity::read(&folder) {
        Ok(Some(identity)) => identity,
        Ok(None) => return Ok(0),
        Err(IdentityError::Damaged(_)) => return Err(Damage::NoIdentity.into()),
        Err(error) => return Err(error.into()),
    };
    let dir = identity.dir(&folder);
    let snapshot = match snapshot::look(&dir, options) {
        Ok(meta) => meta,
        Err(error) if error.is_damage() => return Err(Damage::Snapshot(error).into()),
        Err(error) => return Err(error.into()),
    };
    let voters = snapshot.as_ref().map_or(0, |meta| meta.last_membership.voter_ids().count());
    let snapshot = snapshot.and_then(|meta| meta.last_log_id);
    let log = log::look(&dir.join("log"));
    match log.whole {
        Err(error) if error.is_damage() => Err(Damage::Log(error).into()),
        Err(error) => Err(error.into()),
        Ok(()) if log.purged > snapshot => Err(Damage::of_gap(snapshot).into()),
        Ok(()) => Ok(voters),
    }
}
