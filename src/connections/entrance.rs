//! Owns the connections of a listener from when they are accepted: a place, hands shaken in time, and the end of those that
//! have to go.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use super::{Bounds, Place, Places, Standing};
use crate::telemetry::Seldom;

/// Pause after a failed accept: out of descriptors, usually.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections that have shaken hands and wait to be served: none waits long.
const MAX_WAITING: usize = 16;
/// Lines in the log a minute about connections that found no place.
const MAX_LINES: u32 = 1;

/// How a listener shakes hands.
pub trait Handshaking: Clone + Send + Sync + 'static {
    /// What it makes of a connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// Who is at the other end, as far as the connection tells.
    type Caller: Clone + Send + Sync + 'static;

    /// Shakes hands, and says so to `standing` where that is all that is to be shown; none: it goes. It ends with the
    /// listener's time for proof.
    fn shake_hands(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        standing: Standing,
    ) -> impl Future<Output = Option<(Self::Stream, Self::Caller)>> + Send;
}

/// What connections are let in by.
#[derive(Clone)]
pub struct Entrance<H> {
    listener: &'static str,
    places: Places,
    proof_time: Duration,
    handshaking: H,
    lines: Arc<Seldom>,
}

impl<H: Handshaking> Entrance<H> {
    /// The entrance of the listener that the log calls so. A connection has `proof_time` to show what it is for, the
    /// handshake included.
    #[must_use]
    pub fn new(listener: &'static str, bounds: Bounds, proof_time: Duration, handshaking: H) -> Self {
        let lines = Arc::new(Seldom::new(MAX_LINES));
        Self { listener, places: Places::new(bounds), proof_time, handshaking, lines }
    }

    /// The connections of this listener, hands shaken, until the stream is dropped.
    pub fn connections(
        self,
        listener: TcpListener,
    ) -> impl Stream<Item = io::Result<Connection<H::Stream, H::Caller>>> {
        let (connected, connections) = mpsc::channel(MAX_WAITING);
        tokio::spawn(self.accept(listener, connected));
        ReceiverStream::new(connections)
    }

    async fn accept(self, listener: TcpListener, connected: Served<H>) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = connected.closed() => return,
            };
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer, &connected),
                Err(error) => {
                    tracing::warn!(listener = self.listener, %error, "connection not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr, connected: &Served<H>) {
        let Some(place) = self.places.admit(peer.ip()) else {
            if let Some(left_out) = self.lines.due() {
                let listener = self.listener;
                tracing::warn!(listener, client_ip = %peer.ip(), left_out, "no place for a connection");
            }
            return;
        };
        // Without it small answers wait for the peer's delayed ACK; a failure is only slower.
        let _ = stream.set_nodelay(true);
        let (handshaking, proof_time, connected) =
            (self.handshaking.clone(), self.proof_time, connected.clone());
        tokio::spawn(async move {
            let mut over: BoxFuture<'static, ()> = Box::pin(place.standing().over(proof_time));
            let shaken = tokio::select! {
                shaken = handshaking.shake_hands(stream, peer, place.standing()) => shaken,
                () = &mut over => return,
            };
            let Some((stream, caller)) = shaken else { return };
            // Nobody takes it when the server has stopped.
            let _ = connected.send(Ok(Connection { stream, caller, over: Some(over), _place: place })).await;
        });
    }
}

type Served<H> = mpsc::Sender<io::Result<Connection<<H as Handshaking>::Stream, <H as Handshaking>::Caller>>>;

/// A connection, and its place among those allowed.
pub struct Connection<S, C> {
    stream: S,
    caller: C,
    /// Ready when it must go; `None` when it has gone.
    over: Option<BoxFuture<'static, ()>>,
    _place: Place,
}

impl<S, C> Connection<S, C> {
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

impl<S, C: Clone + Send + Sync + 'static> Connected for Connection<S, C> {
    type ConnectInfo = C;

    fn connect_info(&self) -> C {
        self.caller.clone()
    }
}

impl<S: AsyncRead + Unpin, C: Unpin> AsyncRead for Connection<S, C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin, C: Unpin> AsyncWrite for Connection<S, C> {
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
