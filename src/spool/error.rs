//! How the spool fails.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use super::index::Crowd;
use super::model::Queued;
use crate::store::StoreError;
use crate::wal::WalError;

/// Why the spool did not do it. Always ours, never a peer's; cloneable, because one sync answers many.
#[derive(Debug, Clone, Error)]
pub enum SpoolError {
    /// The disk is full, or as full as the floor lets it become. Later there may be room.
    #[error("the disk has no room for another message in the queue")]
    NoRoom,
    /// There are as many messages as the queue takes of somebody. Later there may be fewer.
    #[error("the queue has as many messages {0} as it takes")]
    Crowded(Crowd),
    /// The last sync failed, and the next has not succeeded yet.
    #[error("the spool takes no messages until the disk can be synced again")]
    Failed,
    /// Another process has the spool open.
    #[error("another process has the spool open ({} is locked)", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The disk or the file system refused.
    #[error("cannot {doing} {}: {cause}", path.display())]
    Io {
        /// The verb.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        cause: Arc<io::Error>,
    },
    /// A newer version wrote this segment.
    #[error("{} is of format version {version}, which this version of Postroad does not know", path.display())]
    Newer {
        /// The segment.
        path: PathBuf,
        /// Its version.
        version: u8,
    },
    /// The index failed; the log is not touched by it.
    #[error("the index of the spool: {0}")]
    Index(#[from] StoreError),
    /// An entry of the index cannot be read.
    #[error("the index of the spool has an entry that cannot be read: {0}")]
    Entry(String),
    /// The octets of a message cannot be read. What was found of it is kept aside; it stays in the queue
    /// until it is removed.
    #[error("message {} cannot be read ({reason}); what is left of it is kept in {}", queued.id, kept.display())]
    Damaged {
        /// What was known of it: its sender can still be told.
        queued: Box<Queued>,
        /// What is left of its header section, perhaps nothing, perhaps not as it was put.
        head: Bytes,
        /// What is wrong.
        reason: String,
        /// Where its octets were put.
        kept: PathBuf,
    },
    /// What is to be kept of a message besides its octets, or its header section, has no bound that fits.
    #[error("a record of {octets} octets is past the limit of {limit}")]
    TooLarge {
        /// Its size.
        octets: usize,
        /// The bound.
        limit: usize,
    },
    /// A thread of the spool is gone.
    #[error("the spool has stopped")]
    Stopped,
}

/// Whether a failed read says that the octets are not there any more, and not that they cannot be had now.
pub(super) fn is_loss(error: &io::Error) -> bool {
    let unreadable = Some(rustix::io::Errno::IO.raw_os_error());
    let gone = [io::ErrorKind::NotFound, io::ErrorKind::UnexpectedEof];
    gone.contains(&error.kind()) || error.raw_os_error() == unreadable
}

/// Whether a disk refuses because it is full, or as full as we may make it.
#[must_use]
pub fn is_no_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl SpoolError {
    pub(super) fn io(doing: &'static str, path: &Path, cause: io::Error) -> Self {
        if is_no_room(&cause) {
            return Self::NoRoom;
        }
        Self::Io { doing, path: path.to_owned(), cause: Arc::new(cause) }
    }
}

impl From<WalError> for SpoolError {
    fn from(error: WalError) -> Self {
        match error {
            WalError::Io { cause, .. } if is_no_room(&cause) => Self::NoRoom,
            WalError::Io { doing, path, cause } => Self::Io { doing, path, cause },
            WalError::Newer { path, version } => Self::Newer { path, version },
            WalError::TooLarge { octets, limit } => Self::TooLarge { octets, limit },
        }
    }
}
