//! One connection to an upstream: octets out, replies in, every wait with an end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::address_error::{AddressError, Peer};
use super::dialogue::Dialogue;
use super::places::Place;
use crate::config::LogAddresses;
use crate::pipeline::deadline::Deadline;
use crate::pipeline::deliver::options::Options;
use crate::smtp::client::{Capabilities, ReplyDecoder};
use crate::smtp::reply::Reply;
use crate::telemetry::Metrics;
use crate::tls::{ClientStream, ClientTls, Negotiated, Shaken, TlsFailure};

/// Octets asked of the network at once while a reply is awaited.
const READ_OCTETS: usize = 4096;
/// Transactions a connection, unless the upstream's LIMITS says less: long-lived connections keep a host's
/// share of an upstream's balancing for ever.
const MAX_TRANSACTIONS: usize = 100;

/// Whether octets on the wire are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Security {
    /// STARTTLS was done.
    Encrypted,
    /// Not offered, or failed.
    Plain,
}

/// Where a connection stands between transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The next command may be MAIL.
    Clean,
    /// MAIL was sent, and the transaction has not ended by its dot.
    InTransaction,
    /// The upstream is closing it, or it is out of step.
    Spent,
}

/// A connection that was greeted, or is on its way there.
pub(crate) struct Connection {
    pub(crate) peer: Peer,
    pub(crate) tls: Option<Negotiated>,
    /// Why it is in the clear though the host offers STARTTLS.
    pub(crate) fallback: Option<Arc<str>>,
    pub(crate) capabilities: Capabilities,
    pub(crate) phase: Phase,
    /// MAIL commands sent so far.
    pub(crate) transactions: usize,
    stream: Stream,
    input: BytesMut,
    decoder: ReplyDecoder,
    /// Where what is said is kept, for an attempt whose message can be shown.
    pub(crate) dialogue: Option<Dialogue>,
    log_addresses: LogAddresses,
    _place: Place,
    _open: Open,
}

enum Stream {
    Plain(TcpStream),
    Encrypted(Box<ClientStream>),
}

/// Counts the connection in `delivery_connections` while it lives.
struct Open(Arc<Metrics>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.delivery_connections.dec();
    }
}

/// The end of a step: its own limit, but no later than `until`.
pub(crate) fn within(limit: Duration, until: Deadline) -> Instant {
    (Instant::now() + limit).min(until.at())
}

impl Connection {
    /// Wraps a TCP connection whose greeting has not been read.
    pub(crate) fn new(
        peer: Peer,
        stream: TcpStream,
        place: Place,
        options: &Options,
        metrics: &Arc<Metrics>,
    ) -> Self {
        metrics.delivery_connections.inc();
        Self {
            peer,
            tls: None,
            fallback: None,
            capabilities: Capabilities::default(),
            phase: Phase::Clean,
            transactions: 0,
            stream: Stream::Plain(stream),
            input: BytesMut::new(),
            decoder: ReplyDecoder::default(),
            dialogue: None,
            log_addresses: options.log_addresses,
            _place: place,
            _open: Open(metrics.clone()),
        }
    }

    /// Whether it is encrypted.
    pub(crate) fn security(&self) -> Security {
        match self.stream {
            Stream::Plain(_) => Security::Plain,
            Stream::Encrypted(_) => Security::Encrypted,
        }
    }

    /// Shakes hands. What the upstream sent behind its 220 came unprotected and is thrown away
    /// (RFC 3207 §4.2), and so is what it said it can do. With it what a policy in testing has against it.
    pub(crate) async fn encrypt(
        self,
        tls: &ClientTls,
        until: Instant,
    ) -> Result<(Self, Option<TlsFailure>), AddressError> {
        let Stream::Plain(stream) = self.stream else { return Ok((self, None)) };
        let shaken = timeout_at(until, tls.connect(&self.peer.host, &self.peer.demand, stream)).await;
        let shaken = shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let Shaken { stream, negotiated, failure } = shaken.map_err(AddressError::Handshake)?;
        let connection = Self {
            stream: Stream::Encrypted(Box::new(stream)),
            tls: Some(negotiated),
            input: BytesMut::new(),
            decoder: ReplyDecoder::default(),
            capabilities: Capabilities::default(),
            ..self
        };
        Ok((connection, failure))
    }

