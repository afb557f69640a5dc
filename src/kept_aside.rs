//! What is kept aside for the operator to look at: messages that broke a stage, records that a disk has spoilt. Nothing is
//! done with it by itself, so it has an end by itself: the oldest go, by number, by octets and by age.

use std::cmp::Reverse;
use std::fs::{self, DirEntry};
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

/// Removes the oldest files of a folder until the others are within bounds; says how many. One that cannot be looked at
/// or removed does not keep the others from it. Blocks.
///
/// # Errors
/// When the folder cannot be read; the first failure of a file, after all others have had their turn.
pub fn expire(folder: &Path, bounds: Bounds, now: SystemTime) -> io::Result<usize> {
    let mut failed = Ok(());
    let mut files = files(folder, &mut failed)?;
    files.sort_by_key(|file| Reverse(file.written_at));
    let mut octets = 0_u64;
    let past = files.iter().enumerate().filter(|(at, file)| {
        octets = octets.saturating_add(file.octets);
        let age = now.duration_since(file.written_at).unwrap_or_default();
        *at >= bounds.files || octets > bounds.octets || age > bounds.age
    });
    let removed = remove(past.map(|(_, file)| file.path.as_path()), &mut failed);
    if removed > 0 {
        tracing::warn!(folder = %folder.display(), removed, "what was kept aside has been removed, the oldest first");
    }
    failed.map(|()| removed)
}

/// Removes files; says how many.
fn remove<'a>(paths: impl Iterator<Item = &'a Path>, failed: &mut io::Result<()>) -> usize {
    paths.filter_map(|path| or_note(fs::remove_file(path), failed)).count()
}

/// What there is. Notes the first failure; that a file is gone meanwhile is none, since the operator removes them too.
fn or_note<T>(found: io::Result<T>, failed: &mut io::Result<()>) -> Option<T> {
    match found {
        Ok(found) => Some(found),
        Err(cause) => {
            if failed.is_ok() && cause.kind() != io::ErrorKind::NotFound {
                *failed = Err(cause);
            }
            None
        }
    }
}

struct File {
    path: PathBuf,
    octets: u64,
    written_at: SystemTime,
}

/// The files of a folder that can be looked at; one that is not there has none.
fn files(folder: &Path, failed: &mut io::Result<()>) -> io::Result<Vec<File>> {
    let entries = match fs::read_dir(folder) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    Ok(entries.filter_map(|entry| or_note(entry.and_then(|entry| file(&entry)), failed).flatten()).collect())
}

fn file(entry: &DirEntry) -> io::Result<Option<File>> {
    let metadata = entry.metadata()?;
    let file = |written_at| File { path: entry.path(), octets: metadata.len(), written_at };
    metadata.is_file().then(|| metadata.modified().map(file)).transpose()
}

#[cfg(test)]
#[path = "kept_aside_tests.rs"]
mod tests;
