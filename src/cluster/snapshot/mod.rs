//! The agreed state in a file: `snapshot`, in the folder of what a node keeps of the cluster.
//!
//! # Format
//!
//! Numbers are big-endian. A piece is four octets of length, and as many octets.
//!
//! ```text
//! 8  magic
//! 4  version: 3; 2 where the table has no key of deliveries; 1 where it has no history either, which is then not there
//!    a piece: postroad.cluster.v1.SnapshotMeta
//!    pieces: the records of the table (postroad.routing.v1.Record), the head first
//!    a piece without octets
//!    pieces: the parts that are there of a change too large for an entry (postroad.cluster.v1.Part)
//!    a piece without octets
//!    pieces: the history of the table (postroad.routing.v1.Revision), the oldest revision first
//!    a piece without octets
//! 32 SHA-256 of all before
//! ```
//!
//! What is added to the agreed state beside these is another version: a version that does not know it would drop it.
//!
//! # Invariants
//!
//! - The file is whole, or it is not there: it is written under another name, synced, renamed, and its folder synced,
//!   before anybody is told of it. What a crash leaves under other names is removed at the next opening.
//! - Nothing of a file is believed before its sum was right; damage is an error, and never a table with less in it.
//! - A length is held to its bound before it is believed, and a table is in memory once, whether read or written.
//! - An earlier snapshot never takes the place of a later one: one may be built while a later one arrives.
//! - Whoever sends a snapshot has it open: another that takes its place leaves that transfer alone.
//! - All of it blocks on the disk, and holds no lock that anybody waits for but the next who has a snapshot to put in its
//!   place.

mod error;
mod format;

use std::fs::{self, File};
use std::io::{ErrorKind, Seek as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tempfile::NamedTempFile;
use tokio::sync::watch;

pub use error::{Fault, SnapshotError};

use super::staging::Staging;
use super::types::{LogId, Snapshot, SnapshotMeta};
use crate::private_files;
use crate::routing::{RoutingOptions, Table};
use crate::telemetry::free_octets;
use crate::wal::sync_dir;

/// Largest snapshot that is taken from a peer, in octets: about seven million rules.
pub const MAX_RECEIVED_OCTETS: u64 = 1 << 30;

/// The file.
const NAME: &str = "snapshot";
/// What the names of files begin with that are not finished.
const UNFINISHED: &str = "snapshot.partial-";
/// Octets of the disk that are left to the log.
const RESERVED_OCTETS: u64 = 64 << 20;
/// Octets that are copied at once.
const COPIED_OCTETS: usize = 1 << 20;

/// What is agreed on, but for who is a member.
#[derive(Debug, Clone)]
pub(super) struct Agreed {
    /// The table.
    pub(super) table: Table,
    /// The parts of a large change.
    pub(super) staging: Staging,
}

/// A snapshot's file, as the Raft engine passes it about.
#[derive(Debug)]
pub enum SnapshotFile {
    /// One to send.
    Finished(FinishedSnapshot),
    /// One that arrives.
    Arriving(ArrivingSnapshot),
}

/// A snapshot to read from, whatever becomes of its name.
#[derive(Debug, Clone)]
pub struct FinishedSnapshot {
    file: Arc<File>,
    /// What it was named.
    path: PathBuf,
    octets: u64,
}

impl FinishedSnapshot {
    /// Its size.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// What stands at an offset, at most so many octets; fewer at its end. Blocks on the disk.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn read(&self, offset: u64, most: usize) -> Result<Vec<u8>, SnapshotError> {
        let left = usize::try_from(self.octets.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut chunk = vec![0; most.min(left)];
        self.file.read_exact_at(&mut chunk, offset).map_err(SnapshotError::io("read", &self.path))?;
        Ok(chunk)
    }
}

/// A snapshot that arrives, chunk by chunk. Its file goes with it.
#[derive(Debug)]
pub struct ArrivingSnapshot {
    file: NamedTempFile,
    octets: u64,
}

impl ArrivingSnapshot {
    /// Adds what came next. Blocks on the disk.
    ///
    /// # Errors
    /// When there is too much of it, or the disk fails: then nothing becomes of it any more.
    pub fn append(&mut self, chunk: &[u8]) -> Result<(), SnapshotError> {
        self.octets = self.octets.saturating_add(chunk.len() as u64);
        if self.octets > MAX_RECEIVED_OCTETS {
            return Err(SnapshotError::TooLarge);
        }
        self.file.write_all(chunk).map_err(SnapshotError::io("write", self.file.path()))
    }

    /// All of it, once its sum is right.
    fn read(&mut self, options: RoutingOptions) -> Result<(SnapshotMeta, Agreed), SnapshotError> {
        self.file.rewind().map_err(SnapshotError::io("read", self.file.path()))?;
        read(self.file.as_file(), self.file.path(), options)
    }
}

/// The snapshot of a node, and those on the way to take its place. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Snapshots {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    current: ArcSwapOption<Current>,
    /// The last entry of the current one.
    last: watch::Sender<Option<LogId>>,
    /// How many could not be written.
    unwritten: watch::Sender<u64>,
    /// Held by whoever puts a file in the place of another.
    replacing: Mutex<()>,
}

