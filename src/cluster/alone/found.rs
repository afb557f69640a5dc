//! Founding: what a compacted cluster of one would have left. Snapshot, log with vote and purge, identity, in this order and
//! each durable before the next; what a crash leaves without an identity is removed, and begun again from the store.
//!
//! The table is never put under a log that begins at 0: whoever joined later would get the log without the table.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use openraft::CommittedLeaderId;
use openraft::storage::RaftLogStorage as _;
use tokio::task::spawn_blocking;

use super::super::identity::Identity;
use super::super::log::LogStore;
use super::super::machine::Machine;
use super::super::types::{LogId, Member, Membership, Vote};
use super::Place;
use super::error::AloneError;
use super::mark::{Mark, Standing};
use crate::private_files;
use crate::routing::{Table, read_store};
use crate::wal::sync_dir;

/// The term in which a node founds itself.
const TERM: u64 = 1;
/// The entry that its snapshot ends with.
const INDEX: u64 = 1;

/// Founds a cluster of one, with the table that is in the store, or the knowledge that it is lost.
///
/// # Errors
/// When the disk fails, or the table in the store cannot be read: then nothing is founded.
pub(super) async fn found(
    place: &Place,
    dir: &Path,
    mark: &Mark,
    standing: Standing,
) -> Result<Identity, AloneError> {
    let identity = Identity::draw(place.name.clone());
    let (store, options, mark) = (place.store.clone(), place.options.clone(), mark.clone());
    let (folder, founder) = (dir.to_owned(), identity.clone());
    spawn_blocking(move || -> Result<(), AloneError> {
        let table = match standing {
            Standing::InStore => read_store(&store, options).map_err(AloneError::OldTable)?,
            Standing::TakenOver | Standing::Lost => {
                mark.write(Standing::Lost)?;
                Table::lost(options)
            }
        };
        begin(&folder)?;
        snapshot(&folder, table, &founder)
    })
    .await??;
    log(dir, &identity).await?;
    let (folder, founder) = (dir.to_owned(), identity.clone());
    spawn_blocking(move || founder.write(&folder)).await??;
    tracing::info!(cluster = %identity.cluster, node = %identity.node, "founded a cluster of one");
    Ok(identity)
}

/// Makes the folder, without what an earlier attempt left in it.
pub(super) fn begin(dir: &Path) -> Result<(), AloneError> {
    let failed = |doing| move |cause| AloneError::Io { doing, path: dir.to_owned(), cause };
    match fs::remove_dir_all(dir) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => return Err(failed("remove")(cause)),
        Ok(()) | Err(_) => {}
    }
    private_files::folder(dir).map_err(failed("create"))?;
    Ok(dir.parent().map_or(Ok(()), sync_dir)?)
}

/// Writes the snapshot.
pub(super) fn snapshot(dir: &Path, table: Table, founder: &Identity) -> Result<(), AloneError> {
    let me = BTreeSet::from([founder.node]);
    let members = BTreeMap::from([(founder.node, Member::from(&founder.name))]);
    let membership = Membership::new(vec![me], members);
    Ok(Machine::found(dir, table, first(founder), membership)?)
}

/// Writes the log.
pub(super) async fn log(dir: &Path, founder: &Identity) -> Result<(), AloneError> {
    let folder = dir.join("log");
    let mut log = spawn_blocking(move || LogStore::create(&folder)).await??;
    let failed = |error: super::super::types::StorageError| AloneError::Raft(error.to_string());
    log.save_vote(&Vote::new_committed(TERM, founder.node)).await.map_err(failed)?;
    log.purge(first(founder)).await.map_err(failed)?;
    Ok(spawn_blocking(move || drop(log)).await?)
}

fn first(founder: &Identity) -> LogId {
    LogId::new(CommittedLeaderId::new(TERM, founder.node), INDEX)
}

/// Whether there is nothing in the folder, or no folder.
pub(super) fn is_empty(dir: &Path) -> Result<bool, AloneError> {
    match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(true),
        Err(cause) => Err(AloneError::Io { doing: "read", path: dir.to_owned(), cause }),
    }
}
