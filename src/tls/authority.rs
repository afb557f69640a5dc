//! A cluster's own certificate authority, kept in a folder of the operator's: made once, then asked for a certificate for
//! each node. Owns that folder's layout; nothing in it is ever overwritten.
//!
//! ```text
//! DIR/ca.pem  DIR/ca.key           the authority; its key goes to no node
//! DIR/NAME/{ca,node}.pem, node.key all that the node NAME needs; the file names are the same for every node, so that
//!                                  all nodes can have the same [cluster] section
//! ```

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::Rng as _;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SigningKey, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use tempfile::NamedTempFile;
use thiserror::Error;
use x509_parser::pem::Pem;

use super::cluster_files::{ClusterFault, ClusterFiles, cluster_faults};
use crate::config::files::{self, FileError};
use crate::config::{MAX_PEERS, is_node_label};
use crate::private_files;

/// How long an authority lasts: as long as a cluster's machines do, and short of forever.
const AUTHORITY_LIFE: Duration = Duration::from_secs(3650 * 86_400);
/// How long a node's certificate lasts; never longer than its authority. Nodes take a new one without a restart, and
/// warn before the end.
const NODE_LIFE: Duration = Duration::from_secs(730 * 86_400);
/// How far before now a certificate begins, so that a node whose clock is behind takes it at once.
const BACKDATING: Duration = Duration::from_secs(3600);
/// The most entries of the folder that are looked at.
const MAX_ENTRIES: usize = 1000;

const CA_CERTIFICATE: &str = "ca.pem";
const CA_KEY: &str = "ca.key";
const NODE_CERTIFICATE: &str = "node.pem";
const NODE_KEY: &str = "node.key";

/// Why there are no certificates. The files that were made before stay.
#[derive(Debug, Error)]
pub enum AuthorityError {
    /// The system refused.
    #[error("{}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file cannot be used.
    #[error("{}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: FileError,
    },
    /// Of what goes together, something is not there.
    #[error("{} is there, {} is not: put it back, or move the rest aside to have all of it made anew", there.display(), missing.display())]
    HalfThere {
        /// What is there.
        there: PathBuf,
        /// What is not.
        missing: PathBuf,
    },
    /// The authority's files are no pair, or not an authority's.
    #[error("{} holds no authority whose key is {}", certificate.display(), key.display())]
    NoAuthority {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The authority's time is over.
    #[error("{} ended at {}: begin a new folder, and have both authorities in ca_file until all nodes have new certificates", path.display(), humantime::format_rfc3339_seconds(*at))]
    Ended {
        /// The certificate's file.
        path: PathBuf,
        /// Its last second.
        at: SystemTime,
    },
    /// More nodes than a cluster can have.
    #[error("{} would hold {count} nodes; a cluster has at most {MAX_PEERS}: move aside what is no longer one", directory.display())]
    TooMany {
        /// The folder.
        directory: PathBuf,
        /// How many.
        count: usize,
    },
    /// A node's files, here since before, are of no use.
    #[error("{}: move the folder aside to have it made anew", lines(.0))]
    Faults(Vec<ClusterFault>),
    /// A certificate cannot be made.
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
}

/// Whether it was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Issued {
    /// It was made just now.
    Now,
    /// It was there, and was left as it is.
    Before,
}

/// A node's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFolder {
    /// The node's name.
    pub name: String,
    /// The folder.
    pub path: PathBuf,
    /// The last second of its certificate.
    pub not_after: SystemTime,
    /// Whether it was there before.
    pub issued: Issued,
}

/// What a folder holds once every node asked for has its own in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificates {
    /// The authority's certificate.
    pub authority: PathBuf,
    /// Its key.
    pub authority_key: PathBuf,
    /// The last second of the authority.
    pub not_after: SystemTime,
    /// Whether the authority was there before.
    pub issued: Issued,
    /// The nodes that were asked for, in that order.
    pub nodes: Vec<NodeFolder>,
    /// The names of all nodes that have a folder, in their order.
    pub names: Vec<String>,
}

