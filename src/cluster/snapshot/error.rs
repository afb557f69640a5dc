//! How a snapshot fails.

use std::io;
use std::path::{Path, PathBuf};

use prost::DecodeError;
use thiserror::Error;

use super::super::proposal::ProposalError;
use super::MAX_RECEIVED_OCTETS;
use crate::routing::{EncodingError, RoutingError};
use crate::wal::WalError;

/// Why there is no snapshot. Ours, but for one that arrives, which is of the peer that sent it.
#[derive(Debug, Error)]
pub enum SnapshotError {
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
    /// The folder's names could not be made durable.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// The disk is too full for another one.
    #[error("{} has {free} octets left, and {wanted} are wanted for a snapshot", dir.display())]
    NoRoom {
        /// The folder.
        dir: PathBuf,
        /// What is left.
        free: u64,
        /// What is wanted.
        wanted: u64,
    },
    /// One is there, and should not be.
    #[error("there is a snapshot {} already", .0.display())]
    Exists(PathBuf),
    /// What is there is not what was written, or a later version wrote it.
    #[error("{} cannot be read at offset {offset}: {fault}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Behind the last octet that was looked at.
        offset: u64,
        /// Why.
        fault: Fault,
    },
    /// What arrives does not end.
    #[error("a snapshot that arrives is past the limit of {MAX_RECEIVED_OCTETS} octets")]
    TooLarge,
    /// What arrived is another than was announced.
    #[error("the snapshot that arrived is {found}, and {announced} was announced")]
    Other {
        /// Said of it before.
        announced: String,
        /// Said in it.
        found: String,
    },
}

/// What is wrong with a snapshot's octets.
#[derive(Debug, Error)]
pub enum Fault {
    /// The disk refused.
    #[error(transparent)]
    Io(io::Error),
    /// It does not begin like one.
    #[error("it is no snapshot")]
    NoSnapshot,
    /// A later version wrote it.
    #[error("it is of format version {0}, which this version of Postroad does not know")]
    Version(u32),
    /// Some of it has gone.
    #[error("it ends in the middle")]
    Cut,
    /// A length that cannot be.
    #[error("a piece of {octets} octets is past the limit of {limit}")]
    TooLong {
        /// Its size.
        octets: usize,
        /// The bound.
        limit: usize,
    },
    /// What it begins with cannot be read.
    #[error("its beginning cannot be decoded: {0}")]
    Malformed(#[from] DecodeError),
    /// What it begins with lacks something.
    #[error("its beginning lacks {0}")]
    Lacks(&'static str),
    /// Its records are no table.
    #[error(transparent)]
    Table(#[from] EncodingError),
    /// A part of a change cannot be read.
    #[error(transparent)]
    Part(ProposalError),
    /// Parts of a change do not follow each other.
    #[error("a change in parts: {0}")]
    Staging(RoutingError),
    /// It is not what was summed up.
    #[error("its sum is not that of its content")]
    Sum,
    /// It goes on behind its sum.
    #[error("octets follow its end")]
    Trailing,
}

impl SnapshotError {
    /// Whether the disk refuses, for now perhaps.
    #[must_use]
    pub fn is_of_the_disk(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::NoRoom { .. } | Self::Wal(WalError::Io { .. }))
    }

    /// Whether what is there is not what was written. Else the disk refuses for now, or a later version wrote it.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Unreadable { fault: Fault::Io(_) | Fault::Version(_), .. }
            | Self::Io { .. }
            | Self::Wal(_)
            | Self::NoRoom { .. }
            | Self::Exists(_) => false,
            Self::Unreadable { .. } | Self::TooLarge | Self::Other { .. } => true,
        }
    }

    /// What the disk refused.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Io { doing, path, cause }
    }
}
