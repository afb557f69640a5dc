//! The listener for peers.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use super::super::founding::NodeName;
use super::MAX_MESSAGE_OCTETS;
use super::admission::Certified;
use super::passing::{PassedCalls, SortingLayer};
use super::peers::Peers;
use super::service::Service;
use crate::connections::{Bounds, Entrance, Handshaking, Standing};
use crate::proto::cluster::v1::cluster_service_server::ClusterServiceServer;
use crate::telemetry::Seldom;
use crate::tls::{Linked, ServerStream};

/// Connections at once. Every node may be behind one address.
const CONNECTIONS: Bounds = Bounds { total: 128, per_peer: 64 };
/// Connections of one name that stay: three of the peer, three that it has lost and that have not been noticed to be. The
/// eldest goes.
const MAX_OF_NAME: usize = 6;
/// How long a handshake may take.
const SHAKEN_WITHIN: Duration = Duration::from_secs(5);
/// Calls at once on one connection.
const MAX_STREAMS: u32 = 128;
/// Octets of a call's headers.
const MAX_HEADER_OCTETS: u32 = 16 << 10;
/// What a peer may send before it is read.
const STREAM_WINDOW_OCTETS: u32 = 2 << 20;
/// As well, of all calls of a connection.
const CONNECTION_WINDOW_OCTETS: u32 = 4 << 20;
/// A quiet connection is asked for a sign of life after this time, and given as long to answer.
const KEEPALIVE: Duration = Duration::from_secs(5);
/// How long calls may take to finish after the node is told to stop.
const DRAINED_WITHIN: Duration = Duration::from_secs(2);
/// Lines in the log a minute about handshakes that failed.
const MAX_LINES: u32 = 5;

/// Why the listener for peers could not be started, or ended early.
#[derive(Debug, Error)]
pub enum ServerError {
    /// The address could not be bound.
    #[error("cluster.listen {0} cannot be bound")]
    Bind(SocketAddr, #[source] std::io::Error),
    /// The transport failed.
    #[error("the listener for peers failed")]
    Transport(#[from] tonic::transport::Error),
}

/// The listener for peers, bound.
pub struct ClusterServer {
    listener: TcpListener,
    address: SocketAddr,
}

impl ClusterServer {
    /// Binds the address.
    ///
    /// # Errors
    /// When it cannot be bound.
    pub async fn bind(listen: SocketAddr) -> Result<Self, ServerError> {
        let failed = |error| ServerError::Bind(listen, error);
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// The address really bound.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers peers until `stop`, with what they pass on too, and lets their calls finish for up to 2 s then.
    ///
    /// # Errors
    /// When the transport fails.
    pub async fn serve(
        self,
        peers: Peers,
        passed: PassedCalls,
        stop: CancellationToken,
    ) -> Result<(), ServerError> {
        let door =
            Door { peers: peers.clone(), connected: Arc::default(), lines: Arc::new(Seldom::new(MAX_LINES)) };
        let entrance = Entrance::new("cluster", CONNECTIONS, SHAKEN_WITHIN, door);
        let sorting = SortingLayer::new(peers.clone(), passed);
        let service =
            ClusterServiceServer::new(Service::new(peers)).max_decoding_message_size(MAX_MESSAGE_OCTETS);
        let router = Server::builder()
            .max_concurrent_streams(MAX_STREAMS)
            .http2_max_header_list_size(MAX_HEADER_OCTETS)
            .initial_stream_window_size(STREAM_WINDOW_OCTETS)
            .initial_connection_window_size(CONNECTION_WINDOW_OCTETS)
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE))
            .layer(sorting)
            .add_service(service);
        let stopped = stop.clone();
        let serving = router.serve_with_incoming_shutdown(entrance.connections(self.listener), async move {
            stopped.cancelled().await
        });
        let drained = async {
            stop.cancelled().await;
            tokio::time::sleep(DRAINED_WITHIN).await;
        };
        tokio::select! {
            served = serving => Ok(served?),
            () = drained => Ok(()),
        }
    }
}

/// How hands are shaken with peers.
#[derive(Clone)]
struct Door {
    peers: Peers,
    connected: Arc<Mutex<BTreeMap<NodeName, VecDeque<Standing>>>>,
    lines: Arc<Seldom>,
}

impl Handshaking for Door {
    type Stream = ServerStream<TcpStream>;
    type Caller = Certified;

    async fn shake_hands(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        standing: Standing,
    ) -> Option<(ServerStream<TcpStream>, Certified)> {
        let Linked { stream, names } = match self.peers.tls().accept(stream).await {
            Ok(linked) => linked,
            Err(error) => {
                if let Some(left_out) = self.lines.due() {
                    tracing::warn!(client_ip = %peer.ip(), %error, left_out, "no handshake with a peer");
                }
                return None;
            }
        };
        let Some(name) = names.iter().find_map(|name| self.peers.listed(name)) else {
            if let Some(left_out) = self.lines.due() {
                let client_ip = peer.ip();
                tracing::warn!(%client_ip, ?names, left_out, "cluster.peers names none of a certificate's names");
            }
            return None;
        };
        standing.prove();
        self.keep(name, standing);
        Some((stream, Certified(names.into())))
    }
}

impl Door {
    /// Keeps the last connections of a name.
    fn keep(&self, name: NodeName, standing: Standing) {
        let mut connected = self.connected.lock();
        let of_name = connected.entry(name).or_default();
        of_name.push_back(standing);
        if of_name.len() > MAX_OF_NAME
            && let Some(eldest) = of_name.pop_front()
        {
            eldest.dismiss();
        }
    }
}
