//! The HTTP faces of a node: metrics and health for the operator, the postmaster page for strangers.
//!
//! A connection carries one request and lives at most [`MAX_CONNECTION_TIME`]; where there is no place for another, the
//! eldest of the peer that has most makes room ([`crate::connections`]). So neither slow nor idle clients can hold a
//! place that somebody else wants.

mod operator;
mod postmaster;
mod readiness;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::connections::{Bounds, Places};

pub use operator::operator_pages;
pub use postmaster::public_pages;
pub use readiness::{Phase, Readiness};

/// Connections served at once. A scraper and a few probes need 5; a proxy before the public pages is one peer.
const CONNECTIONS: Bounds = Bounds { total: 100, per_peer: 50 };
/// From the connection to the end of the response.
const MAX_CONNECTION_TIME: Duration = Duration::from_secs(30);
/// For the request line and the header section.
const MAX_REQUEST_TIME: Duration = Duration::from_secs(10);
/// Octets of the request line and the header section.
const MAX_REQUEST_OCTETS: usize = 16_384;
/// Fields of the header section.
const MAX_REQUEST_FIELDS: usize = 50;
/// How long responses in flight may take once the server is stopped.
const STOP_TIME: Duration = Duration::from_secs(1);
/// The pause after a connection could not be accepted, as when there are no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a server answers with.
#[derive(Clone)]
pub struct Pages(Router);

/// A bound HTTP listener.
pub struct HttpServer {
    listener: TcpListener,
    address: SocketAddr,
    pages: Pages,
}

impl HttpServer {
    /// Binds the address; port 0 takes any free one.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn bind(listen: SocketAddr, pages: Pages) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, pages })
    }

    /// The address really bound.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until it is told to stop, then gives responses in flight [`STOP_TIME`].
    pub async fn serve(self, shutdown: CancellationToken) {
        let places = Places::new(CONNECTIONS);
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    // Nobody proves anything here, so that there is always one that can go.
                    let Some(place) = places.admit(peer.ip()) else { continue };
                    let pages = self.pages.clone();
                    connections.spawn(async move {
                        tokio::select! {
                            () = serve_connection(stream, pages) => {}
                            () = place.standing().over(MAX_CONNECTION_TIME) => {
                                debug!("an HTTP connection took too long, or made room");
                            }
                        }
                    });
                }
                Err(cause) => {
                    warn!(%cause, "an HTTP connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        let finished = async { while connections.join_next().await.is_some() {} };
        // Whoever is not done by then is cut off with the set.
        let _ = tokio::time::timeout(STOP_TIME, finished).await;
    }
}

async fn serve_connection(stream: TcpStream, pages: Pages) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .header_read_timeout(MAX_REQUEST_TIME)
        .max_buf_size(MAX_REQUEST_OCTETS)
        .max_headers(MAX_REQUEST_FIELDS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(pages.0));
    if let Err(cause) = connection.await {
        debug!(%cause, "an HTTP connection ended early");
    }
}

/// What every path answers that is none of ours.
async fn not_found() -> (StatusCode, &'static str) {
    (StatusCode::NOT_FOUND, "not found\n")
}

#[cfg(test)]
mod tests;
