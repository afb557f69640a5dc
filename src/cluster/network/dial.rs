//! How a connection to a peer comes to be: its name resolved anew each time, TLS, and one limit of time for all of it.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::Service;

use super::super::founding::NodeName;
use crate::tls::{ClientStream, LinkTls};

/// How long a connection may take: names resolved, TCP, TLS.
const CONNECTED_WITHIN: Duration = Duration::from_secs(3);
/// How long a peer may take to take a connection.
const ASKED_EVERY: Duration = Duration::from_secs(1);
/// A quiet connection is asked for a sign of life after this time, and given as long to answer: a peer that stands still
/// is dialled anew soon after it goes on.
const KEEPALIVE: Duration = Duration::from_secs(2);
/// Octets of an answer's headers.
const MAX_HEADER_OCTETS: u32 = 16 << 10;
/// What a peer may send before it is read.
const STREAM_WINDOW_OCTETS: u32 = 1 << 20;
/// As well, of all calls.
const CONNECTION_WINDOW_OCTETS: u32 = 2 << 20;
/// What requests name as their host: who is meant stands in the certificate.
const ORIGIN: &str = "http://cluster.postroad.invalid";

/// As well, of one call that is passed on, whose caller may read as slowly as it likes.
const PASSED_WINDOW_OCTETS: u32 = 64 << 10;
/// As well, of all of these: as many as an admin listener serves at once may stand still, and further ones go on.
const ALL_PASSED_WINDOW_OCTETS: u32 = 16 << 20;

/// The connections to a peer: what is large is on one of its own, so that no heartbeat waits behind it, and what operators ask
/// is on another.
#[derive(Debug, Clone)]
pub(super) struct Link {
    /// `host:port`.
    pub(super) address: String,
    /// For what is short.
    pub(super) short: Channel,
    /// For snapshots and changes.
    pub(super) large: Channel,
    /// For calls that are passed on.
    pub(super) passed: Channel,
}

impl Link {
    /// Connects when there is something to say.
    pub(super) fn new(name: &NodeName, address: &str, tls: &LinkTls) -> Self {
        let channel = |endpoint: Endpoint| {
            let dialler = Dialler { name: name.clone(), address: address.to_owned(), tls: tls.clone() };
            endpoint.connect_with_connector_lazy(dialler)
        };
        let passed = endpoint()
            .initial_stream_window_size(PASSED_WINDOW_OCTETS)
            .initial_connection_window_size(ALL_PASSED_WINDOW_OCTETS);
        let (short, large) = (channel(endpoint()), channel(endpoint()));
        Self { address: address.to_owned(), short, large, passed: channel(passed) }
    }
}

fn endpoint() -> Endpoint {
    Endpoint::from_static(ORIGIN)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true)
        .http2_max_header_list_size(MAX_HEADER_OCTETS)
        .initial_stream_window_size(STREAM_WINDOW_OCTETS)
        .initial_connection_window_size(CONNECTION_WINDOW_OCTETS)
}

/// Asks again and again, as long as it is waited for: TCP by itself would be silent for two seconds in which a peer that was
/// cut off is back.
async fn reach(address: &str) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = lookup_host(address).await?.collect();
    loop {
        if let Ok(reached) = timeout(ASKED_EVERY, TcpStream::connect(addresses.as_slice())).await {
            return reached;
        }
    }
}

struct Dialler {
    name: NodeName,
    address: String,
    tls: LinkTls,
}

impl Service<Uri> for Dialler {
    type Response = TokioIo<ClientStream>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<TokioIo<ClientStream>>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _origin: Uri) -> Self::Future {
        let (name, address, tls) = (self.name.clone(), self.address.clone(), self.tls.clone());
        Box::pin(async move {
            let connected = timeout(CONNECTED_WITHIN, async {
                let stream = reach(&address).await?;
                stream.set_nodelay(true)?;
                tls.connect(&name.to_string(), stream).await
            });
            let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no connection within the time for one");
            connected.await.map_err(late)?.map(TokioIo::new)
        })
    }
}
