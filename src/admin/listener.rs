//! Owns the admin listener's connections: who is let in, TLS, and when one must go.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::either::Either;
use tonic::transport::server::Connected;

use super::failures::{Failures, Verdict};
use super::terms::LiveTerms;
use crate::connections::{Bounds, Hold, Place, Places, Standing};
use crate::telemetry::Seldom;
use crate::tls::{ServerStream, Trust};

/// Connections at once. A proxy or a bastion may bring all operators under one address.
const CONNECTIONS: Bounds = Bounds { total: 256, per_peer: 64 };
/// From the connection to its first authenticated call, the handshake included.
pub(super) const PROOF_TIME: Duration = Duration::from_secs(10);
/// From the failure that ends a connection to its end: time for the answer to be read.
const FAREWELL: Duration = Duration::from_secs(1);
/// Pause after a failed accept: out of descriptors, usually.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections that have shaken hands and wait to be served: none waits long.
const MAX_WAITING: usize = 16;
/// Lines in the log a minute about connections that found no place.
const MAX_LINES: u32 = 1;

/// What a connection's handshake has proven, and what terms ask of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handshake {
    /// There was none: plaintext.
    None,
    /// TLS.
    Tls,
    /// TLS, the client's certificate signed by one of these authorities.
    Certified(Trust),
}

impl Handshake {
    /// Whether a connection that was made so has what is asked for here.
    pub(super) fn is_met_by(self, made: Self) -> bool {
        match (self, made) {
            (Self::None, _) | (Self::Tls, Self::Tls | Self::Certified(_)) => true,
            (Self::Certified(asked), Self::Certified(made)) => asked == made,
            (Self::Tls | Self::Certified(_), Self::None) | (Self::Certified(_), Self::Tls) => false,
        }
    }
}

/// Who is at the other end of a connection, as far as the connection tells.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    ip: IpAddr,
    handshake: Handshake,
    standing: Standing,
    failed: Arc<AtomicU32>,
}

impl Caller {
    pub(super) fn ip(&self) -> IpAddr {
        self.ip
    }

    pub(super) fn handshake(&self) -> Handshake {
        self.handshake
    }

    /// It is known: its connection stays.
    pub(super) fn prove(&self) {
        self.standing.prove();
    }

    /// Its connection stays for as long as this is held.
    pub(super) fn hold(&self) -> Hold {
        self.standing.hold()
    }

    /// It is not who it should be, once more.
    pub(super) fn fail(&self, failures: &Failures, why: &str) {
        let failed = self.failed.fetch_add(1, Ordering::Relaxed) + 1;
        match failures.count(self.ip, failed, why) {
            Verdict::Stays => {}
            Verdict::Ends => {
                let standing = self.standing.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(FAREWELL).await;
                    standing.dismiss();
                });
            }
        }
    }
}

/// What connections are let in by.
#[derive(Clone)]
pub(super) struct Entrance {
    places: Places,
    terms: LiveTerms,
    failures: Arc<Failures>,
    lines: Arc<Seldom>,
}

impl Entrance {
    pub(super) fn new(terms: LiveTerms, failures: Arc<Failures>) -> Self {
        Self { places: Places::new(CONNECTIONS), terms, failures, lines: Arc::new(Seldom::new(MAX_LINES)) }
    }

    /// The connections of this listener, hands shaken, until the stream is dropped.
    pub(super) fn connections(self, listener: TcpListener) -> impl Stream<Item = io::Result<Connection>> {
        let (connected, connections) = mpsc::channel(MAX_WAITING);
        tokio::spawn(self.accept(listener, connected));
        ReceiverStream::new(connections)
    }

    async fn accept(self, listener: TcpListener, connected: mpsc::Sender<io::Result<Connection>>) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = connected.closed() => return,
            };
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer, &connected),
                Err(error) => {
                    tracing::warn!(%error, "admin connection not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr, connected: &mpsc::Sender<io::Result<Connection>>) {
        let Some(place) = self.places.admit(peer.ip()) else {
            if let Some(left_out) = self.lines.due() {
                tracing::warn!(client_ip = %peer.ip(), left_out, "no place for an admin connection");
            }
            return;
        };
        // Without it small answers wait for the peer's delayed ACK; a failure is only slower.
        let _ = stream.set_nodelay(true);
        let (this, connected) = (self.clone(), connected.clone());
        tokio::spawn(async move {
            let over = place.standing().over(PROOF_TIME);
            let mut over: BoxFuture<'static, ()> = Box::pin(over);
            let shaken = tokio::select! {
                shaken = this.shake_hands(stream, peer.ip()) => shaken,
                () = &mut over => return,
            };
            let Some((stream, handshake)) = shaken else { return };
            let (ip, standing) = (peer.ip(), place.standing());
            let caller = Caller { ip, handshake, standing, failed: Arc::default() };
            if this.terms.now().knows_by(handshake) {
                caller.prove();
            }
            // Nobody takes it when the server has stopped.
            let _ = connected.send(Ok(Connection { stream, caller, over: Some(over), _place: place })).await;
        });
    }

    async fn shake_hands(&self, stream: TcpStream, ip: IpAddr) -> Option<(Wire, Handshake)> {
        let Some(identity) = self.terms.now().identity.clone() else {
            return Some((Either::Left(stream), Handshake::None));
        };
        match identity.acceptor().accept(stream).await {
            Ok((stream, _)) => {
                let made = identity.trust().map_or(Handshake::Tls, Handshake::Certified);
                Some((Either::Right(Box::new(stream)), made))
            }
            Err(error) => {
                // Who has no certificate where one is asked for, and who looks what there is.
                let _ended = self.failures.count(ip, 1, &error.to_string());
                None
            }
        }
    }
}

type Wire = Either<TcpStream, Box<ServerStream<TcpStream>>>;

/// A connection, and its place among those allowed.
pub(super) struct Connection {
    stream: Wire,
    caller: Caller,
    /// Ready when it must go; `None` when it has gone.
    over: Option<BoxFuture<'static, ()>>,
    _place: Place,
}

impl Connection {
    /// Fails when the connection must go; else `context` is woken when it must.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let Some(over) = &mut self.over else { return Err(io::ErrorKind::ConnectionAborted.into()) };
        if over.as_mut().poll(context).is_ready() {
            self.over = None;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
#[path = "listener_tests.rs"]
mod tests;
