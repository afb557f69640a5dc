//! Facts with a time to live: what one node found out, and the others need not. Losing one costs a look-up. One kind so far,
//! what DNS blocklists say of addresses; the blocklists own it, and see the other nodes as [`Others`].
//!
//! ```text
//! Blocklist ─ tell ─▶ Kept ─▶ a link's talk ══ Facts, one stream a pair ══▶ a link's talk ─▶ Blocklist
//!           ─ ask ──▶ Link ─▶                                             ◀─ find ─────────▶
//! ```
//!
//! - A node tells the facts that it found itself, in the order in which it did: the latest of each key, bounded in count and
//!   octets ([`kept`]). A link is told what comes after the last that it was told: there is no queue for each peer, and a slow
//!   one misses what had to make room meanwhile. A new link is told all from the first.
//! - On the wire stands the time that remains, and the receiver caps it: no clock of a peer is believed.
//! - What is told comes a round trip too late for a client that reaches all nodes at once. Each question therefore has an
//!   owner among the nodes that are linked now, by rendezvous hash: who asks the DNS for all. The others ask it first, over
//!   the same stream; it joins its own question. Whoever is asked asks no third.
//! - The owner has 20 ms to give a sign: the answer, that it asks the DNS, or anything, while it is busy. Without one it is
//!   asked nothing more until it is heard again: a peer that stands still costs the questions of these 20 ms, and no later
//!   one. That it asks the DNS is waited for longer, since the DNS takes longer than that more often than not.
//! - Differs from what was planned: no marks around what a new link is told, and no sequence on the wire. A receiver would do
//!   nothing with them: facts end by themselves, and the sender alone knows what it has told.

mod kept;
mod link;
mod talk;
mod wire;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use futures_util::future::{BoxFuture, join_all};
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use self::kept::Kept;
use self::link::Link;
use super::founding::NodeName;
use super::network::Peers;
use crate::blocklist::{Blocklist, Finding, Others, Question};
use crate::telemetry::Metrics;
use crate::telemetry::labels::{FactEvent, FactKind};

pub(super) use self::talk::Stream;

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
    kept: Mutex<Kept>,
    links: Mutex<BTreeMap<NodeName, Arc<Link>>>,
    /// Nothing until the node has them.
    blocklist: OnceLock<Arc<ArcSwap<Blocklist>>>,
    closed: CancellationToken,
}

impl Facts {
    fn new(name: NodeName, patience: Patience, metrics: Arc<Metrics>) -> Self {
        let shared = Shared {
            name,
            patience,
            metrics,
            kept: Mutex::default(),
            links: Mutex::default(),
            blocklist: OnceLock::new(),
            closed: CancellationToken::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Whether links are taken.
    pub(super) fn is_open(&self) -> bool {
        self.shared.blocklist.get().is_some() && !self.shared.closed.is_cancelled()
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

    /// The link to the owner of a question; none where that is this node.
    fn owner(&self, question: &Question) -> Option<Arc<Link>> {
        let links = self.shared.links.lock();
        let own = (weight(&self.shared.name, question), None);
        let others = links.iter().filter(|(_, link)| link.is_heard());
        let weighed = others.map(|(name, link)| (weight(name, question), Some(link)));
        let (_, owner) = weighed.chain([own]).max_by_key(|(weight, _)| *weight)?;
        owner.cloned()
    }

    async fn find(&self, question: Question) -> Option<Finding> {
        let blocklist = self.shared.blocklist.get()?.load_full();
        blocklist.find(question).await
    }

    /// Takes what a peer tells.
    fn hear(&self, (question, finding): &(Question, Finding)) {
        let Some(blocklist) = self.shared.blocklist.get() else { return };
        let is_of_use = blocklist.load().hear(*question, finding);
        self.count(if is_of_use { FactEvent::Received } else { FactEvent::Ignored }, 1);
    }

    fn count(&self, event: FactEvent, count: usize) {
        self.shared.metrics.cluster_facts_total.of((FactKind::Dnsbl, event)).inc_by(count as u64);
    }
}

impl Others for Facts {
    fn tell(&self, question: Question, finding: Finding) {
        let dropped = self.shared.kept.lock().keep(question, finding);
        self.count(FactEvent::Dropped, dropped);
        for link in self.shared.links.lock().values() {
            link.has_news();
        }
    }

    fn ask(&self, question: Question) -> BoxFuture<'_, Option<Finding>> {
        Box::pin(async move {
            let owner = self.owner(&question)?;
            let answer = owner.ask(question, self.shared.patience).await;
            self.count(if answer.is_some() { FactEvent::Answered } else { FactEvent::Unanswered }, 1);
            answer
        })
    }
}

/// What a node weighs for a question: the heaviest owns it. The same on all nodes, of any version.
fn weight(name: &NodeName, question: &Question) -> [u8; 32] {
    let mut octets = name.to_string().into_bytes();
    octets.push(0);
    octets.extend(question.zone.0);
    octets.extend(wire::address(question.ip));
    digest(&SHA256, &octets).as_ref().try_into().unwrap_or_default()
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
    pub async fn run(self, blocklist: Arc<ArcSwap<Blocklist>>, stop: CancellationToken) {
        let Self { facts, peers } = self;
        // It is set here alone.
        let _first = facts.shared.blocklist.set(blocklist);
        let mut calls: BTreeMap<NodeName, JoinHandle<()>> = BTreeMap::new();
        let mut ticks = interval(CALLED_EVERY);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
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
