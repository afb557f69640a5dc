//! A small authoritative DNS server on loopback, over UDP and TCP at one port (RFC 1035 §4.2), with zones
//! from master text (RFC 1035 §5) that can be changed, and made to fail, while it runs.
//!
//! It answers for the zones given to it, wildcards and CNAME chains included, and with NXDOMAIN for all
//! else, as if it were a recursive resolver of a very small internet. It signs nothing, but can play the
//! resolver that has validated a zone ([`DnsServer::vouch`]). No zone transfers, no updates.

mod record;
mod zones;

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::proto::op::{Edns, Message, Metadata, OpCode, ResponseCode};
use hickory_resolver::proto::rr::{LowerName, RecordType};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub use record::Data;
pub use zones::ZoneError;
use zones::Zones;

/// Ports tried until one is free for both UDP and TCP.
const PORT_ATTEMPTS: usize = 32;
/// Octets of the largest query read from a datagram; queries are well under 512 (RFC 1035 §4.2.1).
const MAX_DATAGRAM_OCTETS: usize = 4096;
/// What we say we can take in a datagram (DNS flag day 2020).
const EDNS_PAYLOAD_OCTETS: u16 = 1232;
/// TCP connections served at a time; more are closed.
const MAX_CONNECTIONS: usize = 256;
/// Longest wait for the next query on a TCP connection (RFC 7766 §6.2.3: of the order of seconds).
const TCP_IDLE: Duration = Duration::from_secs(10);
/// Delayed answers under way at a time; more are dropped, as a busy server would.
const MAX_DELAYED: usize = 1024;
/// Different questions counted; later ones are answered, not counted.
const MAX_COUNTED: usize = 65_536;

/// Why the server cannot start or take records.
#[derive(Debug, Error)]
pub enum DnsServerError {
    /// The records are wrong.
    #[error(transparent)]
    Zone(#[from] ZoneError),
    /// No port could be had on loopback.
    #[error("the DNS server finds no free port on 127.0.0.1")]
    Listen(#[source] io::Error),
}

/// How the server treats questions for one name, or for one of its types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Behaviour {
    /// By its records.
    #[default]
    Answer,
    /// With RCODE 2, SERVFAIL.
    ServFail,
    /// Not at all: the question times out.
    Silent,
    /// By its records, so much later.
    Delay(Duration),
}

/// A running server. Dropping it ends it.
pub struct DnsServer {
    addr: SocketAddr,
    shared: Arc<Mutex<State>>,
    /// The two listeners, aborted with the set.
    _listeners: JoinSet<()>,
}

#[derive(Default)]
struct State {
    zones: Zones,
    /// By name, and by type; `None` is every type that has no entry of its own.
    behaviours: HashMap<(LowerName, Option<RecordType>), Behaviour>,
    vouched: HashSet<LowerName>,
    asked: HashMap<(LowerName, RecordType, Transport), usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Transport {
    Udp,
    Tcp,
}

/// What becomes of one query: octets to send back after a while, or nothing.
struct Reply {
    after: Duration,
    octets: Option<Vec<u8>>,
}

impl DnsServer {
    /// Starts a server on a free port of 127.0.0.1 with these zones: each an origin and its records as
    /// master text. Names without trailing dot are relative to the origin; the TTL is 300 s where none is
    /// given; an SOA record is made up for a zone without one, its negative TTL 60 s.
    ///
    /// # Errors
    /// When a zone does not parse, or no port is free.
    pub async fn start(zones: &[(&str, &str)]) -> Result<Self, DnsServerError> {
        let mut state = State::default();
        for (origin, records) in zones {
            state.zones.add(origin, records)?;
        }
        let shared = Arc::new(Mutex::new(state));
        let (udp, tcp) = bind().await.map_err(DnsServerError::Listen)?;
        let addr = udp.local_addr().map_err(DnsServerError::Listen)?;
        let mut listeners = JoinSet::new();
        listeners.spawn(serve_udp(Arc::new(udp), shared.clone()));
        listeners.spawn(serve_tcp(tcp, shared.clone()));
        Ok(Self { addr, shared, _listeners: listeners })
    }

    /// Where it listens, over UDP and TCP.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Adds a zone, as [`Self::start`] does. It may be the root, `.`, for names that are in no other.
    ///
    /// # Errors
    /// When the text does not parse.
    pub fn add_zone(&self, origin: &str, records: &str) -> Result<(), DnsServerError> {
        Ok(self.shared.lock().zones.add(origin, records)?)
    }

