//! One SMTP session (RFC 5321 §3): greeting, one method a verb, replies in order.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::either::Either;

use super::reply_owed::RepliesOwed;
use super::transaction::Open;
use super::{Surroundings, proxy};
use crate::blocklist::Listing;
use crate::config::Config;
use crate::pipeline::parcel::{Client, Protocol};
use crate::smtp::command::{self, Command};
use crate::smtp::line::{Line, LineDecoder};
use crate::smtp::reply::{self, Reply, Row};
use crate::telemetry::SmtpCommand;
use crate::tls::{Negotiated, ServerStream};

/// How long a client that we do not know is given to talk before its greeting.
const GREETING_PAUSE: Duration = Duration::from_millis(50);
/// Longest TLS handshake.
const TLS_TIMEOUT: Duration = Duration::from_secs(30);
/// Octets asked of the socket at a time for commands, and for message octets.
pub(super) const COMMAND_READ_OCTETS: usize = 2048;
pub(super) const MESSAGE_READ_OCTETS: usize = 65_536;

/// Why a session ends.
#[derive(Debug)]
pub(super) enum End {
    /// The client said QUIT and has its 221.
    Quit,
    /// The client has its 220 to STARTTLS.
    StartTls,
    /// The client closed the connection, under TLS perhaps without the close_notify of RFC 8446 §6.1: nothing
    /// that we read depends on it, and many end so.
    Closed,
    /// We said why and close.
    Dismissed,
    /// The socket or the handshake failed.
    Failed {
        /// How.
        error: io::Error,
    },
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Self::Closed;
        }
        Self::Failed { error }
    }
}

pub(super) type Stream = Either<TcpStream, Box<ServerStream<TcpStream>>>;

/// One session.
pub(super) struct Session {
    pub(super) around: Arc<Surroundings>,
    pub(super) config: Arc<Config>,
    pub(super) stream: Stream,
    pub(super) input: BytesMut,
    output: Vec<u8>,
    lines: LineDecoder,
    pub(super) ip: IpAddr,
    /// Set by EHLO or HELO.
    pub(super) client: Option<Arc<Client>>,
    tls: Option<Negotiated>,
    pub(super) listing: PendingListing,
    pub(super) open: Option<Open>,
    pub(super) transactions: usize,
    errors: usize,
    /// Replies to messages that are out, and of which the client has not shown yet that it has them.
    pub(super) replies: RepliesOwed,
}

/// The DNSBL verdict, asked for at connect.
pub(super) enum PendingListing {
    Asked(JoinHandle<Listing>),
    Known(Listing),
}

impl Drop for PendingListing {
    fn drop(&mut self) {
        if let Self::Asked(task) = self {
            task.abort();
        }
    }
}

/// Serves one connection from the PROXY header to its end.
pub(super) async fn serve(stream: TcpStream, peer: SocketAddr, around: Arc<Surroundings>) {
    let config = around.config.borrow().clone();
    let family = if peer.ip().to_canonical().is_ipv4() { "ipv4" } else { "ipv6" };
    let outcome = match enter(stream, peer, around.clone(), config).await {
        Ok(outcome) => outcome,
        Err(Refused(mut stream, row)) => {
            let mut out = Vec::new();
            let reply = row.with(&[around.config.borrow().node.hostname.as_str()]);
            around.metrics.smtp_reply(SmtpCommand::Connect, &reply);
            reply.write_to(&mut out);
            let _unheard = timeout(TLS_TIMEOUT, stream.write_all(&out)).await;
            row.reason
        }
    };
    around.metrics.smtp_connections_total.with_label_values(&[family, outcome]).inc();
}

/// A connection that is sent away.
struct Refused(TcpStream, &'static Row);

async fn enter(
    mut stream: TcpStream,
    peer: SocketAddr,
    around: Arc<Surroundings>,
    config: Arc<Config>,
) -> Result<&'static str, Refused> {
    let mut ip = peer.ip().to_canonical();
    if proxy::is_trusted(peer, &config.smtp.trusted_proxies) {
        match proxy::read_header(&mut stream).await {
            Ok(source) => ip = source.unwrap_or(ip),
            Err(error) => {
                tracing::warn!(%peer, %error, "connection of a trusted proxy refused");
                return Err(Refused(stream, reply::BAD_PROXY_HEADER));
            }
        }
    }
    let _place = match around.door.admit(ip, &config.limits) {
        Ok(place) => place,
        Err(row) => return Err(Refused(stream, row)),
    };
    let _nagle = stream.set_nodelay(true);
    around.metrics.smtp_connections.inc();
    let end = Session::new(stream, ip, around.clone(), config).run().await;
    around.metrics.smtp_connections.dec();
    tracing::debug!(client_ip = %ip, ?end, "session ended");
    Ok("accepted")
}

