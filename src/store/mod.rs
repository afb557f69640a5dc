//! The node's database: opening it, one tree per owner, and the flush. Owns `sled`; nobody else may name it.
//!
//! On disk, under the data directory:
//!
//! ```text
//! store.lock        held (flock) by the process that has the store open; says what is in `store/`, once it is,
//!                   and while a lost one is begun anew, that it was lost
//! store/conf db     sled's own: configuration, and the log that is the database
//! store/snap.*      sled's snapshots of its page table
//! ```
//!
//! What is known of sled 0.34.7, and what is done about it:
//! - `flush` writes and starts write-back, but never calls fsync: [`Store::flush_durably`] does, on `db`.
//! - `flush_async` deadlocks under concurrency: it is never called; [`Committer`] is a thread of its own.
//! - values past 131,052 octets go to files that are never synced: [`MAX_VALUE_OCTETS`] is below that.
//! - a `snap.*.generating` left by a crash makes the next opening fail: it is removed first, under the lock.
//! - its lock on `db` is not free once the last handle is dropped, but when its pool of threads has let go of the
//!   files too, at worst after a sync: [`Store::open`] waits for it.
//! - damage makes some of its code panic: [`Store::open`] turns that into [`StoreError::Damaged`].
//! - a `db` that is missing, empty or spoilt from its start is a new database to it: [`Store::open`] knows from
//!   `store.lock` that one was there, and looks for the mark that it put in. Not done: a damaged segment in the
//!   middle of `db` is the log's end to it, and what follows is lost without a word; an owner that must not lose
//!   records keeps a count of them (`routing` does).
//!
//! A folder `store/` that is gone, or empty, is begun anew, and [`Store::replaces_lost`] says so for as long as
//! the new one lives: its owners must not take "not there" for "never was". Anything else that cannot be read
//! stops the opening, since a copy of it, or another version of us, may still read it.
//!
//! After a failed sync nothing is known of what the disk holds, and asking again may say "done" of pages
//! that the kernel has thrown away; and after a failed write sled itself fails for good. So the store refuses all
//! writes from then on, until it is opened again: [`Store::has_failed`].

mod committer;
mod error;
mod tree;

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, Instant};

pub use committer::Committer;
pub use error::StoreError;
pub use tree::{Batch, Pair, Tree};

use crate::private_files;

/// Largest value, in octets: below sled's 131,052, past which a value goes to a file that is never synced.
pub const MAX_VALUE_OCTETS: usize = 100_000;
/// Largest key, in octets: an address and an id with room to spare. Sled itself has no bound.
pub const MAX_KEY_OCTETS: usize = 1024;
/// Octets of pages that sled keeps in memory; what we store is metadata, and the hot part is in our own tables.
const CACHE_OCTETS: u64 = 32 << 20;
/// What `store.lock`, and the database under [`MARK_KEY`], say of a database that was created to its end. The
/// number is the format's.
const MARK: &str = "postroad store 1\n";
/// What `store.lock` says from when a database was found gone until there is a new one. As long as [`MARK`], so
/// that either is written over the other in place.
const LOST: &str = "postroad store ?\n";
/// In sled's default tree, which no owner has.
const MARK_KEY: &str = "format";
/// Beside [`MARK_KEY`], in a database that was begun in the place of a lost one.
const LOST_KEY: &str = "replaces";
/// How often sled flushes by itself, which also drives its garbage collection, in milliseconds.
const BACKGROUND_FLUSH_MILLISECONDS: u64 = 500;
/// How long sled's own lock is waited for: longer than a sync takes on a busy disk.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// How often it is tried.
const LOCK_INTERVAL: Duration = Duration::from_millis(2);

/// An open database. Clones share it; it is closed when the last clone and the last [`Tree`] are dropped.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    db: sled::Db,
    log: File,
    failed: AtomicBool,
    on_flush: OnceLock<Box<dyn Fn(Duration) + Send + Sync>>,
    replaces_lost: bool,
    /// Holds the lock.
    _lock: File,
}

