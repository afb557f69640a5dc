//! How the folder fails, and what is wrong with what is in it.

use std::io;
use std::path::PathBuf;

use thiserror::Error;
use tokio::task::JoinError;

use super::super::log::LogError;
use super::super::snapshot::SnapshotError;
use super::super::types::LogId;
use super::identity::IdentityError;
use crate::routing::RoutingError;
use crate::store::StoreError;
use crate::wal::WalError;

/// Why a node cannot go on with what it keeps, or cannot become something else.
#[derive(Debug, Error)]
pub enum DiskError {
    /// Another process takes part with this folder.
    #[error("another process has {} locked", .0.display())]
    Locked(PathBuf),
    /// The disk or the file system refused.
    #[error("cannot {doing} {}: {cause}", path.display())]
    Io {
        /// The verb.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Folders cannot be made durable.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// Who the node is cannot be read or written.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The store cannot say what became of its table.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The table in the store cannot be read.
    #[error("the routing table of an earlier version cannot be taken over: {0}")]
    OldTable(RoutingError),
    /// The log that the node begins with cannot be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The snapshot that the node begins with cannot be written.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The log says no more than that.
    #[error("{0}")]
    Engine(String),
    /// What is there is not what was written.
    #[error(transparent)]
    Damage(#[from] Damage),
    /// A bug of ours.
    #[error(transparent)]
    Panicked(#[from] JoinError),
}

impl DiskError {
    /// Whether the disk refuses, for now perhaps.
    pub(crate) fn is_of_the_disk(&self) -> bool {
        if let Self::Log(error) = self {
            return error.is_of_the_disk();
        }
        if let Self::Snapshot(error) = self {
            return error.is_of_the_disk();
        }
        matches!(
            self,
            Self::Io { .. }
                | Self::Wal(WalError::Io { .. })
                | Self::Store(StoreError::Io { .. })
                | Self::Identity(IdentityError::Io { .. } | IdentityError::Wal(_))
        )
    }
}

/// Why a node takes no part, and goes on forwarding.
#[derive(Debug, Error)]
pub enum Damage {
    /// Who the node is is lost, and not all else.
    #[error("raft/identity is missing or damaged")]
    NoIdentity,
    /// The snapshot cannot be read.
    #[error(transparent)]
    Snapshot(SnapshotError),
    /// The snapshot is gone.
    #[error("raft/snapshot is missing")]
    NoSnapshot,
    /// The log cannot be read.
    #[error(transparent)]
    Log(LogError),
    /// The log begins behind the snapshot's end.
    #[error("entries between raft/snapshot and raft/log are missing")]
    Gap,
    /// The log cannot be written.
    #[error(transparent)]
    Disk(LogError),
    /// What a node begins with cannot be written.
    #[error("the routing table of an earlier version cannot be taken over yet: {0}")]
    NotFounded(String),
    /// The Raft engine does not run, or does so no more.
    #[error("Raft has stopped: {0}")]
    Raft(String),
}

impl Damage {
    /// What it means that the log begins behind the last entry of the snapshot.
    pub(super) fn of_gap(snapshot: Option<LogId>) -> Self {
        if snapshot.is_some() { Self::Gap } else { Self::NoSnapshot }
    }
}