/// The authority of one folder.
pub struct Authority {
    directory: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    /// The whole file, which may hold the authority before this one too.
    certificates: String,
    not_after: SystemTime,
    issued: Issued,
}

impl Authority {
    /// That of the folder; where there is none, it is made, and the folder too.
    ///
    /// # Errors
    /// When the folder cannot be used, or holds half an authority, or one that has ended.
    pub fn open(directory: &Path, now: SystemTime) -> Result<Self, AuthorityError> {
        private_files::named_folder(directory).map_err(io_error(directory))?;
        let (certificate, key) = (directory.join(CA_CERTIFICATE), directory.join(CA_KEY));
        let issued = match (certificate.exists(), key.exists()) {
            (true, true) => Issued::Before,
            (true, false) => return Err(AuthorityError::HalfThere { there: certificate, missing: key }),
            (false, true) => return Err(AuthorityError::HalfThere { there: key, missing: certificate }),
            (false, false) => {
                let (made, signing) = make_authority(now)?;
                write_new(&key, &signing)?;
                write_new(&certificate, &made)?;
                Issued::Now
            }
        };
        // What was made is read as any other, so that it is never of another form.
        let (issuer, not_after) = read_authority(&certificate, &key)?;
        if not_after < now {
            return Err(AuthorityError::Ended { path: certificate, at: not_after });
        }
        let certificates = read_text(&certificate)?;
        Ok(Self { directory: directory.to_owned(), issuer, certificates, not_after, issued })
    }

    /// Sees to it that each of these nodes, whose names are labels, has a folder with a good certificate; those that have
    /// one keep it.
    ///
    /// # Errors
    /// When a folder cannot be made, or one that is there is of no use.
    pub fn certify(&self, names: &[String], now: SystemTime) -> Result<Certificates, AuthorityError> {
        let mut all = self.names()?;
        all.extend(names.iter().cloned());
        all.sort_unstable();
        all.dedup();
        if all.len() > MAX_PEERS {
            return Err(AuthorityError::TooMany { directory: self.directory.clone(), count: all.len() });
        }
        let nodes = names.iter().map(|name| self.node(name, now)).collect::<Result<_, _>>()?;
        Ok(Certificates {
            authority: self.directory.join(CA_CERTIFICATE),
            authority_key: self.directory.join(CA_KEY),
            not_after: self.not_after,
            issued: self.issued,
            nodes,
            names: all,
        })
    }

    /// The nodes that have a folder.
    fn names(&self) -> Result<Vec<String>, AuthorityError> {
        let entries = fs::read_dir(&self.directory).map_err(io_error(&self.directory))?;
        let names = entries.take(MAX_ENTRIES).filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let has_certificate = |name: &String| self.directory.join(name).join(NODE_CERTIFICATE).exists();
        Ok(names.filter(|name| is_node_label(name)).filter(has_certificate).collect())
    }

    fn node(&self, name: &str, now: SystemTime) -> Result<NodeFolder, AuthorityError> {
        let path = self.directory.join(name);
        let paths = [NODE_CERTIFICATE, NODE_KEY, CA_CERTIFICATE].map(|file| path.join(file));
        let (there, missing): (Vec<&PathBuf>, Vec<&PathBuf>) = paths.iter().partition(|path| path.exists());
        let issued = match (there.first(), missing.first()) {
            (Some(there), Some(missing)) => {
                let (there, missing) = (there.to_path_buf(), missing.to_path_buf());
                return Err(AuthorityError::HalfThere { there, missing });
            }
            (Some(_), None) => Issued::Before,
            (None, _) => {
                self.make_node(name, &path, now)?;
                Issued::Now
            }
        };
        let [certificate, private_key, ca] = &paths;
        let faults = cluster_faults(ClusterFiles { certificate, private_key, ca }, name, now);
        if !faults.is_empty() {
            return Err(AuthorityError::Faults(faults));
        }
        let chain = files::certificates(certificate).map_err(file_error(certificate))?;
        let not_after = chain.first().and_then(not_after).unwrap_or(now);
        Ok(NodeFolder { name: name.to_owned(), path, not_after, issued })
    }

