//! What is agreed on, applied to the table that mail is routed by.
//!
//! - The state is in memory. What is durable of it is the snapshot, and the log behind it: after a start the state is that
//!   of the snapshot, and the engine applies again what it knows to be agreed on. So it is never ahead of the disk.
//! - Readers see a table as it was after all entries of a call, or before all of them.
//! - Each change of an entry stands or falls by itself: what one client did too late is no reason to refuse a stranger's
//!   write that happened to be in the same entry.
//! - A change that is too large for an entry comes in parts, which are kept beside the table until the last entry of it
//!   says to make it: all of it, or nothing.
//! - A change that cannot be read stops Raft on this node, which goes on forwarding by the table that it has. Skipped, it
//!   would leave this table different from the others', and each later etag, id and digest with it, without a word; and
//!   what was agreed on is not this node's to drop. A later version, or another disk, can read it.
//! - Work is done off the runtime's threads, on a copy of the state that takes its place once all went well.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use openraft::storage::RaftStateMachine;
use openraft::{AnyError, EntryPayload, OptionalSend, RaftSnapshotBuilder, StorageIOError};
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::{JoinError, spawn_blocking};

use super::proposal::{Content, Proposal, ProposalError};
use super::snapshot::{Agreed, SnapshotError, SnapshotFile, Snapshots};
use super::staging::Staging;
use super::types::{
    Entry, LogId, Membership, Outcomes, Snapshot, SnapshotMeta, StorageError, StoredMembership, Types,
};
use crate::routing::{Changed, Replica, RoutingError, Stamped, Table, View};

/// The state machine of the Raft engine, which is the one that changes it.
#[derive(Debug)]
pub struct Machine {
    state: State,
    snapshots: Snapshots,
    lock: Option<Arc<File>>,
    /// Whether there was an entry that cannot be read.
    unreadable: Arc<AtomicBool>,
}

/// All that is agreed on. A clone is cheap.
#[derive(Debug, Clone)]
struct State {
    replica: Replica,
    staging: Staging,
    applied: Option<LogId>,
    membership: StoredMembership,
}

impl Machine {
    /// Begins the state of a new node. Blocks on the disk.
    ///
    /// # Errors
    /// When the folder has a snapshot, or the disk fails.
    pub fn create(dir: &Path, view: &View) -> Result<Self, SnapshotError> {
        let machine = Self::open(dir, view)?;
        match machine.snapshots.current() {
            Some(_) => Err(SnapshotError::Exists(machine.snapshots.path())),
            None => Ok(machine),
        }
    }

    /// Opens the state of a node, which is that of its snapshot, or nothing while it has none, and publishes it. Blocks
    /// while it is read.
    ///
    /// # Errors
    /// When the snapshot cannot be read, or the disk fails.
    pub fn open(dir: &Path, view: &View) -> Result<Self, SnapshotError> {
        let options = view.snapshot().options().clone();
        let (snapshots, found) = Snapshots::open(dir, options.clone())?;
        let state = match found {
            None => State {
                replica: Replica::onto(Table::new(options), view.clone()),
                staging: Staging::default(),
                applied: None,
                membership: StoredMembership::default(),
            },
            Some((meta, agreed)) => State {
                replica: Replica::onto(agreed.table, view.clone()),
                staging: agreed.staging,
                applied: meta.last_log_id,
                membership: meta.last_membership,
            },
        };
        state.replica.publish();
        Ok(Self { state, snapshots, lock: None, unreadable: Arc::default() })
    }

    /// Writes the snapshot that a node begins with: a table as if an entry had made it, and the membership with it. Blocks
    /// on the disk.
    ///
    /// # Errors
    /// As for [`Self::create`].
    pub fn found(dir: &Path, table: Table, id: LogId, membership: Membership) -> Result<(), SnapshotError> {
        let mut machine = Self::create(dir, &View::empty(table.options().clone()))?;
        machine.state.replica.replace(table);
        machine.state.applied = Some(id);
        machine.state.membership = StoredMembership::new(Some(id), membership);
        machine.snapshots.build(&machine.state.meta(), &machine.state.agreed()).map(drop)
    }

    /// Keeps this file open until nothing is written to the folder any more, not even a snapshot that somebody has begun.
    #[must_use]
    pub fn under(self, lock: Arc<File>) -> Self {
        Self { lock: Some(lock), ..self }
    }

    /// The last entry that is in the state.
    #[must_use]
    pub fn applied(&self) -> Option<LogId> {
        self.state.applied
    }

    /// The last entry of the snapshot that is durable, as it changes: what a log may purge.
    #[must_use]
    pub fn durable(&self) -> watch::Receiver<Option<LogId>> {
        self.snapshots.last()
    }

    /// Counts the snapshots that could not be written, each time that one could not.
    #[must_use]
    pub fn unwritten(&self) -> watch::Receiver<u64> {
        self.snapshots.unwritten()
    }

    /// Whether there was an entry that cannot be read: it is no better at the next start.
    #[must_use]
    pub fn unreadable(&self) -> Arc<AtomicBool> {
        self.unreadable.clone()
    }

    /// Applies what a log holds that takes no part any more, up to the first entry that cannot be read; those that are in
    /// the state already are passed over. Takes CPU in the measure of the entries.
    ///
    /// # Errors
    /// With why an entry cannot be read.
    pub fn catch_up(&mut self, entries: Vec<Entry>) -> Result<(), ProposalError> {
        let behind = self.state.applied;
        let is_later = |entry: &Entry| behind.is_none_or(|behind| entry.log_id.index > behind.index);
        let later = entries.into_iter().filter(is_later).collect();
        self.state.apply(later).map(drop).map_err(|(_, cause)| cause)
    }

