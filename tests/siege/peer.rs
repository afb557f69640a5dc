//! One connection to the node from an address of one's own choice, for whom every failure is an end.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::support::last_line;

/// How long the node may take for anything.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Peer(BufReader<TcpStream>);

impl Peer {
    pub(super) async fn connect(from: Ipv4Addr, to: SocketAddr) -> Option<Self> {
        let socket = TcpSocket::new_v4().ok()?;
        socket.bind((from, 0).into()).ok()?;
        Some(Self(BufReader::new(timeout(PATIENCE, socket.connect(to)).await.ok()?.ok()?)))
    }

    /// Connected, greeted, and introduced.
    pub(super) async fn greeted(from: Ipv4Addr, to: SocketAddr, name: &str) -> Option<Self> {
        let mut peer = Self::connect(from, to).await?;
        let greeting = peer.reply().await?;
        if !greeting.starts_with('2') {
            return None;
        }
        peer.say(&format!("EHLO {name}")).await?;
        Some(peer)
    }

    /// Sends a line; the last line of its reply.
    pub(super) async fn say(&mut self, line: &str) -> Option<String> {
        self.send(format!("{line}\r\n").as_bytes()).await?;
        self.reply().await
    }

    /// Sends lines until one is not answered with 2xx or 354; the last reply.
    pub(super) async fn say_all(&mut self, lines: &[&str]) -> Option<String> {
        let mut last = None;
        for line in lines {
            let reply = self.say(line).await?;
            if !reply.starts_with(['2', '3']) {
                return Some(reply);
            }
            last = Some(reply);
        }
        last
    }

    pub(super) async fn send(&mut self, octets: &[u8]) -> Option<()> {
        timeout(PATIENCE, self.0.get_mut().write_all(octets)).await.ok()?.ok()
    }

    /// The last line of the next reply.
    pub(super) async fn reply(&mut self) -> Option<String> {
        timeout(PATIENCE, last_line(&mut self.0)).await.ok()?
    }

    /// Reads on until the node hangs up.
    pub(super) async fn linger(&mut self) {
        let mut line = Vec::new();
        while self.0.read_until(b'\n', &mut line).await.is_ok_and(|octets| octets > 0) {
            line.clear();
        }
    }

    /// Ends the connection by a reset.
    pub(super) fn reset(self) {
        let _gone = SockRef::from(self.0.get_ref()).set_linger(Some(Duration::ZERO));
    }
}