    /// Adds one record to those that its name has; the name is written as those in [`Data`] are.
    ///
    /// # Errors
    /// When a name is none, or is in none of the zones.
    pub fn publish(&self, name: &[u8], data: &Data<'_>) -> Result<(), DnsServerError> {
        let name = record::name(name)?;
        Ok(self.shared.lock().zones.publish(&name, data.to_rdata()?)?)
    }

    /// Replaces record sets: each name and type in this master text has afterwards these records and no
    /// others. All names are absolute.
    ///
    /// # Errors
    /// When the text does not parse, or a name is in none of the zones; then nothing changes.
    pub fn replace(&self, records: &str) -> Result<(), DnsServerError> {
        Ok(self.shared.lock().zones.replace(records)?)
    }

    /// Removes every record of an absolute name.
    ///
    /// # Errors
    /// When the text is not a name.
    pub fn remove(&self, name: &str) -> Result<(), DnsServerError> {
        let name = zones::name(name)?;
        self.shared.lock().zones.remove(&name);
        Ok(())
    }

    /// Marks an absolute name; it need not exist.
    ///
    /// # Errors
    /// When the text is not a name.
    pub fn behave(&self, name: &str, behaviour: Behaviour) -> Result<(), DnsServerError> {
        let name = zones::name(name)?;
        self.shared.lock().behaviours.insert((name, None), behaviour);
        Ok(())
    }

    /// Marks one type (`MX`) of an absolute name; this goes before what [`Self::behave`] says of the name.
    ///
    /// # Errors
    /// When one text is not a name, or the other not a type.
    pub fn behave_for(
        &self,
        name: &str,
        record_type: &str,
        behaviour: Behaviour,
    ) -> Result<(), DnsServerError> {
        let (name, record_type) = (zones::name(name)?, zones::record_type(record_type)?);
        self.shared.lock().behaviours.insert((name, Some(record_type)), behaviour);
        Ok(())
    }

    /// Says of every answer about this absolute name, and the names below it, that DNSSEC vouches for it: the
    /// AD bit is set where a query asks for it (RFC 6840 §5.8).
    ///
    /// # Errors
    /// When the text is not a name.
    pub fn vouch(&self, name: &str) -> Result<(), DnsServerError> {
        let name = zones::name(name)?;
        self.shared.lock().vouched.insert(name);
        Ok(())
    }

    /// How often a name was asked for a type (`MX`), over UDP and TCP together; a question that is
    /// repeated over TCP because its answer was too large counts twice.
    #[must_use]
    pub fn queries(&self, name: &str, record_type: &str) -> usize {
        self.count(name, record_type, Transport::Udp) + self.count(name, record_type, Transport::Tcp)
    }

    /// Like [`Self::queries`], those over TCP only.
    #[must_use]
    pub fn queries_over_tcp(&self, name: &str, record_type: &str) -> usize {
        self.count(name, record_type, Transport::Tcp)
    }

    fn count(&self, name: &str, record_type: &str, transport: Transport) -> usize {
        let (Ok(name), Ok(record_type)) = (zones::name(name), zones::record_type(record_type)) else {
            return 0;
        };
        self.shared.lock().asked.get(&(name, record_type, transport)).copied().unwrap_or(0)
    }
}

impl State {
    fn reply(&mut self, octets: &[u8], transport: Transport) -> Reply {
        let silence = Reply { after: Duration::ZERO, octets: None };
        let Ok(query) = Message::from_vec(octets) else { return silence };
        let (mut response, after) = match (query.metadata.op_code, query.queries.as_slice()) {
            (OpCode::Query, [question]) => {
                let name = LowerName::new(question.name());
                self.note((name.clone(), question.query_type(), transport));
                match self.behaviour(&name, question.query_type()) {
                    Behaviour::Silent => return silence,
                    Behaviour::ServFail => (failure(&query, ResponseCode::ServFail), Duration::ZERO),
                    Behaviour::Answer => (self.answer(&query, &name), Duration::ZERO),
                    Behaviour::Delay(after) => (self.answer(&query, &name), after),
                }
            }
            _ => (failure(&query, ResponseCode::NotImp), Duration::ZERO),
        };
        if query.edns.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(EDNS_PAYLOAD_OCTETS);
            response.set_edns(edns);
        }
        let mut octets = response.to_vec().ok();
        // RFC 1035 §4.1.1 TC, RFC 6891 §6.2.3: the client asks again over TCP.
        let limit = usize::from(query.max_payload());
        if transport == Transport::Udp && octets.as_ref().is_some_and(|octets| octets.len() > limit) {
            octets = response.truncate().to_vec().ok();
        }
        Reply { after, octets }
    }

