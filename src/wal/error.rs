//! How a log fails.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

/// Why the log did not do it. Always ours, never a peer's; cloneable, because one sync answers many.
#[derive(Debug, Clone, Error)]
pub enum WalError {
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
    /// A part of a frame is past its bound.
    #[error("a record of {octets} octets is past the limit of {limit}")]
    TooLarge {
        /// Its size.
        octets: usize,
        /// The bound.
        limit: usize,
    },
}

impl WalError {
    pub(crate) fn io(doing: &'static str, path: &Path, cause: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), cause: Arc::new(cause) }
    }
}
