//! TLS between the nodes of a cluster: each shows its certificate to the other, and both must be signed by an authority
//! that the operator names for this alone (`ca_file`, one or several).
//!
//! - A certificate says which node it is of by a DNS name among its alternative names (RFC 5280 §4.2.1.6), compared
//!   without case and without wildcards: one certificate for all would be none.
//! - Who dials says which name it wants; the address, and what its host is called, do not matter. A name that SNI cannot
//!   carry goes without SNI (RFC 6066 §3): a node has one certificate anyway.
//! - No session is gone on with: each handshake is held to the authorities of its moment.
//! - TLS 1.3 only, HTTP/2 only.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, DnsName, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::server::{CERTIFICATE, PRIVATE_KEY, authorities, certified, no_certificate, not_after};
use super::{ClientStream, ServerStream, TlsError};
use crate::config::{KeyPairFiles, files};

/// The section that names the files.
const SECTION: &str = "cluster";
/// The key that names the file of the authorities.
const CA: &str = "ca_file";
/// HTTP/2 (RFC 9113 §3.2).
const PROTOCOL: &[u8] = b"h2";

/// The files of a node's TLS towards its peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkFiles {
    /// Its certificate, with what leads to the authority, and its key.
    pub pair: KeyPairFiles,
    /// The authorities that sign the certificates of nodes: the old one and the new one while they change.
    pub ca_file: PathBuf,
}

/// What a node shows to its peers, and what it holds them to.
pub struct LinkIdentity {
    octets: Octets,
    not_after: Option<i64>,
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    certified: Arc<CertifiedKey>,
    acceptor: TlsAcceptor,
}

/// What the files hold.
#[derive(PartialEq, Eq)]
struct Octets {
    certificate: Vec<u8>,
    key: Vec<u8>,
    ca: Vec<u8>,
}

impl LinkIdentity {
    /// Reads the files; where they hold what `current` was made from, it is returned. Blocks on the disk.
    ///
    /// # Errors
    /// When a file cannot be read, holds no PEM of its kind, or certificate and key are no pair.
    pub fn load(files: &LinkFiles, current: Option<Arc<Self>>) -> Result<Arc<Self>, TlsError> {
        let octets = Octets {
            certificate: read(CERTIFICATE, &files.pair.certificate_file)?,
            key: read(PRIVATE_KEY, &files.pair.private_key_file)?,
            ca: read(CA, &files.ca_file)?,
        };
        if let Some(same) = current.filter(|current| current.octets == octets) {
            return Ok(same);
        }
        let certified = certified(&octets.certificate, &octets.key, &files.pair, SECTION)?;
        let unusable = || no_certificate(format!("{SECTION}.{CA}"), &files.ca_file);
        let roots = Arc::new(authorities(&octets.ca).ok_or_else(unusable)?);
        let (provider, certified) = (Arc::new(aws_lc_rs::default_provider()), Arc::new(certified));
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build();
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(verifier.map_err(|_| unusable())?)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified.clone())));
        server.alpn_protocols = vec![PROTOCOL.to_vec()];
        server.send_tls13_tickets = 0;
        let not_after = certified.cert.first().and_then(not_after);
        let acceptor = TlsAcceptor::from(Arc::new(server));
        Ok(Arc::new(Self { octets, not_after, provider, roots, certified, acceptor }))
    }

    /// When its certificate ends.
    #[must_use]
    pub fn not_after(&self) -> Option<SystemTime> {
        let seconds = u64::try_from(self.not_after?).ok()?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    }

    /// Whether its certificate is that of a node of this name; else no peer takes it.
    #[must_use]
    pub fn is_of(&self, name: &str) -> bool {
        names(&self.certified.cert).iter().any(|own| own.eq_ignore_ascii_case(name))
    }

    fn connector(&self, name: &str) -> Result<TlsConnector, rustls::Error> {
        let (provider, roots) = (self.provider.clone(), self.roots.clone());
        let verifier = NodeVerifier { name: name.to_owned(), provider: provider.clone(), roots };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(self.certified.clone())));
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        config.resumption = Resumption::disabled();
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

impl std::fmt::Debug for LinkIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinkIdentity").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

/// TLS between nodes as the files have it now. Clones share it; connections that stand go on with what they began with.
#[derive(Debug, Clone)]
pub struct LinkTls {
    identity: Arc<ArcSwap<LinkIdentity>>,
}

/// A connection of a peer whose certificate is right.
pub struct Linked {
    /// The connection.
    pub stream: ServerStream<TcpStream>,
    /// The DNS names of its certificate.
    pub names: Vec<String>,
}

impl LinkTls {
    /// Begins with this.
    #[must_use]
    pub fn new(identity: Arc<LinkIdentity>) -> Self {
        Self { identity: Arc::new(ArcSwap::new(identity)) }
    }

    /// What handshakes are made with now.
    #[must_use]
    pub fn identity(&self) -> Arc<LinkIdentity> {
        self.identity.load_full()
    }

    /// Makes the handshakes from now on with this.
    pub fn swap(&self, next: Arc<LinkIdentity>) {
        self.identity.store(next);
    }

    /// Shakes hands with the node of this name.
    ///
    /// # Errors
    /// When the handshake fails, or it is another node. It has no time limit of its own.
    pub async fn connect(&self, name: &str, stream: TcpStream) -> io::Result<ClientStream> {
        let connector = self.identity.load().connector(name).map_err(io::Error::other)?;
        let sni = match DnsName::try_from(name.to_owned()) {
            Ok(name) => ServerName::DnsName(name),
            Err(_) => ServerName::from(stream.peer_addr()?.ip()),
        };
        connector.connect(sni, stream).await
    }

    /// Shakes hands with whoever dialled.
    ///
    /// # Errors
    /// When the handshake fails. It has no time limit of its own.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<Linked> {
        let acceptor = self.identity.load().acceptor.clone();
        let stream = acceptor.accept(stream).await?;
        let names = names(stream.get_ref().1.peer_certificates().unwrap_or_default());
        Ok(Linked { stream, names })
    }
}

fn read(name: &str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let (key, path_text) = (format!("{SECTION}.{name}"), path.display().to_string());
    let failed = |source| TlsError::Read { key, path: path_text, source };
    files::read(path).map_err(failed)
}

/// The DNS names of the first certificate of a chain.
fn names(chain: &[CertificateDer<'_>]) -> Vec<String> {
    let parsed = chain.first().and_then(|first| X509Certificate::from_der(first).ok());
    let Some((_, parsed)) = parsed else { return Vec::new() };
    let alternative = parsed.subject_alternative_name().ok().flatten();
    let listed = alternative.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::OtherName(..)
        | GeneralName::RFC822Name(_)
        | GeneralName::X400Address(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EDIPartyName(_)
        | GeneralName::URI(_)
        | GeneralName::IPAddress(_)
        | GeneralName::RegisteredID(_)
        | GeneralName::Invalid(..) => None,
    };
    listed.iter().filter_map(name).collect()
}

/// Takes the certificate of one node, by the authorities, whatever the address was.
#[derive(Debug)]
struct NodeVerifier {
    name: String,
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
}

impl ServerCertVerifier for NodeVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)?;
        let names = names(std::slice::from_ref(end_entity));
        if names.iter().any(|name| name.eq_ignore_ascii_case(&self.name)) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::NotValidForName.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
