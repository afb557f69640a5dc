//! Listening sockets. Accepting never waits for a session: a connection past the limits is told so by
//! its own short task.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::pipeline::joint::Handoff;
use crate::pipeline::parcel::parcels;

/// Connections the kernel holds until we accept them.
const BACKLOG: i32 = 4096;
/// Pause after a failed accept: out of file descriptors, mostly (accept(2)).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// listener → inbound: somebody connected.
#[derive(Debug)]
pub struct Connected {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
}

parcels!(Connected: |_| None);

/// Binds one listener. An IPv6 wildcard listens on IPv6 only, so that `0.0.0.0` can stand beside `[::]`.
///
/// # Errors
/// When the address cannot be bound; the error names it.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let open = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    open().map_err(|error| {
        let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
        let remedy = if is_denied { ": ports below 1024 need root or CAP_NET_BIND_SERVICE" } else { "" };
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}{remedy}"))
    })
}

/// Accepts connections until the node drains.
pub async fn accept(listener: TcpListener, connected: Handoff<Connected>, draining: CancellationToken) {
    while let Some(accepted) = draining.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, peer)) => {
                if connected.pass(Connected { stream, peer }).await.is_err() {
                    tracing::error!("the inbound actor is gone");
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
