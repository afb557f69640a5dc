//! How the store fails.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use super::{MAX_KEY_OCTETS, MAX_VALUE_OCTETS};

/// Why the store did not do it. Always ours, never a peer's; cloneable, because one flush answers many.
#[derive(Debug, Clone, Error)]
pub enum StoreError {
    /// Another process has the data directory open.
    #[error("another process has the store open ({} is locked)", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The files cannot be understood. Sled may have written over them: restore this directory alone from a copy
    /// (an old spool beside it would send its mail a second time), or move it aside to begin with an empty one, as
    /// [`super::Store::replaces_lost`].
    #[error("the store in {} is damaged: {detail}; restore this folder alone from a copy, or move it aside: the node \
             then begins it anew, and forgets the originals of long return addresses", path.display())]
    Damaged {
        /// The database's directory.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// Another version of this program wrote it.
    #[error("{} names a format that this version does not know", path.display())]
    Unknown {
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
    /// The database refused in the middle of its work.
    #[error("the store failed: {0}")]
    Engine(String),
    /// The disk failed earlier: nothing is known of what it holds until the store is opened again.
    #[error(
        "the store takes no writes since its disk failed; the node ends once the disk has room, to be started again"
    )]
    Failed,
    /// A key is too long.
    #[error("a key of {0} octets is past the limit of {MAX_KEY_OCTETS}")]
    KeyTooLong(usize),
    /// A value is too long.
    #[error("a value of {0} octets is past the limit of {MAX_VALUE_OCTETS}")]
    ValueTooLong(usize),
    /// A thread that flushes, reads or writes is gone.
    #[error("the store's thread has stopped")]
    Stopped,
}

impl StoreError {
    pub(super) fn io(doing: &'static str, path: &Path, cause: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), cause: Arc::new(cause) }
    }

    pub(super) fn from_sled(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(cause) => Self::io("use", Path::new("the store"), cause),
            sled::Error::CollectionNotFound(_)
            | sled::Error::Unsupported(_)
            | sled::Error::ReportableBug(_)
            | sled::Error::Corruption { .. } => Self::Engine(error.to_string()),
        }
    }
}
