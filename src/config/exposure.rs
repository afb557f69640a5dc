//! Secrets that everybody on the host may read: who has them can sign in our name. That the file's group may is no
//! fault: Kubernetes mounts a Secret so for a pod's `fsGroup`.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::config::files::world_readable_mode;
use crate::config::schema as keys;

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
        let path = path.display();
        write!(f, "{key} {path} can be read by everybody on this host (mode {mode:04o}): chmod o-r")
    }
}

impl Config {
    /// The secrets that everybody on this host may read.
    #[must_use]
    pub fn exposed_secrets(&self) -> Vec<ExposedSecret> {
        let exposed = |(key, path): (String, &Path)| {
            world_readable_mode(path).map(|mode| ExposedSecret { key, path: path.to_owned(), mode })
        };
        self.secrets().into_iter().filter_map(exposed).collect()
    }

    /// Says so of each in the log.
    pub fn warn_of_exposed_secrets(&self) {
        for exposed in self.exposed_secrets() {
            let ExposedSecret { key, path, mode } = exposed;
            let mode = format!("{mode:04o}");
            tracing::warn!(key, path = %path.display(), mode, "everybody on this host may read this secret: chmod o-r");
        }
    }

    /// The files whose content must not be known, each with the key that names it.
    fn secrets(&self) -> Vec<(String, &Path)> {
        let mut secrets = vec![(keys::SRS_SECRET_FILE.path(), self.srs.secret_file.as_path())];
        let paths = self.dkim.keys.iter().map(|key| key.private_key_file.as_path());
        secrets.extend(self.dkim_key_paths().zip(paths));
        let zones = self.dnsbl.iter().enumerate();
        secrets.extend(zones.filter_map(|(at, zone)| {
            zone.key_file.as_deref().map(|path| (format!("dnsbl[{at}].key_file"), path))
        }));
        for (key, pair) in
            [(keys::SMTP_PRIVATE_KEY_FILE, &self.smtp.tls), (keys::ADMIN_PRIVATE_KEY_FILE, &self.admin.tls)]
        {
            secrets.extend(pair.as_ref().map(|pair| (key.path(), pair.private_key_file.as_path())));
        }
        secrets.extend(self.admin.token_file.as_deref().map(|path| (keys::ADMIN_TOKEN_FILE.path(), path)));
        secrets
    }

    /// The keys that name the signing keys' files: that of `[dkim]`, if it is there, before those of its tables.
    fn dkim_key_paths(&self) -> impl Iterator<Item = String> {
        let own = self.settings.has(keys::DKIM_PRIVATE_KEY_FILE).then(|| keys::DKIM_PRIVATE_KEY_FILE.path());
        own.into_iter().chain((0..).map(|at| format!("dkim.key[{at}].private_key_file")))
    }
}

#[cfg(test)]
#[path = "exposure_tests.rs"]
mod tests;
