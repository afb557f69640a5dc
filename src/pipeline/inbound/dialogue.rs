//! One SMTP session (RFC 5321 §3) from its admission to its end: greeting, one method a verb.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::either::Either;

use super::admission::SentAway;
use super::open::Chunks;
use super::proxy;
use super::session::{COMMAND_READ_OCTETS, End, Session};
use super::surroundings::Surroundings;
use crate::config::Config;
use crate::pipeline::parcel::{Client, Protocol};
use crate::smtp::command::{self, Command, Following};
use crate::smtp::line::Line;
use crate::smtp::reply;
use crate::telemetry::labels::{Admission, Direction, Handshake, IpFamily};
use crate::telemetry::{Metrics, SmtpCommand};

/// How long a client that we do not know is given to talk before its greeting.
const GREETING_PAUSE: Duration = Duration::from_millis(50);
/// Longest TLS handshake.
const TLS_TIMEOUT: Duration = Duration::from_secs(30);
/// Serves one connection from the PROXY header to its end.
pub(super) async fn serve(stream: TcpStream, peer: SocketAddr, around: Arc<Surroundings>) {
    let config = around.config.borrow().clone();
    let family = IpFamily::of(peer.ip().to_canonical());
    let outcome = match enter(stream, peer, around.clone(), config).await {
        Ok(outcome) => outcome,
        Err(Refused(mut stream, SentAway(outcome, row))) => {
            let mut out = Vec::new();
            let reply = row.with(&[around.config.borrow().node.hostname.as_str()]);
            around.metrics.smtp_reply(SmtpCommand::Connect, &reply);
            reply.write_to(&mut out);
            let _unheard = timeout(TLS_TIMEOUT, stream.write_all(&out)).await;
            outcome
        }
    };
    around.metrics.smtp_connections_total.of((family, outcome)).inc();
}

/// A connection that is sent away.
struct Refused(TcpStream, SentAway);

async fn enter(
    mut stream: TcpStream,
    peer: SocketAddr,
    around: Arc<Surroundings>,
    config: Arc<Config>,
) -> Result<Admission, Refused> {
    let mut ip = peer.ip().to_canonical();
    if proxy::is_trusted(peer, &config.smtp.trusted_proxies) {
        match proxy::read_header(&mut stream).await {
            Ok(source) => ip = source.unwrap_or(ip),
            Err(error) => {
                tracing::warn!(%peer, %error, "connection of a trusted proxy refused");
                return Err(Refused(stream, SentAway(Admission::ProxyHeader, reply::BAD_PROXY_HEADER)));
            }
        }
    }
    let _place = match around.admission.admit(ip, &config.limits) {
        Ok(place) => place,
        Err(sent_away) => return Err(Refused(stream, sent_away)),
    };
    let _nagle = stream.set_nodelay(true);
    let _counted = Counted::new(around.metrics.clone());
    let end = Session::new(stream, ip, around.clone(), config).run().await;
    tracing::debug!(client_ip = %ip, ?end, "session ended");
    Ok(if matches!(end, End::EarlyTalker) { Admission::EarlyTalker } else { Admission::Accepted })
}

/// A session in `smtp_connections`, until dropped: a panic ends it too.
struct Counted(Arc<Metrics>);

impl Counted {
    fn new(metrics: Arc<Metrics>) -> Self {
        metrics.smtp_connections.inc();
        Self(metrics)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.smtp_connections.dec();
    }
}

impl Session {
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
            Line::Chunk => self.dismiss(SmtpCommand::Bdat, command::bad_bdat()).await,
            Line::Endless => self.dismiss(SmtpCommand::Other, reply::LINE_TOO_LONG.reply()).await,
        }
    }

    /// RFC 5321 §4.3.1: the client waits for the greeting. One that we do not know is given the time to
    /// show that it does not.
    async fn greet(&mut self) -> Result<(), End> {
        if !self.around.admission.is_patient(self.ip) {
            self.input.reserve(COMMAND_READ_OCTETS);
            match timeout(GREETING_PAUSE, self.stream.read_buf(&mut self.input)).await {
                Err(_silent) => self.around.admission.was_patient(self.ip),
                Ok(Ok(0)) => return Err(End::Closed),
                Ok(Ok(_)) => {
                    let _told: Result<(), End> =
                        self.dismiss(SmtpCommand::Connect, reply::EARLY_TALKER.reply()).await;
                    return Err(End::EarlyTalker);
                }
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
            Err(reply) => match command::following(line) {
                Following::Command => self.say(verb, &reply).await,
                Following::Chunk(octets) => self.bad_bdat(octets).await,
                Following::UnknownChunk => self.dismiss(SmtpCommand::Bdat, command::bad_bdat()).await,
            },
        }
    }

    /// A BDAT that is none but for its size: the chunk is read, so that its octets are not taken for commands, and its
    /// message is refused, if there is anybody whom it could be for.
    async fn bad_bdat(&mut self, octets: u64) -> Result<(), End> {
        if let Some(open) = self.open.as_mut().filter(|open| !open.recipients.is_empty()) {
            open.chunks = Chunks::Refused;
        }
        self.skip(octets).await?;
        self.say(SmtpCommand::Bdat, &command::bad_bdat()).await
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
        let count = |handshake| self.around.metrics.smtp_tls_connections_total.of(handshake).inc();
        match timeout(TLS_TIMEOUT, acceptor.accept(stream)).await {
            Ok(Ok((stream, facts))) => {
                count(Handshake::Inbound(facts.version));
                self.replies.octet_came();
                let stream = Either::Right(Box::new(stream));
                Ok(Self { stream, tls: Some(facts), client: None, input: BytesMut::new(), ..self })
            }
            Ok(Err(error)) => {
                count(Handshake::Failed(Direction::Inbound));
                self.replies.stream_ended();
                tracing::info!(client_ip = %self.ip, %error, "TLS handshake failed");
                Err(End::Failed { error })
            }
            Err(_) => {
                count(Handshake::InboundTimedOut);
                Err(End::Closed)
            }
        }
    }

    async fn rset(&mut self) -> Result<(), End> {
        self.abandon();
        self.say(SmtpCommand::Rset, &reply::OK.reply()).await
    }

    async fn close(&mut self, end: &End) {
        self.abandon();
        let _shut = timeout(Duration::from_secs(5), self.stream.shutdown()).await;
        self.part(end).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_leaves_no_session_counted() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let counted = Counted::new(metrics.clone());
        assert_eq!(metrics.smtp_connections.get(), 1);
        let session = std::thread::spawn(move || {
            let _counted = counted;
            panic!("a session panics");
        });
        session.join().unwrap_err();
        assert_eq!(metrics.smtp_connections.get(), 0);
    }
}
