//! The temporary files of messages that memory has no room for. They have no names, and end with whoever has them open.
//! None takes the disk below `limits.min_free_octets`, which what was accepted needs.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::spool::is_no_room;
use crate::telemetry::{Seldom, free_octets};

/// Log lines a minute about messages that cannot be written.
const MAX_LINES: u32 = 6;

/// Where they are made.
#[derive(Debug)]
pub struct Temporary {
    directory: PathBuf,
    /// Octets that are being written now: the disk does not count them yet.
    writing: AtomicU64,
    lines: Seldom,
}

/// Octets that are being written; until dropped.
struct Writing<'a> {
    temporary: &'a Temporary,
    octets: u64,
}

impl Temporary {
    /// In this folder, which is there.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, writing: AtomicU64::new(0), lines: Seldom::new(MAX_LINES) }
    }

    /// Appends to a file, making it where there is none yet. Blocks.
    ///
    /// # Errors
    /// When the disk fails, or would have less than the floor behind it.
    pub(super) fn append(&self, file: Option<File>, octets: &[u8], floor_octets: u64) -> io::Result<File> {
        let _writing = self.announce(octets.len() as u64, floor_octets)?;
        let mut file = match file {
            Some(file) => file,
            None => tempfile::tempfile_in(&self.directory)?,
        };
        file.write_all(octets)?;
        Ok(file)
    }

    fn announce(&self, octets: u64, floor_octets: u64) -> io::Result<Writing<'_>> {
        let before = self.writing.fetch_add(octets, Ordering::AcqRel);
        let writing = Writing { temporary: self, octets };
        if free_octets(&self.directory)? < floor_octets.saturating_add(before).saturating_add(octets) {
            return Err(io::Error::new(ErrorKind::StorageFull, "limits.min_free_octets is reached"));
        }
        Ok(writing)
    }

    /// Tells the operator why a message could not be written.
    pub(super) fn tell(&self, error: &io::Error) {
        let Some(left_out) = self.lines.due() else { return };
        let directory = self.directory.display();
        if is_no_room(error) {
            tracing::warn!(%error, %directory, left_out, "no room on the disk for a large message");
        } else {
            tracing::error!(%error, %directory, left_out, "a message cannot be written");
        }
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.temporary.writing.fetch_sub(self.octets, Ordering::AcqRel);
    }
}

/// The first octets of a file. Blocks.
///
/// # Errors
/// When the disk fails, or the file is shorter.
pub(super) fn first_octets(file: &File, octets: usize) -> io::Result<Bytes> {
    let mut head = vec![0; octets];
    file.read_exact_at(&mut head, 0)?;
    Ok(head.into())
}

#[cfg(test)]
#[path = "temporary_tests.rs"]
mod tests;
