//! Facts with a time to live: what one node found out, and the others need not. Losing one costs a look-up, or a message that
//! is delivered twice. Three kinds ([`kinds`]): what DNS blocklists say of addresses, what earlier transactions came to, what
//! return addresses stand for. Each is owned by a module that sees the other nodes as its `Others`.
//!
//! ```text
//! Blocklist, Ledger, Aliases ─ tell ─▶ Kept ─▶ a link's talk ══ Facts, one stream a pair ══▶ a link's talk ─▶ its owner there
//! Blocklist, Aliases         ─ ask ──▶ Link ─▶                                             ◀─ find ─────────▶
//! ```
//!
//! - A node tells the facts that it found itself, in the order in which it did: the latest of each key, bounded in count and
//!   octets ([`kept`]). A link is told what comes after the last that it was told: there is no queue for each peer, and a slow
//!   one misses what had to make room meanwhile. A new link is told all from the first.
//! - On the wire stands the time that remains, and the receiver caps it: no clock of a peer is believed.
//! - What is told comes a round trip too late for a client that reaches all nodes at once. Each question of a blocklist has an
//!   owner among the nodes that are linked now, by rendezvous hash: who asks the DNS for all. The others ask it first, over
//!   the same stream; it joins its own question. Whoever is asked asks no third.
//! - The owner has 20 ms to give a sign: the answer, that it asks the DNS, or anything, while it is busy. Without one it is
//!   asked nothing more until it is heard again: a peer that stands still costs the questions of these 20 ms, and no later
//!   one. That it asks the DNS is waited for longer, since the DNS takes longer than that more often than not.
//! - What a return address stands for is asked of all at once, by a node that was not told it. That nobody knows it is known
//!   only where every peer has said so.
//! - Differs from what was planned: no marks around what a new link is told, and no sequence on the wire. A receiver would do
//!   nothing with them: facts end by themselves, and the sender alone knows what it has told.

mod kept;
mod kinds;
mod link;
mod others;
mod owners;
mod records;
mod talk;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use self::kinds::Shelves;
use self::link::Link;
pub use self::owners::Owners;
use self::owners::Served;
pub(super) use self::talk::Stream;
use super::founding::NodeName;
use super::network::Peers;
use crate::telemetry::Metrics;
use crate::telemetry::labels::{FactEvent, FactKind};

/// How often a peer without a link is called.
const CALLED_EVERY: Duration = Duration::from_secs(1);

/// How long a question to a peer may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Longest wait for a sign of it.
    pub sign: Duration,
    /// Longest wait for the answer, the sign's included.
    pub answer: Duration,
}

/// 20 ms, many round trips between nodes in one place; half a second, in which the DNS answers, so that of the three that a
/// client waits at most there are some left.
impl Default for Patience {
    fn default() -> Self {
        Self { sign: Duration::from_millis(20), answer: Duration::from_millis(500) }
    }
}

/// The facts of a node, and its links to those who have them too. Clones share them.
#[derive(Clone)]
pub struct Facts {
    shared: Arc<Shared>,
}

struct Shared {
    name: NodeName,
    patience: Patience,
    metrics: Arc<Metrics>,
    /// This process, as peers tell it from the one before it.
    process: u64,
    /// That of each peer that was heard.
    processes: Mutex<BTreeMap<NodeName, u64>>,
    kept: Mutex<Shelves>,
    links: Mutex<BTreeMap<NodeName, Arc<Link>>>,
    /// Who there is beside this node.
    peers: ArcSwap<BTreeSet<NodeName>>,
    /// None but while it is shared: they see this as the other nodes, and would keep each other.
    served: ArcSwapOption<Served>,
    closed: CancellationToken,
}

