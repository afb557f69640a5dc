//! What is heard of the peers: each is asked Hello again and again, and what it answered counts for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::super::founding::{Asked, Heard, NodeId, NodeName};
use super::super::network::{Greeting, Peers};

/// How often a peer is asked.
const ASKED_EVERY: Duration = Duration::from_millis(500);
/// How long an answer counts: a peer that was not heard of for this long is silent.
pub(super) const COUNTS_FOR: Duration = Duration::from_secs(3);

/// What is heard. Clones share it.
#[derive(Clone)]
pub(super) struct Hearing {
    shared: Arc<Shared>,
}

struct Shared {
    heard: Mutex<BTreeMap<NodeName, Answered>>,
    /// How many durable writes this process has made.
    writes: AtomicU64,
    news: Notify,
    silent: watch::Sender<Vec<String>>,
}

struct Answered {
    greeting: Greeting,
    at: Instant,
    /// How many writes there were when the question was sent.
    writes: u64,
}

impl Hearing {
    pub(super) fn new() -> Self {
        let (heard, writes, news) = (Mutex::default(), AtomicU64::new(0), Notify::new());
        let silent = watch::Sender::new(Vec::new());
        Self { shared: Arc::new(Shared { heard, writes, news, silent }) }
    }

    /// Asks every peer until it is dropped.
    pub(super) fn ask(&self, peers: &Peers) -> JoinSet<()> {
        let mut asking = JoinSet::new();
        for name in peers.names() {
            asking.spawn(self.clone().ask_one(peers.clone(), name));
        }
        asking
    }

    async fn ask_one(self, peers: Peers, name: NodeName) {
        loop {
            self.ask_once(&peers, &name, COUNTS_FOR).await;
            self.tell_silent(&peers);
            sleep(ASKED_EVERY).await;
        }
    }

    async fn ask_once(&self, peers: &Peers, name: &NodeName, within: Duration) {
        let writes = self.shared.writes.load(Ordering::Acquire);
        if let Ok(Ok(greeting)) = timeout(within, peers.hello(name)).await {
            let answered = Answered { greeting, at: Instant::now(), writes };
            self.shared.heard.lock().insert(name.clone(), answered);
            self.shared.news.notify_one();
        }
    }

    /// Asks every peer once more, and waits so long for their answers.
    pub(super) async fn look(&self, peers: &Peers, within: Duration) {
        let names = peers.names();
        join_all(names.iter().map(|name| self.ask_once(peers, name, within))).await;
    }

    fn tell_silent(&self, peers: &Peers) {
        let names = self.silent(&peers.names());
        let silent: Vec<String> = names.iter().map(ToString::to_string).collect();
        self.shared.silent.send_if_modified(|told| std::mem::replace(told, silent.clone()) != silent);
    }

    /// Of these names those that were not heard of lately.
    pub(super) fn silent(&self, names: &BTreeSet<NodeName>) -> BTreeSet<NodeName> {
        let heard = self.shared.heard.lock();
        let is_heard =
            |name: &&NodeName| heard.get(*name).is_some_and(|heard| heard.at.elapsed() < COUNTS_FOR);
        names.iter().filter(|name| !is_heard(name)).cloned().collect()
    }

    /// The names of the peers that do not answer, as that changes.
    pub(super) fn watch_silent(&self) -> watch::Receiver<Vec<String>> {
        self.shared.silent.subscribe()
    }

    /// Notes a durable write: what was asked before it describes a peer that did not know what this node is now.
    pub(super) fn wrote(&self) {
        self.shared.writes.fetch_add(1, Ordering::AcqRel);
    }

    /// Waits for an answer that was not there before.
    pub(super) async fn news(&self) {
        self.shared.news.notified().await;
    }

    /// What each peer said last of itself, and how long ago.
    pub(super) fn greetings(&self) -> BTreeMap<NodeName, (Greeting, Duration)> {
        let heard = self.shared.heard.lock();
        heard
            .iter()
            .map(|(name, heard)| (name.clone(), (heard.greeting.clone(), heard.at.elapsed())))
            .collect()
    }

    /// The ids of those of whom this holds, by what they said last and how long ago.
    pub(super) fn ids(&self, holds: impl Fn(&Greeting, Duration) -> bool) -> BTreeSet<NodeId> {
        let heard = self.shared.heard.lock();
        let found = heard.values().filter(|heard| holds(&heard.greeting, heard.at.elapsed()));
        found.map(|heard| heard.greeting.answer.disk.id).collect()
    }

    /// What counts now, for the rules.
    pub(super) fn heard(&self) -> BTreeMap<NodeName, Heard> {
        let writes = self.shared.writes.load(Ordering::Acquire);
        let heard = self.shared.heard.lock();
        let counting = heard.iter().filter(|(_, heard)| heard.at.elapsed() < COUNTS_FOR);
        let answer = |(name, heard): (&NodeName, &Answered)| {
            let asked = if heard.writes == writes { Asked::Since } else { Asked::Before };
            (name.clone(), Heard { asked, answer: heard.greeting.answer.clone() })
        };
        counting.map(answer).collect()
    }
}