impl Store {
    /// Opens the database under `data_dir`, creating both where they are missing: see [`Store::replaces_lost`].
    /// Blocks for as long as recovery takes: 20 ms to half a second for what a node keeps; where this process has only
    /// just closed it, for as long as the threads of the old one need, too.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process has it open, [`StoreError::Damaged`] when its files
    /// cannot be understood, [`StoreError::Io`] when the disk does not let us.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let dir = data_dir.join("store");
        private_files::folder(&dir).map_err(|cause| StoreError::io("create", &dir, cause))?;
        let lock_path = data_dir.join("store.lock");
        let mut lock = lock(&lock_path)?;
        let log_path = dir.join("db");
        let age = age(&mut lock, &lock_path, &dir)?;
        if age == Age::Lost {
            note(&lock, LOST, &lock_path)?;
        }
        remove_unfinished_snapshots(&dir)?;
        let db = recover(&dir, LOCK_PATIENCE)?;
        let replaces_lost = stamp(&db, age, &dir)?;
        let log = File::open(&log_path).map_err(|cause| StoreError::io("open", &log_path, cause))?;
        let failed = AtomicBool::new(false);
        let mark = lock.try_clone().map_err(|cause| StoreError::io("open", &lock_path, cause))?;
        let shared = Shared { db, log, failed, on_flush: OnceLock::new(), replaces_lost, _lock: lock };
        let store = Self { shared: Arc::new(shared) };
        store.flush_durably()?;
        if age != Age::Old {
            for path in [dir.join("conf"), dir, data_dir.to_owned()] {
                File::open(&path)
                    .and_then(|file| file.sync_all())
                    .map_err(|cause| StoreError::io("sync", &path, cause))?;
            }
            note(&mark, MARK, &lock_path)?;
        }
        Ok(store)
    }

    /// Looks for what [`Store::open`] would refuse, as far as that shows without recovery, and changes nothing.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn inspect(data_dir: &Path) -> Result<(), StoreError> {
        let lock_path = data_dir.join("store.lock");
        let mut lock = match File::options().read(true).write(true).open(&lock_path) {
            Ok(lock) => lock,
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(()),
            Err(cause) => return Err(StoreError::io("open", &lock_path, cause)),
        };
        hold(&lock, &lock_path)?;
        age(&mut lock, &lock_path, &data_dir.join("store")).map(drop)
    }

    /// As [`Store::open`], for what its owners can do without: a database that cannot be understood is put aside as
    /// `store.damaged`, in the place of an earlier one, and begun anew.
    ///
    /// # Errors
    /// As [`Store::open`], and when the damaged one cannot be put aside.
    pub fn open_or_renew(data_dir: &Path) -> Result<Self, StoreError> {
        let (path, detail) = match Self::open(data_dir) {
            Err(StoreError::Damaged { path, detail }) => (path, detail),
            opened => return opened,
        };
        let aside = path.with_extension("damaged");
        match fs::remove_dir_all(&aside) {
            Err(cause) if cause.kind() != ErrorKind::NotFound => {
                return Err(StoreError::io("remove", &aside, cause));
            }
            Ok(()) | Err(_) => {}
        }
        fs::rename(&path, &aside).map_err(|cause| StoreError::io("move aside", &path, cause))?;
        tracing::error!(path = %path.display(), detail, "a database is damaged: it is put aside and begun anew");
        Self::open(data_dir)
    }

    /// Whether this database was begun because the one that was here is gone, now or at an earlier opening.
    #[must_use]
    pub fn replaces_lost(&self) -> bool {
        self.shared.replaces_lost
    }

    /// The tree of this name, created when it is missing. Each module has a tree of its own.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn tree(&self, name: &str) -> Result<Tree, StoreError> {
        let tree = self.shared.db.open_tree(name).map_err(StoreError::from_sled)?;
        Ok(Tree::new(self.clone(), tree))
    }

    /// Makes every write that has returned durable: when this returns, they survive a loss of power. Blocks
    /// for a disk's sync (0.2 ms to tens of ms): never call it on a runtime's thread; see [`Committer`].
    ///
    /// # Errors
    /// When the disk fails; from then on the store refuses every write with [`StoreError::Failed`].
    pub fn flush_durably(&self) -> Result<(), StoreError> {
        self.writable()?;
        let started = Instant::now();
        let flushed = self.shared.db.flush().map_err(StoreError::from_sled).and_then(|_| {
            self.shared.log.sync_all().map_err(|cause| StoreError::io("sync", Path::new("db"), cause))
        });
        if flushed.is_err() {
            self.shared.failed.store(true, Ordering::Release);
        }
        if let Some(on_flush) = self.shared.on_flush.get() {
            on_flush(started.elapsed());
        }
        flushed
    }

    /// Calls `observe` with the duration of every durable flush: for `storage_flush_duration_seconds`,
    /// whose owner is on the same floor. The first call counts, later ones change nothing.
    pub fn on_flush(&self, observe: impl Fn(Duration) + Send + Sync + 'static) {
        // Which observer was first is the caller's affair.
        let _ = self.shared.on_flush.set(Box::new(observe));
    }

    /// Whether the disk has failed it. It takes no more writes then, and what it answers may be behind what was
    /// written, until it is opened again.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.shared.failed.load(Ordering::Acquire)
    }

    /// Whether writes are still taken.
    fn writable(&self) -> Result<(), StoreError> {
        if self.has_failed() { Err(StoreError::Failed) } else { Ok(()) }
    }

    /// What came of a write; a failure of the disk stays.
    fn written<T>(&self, result: sled::Result<T>) -> Result<T, StoreError> {
        if let Err(sled::Error::Io(_)) = result {
            self.shared.failed.store(true, Ordering::Release);
        }
        result.map_err(StoreError::from_sled)
    }
}

