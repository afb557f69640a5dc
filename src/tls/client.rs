//! The client side of STARTTLS (RFC 3207): one handshake, held to what the destination's policy demands.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{DnsName, ServerName};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use rustls::{WantsVerifier, client::WantsClientCert};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::dane::DaneVerifier;
use super::opportunistic::{Onlooker, TakesAnyCertificate};
use super::{Demand, Negotiated, TlsError, TlsFailure};

/// Hosts whose last session is remembered, to shorten the next handshake (RFC 8446 §2.2).
const SESSIONS: usize = 4096;

/// A connection under TLS, this end the client.
pub type ClientStream = tokio_rustls::client::TlsStream<TcpStream>;

/// TLS towards MX hosts. One for the whole node, which shares the sessions: those of verified handshakes
/// apart from the others, because a session that is gone on with is not verified again.
#[derive(Clone)]
pub struct ClientTls {
    provider: Arc<CryptoProvider>,
    web_pki: Arc<WebPkiServerVerifier>,
    opportunistic: TlsConnector,
    verified: TlsConnector,
}

/// A handshake that met its demand.
pub struct Shaken {
    /// The connection.
    pub stream: ClientStream,
    /// What was agreed on.
    pub negotiated: Negotiated,
    /// What [`Demand::Tested`] found wrong; others fail of it.
    pub failure: Option<TlsFailure>,
}

impl ClientTls {
    /// Sets up TLS; hosts that the Web's PKI must authenticate are held to these roots.
    ///
    /// # Errors
    /// When the crypto provider does not support TLS 1.2 and 1.3, or there are no roots.
    pub fn new(roots: RootCertStore) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let web_pki = web_pki(roots, provider.clone())?;
        let anyone = Arc::new(TakesAnyCertificate { provider: provider.clone(), onlooker: None });
        let connector = |verifier: Arc<dyn ServerCertVerifier>| -> Result<TlsConnector, TlsError> {
            let mut config = verified_by(verifier)?.with_no_client_auth();
            config.resumption = Resumption::in_memory_sessions(SESSIONS);
            Ok(TlsConnector::from(Arc::new(config)))
        };
        let (opportunistic, verified) = (connector(anyone)?, connector(web_pki.clone())?);
        Ok(Self { provider, web_pki, opportunistic, verified })
    }

    /// Shakes hands with the MX host of this name, which becomes the SNI (RFC 6066 §3, RFC 7672 §8.1); a
    /// name that SNI cannot carry goes as the address instead, without SNI.
    ///
    /// # Errors
    /// When the handshake fails, or does not meet the demand. It has no time limit of its own.
    pub async fn connect(&self, host: &str, demand: &Demand, stream: TcpStream) -> io::Result<Shaken> {
        let name = match DnsName::try_from(host.to_owned()) {
            Ok(name) => ServerName::DnsName(name),
            Err(_) => ServerName::from(stream.peer_addr()?.ip()),
        };
        match demand {
            Demand::Opportunistic | Demand::Encrypted => shake(&self.opportunistic, name, stream).await,
            Demand::Verified => shake(&self.verified, name, stream).await,
            Demand::Tested => {
                let seen = Arc::new(Mutex::new(None));
                let onlooker = Some(Onlooker { web_pki: self.web_pki.clone(), seen: seen.clone() });
                let anyone = TakesAnyCertificate { provider: self.provider.clone(), onlooker };
                let mut shaken = shake(&fresh(Arc::new(anyone))?, name, stream).await?;
                shaken.failure = *seen.lock();
                Ok(shaken)
            }
            Demand::Dane(dane) => {
                let verifier = DaneVerifier { dane: dane.clone(), provider: self.provider.clone() };
                shake(&fresh(Arc::new(verifier))?, name, stream).await
            }
        }
    }
}

async fn shake(connector: &TlsConnector, name: ServerName<'static>, stream: TcpStream) -> io::Result<Shaken> {
    let stream = connector.connect(name, stream).await?;
    let negotiated = Negotiated::of(stream.get_ref().1);
    Ok(Shaken { stream, negotiated, failure: None })
}

/// A connector that goes on with no earlier session, so that its verifier is always asked.
fn fresh(verifier: Arc<dyn ServerCertVerifier>) -> io::Result<TlsConnector> {
    let config = verified_by(verifier).map_err(io::Error::other)?;
    let mut config = config.with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn verified_by(
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, TlsError> {
    Ok(builder()?.dangerous().with_custom_certificate_verifier(verifier))
}

/// A client's configuration up to who verifies.
pub(super) fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?)
}

/// The Web's PKI with these roots.
pub(super) fn web_pki(
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    builder.build().map_err(|error| TlsError::Setup(rustls::Error::General(error.to_string())))
}
