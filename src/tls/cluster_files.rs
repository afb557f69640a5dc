//! What is wrong with the files of `[cluster]`: looked at as a link between nodes will, with the verifiers that it uses,
//! so that a node hears of it at its start and not from peers that refuse it. Everything is found at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error as RustlsError, RootCertStore};
use thiserror::Error;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::server::{authorities, certificates};
use crate::config::schema::{self as keys, Key};
use crate::config::{Cluster, files};

/// The files of a node's side of a link.
#[derive(Debug, Clone, Copy)]
pub struct ClusterFiles<'a> {
    /// Its certificate chain.
    pub certificate: &'a Path,
    /// The certificate's key.
    pub private_key: &'a Path,
    /// Whose certificates it believes.
    pub ca: &'a Path,
}

/// One thing that is wrong with one of the files.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{key} {}: {cause}", path.display())]
pub struct ClusterFault {
    /// The path of the key that names the file.
    pub key: String,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub cause: FaultCause,
}

/// What can be wrong with a file of `[cluster]`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FaultCause {
    /// It cannot be read, or is not of its kind; never shows its content.
    #[error("{0}")]
    Unusable(String),
    /// It is not the certificate's key, or of a kind that TLS does not use.
    #[error("is not the key of cluster.certificate_file")]
    NoPair,
    /// Peers that dial this node by its name would refuse it.
    #[error("is not for {node}, which is node.name; its DNS names: {names}")]
    OtherName {
        /// `node.name`.
        node: String,
        /// The names that it is for.
        names: String,
    },
    /// No authority of `ca_file` stands behind it.
    #[error("is not signed by an authority of cluster.ca_file: {0}")]
    Stranger(String),
    /// Nodes dial and are dialled: one certificate is for both.
    #[error("is not for use by {0} (extended key usage)")]
    OtherUse(&'static str),
    /// Its time has not come.
    #[error("is not valid before {}", humantime::format_rfc3339_seconds(*.0))]
    NotYet(SystemTime),
    /// Its time is over.
    #[error("ended at {}", humantime::format_rfc3339_seconds(*.0))]
    Ended(SystemTime),
    /// The time of a certificate behind it has not come, or is over.
    #[error("its chain is out of its time: {0}")]
    ChainOutOfTime(String),
}

impl FaultCause {
    /// Whether another clock would do: such a node starts, and forwards mail without its peers, because a node that has
    /// run until its certificate ended must come back from a power cut all the same.
    #[must_use]
    pub fn is_of_time(&self) -> bool {
        match self {
            Self::NotYet(_) | Self::Ended(_) | Self::ChainOutOfTime(_) => true,
            Self::Unusable(_)
            | Self::NoPair
            | Self::OtherName { .. }
            | Self::Stranger(_)
            | Self::OtherUse(_) => false,
        }
    }
}

impl<'a> From<&'a Cluster> for ClusterFiles<'a> {
    fn from(cluster: &'a Cluster) -> Self {
        Self {
            certificate: &cluster.tls.certificate_file,
            private_key: &cluster.tls.private_key_file,
            ca: &cluster.ca_file,
        }
    }
}

/// Everything that is wrong with a node's files now. Reads them; blocks.
#[must_use]
pub fn cluster_faults(files: ClusterFiles<'_>, node: &str, now: SystemTime) -> Vec<ClusterFault> {
    let mut faults = Vec::new();
    let chain = read(files.certificate, keys::CLUSTER_CERTIFICATE_FILE, certificates, &mut faults);
    let key = read(files.private_key, keys::CLUSTER_PRIVATE_KEY_FILE, private_key, &mut faults);
    let roots = read(files.ca, keys::CLUSTER_CA_FILE, authorities, &mut faults);
    let provider = aws_lc_rs::default_provider();
    if let (Some(chain), Some(key)) = (&chain, key)
        && CertifiedKey::from_der(chain.clone(), key, &provider).is_err()
    {
        faults.push(fault(keys::CLUSTER_PRIVATE_KEY_FILE, files.private_key, FaultCause::NoPair));
    }
    if let Some((leaf, intermediates)) = chain.as_deref().and_then(<[_]>::split_first) {
        let causes = Leaf::parse(leaf).map_or_else(
            || vec![FaultCause::Unusable("holds a certificate that cannot be parsed".to_owned())],
            |leaf| leaf.causes(node, intermediates, roots.map(Arc::new), (now, provider)),
        );
        let certificate = |cause| fault(keys::CLUSTER_CERTIFICATE_FILE, files.certificate, cause);
        faults.extend(causes.into_iter().map(certificate));
    }
    faults
}

