//! How a cluster of one does not begin, and what is wrong with what it kept.

use std::io;
use std::path::PathBuf;

use thiserror::Error;
use tokio::task::JoinError;

use super::super::identity::IdentityError;
use super::super::log::LogError;
use super::super::snapshot::SnapshotError;
use super::LEADS_WITHIN;
use crate::routing::RoutingError;
use crate::store::StoreError;
use crate::wal::WalError;

/// Why a node does not begin.
#[derive(Debug, Error)]
pub enum AloneError {
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
    /// It is a member of a cluster of several.
    #[error("raft/ is that of a member of a cluster of several nodes, and the file has no [cluster]")]
    OtherMembers,
    /// The Raft engine refuses.
    #[error("Raft does not start: {0}")]
    Raft(String),
    /// The Raft engine ended.
    #[error("Raft has stopped: its log says why")]
    Stopped,
    /// The disk is too slow, or the log too long.
    #[error("the routing table was not ready within {LEADS_WITHIN:?}")]
    NotReady,
    /// What is there is not what was written.
    #[error(transparent)]
    Damage(#[from] Damage),
    /// A bug of ours.
    #[error(transparent)]
    Panicked(#[from] JoinError),
}

impl AloneError {
    /// Whether the disk refuses, for now perhaps.
    pub(super) fn is_of_the_disk(&self) -> bool {
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
