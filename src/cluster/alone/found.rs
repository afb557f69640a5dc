//! Founding: what a compacted cluster of one would have left. Snapshot and log are made in a folder that counts for nothing,
//! which then gets its number; the identity, which names it, is last. What a crash leaves without an identity is begun again
//! from the store.
//!
//! The table is never put under a log that begins at 0: whoever joined later would get the log without the table.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use openraft::CommittedLeaderId;
use openraft::storage::RaftLogStorage as _;
use tokio::task::spawn_blocking;

use super::super::identity::{Identity, IdentityError};
use super::super::log::LogStore;
use super::super::machine::Machine;
use super::super::snapshot;
use super::super::types::{LogId, Member, Membership, StorageError, Vote};
use super::Place;
use super::error::{AloneError, Damage};
use super::mark::{Mark, Standing};
use super::read::{Again, Remains, left};
use crate::private_files;
use crate::routing::{RoutingOptions, Table, read_store};
use crate::wal::sync_dir;

/// The term in which a node founds itself.
const TERM: u64 = 1;
/// The entry that its snapshot ends with.
const INDEX: u64 = 1;
/// What is not finished.
const UNFINISHED: &str = "unfinished";

/// Who stands in a folder.
pub(super) enum Stands {
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
pub(super) fn stands(folder: &Path, mark: &Mark, options: RoutingOptions) -> Result<Stands, AloneError> {
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

/// Founds a cluster of one, with the table that is in the store, or the knowledge that it is lost.
///
/// # Errors
/// When the disk fails, or the table in the store cannot be read: then nothing is founded.
pub(super) async fn found(
    place: &Place,
    folder: &Path,
    mark: &Mark,
    standing: Standing,
) -> Result<Identity, AloneError> {
    let (mark, to) = (mark.clone(), folder.to_owned());
    let number = spawn_blocking(move || -> Result<u32, AloneError> {
        if standing != Standing::InStore {
            mark.lose()?;
        }
        begin(&to)?;
        Ok(numbers(&to)?.last().map_or(1, |last| last.saturating_add(1)))
    })
    .await??;
    let table = before(place, standing).await?;
    let identity = Identity::draw(place.name.clone(), number);
    prepare(&folder.join(UNFINISHED), table, &identity).await?;
    let (folder, founder) = (folder.to_owned(), identity.clone());
    spawn_blocking(move || name(&folder, &founder)).await??;
    tracing::info!(cluster = %identity.cluster, node = %identity.node, "founded a cluster of one");
    Ok(identity)
}

/// The table that a node begins with.
///
/// # Errors
/// When that in the store cannot be read.
pub(super) async fn before(place: &Place, standing: Standing) -> Result<Table, AloneError> {
    let (store, options) = (place.store.clone(), place.options.clone());
    spawn_blocking(move || match standing {
        Standing::InStore => read_store(&store, options).map_err(AloneError::OldTable),
        Standing::TakenOver | Standing::Lost => Ok(Table::lost(options)),
    })
    .await?
}

/// Makes the folders, the last of them without what an earlier attempt left in it.
pub(super) fn begin(folder: &Path) -> Result<(), AloneError> {
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

/// Writes snapshot and log, and reads the snapshot back: from then on nothing else has the table.
pub(super) async fn prepare(dir: &Path, table: Table, founder: &Identity) -> Result<(), AloneError> {
    let me = BTreeSet::from([founder.node]);
    let members = BTreeMap::from([(founder.node, Member::from(&founder.name))]);
    let membership = Membership::new(vec![me], members);
    let first = LogId::new(CommittedLeaderId::new(TERM, founder.node), INDEX);
    let to = dir.to_owned();
    let mut log = spawn_blocking(move || -> Result<LogStore, AloneError> {
        let options = table.options().clone();
        Machine::found(&to, table, first, membership)?;
        snapshot::look(&to, options)?;
        Ok(LogStore::create(&to.join("log"))?)
    })
    .await??;
    let failed = |error: StorageError| AloneError::Raft(error.to_string());
    let written = async {
        log.save_vote(&Vote::new_committed(TERM, founder.node)).await?;
        log.purge(first).await
    };
    let written = written.await;
    // The engine's error does not say what it was of.
    let failure = log.failure();
    spawn_blocking(move || drop(log)).await?;
    written.map_err(|error| failure.map_or_else(|| failed(error), AloneError::from))
}

/// Gives what is finished its number, and then the node its identity.
pub(super) fn name(folder: &Path, founder: &Identity) -> Result<(), AloneError> {
    let dir = founder.dir(folder);
    sync_dir(&folder.join(UNFINISHED))?;
    fs::rename(folder.join(UNFINISHED), &dir).map_err(failed("rename to", &dir))?;
    sync_dir(folder)?;
    Ok(founder.write(folder)?)
}

/// The numbers of the folders that are there, in order.
pub(super) fn numbers(folder: &Path) -> Result<Vec<u32>, AloneError> {
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

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AloneError {
    let path = path.to_owned();
    move |cause| AloneError::Io { doing, path, cause }
}
