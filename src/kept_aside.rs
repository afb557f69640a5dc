//! What is kept aside for the operator to look at: messages that broke a stage, records that a disk has spoilt. Nothing is
//! done with it by itself, so it has an end by itself: the oldest go, by number, by octets and by age.

use std::cmp::Reverse;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How much a folder keeps; whichever bound is reached first counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Files.
    pub files: usize,
    /// Octets of all files.
    pub octets: u64,
    /// Age of a file, from when it was last written.
    pub age: Duration,
}

impl Bounds {
    /// What others may keep for one more file of this size to fit.
    #[must_use]
    pub fn with_room_for(self, octets: u64) -> Self {
        Self { files: self.files.saturating_sub(1), octets: self.octets.saturating_sub(octets), ..self }
    }
}

/// 1000 files, 1 GiB, 30 days: enough for whoever looks after an alarm or once a month, and little of a disk that has
/// room for a queue.
pub const BOUNDS: Bounds = Bounds { files: 1000, octets: 1 << 30, age: Duration::from_secs(30 * 86_400) };

/// Removes the oldest files of a folder until the others are within bounds; says how many. Blocks.
///
/// # Errors
/// When the folder cannot be read, or a file cannot be removed.
pub fn expire(folder: &Path, bounds: Bounds, now: SystemTime) -> io::Result<usize> {
    let mut files = files(folder)?;
    files.sort_by_key(|file| Reverse(file.written_at));
    let (mut octets, mut removed) = (0_u64, 0);
    for (at, file) in files.iter().enumerate() {
        octets = octets.saturating_add(file.octets);
        let age = now.duration_since(file.written_at).unwrap_or_default();
        if at >= bounds.files || octets > bounds.octets || age > bounds.age {
            match fs::remove_file(&file.path) {
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
                Err(_another_was_faster) => {}
                Ok(()) => removed += 1,
            }
        }
    }
    if removed > 0 {
        tracing::warn!(folder = %folder.display(), removed, "what was kept aside has been removed, the oldest first");
    }
    Ok(removed)
}

struct File {
    path: PathBuf,
    octets: u64,
    written_at: SystemTime,
}

/// The files of a folder; one that is not there has none.
fn files(folder: &Path) -> io::Result<Vec<File>> {
    let entries = match fs::read_dir(folder) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        let metadata = match entry.metadata() {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
            metadata => metadata?,
        };
        if metadata.is_file() {
            files.push(File { path: entry.path(), octets: metadata.len(), written_at: metadata.modified()? });
        }
    }
    Ok(files)
}

#[cfg(test)]
#[path = "kept_aside_tests.rs"]
mod tests;
