//! The destination of the demo world: a small SMTP server that keeps what it is sent. Its replies are its
//! own, since it plays a stranger's mail system.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::smtp::data::{DataDecoder, Progress};
use crate::smtp::line::{Line, LineDecoder};

/// Sessions served at a time; more wait.
const MAX_SESSIONS: usize = 256;
/// Messages kept until they are looked at; more are taken and forgotten.
const MAX_KEPT: usize = 100;
/// Octets of the largest message taken: the node's own limit and its trace fields.
const MAX_MESSAGE_OCTETS: usize = 27 * 1024 * 1024;
/// RFC 5321 §4.5.3.2.7.
const IDLE: Duration = Duration::from_secs(300);
/// How long the recipient `slow` is thought about.
const SLOW: Duration = Duration::from_secs(5);
/// Recipients of one message (RFC 5321 §4.5.3.1.8).
const MAX_RECIPIENTS: usize = 100;

/// A message that the sink took.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The address that it came from.
    pub peer: SocketAddr,
    /// The name of EHLO.
    pub helo: String,
    /// The reverse-path, without its brackets.
    pub reverse_path: String,
    /// The recipients, without their brackets.
    pub recipients: Vec<String>,
    /// The message as it was sent, without dot-stuffing.
    pub octets: Vec<u8>,
}

/// A running sink. Dropping it ends it.
pub struct Sink {
    address: SocketAddr,
    kept: mpsc::Receiver<Kept>,
    _listener: JoinSet<()>,
}

impl Sink {
    /// Starts a sink. It takes mail for anyone but the local parts `tempfail` (451), `permfail` (550) and
    /// `full` (452), and thinks 5 s about `slow`.
    ///
    /// # Errors
    /// When it cannot listen there.
    pub async fn start(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (keep, kept) = mpsc::channel(MAX_KEPT);
        let mut tasks = JoinSet::new();
        tasks.spawn(listen(listener, keep));
        Ok(Self { address, kept, _listener: tasks })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes out the messages kept so far, oldest first.
    pub fn take(&mut self) -> Vec<Kept> {
        std::iter::from_fn(|| self.kept.try_recv().ok()).collect()
    }

    /// Waits for the next message.
    pub async fn next(&mut self) -> Option<Kept> {
        self.kept.recv().await
    }
}

async fn listen(listener: TcpListener, keep: mpsc::Sender<Kept>) {
    let places = Arc::new(Semaphore::new(MAX_SESSIONS));
    let mut sessions = JoinSet::new();
    while let Ok(place) = places.clone().acquire_owned().await {
        let Ok((stream, peer)) = listener.accept().await else { continue };
        let keep = keep.clone();
        sessions.spawn(async move {
            // A session ends with its connection, and there is nobody to tell.
            let _ = Session::new(stream, peer, keep).run().await;
            drop(place);
        });
        while sessions.try_join_next().is_some() {}
    }
}

struct Session {
    stream: TcpStream,
    peer: SocketAddr,
    keep: mpsc::Sender<Kept>,
    buffer: BytesMut,
    lines: LineDecoder,
    helo: String,
    /// The reverse-path and recipients of the open transaction.
    transaction: Option<(String, Vec<String>)>,
}

impl Session {
    fn new(stream: TcpStream, peer: SocketAddr, keep: mpsc::Sender<Kept>) -> Self {
        let (buffer, lines) = (BytesMut::new(), LineDecoder::default());
        Self { stream, peer, keep, buffer, lines, helo: String::new(), transaction: None }
    }

    async fn run(mut self) -> io::Result<()> {
        self.say("220 mx.dest.test ESMTP sink").await?;
        loop {
            let Some(line) = self.lines.decode(&mut self.buffer) else {
                self.read().await?;
                continue;
            };
            let Line::Complete(line) = line else {
                self.say("500 5.5.2 that is no command line").await?;
                return Ok(());
            };
            let line = String::from_utf8_lossy(&line).into_owned();
            let verb = line.get(..4).unwrap_or(&line).to_ascii_uppercase();
            match verb.as_str() {
                "EHLO" | "HELO" => self.hello(&line).await?,
                "MAIL" => self.mail(&line).await?,
                "RCPT" => self.rcpt(&line).await?,
                "DATA" => self.data().await?,
                "RSET" => {
                    self.transaction = None;
                    self.say("250 2.0.0 forgotten").await?;
                }
                "NOOP" => self.say("250 2.0.0 still here").await?,
                "QUIT" => return self.say("221 2.0.0 bye").await,
                _ => self.say("500 5.5.1 the sink knows no such command").await?,
            }
        }
    }

    async fn hello(&mut self, line: &str) -> io::Result<()> {
        self.helo = line.get(5..).unwrap_or_default().to_owned();
        self.transaction = None;
        self.say("250-mx.dest.test").await?;
        let size = format!("250-SIZE {MAX_MESSAGE_OCTETS}");
        self.say(&size).await?;
        self.say("250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES").await
    }

    async fn mail(&mut self, line: &str) -> io::Result<()> {
        self.transaction = Some((path(line), Vec::new()));
        self.say("250 2.1.0 sender noted").await
    }

    async fn rcpt(&mut self, line: &str) -> io::Result<()> {
        let recipient = path(line);
        let local = recipient.split('@').next().unwrap_or_default();
        match local {
            "tempfail" => return self.say("451 4.3.2 mailbox is busy, come back later").await,
            "full" => return self.say("452 4.2.2 mailbox is full").await,
            "permfail" => return self.say("550 5.1.1 no such mailbox").await,
            "slow" => tokio::time::sleep(SLOW).await,
            _ => {}
        }
        match &mut self.transaction {
            Some((_, recipients)) if recipients.len() < MAX_RECIPIENTS => {
                recipients.push(recipient);
                self.say("250 2.1.5 recipient noted").await
            }
            Some(_) => self.say("452 4.5.3 too many recipients").await,
            None => self.say("503 5.5.1 MAIL first").await,
        }
    }

    async fn data(&mut self) -> io::Result<()> {
        let transaction = self.transaction.take().filter(|(_, recipients)| !recipients.is_empty());
        let Some((reverse_path, recipients)) = transaction else {
            return self.say("554 5.5.1 no valid recipients").await;
        };
        self.say("354 go ahead").await?;
        let mut decoder = DataDecoder::default();
        let mut octets = Vec::new();
        loop {
            let input = self.buffer.split();
            if let Progress::End(at) = decoder.decode(&input, &mut octets) {
                self.buffer.extend_from_slice(input.get(at..).unwrap_or_default());
                break;
            }
            if octets.len() > MAX_MESSAGE_OCTETS {
                self.say("552 5.3.4 larger than announced").await?;
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.read().await?;
        }
        let reply = format!("250 2.0.0 sink kept {} octets", octets.len());
        let (peer, helo) = (self.peer, self.helo.clone());
        let _full = self.keep.try_send(Kept { peer, helo, reverse_path, recipients, octets });
        self.say(&reply).await
    }

    async fn read(&mut self) -> io::Result<()> {
        match timeout(IDLE, self.stream.read_buf(&mut self.buffer)).await?? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    async fn say(&mut self, text: &str) -> io::Result<()> {
        timeout(IDLE, self.stream.write_all(format!("{text}\r\n").as_bytes())).await?
    }
}

/// What stands between the angle brackets of a command.
fn path(line: &str) -> String {
    let inner = line.split_once('<').and_then(|(_, rest)| rest.rsplit_once('>'));
    inner.map(|(path, _)| path.to_owned()).unwrap_or_default()
}
