//! What a listener shows in handshakes: certificate and key, and whose client certificates it wants, made from PEM
//! files as a whole. A pair that does not fit makes nothing.

use std::io;
use std::path::Path;
use std::sync::Arc;

use ::aws_lc_rs::digest::{SHA256, digest};
use arc_swap::ArcSwapOption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Ending, Negotiated, TlsError};
use crate::clock;
use crate::config::{Config, KeyPairFiles, Live, files};
use crate::telemetry::Metrics;

/// The keys that name the files, in a listener's section.
pub(super) const CERTIFICATE: &str = "certificate_file";
pub(super) const PRIVATE_KEY: &str = "private_key_file";
const CLIENT_CA: &str = "client_ca_file";

/// A connection under TLS, this end the server.
pub type ServerStream<S> = tokio_rustls::server::TlsStream<S>;

/// Which listener shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerUse {
    /// STARTTLS of SMTP.
    Smtp,
    /// The admin listener: HTTP/2 (RFC 9113 §3.2).
    Admin,
}

impl ServerUse {
    /// The label `use` of the metric, and the section that names the files.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Admin => "admin",
        }
    }

    /// The path of a key in its section.
    fn key(self, name: &str) -> String {
        format!("{}.{name}", self.label())
    }

    fn protocols(self) -> Vec<Vec<u8>> {
        match self {
            Self::Smtp => Vec::new(),
            Self::Admin => vec![b"h2".to_vec()],
        }
    }
}

/// The files of a listener's TLS.
#[derive(Debug, Clone, Copy)]
pub struct ServerFiles<'a> {
    /// Its certificate and key.
    pub pair: &'a KeyPairFiles,
    /// The authorities that must have signed a client's certificate; none: no certificate is asked for.
    pub client_ca: Option<&'a Path>,
}

/// A usable certificate with its key.
pub struct ServerIdentity {
    octets: Octets,
    name: String,
    not_after: Option<i64>,
    trust: Option<Trust>,
    acceptor: TlsAcceptor,
}

/// The SHA-256 of a file of client authorities: tells who was checked by which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trust([u8; 32]);

/// What the files hold.
#[derive(PartialEq, Eq)]
struct Octets {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl ServerIdentity {
    /// Reads the files. Where they hold what `current` was made from, it is returned: whoever has a session ticket of
    /// it can go on using it.
    ///
    /// # Errors
    /// When a file cannot be read, holds no PEM of its kind, or certificate and key are no pair.
    pub fn load(
        files: ServerFiles<'_>,
        purpose: ServerUse,
        current: Option<Arc<Self>>,
    ) -> Result<Arc<Self>, TlsError> {
        let octets = Octets::read(files, purpose)?;
        if let Some(same) = current.filter(|current| current.octets == octets) {
            return Ok(same);
        }
        let certified = certified(&octets.certificate, &octets.key, files.pair, purpose.label())?;
        let not_after = certified.cert.first().and_then(not_after);
        let trust = octets.client_ca.as_deref().map(Trust::of);
        let acceptor = TlsAcceptor::from(Arc::new(octets.server_config(certified, files, purpose)?));
        let name = files.pair.certificate_file.display().to_string();
        Ok(Arc::new(Self { octets, name, not_after, trust, acceptor }))
    }

    /// Shakes hands with it.
    #[must_use]
    pub fn acceptor(&self) -> Acceptor {
        Acceptor { acceptor: self.acceptor.clone() }
    }

    /// The file of its certificate.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// When its certificate ends, in seconds since 1970.
    pub(super) fn not_after(&self) -> Option<i64> {
        self.not_after
    }

    /// Which authorities clients are checked by, if by any.
    #[must_use]
    pub fn trust(&self) -> Option<Trust> {
        self.trust
    }
}

impl std::fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerIdentity").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Says in metrics and log what a listener shows from now on, where that is something else than before.
pub fn announce_change(
    before: Option<&Arc<ServerIdentity>>,
    next: Option<&Arc<ServerIdentity>>,
    purpose: ServerUse,
    metrics: &Metrics,
) {
    if before.map(Arc::as_ptr) != next.map(Arc::as_ptr) {
        announce(next.map(Arc::as_ref), purpose, metrics);
    }
}

pub(super) fn announce(identity: Option<&ServerIdentity>, purpose: ServerUse, metrics: &Metrics) {
    let gauge = &metrics.tls_certificate_not_after_timestamp_seconds;
    let Some(identity) = identity else {
        // There is no such series when there has been no certificate.
        let _absent = gauge.remove_label_values(&[purpose.label()]);
        return;
    };
    if let Some(not_after) = identity.not_after {
        gauge.with_label_values(&[purpose.label()]).set(not_after);
    }
    tracing::info!(certificate = identity.name, listener = purpose.label(), "certificate taken");
    if let Some(ending) = Ending::of(identity, purpose, clock::now()) {
        ending.tell();
    }
}

/// TLS of the SMTP listeners, as the configuration has it. Clones share it.
#[derive(Clone)]
pub struct StartTls {
    identity: Arc<ArcSwapOption<ServerIdentity>>,
    metrics: Arc<Metrics>,
}

impl StartTls {
    /// Reads `smtp.certificate_file` and `smtp.private_key_file`, if they are set.
    ///
    /// # Errors
    /// As [`ServerIdentity::load`].
    pub fn new(config: &Config, metrics: Arc<Metrics>) -> Result<Self, TlsError> {
        let this = Self { identity: Arc::default(), metrics };
        let first = this.load(config)?;
        this.take(first);
        Ok(this)
    }

