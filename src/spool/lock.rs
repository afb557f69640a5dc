//! The lock that tells a second process to stay away; it is the kernel's, so a crash gives it back.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;

use super::error::SpoolError;
use crate::private_files;

/// Takes the lock, for as long as the file is held.
pub(super) fn take(path: &Path) -> Result<File, SpoolError> {
    let file = private_files::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|cause| SpoolError::io("open", path, cause))?;
    hold(&file, path)?;
    Ok(file)
}

/// Whether the lock could be taken; where there is none yet, it could.
pub(super) fn look(path: &Path) -> Result<(), SpoolError> {
    match File::options().write(true).open(path) {
        Ok(file) => hold(&file, path),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(SpoolError::io("open", path, cause)),
    }
}

fn hold(file: &File, path: &Path) -> Result<(), SpoolError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(SpoolError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(cause)) => Err(SpoolError::io("lock", path, cause)),
    }
}
