//! What cannot be read, kept for the operator.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use super::error::SpoolError;
use super::log::{Position, sync_dir};
use crate::telemetry::Metrics;

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
    pub(super) fn path(&self, at: Position) -> PathBuf {
        self.dir.join(format!("{:016}-{}", at.segment, at.offset))
    }

    /// Keeps octets of the log, and tells the operator. Kept before means replaced.
    ///
    /// # Errors
    /// When they cannot be kept; then they are still where they were.
    pub(super) fn keep(&self, at: Position, octets: &[u8], reason: &str) -> Result<Quarantined, SpoolError> {
        let kept = self.path(at);
        let write = || {
            fs::create_dir_all(&self.dir)?;
            let mut file = File::create(&kept)?;
            file.write_all(octets).and_then(|()| file.sync_all())
        };
        write().map_err(|cause| SpoolError::io("write", &kept, cause))?;
        sync_dir(&self.dir)?;
        self.metrics.poisoned_messages_total.with_label_values(&["spool"]).inc();
        let Position { segment, offset } = at;
        tracing::error!(segment, offset, octets = octets.len(), reason, kept = %kept.display(), "a record of the spool cannot be read");
        Ok(Quarantined { segment, offset, octets: octets.len() as u64, kept })
    }
}
