//! How the log fails.

use std::path::PathBuf;

use thiserror::Error;

use super::live::Hole;
use super::record::RecordError;
use crate::wal::WalError;

/// Why the log cannot be opened, or takes no more. Whichever it is, this node takes no part in agreeing from then on:
/// what it has promised it may not have any more.
#[derive(Debug, Clone, Error)]
pub enum LogError {
    /// The disk or the file system refused, or a later version wrote it.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// There was one, and it is gone.
    #[error("there is no log in {}", .0.display())]
    Missing(PathBuf),
    /// One is there, and should not be.
    #[error("there is a log in {} already", .0.display())]
    Exists(PathBuf),
    /// What had been on the disk cannot be read any more.
    #[error("{} is damaged at offset {offset}; it was on the disk up to {synced}", path.display())]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where the first octet is that cannot be read.
        offset: u64,
        /// Up to where it was durable.
        synced: u64,
    },
    /// A frame that is whole is not a record.
    #[error("{} at offset {offset}: {cause}", path.display())]
    Record {
        /// The segment.
        path: PathBuf,
        /// Where it stands.
        offset: u64,
        /// Why it is none.
        cause: RecordError,
    },
    /// Records do not follow from each other.
    #[error("{} at offset {offset}: {cause}", path.display())]
    Hole {
        /// The segment.
        path: PathBuf,
        /// Where the second of them stands.
        offset: u64,
        /// What is missing.
        cause: Hole,
    },
    /// The thread that writes is gone.
    #[error("the log has stopped")]
    Stopped,
}

impl LogError {
    /// Whether what is there is not what was written. Else the disk refuses for now, or a later version wrote it.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Record { cause: RecordError::UnknownKind, .. }
            | Self::Wal(_)
            | Self::Exists(_)
            | Self::Stopped => false,
            Self::Missing(_) | Self::Damaged { .. } | Self::Record { .. } | Self::Hole { .. } => true,
        }
    }

    /// Whether the disk refuses, for now perhaps.
    #[must_use]
    pub fn is_of_the_disk(&self) -> bool {
        matches!(self, Self::Wal(WalError::Io { .. }))
    }
}
