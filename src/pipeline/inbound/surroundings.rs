//! What all sessions of a node share.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::admission::Admission;
use super::guesses::Guesses;
use super::temporary::Temporary;
use crate::blocklist::Blocklist;
use crate::config::Config;
use crate::pipeline::account::Account;
use crate::pipeline::chronicle::Chronicle;
use crate::pipeline::joint::Handoff;
use crate::pipeline::parcel::{Accepted, Addressed, Admitted, Opened};
use crate::routing::Routing;
use crate::telemetry::Metrics;
use crate::tls::StartTls;

/// What sessions need, shared by all of them.
pub struct Surroundings {
    /// The configuration; a session keeps the one it began with.
    pub config: watch::Receiver<Arc<Config>>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Sessions counted by network.
    pub admission: Admission,
    /// Guesses at return addresses.
    pub guesses: Guesses,
    /// With a certificate, STARTTLS is offered.
    pub certificate: StartTls,
    /// What operators say of clients.
    pub routing: Routing,
    /// DNSBL verdicts.
    pub blocklist: Arc<ArcSwap<Blocklist>>,
    /// `limits.octets_in_flight`.
    pub memory: Account,
    /// Where large messages are kept while in flight.
    pub temporary: Arc<Temporary>,
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