/// Runs what may wait for the disk on a thread that may: a page that is not in memory is read, and sled's writers wait
/// for each other.
///
/// # Errors
/// What `run` says, or [`StoreError::Stopped`] when it did not end.
pub async fn off_runtime<T, E>(run: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    tokio::task::spawn_blocking(run).await.map_err(|_| StoreError::Stopped)?
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("failed", &self.shared.failed).finish_non_exhaustive()
    }
}

/// Takes the lock that tells a second process to stay away; it is the kernel's, so a crash gives it back.
/// Sled has a lock too, but takes it only after the point where we clean up.
fn lock(path: &Path) -> Result<File, StoreError> {
    let file = private_files::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
        .map_err(|cause| StoreError::io("open", path, cause))?;
    hold(&file, path)?;
    Ok(file)
}

fn hold(file: &File, path: &Path) -> Result<(), StoreError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(cause)) => Err(StoreError::io("lock", path, cause)),
    }
}

/// Whether a database was ever created to its end here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    New,
    Old,
    /// One was, and nothing is left of it.
    Lost,
}

/// Reads the mark in the lock file, and holds the database against it.
fn age(lock: &mut File, lock_path: &Path, dir: &Path) -> Result<Age, StoreError> {
    let damaged = |detail: &str| Err(StoreError::Damaged { path: dir.to_owned(), detail: detail.to_owned() });
    let mut mark = String::new();
    lock.take(MARK.len() as u64 + 1)
        .read_to_string(&mut mark)
        .map_err(|cause| StoreError::io("read", lock_path, cause))?;
    match mark.trim_end_matches('\0') {
        // Zeros are what a loss of power leaves of octets that were never synced.
        "" => return Ok(Age::New),
        LOST => return Ok(Age::Lost),
        MARK => {}
        _ => return Err(StoreError::Unknown { path: lock_path.to_owned() }),
    }
    if is_empty(dir)? {
        return Ok(Age::Lost);
    }
    let log = dir.join("db");
    match fs::metadata(&log) {
        Ok(metadata) if metadata.len() > 0 => Ok(Age::Old),
        Ok(_) => damaged("its log is empty"),
        Err(cause) if cause.kind() == ErrorKind::NotFound => damaged("its log is missing"),
        Err(cause) => Err(StoreError::io("read", &log, cause)),
    }
}

