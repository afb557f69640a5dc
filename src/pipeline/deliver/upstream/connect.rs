//! From an address to a connection that waits for MAIL: TCP, greeting, EHLO, STARTTLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout_at;

use super::address_error::{AddressError, CONNECTING, GREETING, Peer};
use super::connection::{Connection, Security, within};
use super::dialogue::Dialogue;
use super::pool::{self, Pool};
use crate::mail::TraceId;
use crate::pipeline::deadline::Deadline;
use crate::pipeline::deliver::options::Options;
use crate::smtp::client::{Capabilities, Extension, ehlo, helo};
use crate::smtp::reply::{Enhanced, Reply};
use crate::telemetry::Metrics;
use crate::telemetry::labels::{Direction, Handshake, TlsDemand, TlsFallback};
use crate::tls::{Demand, Policies, Sighting, TlsFailure};

/// What opening a connection takes.
pub(crate) struct Opener<'a> {
    pub(crate) options: &'a Options,
    pub(crate) policies: &'a Policies,
    /// Where there is a place for it.
    pub(crate) pool: &'a Pool,
    /// Whose demand the peer's is, for the reports.
    pub(crate) sighting: Sighting<'a>,
    pub(crate) metrics: &'a Arc<Metrics>,
    /// Where what is said is kept, if anywhere.
    pub(crate) dialogue: Option<&'a Dialogue>,
    /// The time for TCP, where it is less than usual.
    pub(crate) connect_limit: Option<Duration>,
    pub(crate) trace: TraceId,
    /// When it must be open.
    pub(crate) until: Deadline,
}

