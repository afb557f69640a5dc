//! The agreed state in a file.

use std::path::PathBuf;

/// A snapshot on this node's disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFile {
    /// Where it is.
    pub path: PathBuf,
}
