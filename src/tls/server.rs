//! The listeners' certificate: loaded from PEM files, swapped when they change, offered to every handshake.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Negotiated, TlsError};
use crate::config::KeyPairFiles;
use crate::error_text::error_text;
use crate::telemetry::Metrics;

/// How often the files are read again. Contents are compared, not times: a Kubernetes Secret changes by a
/// symlink being moved, which no time stamp of the file tells.
const POLL: Duration = Duration::from_secs(5);
/// Octets of a PEM file; chains are a few KiB.
const MAX_FILE_OCTETS: u64 = 1024 * 1024;

/// A connection under TLS, this end the server.
pub type ServerStream<S> = tokio_rustls::server::TlsStream<S>;

/// The certificate that SMTP listeners show, always the newest usable one.
pub struct ServerCertificate {
    files: KeyPairFiles,
    metrics: Arc<Metrics>,
    current: Arc<Current>,
    config: Arc<ServerConfig>,
    /// The octets last read, good or bad, so that each change is judged and logged once.
    seen: Mutex<Pem>,
}

/// The octets of a pair of files.
#[derive(PartialEq, Eq)]
struct Pem {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// What handshakes are answered with.
#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl ServerCertificate {
    /// Loads the pair.
    ///
    /// # Errors
    /// When a file cannot be read, holds no PEM of its kind, or the two are no pair.
    pub fn load(files: &KeyPairFiles, metrics: Arc<Metrics>) -> Result<Arc<Self>, TlsError> {
        let pem = Pem::read(files)?;
        let certified = pem.parse(files)?;
        announce(&certified, &metrics);
        let current = Arc::new(Current(ArcSwap::from_pointee(certified)));
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        Ok(Arc::new(Self {
            files: files.clone(),
            metrics,
            current,
            config: Arc::new(config),
            seen: Mutex::new(pem),
        }))
    }

    /// Shakes hands for the listeners, with whatever certificate is the newest by then.
    #[must_use]
    pub fn acceptor(&self) -> Acceptor {
        Acceptor { acceptor: TlsAcceptor::from(self.config.clone()) }
    }

    /// Follows the files until told to stop. A pair that cannot be used is logged, and the old one stays.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(POLL);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let this = self.clone();
            let reloaded = tokio::task::spawn_blocking(move || this.reload()).await;
            if let Ok(Err(cause)) = reloaded {
                let certificate = self.files.certificate_file.display();
                let cause = error_text(&cause);
                tracing::error!(%certificate, cause, "new certificate not usable, the old one stays");
            }
        }
    }

    /// Reads the files once and takes what is new in them.
    pub(super) fn reload(&self) -> Result<(), TlsError> {
        let pem = Pem::read(&self.files)?;
        if *self.seen.lock() == pem {
            return Ok(());
        }
        let parsed = pem.parse(&self.files);
        *self.seen.lock() = pem;
        let certified = parsed?;
        announce(&certified, &self.metrics);
        self.current.0.store(Arc::new(certified));
        tracing::info!(certificate = %self.files.certificate_file.display(), "new certificate taken");
        Ok(())
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

impl Pem {
    fn read(files: &KeyPairFiles) -> Result<Self, TlsError> {
        Ok(Self { certificate: read(&files.certificate_file)?, key: read(&files.private_key_file)? })
    }

    fn parse(&self, files: &KeyPairFiles) -> Result<CertifiedKey, TlsError> {
        let certificate = files.certificate_file.display().to_string();
        let key = files.private_key_file.display().to_string();
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.certificate).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or_else(|| TlsError::NoCertificate { path: certificate.clone() })?;
        let private =
            PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| TlsError::NoKey { path: key.clone() })?;
        CertifiedKey::from_der(chain, private, &aws_lc_rs::default_provider())
            .map_err(|source| TlsError::Mismatch { certificate, key, source })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let contents = || {
        let mut octets = Vec::new();
        std::fs::File::open(path)?.take(MAX_FILE_OCTETS + 1).read_to_end(&mut octets)?;
        if octets.len() as u64 > MAX_FILE_OCTETS {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        Ok(octets)
    };
    contents().map_err(|source| TlsError::Read { path: path.display().to_string(), source })
}

/// Shows when the leaf certificate ends.
fn announce(certified: &CertifiedKey, metrics: &Metrics) {
    let Some(leaf) = certified.cert.first() else { return };
    if let Ok((_, leaf)) = X509Certificate::from_der(leaf) {
        let not_after = leaf.validity().not_after.timestamp();
        metrics.tls_certificate_not_after_timestamp_seconds.with_label_values(&["smtp"]).set(not_after);
    }
}
