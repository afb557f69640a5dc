//! What cannot be read, kept for the operator.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::error::SpoolError;
use crate::kept_aside;
use crate::private_files;
use crate::telemetry::Metrics;
use crate::telemetry::labels::Contained;
use crate::wal::{Position, sync_dir};

/// Octets of a log that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// The number of the segment.
    pub segment: u64,
    /// Where in it they start.
    pub offset: u64,
    /// How many they are.
    pub octets: u64,
    /// Where they were put.
    pub kept: PathBuf,
}

/// The folder, and the count.
#[derive(Debug, Clone)]
pub(super) struct Quarantine {
    dir: PathBuf,
    metrics: Arc<Metrics>,
}

impl Quarantine {
    pub(super) fn new(dir: PathBuf, metrics: Arc<Metrics>) -> Self {
        Self { dir, metrics }
    }

    /// Where what stands at a place of the log is put.
    fn path(&self, at: Position) -> PathBuf {
        self.named(&format!("{:016}-{}", at.segment, at.offset))
    }

    /// The file of this name.
    pub(super) fn named(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// How many records are in the folder, not counting the files of their bodies.
    pub(super) fn count(&self) -> Result<u64, SpoolError> {
        match fs::read_dir(&self.dir) {
            Ok(files) => {
                let is_record = |name: &std::ffi::OsString| Path::new(name).extension().is_none();
                Ok(files.flatten().map(|file| file.file_name()).filter(is_record).count() as u64)
            }
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(cause) => Err(SpoolError::io("read", &self.dir, cause)),
        }
    }

    /// Removes what is past the bounds of what is kept aside, the oldest first.
    pub(super) fn expire(&self, now: SystemTime) -> Result<(), SpoolError> {
        let expired = kept_aside::expire(&self.dir, kept_aside::BOUNDS, now);
        expired.map(drop).map_err(|cause| SpoolError::io("expire", &self.dir, cause))
    }

    /// Keeps octets of the log, and tells the operator. Kept before means replaced, and told before.
    ///
    /// # Errors
    /// When they cannot be kept; then they are still where they were.
    pub(super) fn keep(&self, at: Position, octets: &[u8], reason: &str) -> Result<Quarantined, SpoolError> {
        let kept = self.path(at);
        let is_new = !kept.exists();
        let write = || {
            private_files::folder(&self.dir)?;
            let mut file = private_files::create(&kept)?;
            file.write_all(octets).and_then(|()| file.sync_all())
        };
        write().map_err(|cause| SpoolError::io("write", &kept, cause))?;
        sync_dir(&self.dir)?;
        let Position { segment, offset } = at;
        if is_new {
            self.metrics.poisoned_messages_total.of(Contained::Spool).inc();
        }
        tracing::error!(segment, offset, octets = octets.len(), reason, kept = %kept.display(), "a record of the spool cannot be read");
        Ok(Quarantined { segment, offset, octets: octets.len() as u64, kept })
    }
}
