//! Bodies too large for a record: a file each, named by the message's id, whole and durable before the
//! record that speaks of it.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD};

use super::error::SpoolError;
use super::read::Unread;
use crate::mail::{Body, TraceId};
use crate::private_files;
use crate::proto::spool::v1;
use crate::wal::sync_dir;

/// Octets read at once.
const BLOCK_OCTETS: usize = 128 << 10;
/// The name's end of a file that is being copied.
const PARTIAL: &str = "partial";

/// The folder of the bodies.
#[derive(Debug, Clone)]
pub(super) struct Bodies {
    dir: PathBuf,
}

impl Bodies {
    /// Creates the folder where it is missing.
    pub(super) fn open(dir: PathBuf) -> Result<Self, SpoolError> {
        private_files::folder(&dir).map_err(|cause| SpoolError::io("create", &dir, cause))?;
        Ok(Self { dir })
    }

    pub(super) fn path(&self, id: TraceId) -> PathBuf {
        self.dir.join(id.to_string())
    }

    /// Keeps a body; its octets are durable when this returns, its name after [`Bodies::sync_names`]. Blocks.
    ///
    /// Octets that are in a file already are not copied: the file, which has no name any more, gets one.
    pub(super) fn keep(&self, id: TraceId, body: &Body) -> Result<v1::BodyFile, SpoolError> {
        let path = self.path(id);
        let kept = match body {
            Body::Memory(octets) => {
                let checksum = crc32fast::hash(octets);
                self.write(id, &mut octets.as_ref()).map(|octets| (0, octets, checksum))
            }
            Body::File { file, offset, octets } => self.keep_file(id, file, *offset, *octets),
        };
        let (offset, octets, checksum) = kept.map_err(|cause| {
            self.remove(id);
            SpoolError::io("write", &path, cause)
        })?;
        Ok(v1::BodyFile { offset, octets, checksum })
    }

    fn keep_file(&self, id: TraceId, file: &File, at: u64, octets: u64) -> io::Result<(u64, u64, u32)> {
        let checksum = checksum(file, at, octets)?;
        file.sync_data()?;
        let named = format!("/proc/self/fd/{}", file.as_raw_fd());
        match rustix::fs::linkat(CWD, named, CWD, self.path(id), AtFlags::SYMLINK_FOLLOW) {
            Ok(()) => Ok((at, octets, checksum)),
            // Of another file system, or its only name was taken from it: it cannot be named.
            Err(_) => self.write(id, &mut Positioned { file, at }.take(octets)).map(|o| (0, o, checksum)),
        }
    }

    /// Writes a file to its end before it gets its name.
    fn write(&self, id: TraceId, octets: &mut impl Read) -> io::Result<u64> {
        let partial = self.path(id).with_extension(PARTIAL);
        let mut file = private_files::create(&partial)?;
        let copied = copy(octets, &mut file).and_then(|copied| file.sync_data().map(|()| copied));
        match copied.and_then(|copied| fs::rename(&partial, self.path(id)).map(|()| copied)) {
            Ok(copied) => Ok(copied),
            Err(error) => {
                // What stays is removed when the spool is opened.
                let _ = fs::remove_file(&partial);
                Err(error)
            }
        }
    }

    /// Makes the names of all files durable.
    pub(super) fn sync_names(&self) -> Result<(), SpoolError> {
        Ok(sync_dir(&self.dir)?)
    }

    /// Opens a body and reads all of it once, to see that it is the one that was kept.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(&self, id: TraceId, kept: &v1::BodyFile) -> Result<Body, Unread> {
        let path = self.path(id);
        let told = |error: io::Error| Unread::from(SpoolError::io("read", &path, error));
        let file = File::open(&path).map_err(told)?;
        let there = file.metadata().map_err(told)?.len();
        if there != kept.offset.saturating_add(kept.octets) {
            return Err(Unread::Damaged(format!("its file {} has {there} octets", path.display())));
        }
        if checksum(&file, kept.offset, kept.octets).map_err(told)? != kept.checksum {
            return Err(Unread::Damaged(format!("its file {} has another checksum", path.display())));
        }
        Ok(Body::File { file: Arc::new(file.into()), offset: kept.offset, octets: kept.octets })
    }

    /// Removes the file of a message, if there is one. That it cannot be is told, and made good when the
    /// spool is opened.
    pub(super) fn remove(&self, id: TraceId) {
        remove(&self.path(id));
    }

    /// Moves the file of a message elsewhere, if there is one.
    pub(super) fn move_to(&self, id: TraceId, to: &Path) -> io::Result<()> {
        match fs::rename(self.path(id), to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            moved => moved,
        }
    }

    /// The messages that have a file, in the order of ids. What was never finished is removed.
    pub(super) fn sweep(&self) -> Result<Vec<TraceId>, SpoolError> {
        let failed = |cause| SpoolError::io("read", &self.dir, cause);
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == PARTIAL) {
                remove(&path);
            } else {
                ids.extend(path.file_name().and_then(|n| n.to_str()).and_then(|n| n.parse::<TraceId>().ok()));
            }
        }
        ids.sort_unstable();
        Ok(ids)
    }
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "a body that is not needed stays on the disk");
        }
        Ok(()) | Err(_) => {}
    }
}

/// Reads a file from a place on, without moving a cursor that others share.
#[derive(Debug)]
struct Positioned<'a> {
    file: &'a File,
    at: u64,
}

impl Read for Positioned<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let octets = self.file.read_at(into, self.at)?;
        self.at += octets as u64;
        Ok(octets)
    }
}

fn copy(from: &mut impl Read, to: &mut File) -> io::Result<u64> {
    let mut block = vec![0; BLOCK_OCTETS];
    let mut copied = 0;
    loop {
        let octets = from.read(&mut block)?;
        if octets == 0 {
            return Ok(copied);
        }
        to.write_all(block.get(..octets).unwrap_or_default())?;
        copied += octets as u64;
    }
}

fn checksum(file: &File, at: u64, octets: u64) -> io::Result<u32> {
    let mut from = Positioned { file, at }.take(octets);
    let mut block = vec![0; BLOCK_OCTETS];
    let mut sum = crc32fast::Hasher::new();
    loop {
        let octets = from.read(&mut block)?;
        if octets == 0 {
            return Ok(sum.finalize());
        }
        sum.update(block.get(..octets).unwrap_or_default());
    }
}
