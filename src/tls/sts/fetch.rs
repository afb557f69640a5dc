//! Fetching a policy over HTTPS (RFC 8461 §3.3): from `mta-sts.DOMAIN`, authenticated by the Web's PKI, no
//! redirects, `text/plain`, everything bounded. The address may be any: a host that cannot show a certificate
//! for the name hears no more than our ClientHello.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::policy::{MAX_POLICY_OCTETS, StsPolicy, StsPolicyError};
use crate::dns::Dns;
use crate::mail::Domain;
use crate::tls::client;
use crate::tls::{TlsError, TlsFailure};

/// Longest wait for a TCP connection to one address.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Octets that the head of a response may have.
const MAX_HEAD_OCTETS: usize = 64 * 1024;

/// Why there is no policy.
#[derive(Debug, Error)]
pub(super) enum FetchError {
    #[error("the policy's host has no address")]
    NoAddress,
    #[error("the policy's host cannot be reached: {0}")]
    Unreachable(io::Error),
    #[error("the policy's host does not authenticate itself: {0}")]
    Handshake(io::Error),
    #[error("the policy's host does not speak HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("the policy's host answers {0}")]
    Status(StatusCode),
    #[error("the policy is not text/plain")]
    MediaType,
    #[error("the policy cannot be read: {0}")]
    Body(String),
    #[error(transparent)]
    Policy(#[from] StsPolicyError),
}

impl FetchError {
    /// The word for reports.
    pub(super) fn failure(&self) -> TlsFailure {
        match self {
            Self::Handshake(_) => TlsFailure::StsWebpkiInvalid,
            Self::MediaType | Self::Policy(_) => TlsFailure::StsPolicyInvalid,
            Self::NoAddress | Self::Unreachable(_) | Self::Http(_) | Self::Status(_) | Self::Body(_) => {
                TlsFailure::StsPolicyFetchError
            }
        }
    }
}

/// Fetches policies.
pub(super) struct Fetcher {
    dns: Dns,
    connector: TlsConnector,
    port: u16,
}

impl Fetcher {
    pub(super) fn new(dns: Dns, roots: RootCertStore, port: u16) -> Result<Self, TlsError> {
        let mut config: ClientConfig = client::builder()?.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { dns, connector: TlsConnector::from(Arc::new(config)), port })
    }

    /// Fetches a domain's policy. It has no time limit of its own.
    pub(super) async fn fetch(&self, domain: &Domain) -> Result<StsPolicy, FetchError> {
        let host = format!("mta-sts.{domain}");
        let name = ServerName::try_from(host.clone()).map_err(|_| FetchError::NoAddress)?;
        let stream = self.dial(&host).await?;
        let stream = self.connector.connect(name, stream).await.map_err(FetchError::Handshake)?;
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(MAX_HEAD_OCTETS)
            .handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
            .await?;
        let response = async move {
            let request = Request::get("/.well-known/mta-sts.txt")
                .header(HOST, host)
                .header(USER_AGENT, "postroad")
                .body(Empty::new())
                .map_err(|error| FetchError::Body(error.to_string()))?;
            read(sender.send_request(request).await?).await
        };
        // The connection ends with the response, or with the caller's patience.
        let (policy, _) = tokio::join!(response, connection);
        policy
    }

    async fn dial(&self, host: &str) -> Result<TcpStream, FetchError> {
        let (v6, v4) = tokio::join!(self.dns.ipv6(host), self.dns.ipv4(host));
        let v6 = v6.into_iter().flat_map(|answer| answer.records).map(IpAddr::V6);
        let v4 = v4.into_iter().flat_map(|answer| answer.records).map(IpAddr::V4);
        let mut last = FetchError::NoAddress;
        for ip in v6.take(2).chain(v4.take(2)) {
            let connecting = TcpStream::connect(SocketAddr::new(ip, self.port));
            match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = FetchError::Unreachable(error),
                Err(_) => last = FetchError::Unreachable(io::ErrorKind::TimedOut.into()),
            }
        }
        Err(last)
    }
}

/// RFC 8461 §3.3: only 200 counts, redirects are not followed, and other media types are no policy.
async fn read(response: Response<hyper::body::Incoming>) -> Result<StsPolicy, FetchError> {
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("text/plain") {
        return Err(FetchError::MediaType);
    }
    let body = Limited::new(response.into_body(), MAX_POLICY_OCTETS).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            FetchError::Policy(StsPolicyError::TooLarge)
        } else {
            FetchError::Body(error.to_string())
        }
    })?;
    Ok(StsPolicy::parse(&body.to_bytes())?)
}