impl Session {
    fn new(stream: TcpStream, ip: IpAddr, around: Arc<Surroundings>, config: Arc<Config>) -> Self {
        let blocklist = around.blocklist.load_full();
        let listing = PendingListing::Asked(tokio::spawn(async move { blocklist.check(ip).await }));
        Self {
            around,
            config,
            stream: Either::Left(stream),
            input: BytesMut::new(),
            output: Vec::new(),
            lines: LineDecoder::default(),
            ip,
            client: None,
            tls: None,
            listing,
            open: None,
            transactions: 0,
            errors: 0,
            replies: RepliesOwed::default(),
        }
    }

    /// The whole session, in plaintext and then, after STARTTLS, under TLS.
    async fn run(mut self) -> End {
        let mut end = match self.greet().await {
            Ok(()) => self.dialogue().await,
            Err(end) => end,
        };
        if matches!(end, End::StartTls) {
            self = match self.upgrade().await {
                Ok(session) => session,
                Err(end) => return end,
            };
            end = self.dialogue().await;
        }
        self.close(&end).await;
        end
    }

    async fn dialogue(&mut self) -> End {
        loop {
            if let Err(end) = self.step().await {
                return end;
            }
        }
    }

    /// One command and its reply.
    async fn step(&mut self) -> Result<(), End> {
        match self.read_line().await? {
            Line::Complete(line) => self.obey(&line).await,
            Line::Malformed => self.say(SmtpCommand::Other, &reply::BAD_COMMAND_OCTET.reply()).await,
            Line::TooLong => self.say(SmtpCommand::Other, &reply::LINE_TOO_LONG.reply()).await,
            Line::Endless => self.dismiss(SmtpCommand::Other, reply::LINE_TOO_LONG.reply()).await,
        }
    }

    /// RFC 5321 §4.3.1: the client waits for the greeting. One that we do not know is given the time to
    /// show that it does not.
    async fn greet(&mut self) -> Result<(), End> {
        if !self.around.door.is_patient(self.ip) {
            self.input.reserve(COMMAND_READ_OCTETS);
            match timeout(GREETING_PAUSE, self.stream.read_buf(&mut self.input)).await {
                Err(_silent) => self.around.door.was_patient(self.ip),
                Ok(Ok(0)) => return Err(End::Closed),
                Ok(Ok(_)) => return self.dismiss(SmtpCommand::Connect, reply::EARLY_TALKER.reply()).await,
                Ok(Err(error)) => return Err(error.into()),
            }
        }
        let hostname = self.config.node.hostname.clone();
        self.say(SmtpCommand::Connect, &reply::GREETING.with(&[hostname.as_str()])).await
    }

    async fn obey(&mut self, line: &[u8]) -> Result<(), End> {
        let verb = SmtpCommand::of(command::verb(line));
        if self.around.draining.is_cancelled() && verb != SmtpCommand::Quit {
            return self.shut_down(verb).await;
        }
        match command::parse(line) {
            Ok(Command::Ehlo(name)) => self.ehlo(name).await,
            Ok(Command::Helo(name)) => self.helo(name).await,
            Ok(Command::Mail(mail)) => self.mail(mail).await,
            Ok(Command::Rcpt(rcpt)) => self.rcpt(rcpt).await,
            Ok(Command::Data) => self.data().await,
            Ok(Command::Bdat(chunk)) => self.bdat(chunk).await,
            Ok(Command::StartTls) => self.start_tls().await,
            Ok(Command::Rset) => self.rset().await,
            Ok(Command::Noop) => self.say(verb, &reply::OK.reply()).await,
            Ok(Command::Vrfy) => self.say(verb, &reply::CANNOT_VERIFY.reply()).await,
            Ok(Command::Help) => {
                let url = self.config.service.postmaster_url.clone();
                self.say(verb, &reply::HELP.with(&[&url])).await
            }
            Ok(Command::Quit) => {
                self.say(verb, &reply::BYE.reply()).await?;
                self.flush().await?;
                Err(End::Quit)
            }
            Err(reply) => self.say(verb, &reply).await,
        }
    }

