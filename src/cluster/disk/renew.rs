//! Becoming something else: the next folder is made where it counts for nothing, gets its number when it is finished, and
//! counts from when the identity names it. What a crash leaves before that is begun again.
//!
//! A table is never put under a log that begins at 0: whoever joined later would get the log without the table. It stands in
//! a snapshot, as a compacted cluster would have left it: with a log that is purged up to it, and the vote of who led.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use openraft::CommittedLeaderId;
use openraft::storage::RaftLogStorage as _;
use tokio::task::spawn_blocking;

use super::super::log::LogStore;
use super::super::machine::Machine;
use super::super::snapshot;
use super::super::types::{LogId, Member, Membership, Vote};
use super::Place;
use super::error::{Damage, DiskError};
use super::identity::{Identity, IdentityError};
use super::mark::{Mark, Standing};
use super::read::{Again, Remains, left};
use crate::private_files;
use crate::routing::{RoutingOptions, Table, read_store};
use crate::wal::sync_dir;

/// The entry that a snapshot ends with that no entry made.
const INDEX: u64 = 1;
/// What is not finished.
const UNFINISHED: &str = "unfinished";

/// With what a node goes on in a new folder.
pub(crate) struct Contents {
    /// The vote that it has given, under the same id.
    pub(crate) vote: Option<Vote>,
    /// The table of a cluster of which it is the only member; none: no entry yet.
    pub(crate) table: Option<Table>,
}

/// Who stands in a folder.
pub(crate) enum Stands {
    As(Identity),
    /// Nobody yet.
    Nobody(Standing),
    /// Who it is is lost, and not all else.
    Unknown(Box<Remains>),
}

/// Reads who it is. Blocks on the disk.
///
/// # Errors
/// When it cannot be read, or a later version wrote it.
pub(crate) fn stands(folder: &Path, mark: &Mark, options: RoutingOptions) -> Result<Stands, DiskError> {
    let newest = numbers(folder)?.last().copied();
    let unknown = |options| {
        let dir = folder.join(newest.unwrap_or_default().to_string());
        let table = left(&dir, options).remains();
        Stands::Unknown(Box::new(Remains { damage: Damage::NoIdentity, table, again: Again::Never }))
    };
    match Identity::read(folder) {
        Ok(Some(identity)) => return Ok(Stands::As(identity)),
        Ok(None) => {}
        Err(IdentityError::Damaged(_)) => return Ok(unknown(options)),
        Err(error) => return Err(error.into()),
    }
    let standing = mark.read()?;
    // Of a founding that was not finished everything is in the store yet, if that is there.
    let is_finished = standing == Standing::TakenOver || mark.is_of_another_store();
    Ok(if is_finished && newest.is_some() { unknown(options) } else { Stands::Nobody(standing) })
}

/// The table that a node begins with.
///
/// # Errors
/// When that in the store cannot be read.
pub(crate) async fn before(place: &Place, standing: Standing) -> Result<Table, DiskError> {
    let (store, options) = (place.store.clone(), place.options.clone());
    spawn_blocking(move || match standing {
        Standing::InStore => read_store(&store, options).map_err(DiskError::OldTable),
        Standing::TakenOver | Standing::Lost => Ok(Table::lost(options)),
    })
    .await?
}

/// Makes the next folder, and the identity, which then names it, the node's.
///
/// # Errors
/// When the disk fails: then the node is what it was, or, where that is not known, what it is to be.
pub(crate) async fn renew(
    folder: &Path,
    identity: Identity,
    contents: Contents,
) -> Result<Identity, DiskError> {
    let to = folder.to_owned();
    let number = spawn_blocking(move || -> Result<u32, DiskError> {
        begin(&to)?;
        Ok(numbers(&to)?.last().map_or(1, |last| last.saturating_add(1)))
    })
    .await??;
    let identity = Identity { number, was_shown: contents.table.is_some(), ..identity };
    prepare(folder, &identity, contents).await?;
    let (to, next) = (folder.to_owned(), identity.clone());
    spawn_blocking(move || -> Result<(), DiskError> {
        name(&to, &next)?;
        Ok(next.write(&to)?)
    })
    .await??;
    Ok(identity)
}

/// Makes the folders, the last of them without what an earlier attempt left in it.
fn begin(folder: &Path) -> Result<(), DiskError> {
    let unfinished = folder.join(UNFINISHED);
    match fs::remove_dir_all(&unfinished) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => {
            return Err(failed("remove", &unfinished)(cause));
        }
        Ok(()) | Err(_) => {}
    }
    for dir in [folder, &unfinished] {
        private_files::folder(dir).map_err(failed("create", dir))?;
        dir.parent().map_or(Ok(()), sync_dir)?;
    }
    Ok(())
}

/// Writes snapshot and log, and reads the snapshot back: from then on nothing else may have the table.
async fn prepare(folder: &Path, identity: &Identity, contents: Contents) -> Result<(), DiskError> {
    let Contents { vote, table } = contents;
    let dir = folder.join(UNFINISHED);
    let term = vote.map_or(1, |vote| vote.leader_id.term + 1);
    let first = LogId::new(CommittedLeaderId::new(term, identity.node), INDEX);
    let member = (identity.node, Member::from(&identity.name));
    let has_table = table.is_some();
    let mut log = spawn_blocking(move || -> Result<LogStore, DiskError> {
        if let Some(table) = table {
            let (id, options) = (member.0, table.options().clone());
            let membership = Membership::new(vec![BTreeSet::from([id])], BTreeMap::from([member]));
            Machine::found(&dir, table, first, membership)?;
            snapshot::look(&dir, options)?;
        }
        Ok(LogStore::create(&dir.join("log"))?)
    })
    .await??;
    let written = async {
        if has_table {
            log.save_vote(&Vote::new_committed(term, identity.node)).await?;
            return log.purge(first).await;
        }
        match vote {
            Some(vote) => log.save_vote(&vote).await,
            None => Ok(()),
        }
    };
    let written = written.await;
    // The engine's error does not say what it was of.
    let failure = log.failure();
    spawn_blocking(move || drop(log)).await?;
    written.map_err(|error| failure.map_or_else(|| DiskError::Engine(error.to_string()), DiskError::from))
}

/// Gives what is finished its number.
fn name(folder: &Path, identity: &Identity) -> Result<(), DiskError> {
    let (unfinished, dir) = (folder.join(UNFINISHED), identity.dir(folder));
    sync_dir(&unfinished)?;
    fs::rename(unfinished, &dir).map_err(failed("rename to", &dir))?;
    Ok(sync_dir(folder)?)
}

/// The numbers of the folders that are there, in order.
fn numbers(folder: &Path) -> Result<Vec<u32>, DiskError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(failed("read", folder)(cause)),
    };
    let names: Vec<_> = entries
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<Result<_, _>>()
        .map_err(failed("read", folder))?;
    let mut numbers: Vec<u32> = names.iter().filter_map(|name| name.to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DiskError {
    let path = path.to_owned();
    move |cause| DiskError::Io { doing, path, cause }
}
