//! `raft.lock`, beside the folder: held (flock) by the process that takes part with what is in it. The kernel gives it back
//! when that ends.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::Path;

use super::error::DiskError;
use crate::private_files;

const NAME: &str = "raft.lock";

/// Takes the lock, for as long as the file is open.
///
/// # Errors
/// When another process has it, or the disk fails.
pub(super) fn take(data_dir: &Path) -> Result<File, DiskError> {
    let path = data_dir.join(NAME);
    let file = private_files::options().create(true).truncate(false).write(true).open(&path);
    hold(file, &path)
}

/// Whether the lock could be taken.
///
/// # Errors
/// As [`take`].
pub(super) fn look(data_dir: &Path) -> Result<(), DiskError> {
    let path = data_dir.join(NAME);
    match File::options().write(true).open(&path) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(()),
        file => hold(file, &path).map(drop),
    }
}

fn hold(file: io::Result<File>, path: &Path) -> Result<File, DiskError> {
    let failed = |doing| move |cause| DiskError::Io { doing, path: path.to_owned(), cause };
    let file = file.map_err(failed("open"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DiskError::Locked(path.to_owned())),
        Err(TryLockError::Error(cause)) => Err(failed("lock")(cause)),
    }
}