    /// Makes a node's folder: all of it, or nothing.
    fn make_node(&self, name: &str, path: &Path, now: SystemTime) -> Result<(), AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = lasting(now, (now + NODE_LIFE).min(self.not_after), name);
        params.subject_alt_names = CertificateParams::new(vec![name.to_owned()])?.subject_alt_names;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;

        let unfinished = tempfile::Builder::new()
            .prefix(".unfinished-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&self.directory)
            .map_err(io_error(&self.directory))?;
        write_new(&unfinished.path().join(NODE_KEY), &key.serialize_pem())?;
        write_new(&unfinished.path().join(NODE_CERTIFICATE), &certificate.pem())?;
        write_new(&unfinished.path().join(CA_CERTIFICATE), &self.certificates)?;
        // Onto a folder that holds anything this fails.
        fs::rename(unfinished.path(), path).map_err(io_error(path))
    }
}

/// An authority's certificate and key, in PEM.
fn make_authority(now: SystemTime) -> Result<(String, String), AuthorityError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    // The number tells one cluster's authority from another's, and an old one from its successor.
    let name = format!("Postroad cluster CA {:08x}", rand::rng().random::<u32>());
    let mut params = lasting(now, now + AUTHORITY_LIFE, &name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

/// A certificate's bounds in time, and its name for humans.
fn lasting(now: SystemTime, end: SystemTime, name: &str) -> CertificateParams {
    let at =
        |time: SystemTime| date_time_ymd(1970, 1, 1) + time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = (at(now - BACKDATING), at(end));
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// What signs, and until when.
fn read_authority(
    certificate: &Path,
    key: &Path,
) -> Result<(Issuer<'static, KeyPair>, SystemTime), AuthorityError> {
    let none = || AuthorityError::NoAuthority { certificate: certificate.to_owned(), key: key.to_owned() };
    let signing = KeyPair::from_pem(&read_text(key)?).map_err(|_| none())?;
    let pems = files::certificates(certificate).map_err(file_error(certificate))?;
    let pem = pems.iter().find(|pem| is_authority_of(pem, &signing)).ok_or_else(none)?;
    let not_after = not_after(pem).ok_or_else(none)?;
    let der = CertificateDer::from(pem.contents.as_slice());
    Ok((Issuer::from_ca_cert_der(&der, signing)?, not_after))
}

fn is_authority_of(pem: &Pem, key: &impl SigningKey) -> bool {
    let Ok(x509) = pem.parse_x509() else { return false };
    x509.is_ca() && x509.public_key().raw == key.subject_public_key_info()
}

fn not_after(pem: &Pem) -> Option<SystemTime> {
    let end = pem.parse_x509().ok()?.validity().not_after.timestamp();
    Some(UNIX_EPOCH + Duration::from_secs(u64::try_from(end).ok()?))
}

fn read_text(path: &Path) -> Result<String, AuthorityError> {
    let octets = files::read(path).map_err(file_error(path))?;
    String::from_utf8(octets).map_err(|_| file_error(path)(FileError::NotText))
}

/// Puts a file of ours there whole, durable, readable by nobody else; fails where there is one.
fn write_new(path: &Path, text: &str) -> Result<(), AuthorityError> {
    let write = || {
        let folder =
            path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        let mut file = NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist_noclobber(path)?;
        Ok(())
    };
    write().map_err(io_error(path))
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> AuthorityError {
    let path = path.to_owned();
    move |source| AuthorityError::Io { path, source }
}

fn file_error(path: &Path) -> impl FnOnce(FileError) -> AuthorityError {
    let path = path.to_owned();
    move |source| AuthorityError::File { path, source }
}

fn lines(faults: &[ClusterFault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
#[path = "authority_tests.rs"]
mod tests;