fn fault(key: &Key, path: &Path, cause: FaultCause) -> ClusterFault {
    ClusterFault { key: key.path(), path: path.to_owned(), cause }
}

/// What a file holds, or why it is of no use.
fn read<T>(
    path: &Path,
    key: &Key,
    parse: fn(&[u8]) -> Option<T>,
    faults: &mut Vec<ClusterFault>,
) -> Option<T> {
    let content = files::read(path).map_err(|error| error.to_string());
    let parsed =
        content.and_then(|octets| parse(&octets).ok_or_else(|| "holds nothing of use in PEM".to_owned()));
    parsed.map_err(|cause| faults.push(fault(key, path, FaultCause::Unusable(cause)))).ok()
}

fn private_key(octets: &[u8]) -> Option<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(octets).ok()
}

/// A node's own certificate.
struct Leaf<'a> {
    der: &'a CertificateDer<'a>,
    parsed: ParsedCertificate<'a>,
    x509: X509Certificate<'a>,
}

impl<'a> Leaf<'a> {
    fn parse(der: &'a CertificateDer<'a>) -> Option<Self> {
        let (_, x509) = X509Certificate::from_der(der).ok()?;
        Some(Self { der, parsed: ParsedCertificate::try_from(der).ok()?, x509 })
    }

    fn causes(
        &self,
        node: &str,
        intermediates: &[CertificateDer<'_>],
        roots: Option<Arc<RootCertStore>>,
        (now, provider): (SystemTime, CryptoProvider),
    ) -> Vec<FaultCause> {
        let mut causes = Vec::new();
        let named =
            ServerName::try_from(node).is_ok_and(|name| verify_server_name(&self.parsed, &name).is_ok());
        if !named {
            causes.push(FaultCause::OtherName { node: node.to_owned(), names: self.names() });
        }
        let (begin, end) = self.life();
        causes.extend((now < begin).then_some(FaultCause::NotYet(begin)));
        causes.extend((now > end).then_some(FaultCause::Ended(end)));
        // Its own time is told by now, and must not hide what else is wrong.
        let time = now.clamp(begin, end.max(begin));
        for refused in roots.into_iter().flat_map(|roots| self.refused(intermediates, roots, time, &provider))
        {
            if !causes.contains(&refused) {
                causes.push(refused);
            }
        }
        causes
    }

    /// Why peers would not take it, dialled or dialling.
    fn refused(
        &self,
        intermediates: &[CertificateDer<'_>],
        roots: Arc<RootCertStore>,
        time: SystemTime,
        provider: &CryptoProvider,
    ) -> Vec<FaultCause> {
        let time = UnixTime::since_unix_epoch(time.duration_since(UNIX_EPOCH).unwrap_or_default());
        let algorithms = provider.signature_verification_algorithms.all;
        let server =
            verify_server_cert_signed_by_trust_anchor(&self.parsed, &roots, intermediates, time, algorithms);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::new(provider.clone())).build();
        let client = match verifier {
            Ok(verifier) => verifier.verify_client_cert(self.der, intermediates, time).map(drop),
            Err(error) => Err(RustlsError::General(error.to_string())),
        };
        [("servers", server), ("clients", client)]
            .into_iter()
            .filter_map(|(by, verified)| verified.err().map(|error| cause_of(&error, by)))
            .collect()
    }

    /// Its first and its last second.
    fn life(&self) -> (SystemTime, SystemTime) {
        let validity = self.x509.validity();
        let time =
            |seconds: i64| UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        (time(validity.not_before.timestamp()), time(validity.not_after.timestamp()))
    }

    fn names(&self) -> String {
        let extension = self.x509.subject_alternative_name().ok().flatten();
        let names = extension.iter().flat_map(|extension| &extension.value.general_names);
        let names: Vec<&str> = names
            .filter_map(|name| if let GeneralName::DNSName(name) = name { Some(*name) } else { None })
            .collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }
}

fn cause_of(error: &RustlsError, by: &'static str) -> FaultCause {
    let RustlsError::InvalidCertificate(reason) = error else {
        return FaultCause::Stranger(error.to_string());
    };
    let of_use =
        matches!(reason, CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. });
    let of_time = matches!(
        reason,
        CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
    );
    if of_use {
        FaultCause::OtherUse(by)
    } else if of_time {
        FaultCause::ChainOutOfTime(reason.to_string())
    } else {
        FaultCause::Stranger(reason.to_string())
    }
}

#[cfg(test)]
#[path = "cluster_files_tests.rs"]
mod tests;
