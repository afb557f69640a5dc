//! The files that the configuration names, each with the key that names it.

use std::path::Path;

use crate::config::schema::Key;
use crate::config::{Config, schema as keys};

/// A file that the configuration names.
pub(super) struct NamedFile<'a> {
    /// The path of the key that names it.
    pub(super) key: String,
    pub(super) path: &'a Path,
    /// Whether its content must not be known.
    pub(super) is_secret: bool,
}

impl<'a> NamedFile<'a> {
    fn secret(key: String, path: &'a Path) -> Self {
        Self { key, path, is_secret: true }
    }

    fn known(key: &Key, path: &'a Path) -> Self {
        Self { key: key.path(), path, is_secret: false }
    }
}

impl Config {
    /// The files that the configuration names, whose changes count as its own.
    #[must_use]
    pub fn files(&self) -> Vec<&Path> {
        self.named_files().into_iter().map(|file| file.path).collect()
    }

    /// The same, with what names them.
    pub(super) fn named_files(&self) -> Vec<NamedFile<'_>> {
        let mut files = vec![NamedFile::secret(keys::SRS_SECRET_FILE.path(), &self.srs.secret_file)];
        let paths = self.dkim.keys.iter().map(|key| key.private_key_file.as_path());
        files.extend(self.dkim_key_paths().zip(paths).map(|(key, path)| NamedFile::secret(key, path)));
        let zones = self.dnsbl.iter().enumerate();
        files.extend(zones.filter_map(|(at, zone)| {
            Some(NamedFile::secret(format!("dnsbl[{at}].key_file"), zone.key_file.as_deref()?))
        }));
        for (pair, certificate, key) in [
            (&self.smtp.tls, keys::SMTP_CERTIFICATE_FILE, keys::SMTP_PRIVATE_KEY_FILE),
            (&self.admin.tls, keys::ADMIN_CERTIFICATE_FILE, keys::ADMIN_PRIVATE_KEY_FILE),
        ] {
            files.extend(pair.iter().flat_map(|pair| {
                [
                    NamedFile::known(certificate, &pair.certificate_file),
                    NamedFile::secret(key.path(), &pair.private_key_file),
                ]
            }));
        }
        let (tokens, ca) = (self.admin.token_file.as_deref(), self.admin.client_ca_file.as_deref());
        files.extend(tokens.map(|path| NamedFile::secret(keys::ADMIN_TOKEN_FILE.path(), path)));
        files.extend(ca.map(|path| NamedFile::known(keys::ADMIN_CLIENT_CA_FILE, path)));
        files.extend(self.cluster.iter().flat_map(|cluster| {
            [
                NamedFile::known(keys::CLUSTER_CERTIFICATE_FILE, &cluster.tls.certificate_file),
                NamedFile::secret(keys::CLUSTER_PRIVATE_KEY_FILE.path(), &cluster.tls.private_key_file),
                NamedFile::known(keys::CLUSTER_CA_FILE, &cluster.ca_file),
            ]
        }));
        files
    }

    /// The keys that name the signing keys' files: that of `[dkim]`, if it is there, before those of its tables.
    fn dkim_key_paths(&self) -> impl Iterator<Item = String> {
        let own = self.settings.has(keys::DKIM_PRIVATE_KEY_FILE).then(|| keys::DKIM_PRIVATE_KEY_FILE.path());
        own.into_iter().chain((0..).map(|at| format!("dkim.key[{at}].private_key_file")))
    }
}