impl Opener<'_> {
    /// Opens a connection that meets the peer's demand. Where nothing is demanded: encrypted where STARTTLS
    /// is offered, and in the clear, over a new connection, where STARTTLS is refused (RFC 3207 §4) or the
    /// handshake fails, since mail in the clear beats no mail (RFC 7435 §3).
    pub(crate) async fn open(&self, peer: &Peer) -> Result<Connection, AddressError> {
        let (cause, detail) = match self.open_with(peer, Security::Encrypted).await {
            Err(AddressError::Handshake(error)) if !peer.demand.is_mandatory() => {
                let nothing_in_common = TlsFailure::of_handshake(&error) == TlsFailure::NothingInCommon;
                let cause =
                    if nothing_in_common { TlsFallback::NothingInCommon } else { TlsFallback::Handshake };
                (cause, format!("the TLS handshake failed: {error}"))
            }
            Err(AddressError::TlsRefused(reply)) if !peer.demand.is_mandatory() => {
                (TlsFallback::StartTls, format!("STARTTLS was refused: {}", reply.code))
            }
            opened => return opened,
        };
        let detail = format!("{peer}: in the clear, since {detail}");
        if let Some(dialogue) = self.dialogue {
            dialogue.note('*', &detail);
        }
        // Of one that succeeds the attempt's own line tells.
        let untold = |_: &AddressError| tracing::info!(trace = %self.trace, detail, "fell back for nothing");
        let mut connection = self.open_with(peer, Security::Plain).await.inspect_err(untold)?;
        self.metrics.delivery_tls_fallbacks_total.of(cause).inc();
        connection.fallback = Some(detail.into());
        Ok(connection)
    }

    async fn open_with(&self, peer: &Peer, best: Security) -> Result<Connection, AddressError> {
        let place = self.pool.place(peer.address.ip(), self.options).map_err(AddressError::NoPlace)?;
        let stream = self.dial(peer).await?;
        let mut connection = Connection::new(peer.clone(), stream, place, self.options, self.metrics);
        connection.dialogue = self.dialogue.cloned();
        if let Err(trouble) = self.be_greeted(&mut connection).await {
            return Err(self.leave(connection, trouble));
        }
        if best == Security::Plain {
            return Ok(connection);
        }
        if !connection.capabilities.offers(Extension::StartTls) {
            self.note(peer, Some(TlsFailure::StarttlsNotSupported));
            let mandatory = peer.demand.is_mandatory();
            return if mandatory {
                Err(self.leave(connection, AddressError::NotEncrypted))
            } else {
                Ok(connection)
            };
        }
        if let Err(trouble) = self.ask_for_tls(&mut connection).await {
            return Err(self.leave(connection, trouble));
        }
        let mut connection = self.shake_hands(connection).await?;
        if let Err(trouble) = self.say_hello(&mut connection).await {
            return Err(self.leave(connection, trouble));
        }
        Ok(connection)
    }

    /// Connects, from the source address where one is given.
    async fn dial(&self, peer: &Peer) -> Result<TcpStream, AddressError> {
        let timing = &self.options.timing;
        let limit = if peer.address.is_ipv6() { timing.connect_v6 } else { timing.connect };
        let limit = self.connect_limit.map_or(limit, |most| most.min(limit));
        let connected = timeout_at(within(limit, self.until), dial(peer)).await;
        match connected {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
                Err(AddressError::TimedOut(CONNECTING))
            }
            Ok(Err(error)) => Err(AddressError::Unreachable(error)),
            Err(_) => Err(AddressError::TimedOut(CONNECTING)),
        }
    }

    /// Reads the greeting (RFC 5321 §3.1) and says EHLO.
    async fn be_greeted(&self, connection: &mut Connection) -> Result<(), AddressError> {
        let limit = within(self.options.timing.banner, self.until);
        let greeting = connection.reply(limit, GREETING).await?;
        if greeting.code == 521 && !is_about_us(&greeting) {
            return Err(AddressError::TakesNoMail(greeting));
        }
        welcome(greeting)?;
        self.say_hello(connection).await
    }

    /// EHLO, or HELO where EHLO is not known (RFC 5321 §3.2).
    async fn say_hello(&self, connection: &mut Connection) -> Result<(), AddressError> {
        let limit = within(self.options.timing.command, self.until);
        let name = &self.options.ehlo;
        let reply = connection.command(&ehlo(name), limit, "at EHLO").await?;
        if matches!(reply.code, 500 | 502) {
            welcome(connection.command(&helo(name), limit, "at HELO").await?)?;
            connection.capabilities = Capabilities::default();
        } else {
            connection.capabilities = Capabilities::parse(&welcome(reply)?);
        }
        Ok(())
    }

    /// STARTTLS. With a 421 the host refuses us (RFC 5321 §3.8), with anything else TLS.
    async fn ask_for_tls(&self, connection: &mut Connection) -> Result<(), AddressError> {
        let limit = within(self.options.timing.command, self.until);
        let reply = connection.command("STARTTLS\r\n", limit, "at STARTTLS").await?;
        if reply.is_positive() || reply.code == 421 {
            return welcome(reply).map(drop);
        }
        // RFC 8460 §4.3.1: there is no word for an offer that is taken back, and this comes nearest.
        self.note(&connection.peer, Some(TlsFailure::StarttlsNotSupported));
        Err(AddressError::TlsRefused(reply))
    }

    async fn shake_hands(&self, connection: Connection) -> Result<Connection, AddressError> {
        let limit = within(self.options.timing.handshake, self.until);
        let peer = connection.peer.clone();
        let shaken = match connection.encrypt(self.policies.client(), limit).await {
            // No fault to report, and no reason to go on in the clear.
            Err(AddressError::Handshake(error)) if self.is_late(&error) => {
                Err(AddressError::TimedOut("in the TLS handshake"))
            }
            shaken => shaken,
        };
        let failed = Handshake::Failed(Direction::Outbound);
        let handshake = match &shaken {
            Ok((connection, failure)) => {
                self.note(&peer, *failure);
                let tls = connection.tls.as_ref();
                tls.map_or(failed, |tls| Handshake::Outbound(tls.version, met(&peer.demand)))
            }
            Err(AddressError::Handshake(error)) => {
                self.note(&peer, Some(TlsFailure::of_handshake(error)));
                failed
            }
            Err(_) => failed,
        };
        self.metrics.smtp_tls_connections_total.of(handshake).inc();
        shaken.map(|(connection, _)| connection)
    }

    /// Whether it was our time that was up.
    fn is_late(&self, error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::TimedOut && self.until.is_over()
    }

    /// Counts for the reports what came of a session; what was wrong before it began comes first.
    fn note(&self, peer: &Peer, failure: Option<TlsFailure>) {
        let sighting = Sighting { failure: self.sighting.failure.or(failure), ..self.sighting };
        self.policies.reports().note(&sighting, &peer.host);
    }

    /// Leaves a connection that did not come about; with a QUIT if the upstream still listens.
    fn leave(&self, connection: Connection, trouble: AddressError) -> AddressError {
        if matches!(
            trouble,
            AddressError::Unwelcome(_)
                | AddressError::TakesNoMail(_)
                | AddressError::TlsRefused(_)
                | AddressError::NotEncrypted
        ) {
            pool::retire(connection, self.options.timing);
        }
        trouble
    }
}

async fn dial(peer: &Peer) -> io::Result<TcpStream> {
    let socket = if peer.address.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() }?;
    if let Some(source) = peer.source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let stream = socket.connect(peer.address).await?;
    // Commands and the message's end are small writes that must not wait for acknowledgements.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The label `result` of a handshake that met its demand.
fn met(demand: &Demand) -> TlsDemand {
    match demand {
        Demand::Opportunistic | Demand::Tested | Demand::Encrypted => TlsDemand::Opportunistic,
        Demand::Verified => TlsDemand::MtaSts,
        Demand::Dane(_) => TlsDemand::Dane,
    }
}

/// A 2xx; anything else here is about us.
fn welcome(reply: Reply) -> Result<Reply, AddressError> {
    if reply.is_positive() { Ok(reply) } else { Err(AddressError::Unwelcome(reply)) }
}

/// Whether a 521 is not RFC 7504's "never mail from anybody", but a filter's that does not want our address: 5.7.x is
/// about policy (RFC 3463 §3.8), where RFC 7504 §4 has 5.3.2.
fn is_about_us(greeting: &Reply) -> bool {
    matches!(greeting.enhanced, Some(Enhanced(5, 7, _)))
}