    fn behaviour(&self, name: &LowerName, record_type: RecordType) -> Behaviour {
        let of_type = self.behaviours.get(&(name.clone(), Some(record_type)));
        of_type.or_else(|| self.behaviours.get(&(name.clone(), None))).copied().unwrap_or_default()
    }

    fn answer(&self, query: &Message, name: &LowerName) -> Message {
        let mut response = failure(query, ResponseCode::NoError);
        if let [question] = query.queries.as_slice() {
            let found = self.zones.find(name, question.query_type());
            response.metadata.response_code = found.response_code;
            response.metadata.authentic_data =
                query.metadata.authentic_data && self.vouched.iter().any(|zone| zone.zone_of(name));
            response.add_answers(found.answers);
            response.add_authorities(found.authority);
        }
        response
    }

    fn note(&mut self, question: (LowerName, RecordType, Transport)) {
        if self.asked.len() < MAX_COUNTED || self.asked.contains_key(&question) {
            *self.asked.entry(question).or_default() += 1;
        }
    }
}

/// A response without records.
fn failure(query: &Message, response_code: ResponseCode) -> Message {
    let mut response = Message::response(query.metadata.id, query.metadata.op_code);
    response.metadata = Metadata::response_from_request(&query.metadata);
    response.metadata.authoritative = true;
    response.metadata.recursion_available = true;
    response.metadata.response_code = response_code;
    response.add_queries(query.queries.iter().cloned());
    response
}

/// A port that is free for UDP need not be free for TCP.
async fn bind() -> io::Result<(UdpSocket, TcpListener)> {
    let mut attempt = 1;
    loop {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(error) if attempt == PORT_ATTEMPTS => return Err(error),
            Err(_) => attempt += 1,
        }
    }
}

async fn serve_udp(socket: Arc<UdpSocket>, shared: Arc<Mutex<State>>) {
    let delayed = Arc::new(Semaphore::new(MAX_DELAYED));
    let mut buffer = vec![0; MAX_DATAGRAM_OCTETS];
    loop {
        let Ok((octets, peer)) = socket.recv_from(&mut buffer).await else {
            tokio::task::yield_now().await;
            continue;
        };
        let reply = shared.lock().reply(buffer.get(..octets).unwrap_or_default(), Transport::Udp);
        let Some(octets) = reply.octets else { continue };
        if reply.after.is_zero() {
            // A client that is gone has nothing to be told.
            let _ = socket.send_to(&octets, peer).await;
        } else if let Ok(permit) = delayed.clone().try_acquire_owned() {
            let socket = socket.clone();
            tokio::spawn(async move {
                tokio::time::sleep(reply.after).await;
                let _ = socket.send_to(&octets, peer).await;
                drop(permit);
            });
        }
    }
}

async fn serve_tcp(listener: TcpListener, shared: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        if connections.len() < MAX_CONNECTIONS {
            connections.spawn(serve_connection(stream, shared.clone()));
        }
    }
}

/// Queries one after the other, each behind its length (RFC 1035 §4.2.2), until the client closes or
/// says nothing for a while.
async fn serve_connection(mut stream: TcpStream, shared: Arc<Mutex<State>>) {
    while let Ok(Ok(query)) = tokio::time::timeout(TCP_IDLE, read_query(&mut stream)).await {
        let reply = shared.lock().reply(&query, Transport::Tcp);
        tokio::time::sleep(reply.after).await;
        let Some(octets) = reply.octets else { continue };
        let Ok(length) = u16::try_from(octets.len()) else { return };
        let mut framed = length.to_be_bytes().to_vec();
        framed.extend_from_slice(&octets);
        if stream.write_all(&framed).await.is_err() {
            return;
        }
    }
}

async fn read_query(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut query = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut query).await?;
    Ok(query)
}

#[cfg(test)]
mod tests;