    /// The table as it is.
    #[must_use]
    pub fn table(&self) -> &Table {
        self.state.replica.table()
    }

    /// Who is a member.
    #[must_use]
    pub fn membership(&self) -> &StoredMembership {
        &self.state.membership
    }

    fn replace(&mut self, state: State) {
        let before = std::mem::replace(&mut self.state, state);
        // A large table takes a second to go. Nobody waits for it.
        drop(spawn_blocking(move || drop(before)));
    }
}

impl State {
    /// Applies entries up to the first that cannot be read, then shows the table.
    fn apply(&mut self, entries: Vec<Entry>) -> Result<Vec<Outcomes>, (LogId, ProposalError)> {
        let outcomes = entries.into_iter().map(|entry| {
            let id = entry.log_id;
            self.take(entry).map_err(|cause| (id, cause))
        });
        let outcomes = outcomes.collect();
        self.replica.publish();
        outcomes
    }

    fn take(&mut self, entry: Entry) -> Result<Outcomes, ProposalError> {
        let outcomes = match entry.payload {
            EntryPayload::Blank => Outcomes::default(),
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(entry.log_id), membership);
                Outcomes::default()
            }
            EntryPayload::Normal(proposal) => self.change(&proposal)?,
        };
        self.applied = Some(entry.log_id);
        Ok(outcomes)
    }

    fn change(&mut self, proposal: &Proposal) -> Result<Outcomes, ProposalError> {
        Ok(Outcomes(match proposal.content()? {
            Content::Changes(changes) => changes.iter().map(|change| self.make(change)).collect(),
            Content::Part(part) => self.staging.add(part).err().map(Err).into_iter().collect(),
            Content::Finish(finish) => match self.staging.finish(&finish) {
                Ok(octets) => {
                    vec![self.make(&Stamped::decode(&octets).map_err(ProposalError::InParts)?)]
                }
                Err(gone) => vec![Err(gone)],
            },
        }))
    }

    fn make(&mut self, change: &Stamped) -> Result<Changed, RoutingError> {
        self.staging.pass(change.at);
        self.replica.apply(change)
    }

    fn agreed(&self) -> Agreed {
        Agreed { table: self.replica.table().clone(), staging: self.staging.clone() }
    }

    /// What a snapshot of this state is named by.
    fn meta(&self) -> SnapshotMeta {
        SnapshotMeta {
            last_log_id: self.applied,
            last_membership: self.membership.clone(),
            snapshot_id: format!("{:016x}", rand::random::<u64>()),
        }
    }

    /// Takes what a snapshot held in the place of all this.
    fn replace(
        &mut self,
        snapshots: &Snapshots,
        meta: SnapshotMeta,
        file: SnapshotFile,
    ) -> Result<(), SnapshotError> {
        let options = self.replica.table().options().clone();
        let agreed = snapshots.install(file, &meta, options)?;
        self.replica.replace(agreed.table);
        self.staging = agreed.staging;
        self.replica.publish();
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership;
        Ok(())
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        Ok((self.state.applied, self.state.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Outcomes>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let (mut state, unreadable) = (self.state.clone(), self.unreadable.clone());
        let (state, outcomes) = blocking(move || match state.apply(entries) {
            Ok(outcomes) => Ok((state, outcomes)),
            Err((id, cause)) => {
                unreadable.store(true, Ordering::Release);
                Err(MachineError::Apply { id, cause })
            }
        })
        .await?;
        self.replace(state);
        Ok(outcomes)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder { state: self.state.clone(), snapshots: self.snapshots.clone(), _lock: self.lock.clone() }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<SnapshotFile>, StorageError> {
        let snapshots = self.snapshots.clone();
        let arriving = blocking(move || Ok(snapshots.receive()?)).await?;
        Ok(Box::new(SnapshotFile::Arriving(arriving)))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<SnapshotFile>,
    ) -> Result<(), StorageError> {
        let (mut state, snapshots, meta) = (self.state.clone(), self.snapshots.clone(), meta.clone());
        let state = blocking(move || {
            state.replace(&snapshots, meta, *snapshot)?;
            Ok(state)
        })
        .await?;
        self.replace(state);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, StorageError> {
        Ok(self.snapshots.current())
    }
}

/// Writes a snapshot of the state as it was when this was made.
#[derive(Debug)]
pub struct Builder {
    state: State,
    snapshots: Snapshots,
    _lock: Option<Arc<File>>,
}

impl RaftSnapshotBuilder<Types> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot, StorageError> {
        let (state, snapshots) = (self.state.clone(), self.snapshots.clone());
        let built = blocking(move || Ok(snapshots.build_or_keep(&state.meta(), &state.agreed())?)).await?;
        Ok(built)
    }
}

/// Why the state machine stops, and Raft on this node with it.
#[derive(Debug, Error)]
enum MachineError {
    /// What was agreed on cannot be read.
    #[error("{cause}")]
    Apply { id: LogId, cause: ProposalError },
    /// The disk fails, or what arrived is no snapshot.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A bug of ours.
    #[error(transparent)]
    Panicked(#[from] JoinError),
}

impl From<MachineError> for StorageError {
    fn from(error: MachineError) -> Self {
        let cause = AnyError::new(&error);
        match error {
            MachineError::Apply { id, .. } => StorageIOError::apply(id, cause),
            MachineError::Snapshot(_) => StorageIOError::write_snapshot(None, cause),
            MachineError::Panicked(_) => StorageIOError::write_state_machine(cause),
        }
        .into()
    }
}

/// Does what takes the disk, or CPU.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, MachineError> + Send + 'static,
) -> Result<T, MachineError> {
    spawn_blocking(work).await?
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