    /// Whether STARTTLS is offered.
    #[must_use]
    pub fn is_offered(&self) -> bool {
        self.identity.load().is_some()
    }

    /// Shakes hands with the certificate that is the newest by now.
    #[must_use]
    pub fn acceptor(&self) -> Option<Acceptor> {
        self.identity.load().as_ref().map(|identity| identity.acceptor())
    }

    /// What it shows now.
    #[must_use]
    pub fn identity(&self) -> Option<Arc<ServerIdentity>> {
        self.identity.load_full()
    }

    fn load(&self, config: &Config) -> Result<Option<Arc<ServerIdentity>>, TlsError> {
        let files = config.smtp.tls.as_ref().map(|pair| ServerFiles { pair, client_ca: None });
        files.map(|files| ServerIdentity::load(files, ServerUse::Smtp, self.identity.load_full())).transpose()
    }

    fn take(&self, next: Option<Arc<ServerIdentity>>) {
        let before = self.identity.swap(next.clone());
        announce_change(before.as_ref(), next.as_ref(), ServerUse::Smtp, &self.metrics);
    }
}

impl Live for StartTls {
    type Prepared = Option<Arc<ServerIdentity>>;
    type Error = TlsError;

    fn prepare(&self, next: &Arc<Config>) -> Result<Option<Arc<ServerIdentity>>, TlsError> {
        self.load(next)
    }

    fn swap(&self, prepared: Option<Arc<ServerIdentity>>) {
        self.take(prepared);
    }
}

/// Makes TLS streams of accepted connections.
#[derive(Clone)]
pub struct Acceptor {
    acceptor: TlsAcceptor,
}

impl Acceptor {
    /// Shakes hands with a client.
    ///
    /// # Errors
    /// When the handshake fails. It has no time limit of its own.
    pub async fn accept<S>(&self, stream: S) -> io::Result<(ServerStream<S>, Negotiated)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = self.acceptor.accept(stream).await?;
        let negotiated = Negotiated::of(stream.get_ref().1);
        Ok((stream, negotiated))
    }
}

/// The subject of the certificate that a client has shown, `CN=ana`; none where it is empty.
#[must_use]
pub fn client_subject<S>(stream: &ServerStream<S>) -> Option<String> {
    let shown = stream.get_ref().1.peer_certificates()?.first()?;
    let (_, certificate) = X509Certificate::from_der(shown).ok()?;
    let subject = certificate.subject().to_string();
    (!subject.is_empty()).then_some(subject)
}

impl Trust {
    /// Of the file's octets.
    pub(crate) fn of(octets: &[u8]) -> Self {
        let mut sum = [0; 32];
        sum.iter_mut().zip(digest(&SHA256, octets).as_ref()).for_each(|(to, from)| *to = *from);
        Self(sum)
    }
}

impl Octets {
    fn read(files: ServerFiles<'_>, purpose: ServerUse) -> Result<Self, TlsError> {
        let read = |name, path: &Path| {
            let failed =
                |source| TlsError::Read { key: purpose.key(name), path: path.display().to_string(), source };
            files::read(path).map_err(failed)
        };
        Ok(Self {
            certificate: read(CERTIFICATE, &files.pair.certificate_file)?,
            key: read(PRIVATE_KEY, &files.pair.private_key_file)?,
            client_ca: files.client_ca.map(|path| read(CLIENT_CA, path)).transpose()?,
        })
    }

    fn server_config(
        &self,
        certified: CertifiedKey,
        files: ServerFiles<'_>,
        purpose: ServerUse,
    ) -> Result<ServerConfig, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let builder = match (&self.client_ca, files.client_ca) {
            (Some(octets), Some(path)) => {
                let unusable = || no_certificate(purpose.key(CLIENT_CA), path);
                let roots = Arc::new(authorities(octets).ok_or_else(unusable)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|_| unusable())?)
            }
            (Some(_) | None, Some(_) | None) => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = purpose.protocols();
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        Ok(config)
    }
}

/// The certificate and the key that a section's files hold.
pub(super) fn certified(
    certificate: &[u8],
    key: &[u8],
    files: &KeyPairFiles,
    section: &'static str,
) -> Result<CertifiedKey, TlsError> {
    let path = files.private_key_file.display().to_string();
    let chain = certificates(certificate)
        .ok_or_else(|| no_certificate(format!("{section}.{CERTIFICATE}"), &files.certificate_file))?;
    let private = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| TlsError::NoKey { key: format!("{section}.{PRIVATE_KEY}"), path: path.clone() })?;
    CertifiedKey::from_der(chain, private, &aws_lc_rs::default_provider()).map_err(|source| {
        TlsError::Mismatch {
            listener: section,
            certificate: files.certificate_file.display().to_string(),
            key: path,
            source: Box::new(source),
        }
    })
}

/// The authorities of a file; `None`: one of them is none.
pub(super) fn authorities(octets: &[u8]) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(octets)? {
        roots.add(certificate).ok()?;
    }
    Some(roots)
}

pub(super) fn no_certificate(key: String, path: &Path) -> TlsError {
    TlsError::NoCertificate { key, path: path.display().to_string() }
}

/// The certificates of a PEM file, at least one.
pub(super) fn certificates(octets: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(octets).collect();
    chain.ok().filter(|chain| !chain.is_empty())
}

/// When a certificate ends, in seconds since 1970.
pub(super) fn not_after(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(parsed.validity().not_after.timestamp())
}
