//! The state of one SMTP session, and its stream: lines and octets in, replies out in their order. What is said is
//! [`super::dialogue`]'s and [`super::transaction`]'s.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::FutureExt;
use tokio::io::{AsyncRead as _, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::either::Either;

use super::conduct::{Conduct, UnderWay};
use super::open::{Chunks, Open};
use super::reception::{MESSAGE_READ_OCTETS, Reception};
use super::reply_owed::{RepliesOwed, ReplyOwed};
use super::standing::PendingListing;
use super::surroundings::Surroundings;
use crate::config::Config;
use crate::pipeline::parcel::{Client, Settlement};
use crate::smtp::line::{Line, LineDecoder};
use crate::smtp::reply::{self, Reply};
use crate::telemetry::SmtpCommand;
use crate::tls::{Negotiated, ServerStream};

/// Octets asked of the socket at a time for commands.
pub(super) const COMMAND_READ_OCTETS: usize = 2048;
/// Pipelined octets read ahead while a reply is awaited: 100 recipients with their parameters. They are on no account.
const READ_AHEAD_OCTETS: usize = 16_384;
/// Octets of replies that are put in line before they are written: whoever pipelines must read as well (RFC 2920 §3.1).
const MAX_OUTPUT_OCTETS: usize = 4096;
/// How long a client whose session we have ended is given to end it too.
const GOODBYE: Duration = Duration::from_secs(5);

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
    /// The client spoke before our greeting, and was told so instead of it.
    EarlyTalker,
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
    pub(super) output: Vec<u8>,
    pub(super) lines: LineDecoder,
    pub(super) ip: IpAddr,
    /// Set by EHLO or HELO.
    pub(super) client: Option<Arc<Client>>,
    pub(super) tls: Option<Negotiated>,
    pub(super) listing: PendingListing,
    pub(super) open: Option<Open>,
    pub(super) transactions: usize,
    pub(super) conduct: Conduct,
    /// Replies to messages that are out, and of which the client has not shown yet that it has them.
    pub(super) replies: RepliesOwed,
}

