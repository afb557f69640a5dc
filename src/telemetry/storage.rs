//! How much room the disk has.

use std::io;
use std::path::Path;

/// Octets that this process may still write where the path is. Blocks; a network disk can make it wait.
///
/// # Errors
/// When the system does not say.
pub fn free_octets(path: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(path)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}