    async fn ehlo(&mut self, name: String) -> Result<(), End> {
        // RFC 2920 §3.1: EHLO ends a group of pipelined commands.
        if !self.input.is_empty() {
            return self
                .dismiss(SmtpCommand::Ehlo, reply::BAD_SEQUENCE.with(&["wait for the answer to EHLO"]))
                .await;
        }
        let protocol = if self.tls.is_some() { Protocol::Esmtps } else { Protocol::Esmtp };
        self.introduce(name, protocol);
        let mut hello = reply::HELLO.with(&[self.config.node.hostname.as_str()]);
        let size = format!("SIZE {}", self.config.service.max_message_octets);
        let recipients = format!("LIMITS RCPTMAX={}", self.config.limits.recipients);
        let offer_tls = self.tls.is_none() && self.around.certificate.is_offered();
        let keywords = [
            "PIPELINING",
            &size,
            "8BITMIME",
            "SMTPUTF8",
            "ENHANCEDSTATUSCODES",
            "CHUNKING",
            "DSN",
            &recipients,
        ];
        hello.lines.extend(keywords.iter().map(ToString::to_string));
        hello.lines.extend(offer_tls.then(|| "STARTTLS".to_owned()));
        // RFC 8689 §2: only where it can be promised, which is under TLS.
        hello.lines.extend(self.tls.is_some().then(|| "REQUIRETLS".to_owned()));
        self.say(SmtpCommand::Ehlo, &hello).await
    }

    async fn helo(&mut self, name: String) -> Result<(), End> {
        self.introduce(name, Protocol::Smtp);
        let hello = reply::HELLO.with(&[self.config.node.hostname.as_str()]);
        self.say(SmtpCommand::Helo, &hello).await
    }

    /// RFC 5321 §4.1.4: EHLO and HELO reset the session.
    fn introduce(&mut self, helo: String, protocol: Protocol) {
        self.abandon();
        self.client = Some(Arc::new(Client { ip: self.ip, helo, protocol, tls: self.tls.clone() }));
    }

    async fn start_tls(&mut self) -> Result<(), End> {
        if self.tls.is_some() || !self.around.certificate.is_offered() {
            return self
                .say(SmtpCommand::StartTls, &reply::BAD_SEQUENCE.with(&["STARTTLS is not offered"]))
                .await;
        }
        if self.open.is_some() {
            return self
                .say(SmtpCommand::StartTls, &reply::BAD_SEQUENCE.with(&["a transaction is open"]))
                .await;
        }
        self.say(SmtpCommand::StartTls, &reply::START_TLS.reply()).await?;
        self.flush().await?;
        Err(End::StartTls)
    }

    /// The handshake. RFC 3207 §4.2, §5: all that was said before it is forgotten, and what was pipelined
    /// in plaintext is an injection, whoever sent it.
    async fn upgrade(mut self) -> Result<Self, End> {
        let (Either::Left(stream), Some(acceptor)) = (self.stream, self.around.certificate.acceptor()) else {
            return Err(End::Dismissed);
        };
        let count = |version: &str, result: &str| {
            let counter = &self.around.metrics.smtp_tls_connections_total;
            counter.with_label_values(&["inbound", version, result]).inc();
        };
        match timeout(TLS_TIMEOUT, acceptor.accept(stream)).await {
            Ok(Ok((stream, facts))) => {
                count(facts.version, "ok");
                self.replies.octet_came();
                let stream = Either::Right(Box::new(stream));
                Ok(Self { stream, tls: Some(facts), client: None, input: BytesMut::new(), ..self })
            }
            Ok(Err(error)) => {
                count("none", "failed");
                self.replies.stream_ended();
                tracing::info!(client_ip = %self.ip, %error, "TLS handshake failed");
                Err(End::Failed { error })
            }
            Err(_) => {
                count("none", "timeout");
                Err(End::Closed)
            }
        }
    }

    async fn rset(&mut self) -> Result<(), End> {
        self.abandon();
        self.say(SmtpCommand::Rset, &reply::OK.reply()).await
    }

