//! The client side of STARTTLS (RFC 3207).

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{DnsName, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::opportunistic::TakesAnyCertificate;
use super::{Negotiated, TlsError};

/// Hosts whose last session is remembered, to shorten the next handshake (RFC 8446 §2.2).
const SESSIONS: usize = 4096;

/// A connection under TLS, this end the client.
pub type ClientStream = tokio_rustls::client::TlsStream<TcpStream>;

/// Opportunistic TLS: encrypted, not authenticated. One for the whole node, which shares the sessions.
#[derive(Clone)]
pub struct ClientTls {
    connector: TlsConnector,
}

impl ClientTls {
    /// Sets up opportunistic TLS.
    ///
    /// # Errors
    /// When the crypto provider does not support TLS 1.2 and 1.3.
    pub fn opportunistic() -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = Arc::new(TakesAnyCertificate { provider: provider.clone() });
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        Ok(Self { connector: TlsConnector::from(Arc::new(config)) })
    }

    /// Shakes hands with the MX host of this name, which becomes the SNI (RFC 6066 §3); a name that SNI
    /// cannot carry goes as the address instead, without SNI.
    ///
    /// # Errors
    /// When the handshake fails. It has no time limit of its own.
    pub async fn connect(&self, host: &str, stream: TcpStream) -> io::Result<(ClientStream, Negotiated)> {
        let name = match DnsName::try_from(host.to_owned()) {
            Ok(name) => ServerName::DnsName(name),
            Err(_) => ServerName::from(stream.peer_addr()?.ip()),
        };
        let stream = self.connector.connect(name, stream).await?;
        let negotiated = Negotiated::of(stream.get_ref().1);
        Ok((stream, negotiated))
    }
}
