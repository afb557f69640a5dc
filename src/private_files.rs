//! Folders and files that nobody but this user may read, whatever the umask: 0700 and 0600. What is in them is people's
//! mail. Where a file is another library's to make (sled's), its folder protects it.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// What a folder of ours grants: everything, to its owner.
const FOLDER_MODE: u32 = 0o700;
/// What a file of ours grants.
const FILE_MODE: u32 = 0o600;
/// The bits for the owner's group and for everybody else.
const OTHERS: u32 = 0o077;
/// The bits by which everybody else may list a folder, or reach what is in it.
const WORLD_LOOKS: u32 = 0o005;
/// The bit by which everybody else may read a file.
const WORLD_READS: u32 = 0o004;

/// Makes a folder of ours, and what is missing above it. One that is there already is closed to others where it is this
/// user's, since older versions left it open. Where it stays open, the log says so: mail flows all the same.
///
/// # Errors
/// When it cannot be made.
pub fn folder(path: &Path) -> io::Result<()> {
    make(path)?;
    if let Some(mode) = close(path, rustix::process::geteuid().as_raw())? {
        tracing::warn!(
            path = %path.display(),
            mode = shown(mode),
            "others on this host may look into this folder, and this user cannot close it: chown it to this user, \
             or chmod go-rwx"
        );
    }
    Ok(())
}

/// Closes a folder to others where it is this user's; the mode of one that stays open.
fn close(path: &Path, user: u32) -> io::Result<Option<u32>> {
    let found = fs::metadata(path)?;
    if found.uid() == user && found.mode() & OTHERS != 0 {
        let closed = Permissions::from_mode(found.mode() & !OTHERS & 0o7777);
        // Some file systems refuse it, and some do nothing and say that they did: what counts is the mode after it.
        let _perhaps_refused = fs::set_permissions(path, closed);
    }
    Ok(open_to_others(path))
}

/// Makes a folder that the operator names, closed to others, and what is missing above it. One that is there already is
/// the operator's, and stays as it is: where everybody may look into it, the log says so.
///
/// # Errors
/// When it cannot be made.
pub fn named_folder(path: &Path) -> io::Result<()> {
    make(path)?;
    if let Some(mode) = open_to_everybody(path) {
        tracing::warn!(
            path = %path.display(),
            mode = shown(mode),
            "everybody on this host may look into this folder; what the node makes in it is closed to them"
        );
    }
    Ok(())
}

/// The mode of a folder, where others than its owner have any right to it.
#[must_use]
pub fn open_to_others(path: &Path) -> Option<u32> {
    mode_with(path, OTHERS)
}

/// The mode of a folder, where everybody on this host may look into it.
#[must_use]
pub fn open_to_everybody(path: &Path) -> Option<u32> {
    mode_with(path, WORLD_LOOKS)
}

/// The mode of a file, where everybody on this host may read it.
#[must_use]
pub fn readable_by_everybody(path: &Path) -> Option<u32> {
    mode_with(path, WORLD_READS)
}

/// A mode as `chmod` takes it: `0755`.
#[must_use]
pub fn shown(mode: u32) -> String {
    format!("{mode:04o}")
}

/// How a file of ours is opened; where that makes it, nobody else may read it.
#[must_use]
pub fn options() -> OpenOptions {
    let mut options = File::options();
    options.mode(FILE_MODE);
    options
}

/// Makes a file of ours, or empties the one that is there.
///
/// # Errors
/// When the system refuses.
pub fn create(path: &Path) -> io::Result<File> {
    options().write(true).create(true).truncate(true).open(path)
}

fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path)
}

/// The mode, where it has any of these bits. What is not there, or cannot be looked at, is open to nobody.
fn mode_with(path: &Path, bits: u32) -> Option<u32> {
    let mode = fs::metadata(path).ok()?.mode() & 0o7777;
    (mode & bits != 0).then_some(mode)
}

#[cfg(test)]
#[path = "private_files_tests.rs"]
mod tests;
