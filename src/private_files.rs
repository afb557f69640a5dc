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
const WORLD_READS: u32 = 0o005;

/// Makes a folder of ours, and what is missing above it. One that is there already is closed to others where it is this
/// user's, since older versions left it open.
///
/// # Errors
/// When it cannot be made or closed.
pub fn folder(path: &Path) -> io::Result<()> {
    make(path)?;
    let found = fs::metadata(path)?;
    let is_ours = found.uid() == rustix::process::geteuid().as_raw();
    if is_ours && found.mode() & OTHERS != 0 {
        fs::set_permissions(path, Permissions::from_mode(found.mode() & !OTHERS & 0o7777))?;
    }
    Ok(())
}

/// Makes a folder that the operator names, closed to others, and what is missing above it. One that is there already is
/// the operator's, and stays as it is: where everybody may look into it, the log says so.
///
/// # Errors
/// When it cannot be made.
pub fn named_folder(path: &Path) -> io::Result<()> {
    make(path)?;
    let mode = fs::metadata(path)?.mode();
    if mode & WORLD_READS != 0 {
        let mode = format!("{:04o}", mode & 0o7777);
        tracing::warn!(
            path = %path.display(),
            mode,
            "everybody on this host may look into this folder; what the node makes in it is closed to them"
        );
    }
    Ok(())
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

#[cfg(test)]
#[path = "private_files_tests.rs"]
mod tests;