impl Session {
    /// One that waits for its greeting.
    pub(super) fn new(stream: TcpStream, ip: IpAddr, around: Arc<Surroundings>, config: Arc<Config>) -> Self {
        let mut listing = PendingListing::Unasked;
        if around.operators_listing(ip).is_none() {
            listing.ask(&around, ip);
        }
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
            conduct: Conduct::new(),
            replies: RepliesOwed::default(),
        }
    }

    /// The next line, within `limits.command_timeout` and before the message under way is due; replies are
    /// written before we wait.
    pub(super) async fn read_line(&mut self) -> Result<Line, End> {
        self.end_if_over().await?;
        if self.output.len() >= MAX_OUTPUT_OCTETS {
            self.flush().await?;
        }
        if let Some(line) = self.lines.decode(&mut self.input) {
            return Ok(line);
        }
        self.flush().await?;
        if self.input.is_empty() {
            self.input = BytesMut::new();
            self.output = Vec::new();
        }
        let started = Instant::now();
        let limit = started + self.config.limits.command_timeout;
        let limit = self.due_at().map_or(limit, |due| due.min(limit));
        let draining = self.around.draining.clone();
        let is_too_slow = is_too_slow(self.receiving().as_deref());
        let read = timeout_at(limit, self.read_until_line());
        let read = async {
            tokio::select! {
                biased;
                read = read => Some(read),
                () = is_too_slow => None,
            }
        };
        let read = draining.run_until_cancelled(read).await;
        if let Some(reception) = self.receiving() {
            reception.waited(started.elapsed());
        }
        match read {
            None => self.shut_down(SmtpCommand::Other).await,
            Some(Some(Ok(line))) => line,
            Some(Some(Err(_))) => self.dismiss(SmtpCommand::Other, reply::TIMEOUT.reply()).await,
            Some(None) => self.dismiss(SmtpCommand::Other, reply::TOO_SLOW.reply()).await,
        }
    }

    /// When the message that has begun must be there.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.open.as_ref()?.due
    }

    /// Ends what has gone on for too long. Asked at each command: a client that talks without a pause is never waited for.
    async fn end_if_over(&mut self) -> Result<(), End> {
        let due = self.due_at();
        if due.is_some_and(|due| due <= Instant::now()) {
            return self.dismiss(SmtpCommand::Other, reply::TIMEOUT.reply()).await;
        }
        let under_way = match (&self.open, due) {
            (None, _) => UnderWay::Nothing,
            (Some(_), None) => UnderWay::Envelope,
            (Some(_), Some(_)) => UnderWay::Message,
        };
        if self.conduct.is_over(under_way) {
            return self.dismiss(SmtpCommand::Other, reply::SESSION_OVER.reply()).await;
        }
        Ok(())
    }

    /// The message by BDAT that waits for its next chunk.
    fn receiving(&mut self) -> Option<&mut Reception> {
        match &mut self.open.as_mut()?.chunks {
            Chunks::Receiving(reception) => Some(reception),
            Chunks::None | Chunks::Refused => None,
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

    /// Reads message octets, within `limits.data_timeout` and before the message is due. A message that holds memory
    /// or room on the disk is not waited for without end while others need it.
    pub(super) async fn read_message_octets(
        &mut self,
        due: Instant,
        mut reception: Option<&mut Reception>,
    ) -> Result<(), End> {
        let started = Instant::now();
        let limit = due.min(started + self.config.limits.data_timeout);
        let is_too_slow = is_too_slow(reception.as_deref());
        let read = tokio::select! {
            biased;
            read = timeout_at(limit, self.read_piece()) => read,
            () = is_too_slow => return self.dismiss(SmtpCommand::Data, reply::TOO_SLOW.reply()).await,
        };
        let now = Instant::now();
        if let Some(reception) = &mut reception {
            reception.waited(now - started);
        }
        if matches!(read, Ok(Ok(1..))) {
            self.replies.octet_came();
        }
        match read {
            Ok(Ok(0)) => Err(End::Closed),
            // A client that sends without a pause is never waited for.
            Ok(Ok(_)) if now < due => Ok(()),
            Ok(Err(error)) => Err(error.into()),
            Ok(Ok(_)) | Err(_) => self.dismiss(SmtpCommand::Data, reply::TIMEOUT.reply()).await,
        }
    }

    /// Reads what has come, and has no buffer for it while nothing has: thousands of messages may be waited for.
    async fn read_piece(&mut self) -> io::Result<usize> {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        let (stream, input) = (&mut self.stream, &mut self.input);
        poll_fn(|context| {
            let mut piece = [MaybeUninit::uninit(); MESSAGE_READ_OCTETS];
            let mut piece = ReadBuf::uninit(&mut piece);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut piece))?;
            input.extend_from_slice(piece.filled());
            Poll::Ready(Ok(piece.filled().len()))
        })
        .await
    }

    /// Puts a reply in line; it is written when no further command is waiting. Too many errors, or too many commands
    /// that bring no message, end the session.
    pub(super) async fn say(&mut self, command: SmtpCommand, reply: &Reply) -> Result<(), End> {
        self.put(command, reply);
        self.note(command, reply).await
    }

    /// Takes note of a reply that is in line, or out.
    pub(super) async fn note(&mut self, command: SmtpCommand, reply: &Reply) -> Result<(), End> {
        match self.conduct.note(command, reply, self.config.limits.errors) {
            Some(row) => self.dismiss(command, row.reply()).await,
            None => Ok(()),
        }
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

    pub(super) async fn shut_down<T>(&mut self, command: SmtpCommand) -> Result<T, End> {
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

    /// Writes the one reply to a message, at once.
    pub(super) async fn settle(&mut self, command: SmtpCommand, settlement: Settlement) -> Result<(), End> {
        let Settlement { reply, acknowledged } = settlement;
        self.put(command, &reply);
        if let Some(acknowledged) = acknowledged {
            let owed = ReplyOwed { acknowledged };
            // What is there already is not there because of the reply.
            let _end = self.gone().now_or_never();
            self.flush().await?;
            self.replies.was_written(owed);
        }
        if reply.is_positive() {
            self.conduct.brought_a_message();
        }
        self.note(command, &reply).await
    }

    /// Resolves when the client has closed its side; reads pipelined commands ahead meanwhile.
    pub(super) async fn gone(&mut self) {
        while self.input.len() < READ_AHEAD_OCTETS {
            self.input.reserve(COMMAND_READ_OCTETS);
            match self.stream.read_buf(&mut self.input).await {
                Ok(0) | Err(_) => return self.replies.stream_ended(),
                Ok(_) => self.replies.octet_came(),
            }
        }
        std::future::pending::<()>().await;
    }

    /// Learns from how the session ended, behind our own end of the stream.
    pub(super) async fn part(&mut self, end: &End) {
        match end {
            End::Closed => self.replies.stream_ended(),
            // Time that ran out is no end of the client's.
            End::Failed { error } if error.kind() == io::ErrorKind::TimedOut => {}
            End::Failed { .. } => self.replies.stream_ended(),
            End::Quit | End::StartTls | End::Dismissed | End::EarlyTalker if self.replies.is_waiting() => {
                let mut octet = [0];
                match timeout(GOODBYE, self.stream.read(&mut octet)).await {
                    Ok(Ok(0) | Err(_)) => self.replies.stream_ended(),
                    Ok(Ok(_)) => self.replies.octet_came(),
                    Err(_silent) => {}
                }
            }
            End::Quit | End::StartTls | End::Dismissed | End::EarlyTalker => {}
        }
    }
}

/// Resolves when this message, if there is one, has come too slowly.
fn is_too_slow(reception: Option<&Reception>) -> impl Future<Output = ()> + use<> {
    let is_too_slow = reception.map(Reception::is_too_slow);
    async {
        match is_too_slow {
            Some(is_too_slow) => is_too_slow.await,
            None => std::future::pending().await,
        }
    }
}