impl Facts {
    fn new(name: NodeName, patience: Patience, metrics: Arc<Metrics>) -> Self {
        let shared = Shared {
            name,
            patience,
            metrics,
            process: rand::random(),
            processes: Mutex::default(),
            kept: Mutex::default(),
            links: Mutex::default(),
            peers: ArcSwap::default(),
            served: ArcSwapOption::empty(),
            closed: CancellationToken::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Takes note of who there is beside this node.
    fn know(&self, peers: &Peers) {
        let is_other = |name: &NodeName| *name != self.shared.name && !peers.is_removed(name);
        let others = peers.names().into_iter().filter(is_other);
        self.shared.peers.store(Arc::new(others.collect()));
    }

    /// Whether links are taken.
    pub(super) fn is_open(&self) -> bool {
        self.shared.served.load().is_some() && !self.shared.closed.is_cancelled()
    }

    /// Talks to a peer for as long as both are there. A link that it has already ends.
    pub(super) async fn talk(&self, peer: NodeName, stream: Stream) {
        let link = Arc::new(Link::new(peer.clone(), self.shared.closed.child_token()));
        let before = self.shared.links.lock().insert(peer.clone(), link.clone());
        if let Some(before) = before {
            before.end();
        }
        talk::run(self, &link, stream).await;
        link.end();
        let mut links = self.shared.links.lock();
        if links.get(&peer).is_some_and(|current| Arc::ptr_eq(current, &link)) {
            links.remove(&peer);
        }
    }

    /// How many peers are linked.
    #[cfg(test)]
    pub(super) fn links(&self) -> usize {
        self.shared.links.lock().len()
    }

    fn is_linked(&self, peer: &NodeName) -> bool {
        self.shared.links.lock().contains_key(peer)
    }

    fn count(&self, kind: FactKind, event: FactEvent, count: usize) {
        self.shared.metrics.cluster_facts_total.of((kind, event)).inc_by(count as u64);
    }
}

/// A node's facts, and how peers are called about them.
pub struct Exchange {
    facts: Facts,
    peers: Peers,
}

impl Exchange {
    /// Between this node and its peers.
    #[must_use]
    pub fn new(peers: Peers, metrics: Arc<Metrics>) -> Self {
        Self::with_patience(peers, Patience::default(), metrics)
    }

    /// Like [`Self::new`], with times of the caller's choice.
    #[must_use]
    pub fn with_patience(peers: Peers, patience: Patience, metrics: Arc<Metrics>) -> Self {
        let facts = Facts::new(peers.name().clone(), patience, metrics);
        peers.share(facts.clone());
        Self { facts, peers }
    }

    /// What the blocklists tell and ask.
    #[must_use]
    pub fn facts(&self) -> Facts {
        self.facts.clone()
    }

    /// Shares what these find with the peers until told to stop.
    pub async fn run(self, owners: Owners, stop: CancellationToken) {
        let Self { facts, peers } = self;
        facts.know(&peers);
        owners.aliases.share(Arc::new(facts.clone()));
        owners.ledger.share(Arc::new(facts.clone()));
        let _serving = facts.clone().serve(owners);
        let mut calls: BTreeMap<NodeName, JoinHandle<()>> = BTreeMap::new();
        let mut ticks = interval(CALLED_EVERY);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            facts.know(&peers);
            calls.retain(|_, call| !call.is_finished());
            if !peers.are_in_cluster() {
                continue;
            }
            for name in peers.names().into_iter().filter(|name| *name > facts.shared.name) {
                if !facts.is_linked(&name) && !calls.contains_key(&name) {
                    calls.insert(name.clone(), tokio::spawn(call(facts.clone(), peers.clone(), name)));
                }
            }
        }
        facts.shared.closed.cancel();
        join_all(calls.into_values()).await;
    }
}

async fn call(facts: Facts, peers: Peers, name: NodeName) {
    let closed = facts.shared.closed.clone();
    match closed.run_until_cancelled(peers.call_about_facts(&name)).await {
        Some(Ok(stream)) => facts.talk(name, stream).await,
        Some(Err(error)) => tracing::debug!(peer = %name, %error, "no facts are shared with a peer"),
        None => {}
    }
}

#[cfg(test)]
#[path = "mod_tests.rs"]
mod tests;