    /// Sends one or more command lines in one write.
    pub(crate) async fn say(
        &mut self,
        lines: &str,
        until: Instant,
        step: &'static str,
    ) -> Result<(), AddressError> {
        for line in lines.lines() {
            if let Some(dialogue) = &self.dialogue {
                dialogue.note('>', line);
            }
            let shown = match self.log_addresses {
                LogAddresses::Full => line,
                LogAddresses::Hash | LogAddresses::None => line.split([' ', ':']).next().unwrap_or_default(),
            };
            tracing::debug!(host = self.peer.host, "> {shown}");
        }
        self.send(lines.as_bytes(), until, step).await
    }

    /// Sends octets.
    pub(crate) async fn send(
        &mut self,
        octets: &[u8],
        until: Instant,
        step: &'static str,
    ) -> Result<(), AddressError> {
        let written = timeout_at(until, self.stream.write(octets)).await;
        written.map_err(|_| AddressError::TimedOut(step))?.map_err(|error| AddressError::Lost(step, error))
    }

    /// Reads one reply. `until` is the end for all of it, so that an octet a minute does not prolong it.
    /// A reply that is cut off by the end of time is gone on with by the next call.
    pub(crate) async fn reply(&mut self, until: Instant, step: &'static str) -> Result<Reply, AddressError> {
        let reply =
            timeout_at(until, self.next_reply(step)).await.map_err(|_| AddressError::TimedOut(step))??;
        if let Some(dialogue) = &self.dialogue {
            dialogue.note('<', &reply);
        }
        match self.log_addresses {
            LogAddresses::Full => tracing::debug!(host = self.peer.host, "< {reply}"),
            LogAddresses::Hash | LogAddresses::None => {
                tracing::debug!(host = self.peer.host, "< {}", reply.code);
            }
        }
        Ok(reply)
    }

    async fn next_reply(&mut self, step: &'static str) -> Result<Reply, AddressError> {
        loop {
            if let Some(reply) = self.decoder.decode(&mut self.input)? {
                return Ok(reply);
            }
            self.input.reserve(READ_OCTETS);
            match self.stream.read(&mut self.input).await {
                Ok(0) => return Err(AddressError::Lost(step, io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => {}
                Err(error) => return Err(AddressError::Lost(step, error)),
            }
        }
    }

    /// Sends one command and reads its reply.
    pub(crate) async fn command(
        &mut self,
        line: &str,
        until: Instant,
        step: &'static str,
    ) -> Result<Reply, AddressError> {
        self.say(line, until, step).await?;
        self.reply(until, step).await
    }

    /// Whether it may serve another transaction.
    pub(crate) fn is_reusable(&self) -> bool {
        let most = self.capabilities.mails_max().unwrap_or(MAX_TRANSACTIONS).min(MAX_TRANSACTIONS);
        self.phase != Phase::Spent && self.transactions < most && self.input.is_empty()
    }

    /// Ends a transaction that has not ended by its dot (RFC 5321 §4.1.1.5). Whether another may begin.
    pub(crate) async fn reset(&mut self, until: Instant) -> bool {
        let reply = self.command("RSET\r\n", until, "at RSET").await;
        let is_reset = reply.is_ok_and(|reply| reply.is_positive());
        self.phase = if is_reset { Phase::Clean } else { Phase::Spent };
        is_reset
    }

    /// Whether it is open and the upstream has said nothing unasked. An upstream that did has closed the
    /// connection, is about to (421), or is out of step.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.input.reserve(READ_OCTETS);
        self.input.is_empty() && self.stream.read(&mut self.input).now_or_never().is_none()
    }

    /// Makes room at once: says good-bye and does not wait for what the upstream says to that (differs: RFC 5321
    /// §4.1.1.10 would have us wait, for a place that another message needs now).
    pub(crate) fn part(mut self) {
        let _said = self.stream.write(b"QUIT\r\n").now_or_never();
    }

    /// Says good-bye (RFC 5321 §4.1.1.10); what the upstream answers, or goes on to send, does not matter.
    pub(crate) async fn quit(mut self, limit: Duration) {
        let until = Instant::now() + limit;
        if let Err(trouble) = self.command("QUIT\r\n", until, "at QUIT").await {
            tracing::debug!(host = self.peer.host, %trouble, "no answer to QUIT");
        }
    }
}

impl Stream {
    async fn read(&mut self, into: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read_buf(into).await,
            Self::Encrypted(stream) => stream.read_buf(into).await,
        }
    }

    async fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(octets).await,
            Self::Encrypted(stream) => {
                stream.write_all(octets).await?;
                stream.flush().await
            }
        }
    }
}