#[derive(Debug)]
struct Current {
    meta: SnapshotMeta,
    file: FinishedSnapshot,
}

impl Snapshots {
    /// Looks into the folder, which is made where it is missing, and reads the snapshot, if there is one.
    ///
    /// # Errors
    /// When what is there cannot be read, or the disk fails.
    pub(super) fn open(
        dir: &Path,
        options: RoutingOptions,
    ) -> Result<(Self, Option<(SnapshotMeta, Agreed)>), SnapshotError> {
        private_files::folder(dir).map_err(SnapshotError::io("create", dir))?;
        remove_unfinished(dir).map_err(SnapshotError::io("clear", dir))?;
        let shared = Shared {
            dir: dir.to_owned(),
            current: ArcSwapOption::empty(),
            last: watch::Sender::new(None),
            unwritten: watch::Sender::new(0),
            replacing: Mutex::new(()),
        };
        let snapshots = Self { shared: Arc::new(shared) };
        let path = snapshots.path();
        if !path.try_exists().map_err(SnapshotError::io("look for", &path))? {
            return Ok((snapshots, None));
        }
        let file = File::open(&path).map_err(SnapshotError::io("open", &path))?;
        let (meta, agreed) = read(&file, &path, options)?;
        snapshots.show(meta.clone(), file)?;
        Ok((snapshots, Some((meta, agreed))))
    }

    /// The file.
    pub(super) fn path(&self) -> PathBuf {
        self.shared.dir.join(NAME)
    }

    /// The snapshot, if there is one.
    pub(super) fn current(&self) -> Option<Snapshot> {
        self.shared.current.load().as_deref().map(Current::passed_on)
    }

    /// The last entry of the snapshot, each time that one is durable.
    pub(super) fn last(&self) -> watch::Receiver<Option<LogId>> {
        self.shared.last.subscribe()
    }

    /// Counts those that could not be written, each time that one could not.
    pub(super) fn unwritten(&self) -> watch::Receiver<u64> {
        self.shared.unwritten.subscribe()
    }

