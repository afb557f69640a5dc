//! The beginning of an SMTP session, as any client hears it: greeting and EHLO.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::BytesMut;
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::mail::Domain;
use crate::smtp::client::{ReplyDecoder, ReplyError, ehlo};
use crate::smtp::reply::Reply;

/// For the whole of it, from the connection to the answer to QUIT. Some hosts let a client wait for their greeting, against
/// spam, but for less: Postfix's postscreen 6 s.
pub(super) const MAX_GREETING_TIME: Duration = Duration::from_secs(10);

/// What was said.
#[derive(Debug)]
pub(super) struct Greeting {
    banner: Reply,
    hello: Reply,
}

/// Why there is none.
#[derive(Debug, Error)]
pub(super) enum GreetingError {
    #[error("cannot be reached: {0}")]
    Unreachable(io::Error),
    #[error("gives no greeting within {} s", MAX_GREETING_TIME.as_secs())]
    TimedOut,
    #[error("hangs up: {0}")]
    Broken(io::Error),
    #[error("does not speak SMTP: {0}")]
    NoReply(#[from] ReplyError),
    #[error("says {} {}", .0.code, .0.lines.join(" "))]
    Refused(Reply),
}

impl Greeting {
    /// The name that the host greets with (RFC 5321 §4.2).
    pub(super) fn name(&self) -> &str {
        self.banner.lines.first().and_then(|line| line.split(' ').next()).unwrap_or_default()
    }
}

/// `"220 linda.mx.relay.example ESMTP Postroad", "250 linda.mx.relay.example"`
impl fmt::Display for Greeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = |reply: &Reply| reply.lines.first().cloned().unwrap_or_default();
        let (banner, hello) = (first(&self.banner), first(&self.hello));
        write!(f, "\"{} {banner}\", \"{} {hello}\"", self.banner.code, self.hello.code)
    }
}

/// Goes to `to`, from an address of this host or from any, and says EHLO with this name, or else with that address
/// (RFC 5321 §4.1.3).
///
/// # Errors
/// When the host cannot be reached, is silent, or says no.
pub(super) async fn greet(
    to: SocketAddr,
    from: Option<IpAddr>,
    name: Option<&Domain>,
) -> Result<Greeting, GreetingError> {
    let greeted = async {
        let stream = connect(to, from).await.map_err(GreetingError::Unreachable)?;
        let ours = stream.local_addr().map_err(GreetingError::Broken)?.ip();
        let mut session = Session { stream, input: BytesMut::new() };
        let banner = session.welcome().await?;
        let hello = match name {
            Some(name) => session.command(&ehlo(name)).await?,
            None => session.command(&format!("EHLO {}\r\n", literal(ours))).await?,
        };
        // Whatever it says to that, it has said what we are here for.
        let _ = session.command("QUIT\r\n").await;
        Ok(Greeting { banner, hello })
    };
    timeout(MAX_GREETING_TIME, greeted).await.unwrap_or(Err(GreetingError::TimedOut))
}

fn literal(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("[{ip}]"),
        IpAddr::V6(ip) => format!("[IPv6:{ip}]"),
    }
}

async fn connect(to: SocketAddr, from: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(from) = from {
        socket.bind(SocketAddr::new(from, 0))?;
    }
    socket.connect(to).await
}

struct Session {
    stream: TcpStream,
    input: BytesMut,
}

impl Session {
    async fn command(&mut self, line: &str) -> Result<Reply, GreetingError> {
        self.stream.write_all(line.as_bytes()).await.map_err(GreetingError::Broken)?;
        self.welcome().await
    }

    /// A reply that is no refusal.
    async fn welcome(&mut self) -> Result<Reply, GreetingError> {
        let mut decoder = ReplyDecoder::default();
        loop {
            if let Some(reply) = decoder.decode(&mut self.input)? {
                return if reply.is_positive() { Ok(reply) } else { Err(GreetingError::Refused(reply)) };
            }
            let read = self.stream.read_buf(&mut self.input).await.map_err(GreetingError::Broken)?;
            if read == 0 {
                return Err(GreetingError::Broken(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }
}
