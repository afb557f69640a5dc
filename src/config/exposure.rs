//! Secrets that everybody on the host may read: who has them can sign in our name. That the file's group may is no
//! fault: Kubernetes mounts a Secret so for a pod's `fsGroup`.

use std::fmt;
use std::path::PathBuf;

use crate::config::Config;
use crate::config::named_files::NamedFile;
use crate::private_files::{readable_by_everybody, shown};

/// A file with a secret that everybody on this host may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExposedSecret {
    /// The path of the key that names it.
    pub key: String,
    /// The file.
    pub path: PathBuf,
    /// Its permissions.
    pub mode: u32,
}

/// `srs.secret_file /etc/postroad/srs.secret can be read by everybody on this host (mode 0644): chmod o-r`
impl fmt::Display for ExposedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, path, mode } = self;
        let (path, mode) = (path.display(), shown(*mode));
        write!(f, "{key} {path} can be read by everybody on this host (mode {mode}): chmod o-r")
    }
}

impl Config {
    /// The secrets that everybody on this host may read.
    #[must_use]
    pub fn exposed_secrets(&self) -> Vec<ExposedSecret> {
        let secrets = self.named_files().into_iter().filter(|file| file.is_secret);
        let exposed = secrets.filter_map(|NamedFile { key, path, .. }| {
            readable_by_everybody(path).map(|mode| ExposedSecret { key, path: path.to_owned(), mode })
        });
        exposed.collect()
    }

    /// Says so of each in the log.
    pub fn warn_of_exposed_secrets(&self) {
        for exposed in self.exposed_secrets() {
            let ExposedSecret { key, path, mode } = exposed;
            let mode = shown(mode);
            tracing::warn!(key, path = %path.display(), mode, "everybody on this host may read this secret: chmod o-r");
        }
    }
}

#[cfg(test)]
#[path = "exposure_tests.rs"]
mod tests;