    /// The next line, within `limits.command_timeout` and before the message under way is due; replies are
    /// written before we wait.
    async fn read_line(&mut self) -> Result<Line, End> {
        let due = self.open.as_ref().and_then(|open| open.due);
        // A client that talks without a pause is never waited for.
        if due.is_some_and(|due| due <= Instant::now()) {
            return self.dismiss(SmtpCommand::Other, reply::TIMEOUT.reply()).await;
        }
        if let Some(line) = self.lines.decode(&mut self.input) {
            return Ok(line);
        }
        self.flush().await?;
        if self.input.is_empty() {
            self.input = BytesMut::new();
            self.output = Vec::new();
        }
        let limit = Instant::now() + self.config.limits.command_timeout;
        let draining = self.around.draining.clone();
        let read = timeout_at(due.map_or(limit, |due| due.min(limit)), self.read_until_line());
        match draining.run_until_cancelled(read).await {
            None => self.shut_down(SmtpCommand::Other).await,
            Some(Ok(line)) => line,
            Some(Err(_)) => self.dismiss(SmtpCommand::Other, reply::TIMEOUT.reply()).await,
        }
    }

    async fn read_until_line(&mut self) -> Result<Line, End> {
        loop {
            self.input.reserve(COMMAND_READ_OCTETS);
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(End::Closed);
            }
            self.replies.octet_came();
            if let Some(line) = self.lines.decode(&mut self.input) {
                return Ok(line);
            }
        }
    }

    /// Reads message octets, within `limits.data_timeout` and before the message is due.
    pub(super) async fn read_message_octets(&mut self, due: Instant) -> Result<(), End> {
        self.input.reserve(MESSAGE_READ_OCTETS);
        let limit = due.min(Instant::now() + self.config.limits.data_timeout);
        let read = timeout_at(limit, self.stream.read_buf(&mut self.input)).await;
        if matches!(read, Ok(Ok(1..))) {
            self.replies.octet_came();
        }
        match read {
            Ok(Ok(0)) => Err(End::Closed),
            // A client that sends without a pause is never waited for.
            Ok(Ok(_)) if Instant::now() < due => Ok(()),
            Ok(Err(error)) => Err(error.into()),
            Ok(Ok(_)) | Err(_) => self.dismiss(SmtpCommand::Data, reply::TIMEOUT.reply()).await,
        }
    }

    /// Puts a reply in line; it is written when no further command is waiting. Too many errors end the
    /// session.
    pub(super) async fn say(&mut self, command: SmtpCommand, reply: &Reply) -> Result<(), End> {
        self.put(command, reply);
        self.count_error(command, reply).await
    }

    /// Counts a reply that is in line, or out, if it is an error.
    pub(super) async fn count_error(&mut self, command: SmtpCommand, reply: &Reply) -> Result<(), End> {
        if reply.is_permanent() {
            self.errors += 1;
            if self.errors >= self.config.limits.errors {
                return self.dismiss(command, reply::TOO_MANY_ERRORS.reply()).await;
            }
        }
        Ok(())
    }

    pub(super) fn put(&mut self, command: SmtpCommand, reply: &Reply) {
        self.around.metrics.smtp_reply(command, reply);
        reply.write_to(&mut self.output);
    }

    /// Says why and ends the session.
    pub(super) async fn dismiss<T>(&mut self, command: SmtpCommand, reply: Reply) -> Result<T, End> {
        self.put(command, &reply);
        self.flush().await?;
        Err(End::Dismissed)
    }

    async fn shut_down<T>(&mut self, command: SmtpCommand) -> Result<T, End> {
        let hostname = self.config.node.hostname.clone();
        self.dismiss(command, reply::SHUTTING_DOWN.with(&[hostname.as_str()])).await
    }

    /// Writes what is in line; a client that does not read is given `limits.command_timeout`.
    pub(super) async fn flush(&mut self) -> Result<(), End> {
        if self.output.is_empty() {
            return Ok(());
        }
        let write = async {
            self.stream.write_all(&self.output).await?;
            self.stream.flush().await
        };
        let written = timeout(self.config.limits.command_timeout, write).await;
        self.output.clear();
        match written {
            Ok(result) => Ok(result?),
            Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        }
    }

    async fn close(&mut self, end: &End) {
        self.abandon();
        let _shut = timeout(Duration::from_secs(5), self.stream.shutdown()).await;
        self.part(end).await;
    }
}