    /// Writes a snapshot, if there is room. Where there is not, or the disk refuses, the one before is the answer: the log
    /// grows meanwhile, which is no reason to end.
    ///
    /// # Errors
    /// When there is none before, and this one cannot be written.
    pub(super) fn build_or_keep(
        &self,
        meta: &SnapshotMeta,
        agreed: &Agreed,
    ) -> Result<Snapshot, SnapshotError> {
        let Some(before) = self.shared.current.load_full() else { return self.build(meta, agreed) };
        let built = self.look_for_room(&before).and_then(|()| self.build(meta, agreed));
        built.or_else(|error| {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a snapshot of what is agreed on cannot be written"
            );
            self.shared.unwritten.send_modify(|count| *count += 1);
            Ok(before.passed_on())
        })
    }

    /// Whether one more that is twice as large as the one before leaves the log room.
    fn look_for_room(&self, before: &Current) -> Result<(), SnapshotError> {
        let dir = &self.shared.dir;
        let free = free_octets(dir).map_err(SnapshotError::io("look for room in", dir))?;
        let wanted = 2 * before.file.octets() + RESERVED_OCTETS;
        if free < wanted { Err(SnapshotError::NoRoom { dir: dir.clone(), free, wanted }) } else { Ok(()) }
    }

    /// Writes a snapshot.
    ///
    /// # Errors
    /// When the disk fails: then the one before stays.
    pub(super) fn build(&self, meta: &SnapshotMeta, agreed: &Agreed) -> Result<Snapshot, SnapshotError> {
        let file = self.unfinished()?;
        format::write(file.as_file(), meta, agreed).map_err(SnapshotError::io("write", file.path()))?;
        self.put(file, meta)
    }

    /// Where one arrives.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn receive(&self) -> Result<ArrivingSnapshot, SnapshotError> {
        Ok(ArrivingSnapshot { file: self.unfinished()?, octets: 0 })
    }

    /// Takes one that arrived in the place of what is there: its content, once it is wholly read, and durable.
    ///
    /// # Errors
    /// When it is damaged or another than was announced, or the disk fails: then the one before stays.
    pub(super) fn install(
        &self,
        snapshot: SnapshotFile,
        meta: &SnapshotMeta,
        options: RoutingOptions,
    ) -> Result<Agreed, SnapshotError> {
        let mut arrived = match snapshot {
            SnapshotFile::Arriving(arrived) => arrived,
            SnapshotFile::Finished(other) => self.copy(&other)?,
        };
        let (found, agreed) = arrived.read(options)?;
        if found != *meta {
            let (announced, found) = (meta.to_string(), found.to_string());
            return Err(SnapshotError::Other { announced, found });
        }
        self.put(arrived.file, meta)?;
        Ok(agreed)
    }

    /// A node's own copy of a snapshot that is in the folder of another.
    fn copy(&self, other: &FinishedSnapshot) -> Result<ArrivingSnapshot, SnapshotError> {
        let mut copy = self.receive()?;
        while copy.octets < other.octets() {
            copy.append(&other.read(copy.octets, COPIED_OCTETS)?)?;
        }
        Ok(copy)
    }

    fn unfinished(&self) -> Result<NamedTempFile, SnapshotError> {
        let file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(&self.shared.dir);
        file.map_err(SnapshotError::io("create a file in", &self.shared.dir))
    }

    /// Gives a whole file its name, durably, unless what is there is later; then that is the answer.
    fn put(&self, file: NamedTempFile, meta: &SnapshotMeta) -> Result<Snapshot, SnapshotError> {
        file.as_file().sync_all().map_err(SnapshotError::io("sync", file.path()))?;
        let _replacing = self.shared.replacing.lock();
        if let Some(current) = self.shared.current.load().as_deref()
            && current.meta.last_log_id > meta.last_log_id
        {
            return Ok(current.passed_on());
        }
        let path = self.path();
        let file = file.persist(&path).map_err(|error| SnapshotError::io("rename to", &path)(error.error))?;
        sync_dir(&self.shared.dir)?;
        self.show(meta.clone(), file)
    }

    fn show(&self, meta: SnapshotMeta, file: File) -> Result<Snapshot, SnapshotError> {
        let path = self.path();
        let octets = file.metadata().map_err(SnapshotError::io("read", &path))?.len();
        if octets > MAX_RECEIVED_OCTETS {
            tracing::error!(octets, "the snapshot is larger than other nodes take one: they could not join");
        }
        let current = Current { meta, file: FinishedSnapshot { file: Arc::new(file), path, octets } };
        let snapshot = current.passed_on();
        let last = current.meta.last_log_id;
        self.shared.current.store(Some(Arc::new(current)));
        self.shared.last.send_replace(last);
        Ok(snapshot)
    }
}

impl Current {
    fn passed_on(&self) -> Snapshot {
        Snapshot { meta: self.meta.clone(), snapshot: Box::new(SnapshotFile::Finished(self.file.clone())) }
    }
}

fn read(file: &File, path: &Path, options: RoutingOptions) -> Result<(SnapshotMeta, Agreed), SnapshotError> {
    let unreadable = |(offset, fault)| SnapshotError::Unreadable { path: path.to_owned(), offset, fault };
    format::read(file, options).map_err(unreadable)
}

/// Reads the snapshot of a folder, if there is one, and changes nothing. Blocks on the disk.
///
/// # Errors
/// When it cannot be read.
pub(super) fn look(dir: &Path, options: RoutingOptions) -> Result<Option<SnapshotMeta>, SnapshotError> {
    let path = dir.join(NAME);
    match File::open(&path) {
        Ok(file) => read(&file, &path, options).map(|(meta, _)| Some(meta)),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(SnapshotError::io("open", &path)(cause)),
    }
}

/// Removes what was being written, or arrived, when the process before this one ended.
fn remove_unfinished(dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