fn is_empty(dir: &Path) -> Result<bool, StoreError> {
    match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(true),
        Err(cause) => Err(StoreError::io("read", dir, cause)),
    }
}

/// Writes a mark into the lock file, durably.
fn note(lock: &File, mark: &str, path: &Path) -> Result<(), StoreError> {
    lock.write_all_at(mark.as_bytes(), 0)
        .and_then(|()| lock.set_len(mark.len() as u64))
        .and_then(|()| lock.sync_all())
        .map_err(|cause| StoreError::io("write", path, cause))
}

/// Removes snapshots that a crash left half written; sled takes them for damage, and needs none of them.
fn remove_unfinished_snapshots(dir: &Path) -> Result<(), StoreError> {
    let entries = fs::read_dir(dir).map_err(|cause| StoreError::io("read", dir, cause))?;
    for entry in entries {
        let entry = entry.map_err(|cause| StoreError::io("read", dir, cause))?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with("snap.") && name.to_string_lossy().ends_with(".generating") {
            fs::remove_file(entry.path()).map_err(|cause| StoreError::io("remove", &entry.path(), cause))?;
        }
    }
    Ok(())
}

fn recover(dir: &Path, patience: Duration) -> Result<sled::Db, StoreError> {
    await_threads(&dir.join("db"), patience)?;
    let open = || {
        sled::Config::new()
            .path(dir)
            .cache_capacity(CACHE_OCTETS)
            .flush_every_ms(Some(BACKGROUND_FLUSH_MILLISECONDS))
            .open()
    };
    match std::panic::catch_unwind(open) {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(sled::Error::Io(cause))) => Err(StoreError::io("open", dir, cause)),
        Ok(Err(error)) => Err(StoreError::Damaged { path: dir.to_owned(), detail: error.to_string() }),
        Err(_) => Err(StoreError::Damaged {
            path: dir.to_owned(),
            detail: "recovery met what it did not expect".to_owned(),
        }),
    }
}

/// Waits until nobody holds sled's lock on the log. We have `store.lock`, so whoever does is a thread of ours that is
/// about to let go; when the patience ends first, sled says what it finds.
fn await_threads(log: &Path, patience: Duration) -> Result<(), StoreError> {
    let file = match File::open(log) {
        Ok(file) => file,
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(StoreError::io("open", log, cause)),
    };
    let until = Instant::now() + patience;
    let (_kept, nothing) = mpsc::channel::<()>();
    while matches!(file.try_lock(), Err(TryLockError::WouldBlock)) && Instant::now() < until {
        // Nothing comes.
        let _ = nothing.recv_timeout(LOCK_INTERVAL);
    }
    Ok(())
}

/// Puts our mark into a new database, and looks for it in an old one: without it, recovery found nothing. Says
/// whether the database stands in the place of a lost one.
fn stamp(db: &sled::Db, age: Age, dir: &Path) -> Result<bool, StoreError> {
    if age == Age::Lost {
        db.insert(LOST_KEY, MARK).map_err(StoreError::from_sled)?;
    }
    let found = match age {
        Age::New | Age::Lost => db.insert(MARK_KEY, MARK).map(|_| true),
        Age::Old => db.get(MARK_KEY).map(|mark| mark.is_some_and(|mark| mark == MARK)),
    };
    if !found.map_err(StoreError::from_sled)? {
        let detail = "its log cannot be read".to_owned();
        return Err(StoreError::Damaged { path: dir.to_owned(), detail });
    }
    db.contains_key(LOST_KEY).map_err(StoreError::from_sled)
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
