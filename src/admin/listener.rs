//! Owns the admin listener's connections: how many at once, and the files of TLS.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::transport::server::{Connected, TcpConnectInfo};
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use crate::config;

/// Connections at once; a further one waits in the kernel's queue.
const MAX_CONNECTIONS: usize = 256;
/// Longest TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest PEM file, in octets.
const MAX_PEM_OCTETS: u64 = 1024 * 1024;
/// Pause after a failed accept: out of descriptors, usually.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why TLS could not be set up.
#[derive(Debug, Error)]
pub enum TlsFileError {
    /// Not readable.
    #[error("{0} cannot be read")]
    Read(PathBuf, #[source] io::Error),
    /// Larger than 1 MiB.
    #[error("{0} is larger than {MAX_PEM_OCTETS} octets")]
    TooLarge(PathBuf),
}

/// Reads certificate, key and client CA. `None` when the listener is plaintext.
pub(super) async fn tls(config: &config::Admin) -> Result<Option<ServerTlsConfig>, TlsFileError> {
    let Some(files) = &config.tls else { return Ok(None) };
    let identity =
        Identity::from_pem(pem(&files.certificate_file).await?, pem(&files.private_key_file).await?);
    let tls = ServerTlsConfig::new().identity(identity).timeout(HANDSHAKE_TIMEOUT);
    Ok(Some(match &config.client_ca_file {
        Some(path) => tls.client_ca_root(Certificate::from_pem(pem(path).await?)),
        None => tls,
    }))
}

async fn pem(path: &Path) -> Result<Vec<u8>, TlsFileError> {
    let unreadable = |error| TlsFileError::Read(path.to_owned(), error);
    if tokio::fs::metadata(path).await.map_err(unreadable)?.len() > MAX_PEM_OCTETS {
        return Err(TlsFileError::TooLarge(path.to_owned()));
    }
    tokio::fs::read(path).await.map_err(unreadable)
}

/// Accepted connections, never more than the bound at once.
pub(super) fn connections(listener: TcpListener) -> impl Stream<Item = io::Result<Connection>> {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    futures_util::stream::unfold((listener, permits), |(listener, permits)| async move {
        let permit = Arc::clone(&permits).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    // Without it small answers wait for the peer's delayed ACK; a failure is only slower.
                    let _ = stream.set_nodelay(true);
                    return Some((Ok(Connection { stream, _permit: permit }), (listener, permits)));
                }
                Err(error) => {
                    tracing::warn!(%error, "admin connection not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    })
}

/// A connection and its place among those allowed.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    _permit: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
