//! The temporary files of messages that memory has no room for. They have no names, and end with whoever has them open.
//!
//! All of them together take at most half of what the disk has above `limits.min_free_octets`, and those of one client
//! network an eighth of that half ([`crate::pipeline::account`]): the other half is the queue's, which takes nothing new
//! below the floor. A file counts until it is closed, so also while its message waits for an upstream. One that the queue
//! has kept is its own afterwards, and what is free is measured anew for every piece that is written.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::mail::BodyFile;
use crate::pipeline::account::{Account, Purpose, Share};
use crate::spool::is_no_room;
use crate::telemetry::{Seldom, free_octets};

/// Log lines a minute about messages that cannot be written.
const MAX_LINES: u32 = 6;
/// The part of what is free that is for temporary files, as a divisor.
const PART: u64 = 2;

/// Where they are made.
#[derive(Debug)]
pub struct Temporary {
    directory: PathBuf,
    taken: Account,
    /// Octets of `taken` that are being written now: the disk does not count them yet.
    writing: Mutex<u64>,
    lines: Seldom,
}

/// The file of a message under way, made when its first octets come.
#[derive(Debug)]
pub(super) struct TemporaryFile {
    file: Option<File>,
    share: Share,
}

/// What holds for a file besides its share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// `limits.min_free_octets`
    pub(super) floor_octets: u64,
    /// `service.max_message_octets`
    pub(super) largest_octets: u64,
}

/// Octets that are being written; until dropped.
#[derive(Debug)]
struct Writing<'a> {
    temporary: &'a Temporary,
    octets: u64,
}

impl Temporary {
    /// In this folder, which is there.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, taken: Account::new(0), writing: Mutex::default(), lines: Seldom::new(MAX_LINES) }
    }

    /// The file of a message that has this share of memory; there are no octets in it yet.
    pub(super) fn file(&self, memory: &Share) -> TemporaryFile {
        TemporaryFile { file: None, share: memory.beside(&self.taken) }
    }

    /// Appends to a file. Blocks.
    ///
    /// # Errors
    /// When the disk fails, or its room for temporary files, or the client's share of that, is taken.
    pub(super) fn append(
        &self,
        mut to: TemporaryFile,
        octets: &[u8],
        limits: Limits,
    ) -> io::Result<TemporaryFile> {
        let free = || free_octets(&self.directory);
        let _writing = self.announce(&mut to.share, octets.len(), limits, free)?;
        let mut file = match to.file {
            Some(file) => file,
            None => tempfile::tempfile_in(&self.directory)?,
        };
        file.write_all(octets)?;
        Ok(TemporaryFile { file: Some(file), share: to.share })
    }

    /// Counts octets that are about to be written.
    fn announce(
        &self,
        share: &mut Share,
        octets: usize,
        limits: Limits,
        free: impl FnOnce() -> io::Result<u64>,
    ) -> io::Result<Writing<'_>> {
        // Locked from the measurement on: nothing that is announced meanwhile is missing in both.
        let mut writing = self.writing.lock();
        let above_floor = free()?.saturating_sub(limits.floor_octets);
        let written = (self.taken.octets() as u64).saturating_sub(*writing);
        self.taken.resize(above_floor.saturating_add(written) / PART);
        let largest = usize::try_from(limits.largest_octets).unwrap_or(usize::MAX);
        if !share.grow(share.octets().saturating_add(octets), Purpose::File(largest)) {
            return Err(io::Error::new(ErrorKind::StorageFull, "no room above limits.min_free_octets"));
        }
        *writing += octets as u64;
        Ok(Writing { temporary: self, octets: octets as u64 })
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
        *self.temporary.writing.lock() -= self.octets;
    }
}

impl TemporaryFile {
    /// What it holds of the disk.
    pub(super) fn share(&self) -> &Share {
        &self.share
    }

    /// The file of a message that is here; none where nothing was written.
    pub(super) fn finish(self) -> Option<BodyFile> {
        let Self { file, share } = self;
        file.map(|file| BodyFile::counted(file, share))
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
