//! The SMTP server side: listeners, sessions, and one message coming in.
//!
//! ```text
//! listener ─Connected─▶ Inbound ─▶ session: door, greeting, one method a verb
//!                                      └─▶ transaction: MAIL, RCPT, DATA/BDAT ─▶ reception ─Accepted─▶ authenticate
//! ```
//!
//! "Accept one message" is [`transaction`]'s list of steps: MAIL opens it (SPF starts), each RCPT asks
//! DNSBL and `route`, whether it fits those before it ([`split`]), and then its upstreams ([`ahead`]), DATA reserves octets and receives, the final dot submits it and waits for the one
//! reply; whether the client has that is [`reply_owed`]'s to say. A session is one task; it holds no locks and blocks
//! nowhere.

mod ahead;
mod door;
mod listener;
pub mod proxy;
mod reception;
mod reply_owed;
mod session;
mod split;
mod transaction;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use door::Door;
pub use listener::{accept, bind};

use super::chronicle::Chronicle;
use super::joint::{Handoff, Stage, Turn};
use super::parcel::{Accepted, Addressed, Admitted, Nothing, Opened, parcels};
use crate::blocklist::Blocklist;
use crate::config::Config;
use crate::telemetry::Metrics;
use crate::tls::StartTls;

/// What sessions need, shared by all of them.
pub struct Surroundings {
    /// The configuration; a session keeps the one it began with.
    pub config: watch::Receiver<Arc<Config>>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Sessions and guesses counted by network.
    pub door: Door,
    /// With a certificate, STARTTLS is offered.
    pub certificate: StartTls,
    /// DNSBL verdicts.
    pub blocklist: Arc<ArcSwap<Blocklist>>,
    /// One permit an octet of `limits.octets_in_flight`.
    pub octets: Arc<Semaphore>,
    /// Where large messages are kept while in flight.
    pub temporary: PathBuf,
    /// Log, journal and counts of finished transactions; keeps poison messages aside.
    pub chronicle: Chronicle,
    /// To authenticate: the sender, early.
    pub opened: Handoff<Opened>,
    /// To route: a recipient.
    pub addressed: Handoff<Addressed>,
    /// To rewrite, and from there to upstreams: a recipient that passed all checks.
    pub admitted: Handoff<Admitted>,
    /// To authenticate: a message.
    pub accepted: Handoff<Accepted>,
    /// Cancelled when the node drains: no new commands.
    pub draining: CancellationToken,
    /// Open sessions, for the drain to wait for.
    pub sessions: TaskTracker,
}

/// The first stage: turns connections into sessions.
pub struct Inbound(pub Arc<Surroundings>);

impl Stage for Inbound {
    type Parcel = Connected;
    type Next = Nothing;
    const NAME: &'static str = "inbound";

    async fn run(&self, connected: Connected) -> Turn<Nothing> {
        let _open = self.0.sessions.token();
        session::serve(connected.stream, connected.peer, self.0.clone()).await;
        Turn::Answered
    }
}

/// listener → inbound: somebody connected.
#[derive(Debug)]
pub struct Connected {
    stream: TcpStream,
    peer: SocketAddr,
}

parcels!(Connected: |_| None);
