//! This node as its peers see it: what the network asks of it is answered from here, or handed to the steward.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use futures_util::future::BoxFuture;
use openraft::Raft;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::Instant;

use super::super::disk::{Adopted, Bound, Identity};
use super::super::founding::{
    Answer, ClusterId, Disk, LogId, Members, Membership, NodeId, NodeName, Request, Stage, Standing, State,
    Terms,
};
use super::super::log::{self, LogStore};
use super::super::network::{Addresses, Greeting, Joining, LocalNode, Report};
use super::super::operate::{Bootstrap, OperateError};
use super::super::status::Shown;
use super::super::types::{self, StoredMembership, Types};
use crate::routing::{Routing, View};

/// How long a node that asked to join is taken to want it still.
const WANTED_FOR: Duration = Duration::from_secs(10);
/// Nodes that want to join at once.
const MAX_JOINING: usize = 64;

/// What is to be done by the steward alone, who writes.
pub(super) enum Order {
    Adopt(ClusterId, oneshot::Sender<Result<(), String>>),
    Consent(Request, oneshot::Sender<Result<(), String>>),
    Bootstrap(Bootstrap, oneshot::Sender<Result<(), OperateError>>),
}

/// This node.
pub(super) struct Local {
    pub(super) identity: ArcSwap<Identity>,
    pub(super) terms: ArcSwap<Terms>,
    pub(super) has_old_table: AtomicBool,
    engine: ArcSwapOption<Engine>,
    /// What the log says while Raft does not run: a node that has state is not blank for that.
    stopped: ArcSwap<Logged>,
    incarnation: u64,
    routing: Routing,
    view: View,
    orders: mpsc::Sender<Order>,
    joining: Mutex<BTreeMap<NodeId, Instant>>,
    shown: Shown,
}

/// Raft, while it runs, and its log.
struct Engine {
    raft: Raft<Types>,
    log: LogStore,
}

/// What a log says, as far as the rules ask.
#[derive(Debug, Clone, Default)]
pub(super) struct Logged {
    /// The last entry, or the last that was purged.
    pub(super) last: Option<types::LogId>,
    /// The term of the vote.
    pub(super) vote: u64,
    /// Who is a member, as far as it is known; and up to which entry what there is is applied.
    pub(super) membership: StoredMembership,
    pub(super) applied: u64,
}

impl Logged {
    /// What stands on the disk, before Raft runs on it; of a log that cannot be read, that there is one. Blocks on the disk.
    pub(super) fn read(folder: &Path, identity: &Identity) -> Self {
        let readable = log::look(&identity.dir(folder).join("log"));
        let last = readable.entries.last().map(|entry| entry.log_id).or(readable.purged);
        let is_lost = readable.whole.is_err() && identity.adopted.is_some();
        let vote = readable.vote.map_or(0, |vote| vote.leader_id.term);
        Self { last: last.or_else(|| is_lost.then(types::LogId::default)), vote, ..Self::default() }
    }
}

impl Engine {
    fn logged(&self) -> Logged {
        let metrics = self.raft.metrics().borrow().clone();
        Logged {
            last: self.log.last(),
            vote: self.log.vote().map_or(0, |vote| vote.leader_id.term),
            membership: StoredMembership::clone(&metrics.membership_config),
            applied: metrics.last_applied.map_or(0, |id| id.index),
        }
    }
}

impl Local {
    pub(super) fn new(
        identity: Identity,
        terms: Terms,
        (routing, view): (Routing, View),
        orders: mpsc::Sender<Order>,
        shown: Shown,
    ) -> Self {
        Self {
            identity: ArcSwap::from_pointee(identity),
            terms: ArcSwap::from_pointee(terms),
            has_old_table: false.into(),
            engine: ArcSwapOption::empty(),
            stopped: ArcSwap::default(),
            incarnation: rand::random(),
            routing,
            view,
            orders,
            joining: Mutex::default(),
            shown,
        }
    }

    /// Says that Raft runs.
    pub(super) fn runs(&self, raft: Raft<Types>, log: LogStore) {
        self.engine.store(Some(Arc::new(Engine { raft, log })));
    }

    /// Says that Raft does not run any more.
    pub(super) fn stops(&self) {
        if let Some(engine) = self.engine.load_full() {
            self.stopped.store(Arc::new(engine.logged()));
        }
        self.engine.store(None);
    }

    /// Says what the log has, before Raft runs on it.
    pub(super) async fn read_log(&self, folder: PathBuf) -> Result<(), JoinError> {
        let identity = self.identity.load_full();
        self.does_not_run(spawn_blocking(move || Logged::read(&folder, &identity)).await?);
        Ok(())
    }

    /// Says what the log has of a Raft that does not run.
    pub(super) fn does_not_run(&self, logged: Logged) {
        self.stopped.store(Arc::new(logged));
    }

    /// The peers are these from now on.
    pub(super) fn name_peers(&self, addresses: &Addresses) {
        let own = self.identity.load().name.clone();
        let names = addresses.keys().cloned().chain([own]).collect();
        let terms = Terms { names, domain: self.terms.load().domain };
        self.terms.store(Arc::new(terms));
    }

    pub(super) fn name(&self) -> NodeName {
        self.identity.load().name.clone()
    }

    /// Whether an operator has this node take no new sessions.
    pub(super) fn is_drained(&self) -> bool {
        self.shown.drain.is_ordered()
    }

    /// Whether readers keep what they see.
    pub(super) fn is_held(&self) -> bool {
        self.view.is_held()
    }

    /// How this node is.
    pub(super) fn report(&self) -> Report {
        let leads = self.engine.load().as_deref().is_some_and(|engine| {
            let metrics = engine.raft.metrics().borrow().clone();
            let leads = metrics.current_leader == Some(metrics.id) && metrics.replication.is_some();
            metrics.running_state.is_ok() && leads
        });
        self.shown.report(leads)
    }

    /// Where changes of the table are ordered.
    pub(super) fn routing_of_node(&self) -> Routing {
        self.routing.clone()
    }

    /// Hands an order to the steward; the answer, unless the node stops before.
    pub(super) async fn order<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.orders.send(order(answer)).await.ok()?;
        answered.await.ok()
    }

    pub(super) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// The ids that want to join.
    pub(super) fn joining(&self) -> BTreeSet<NodeId> {
        let mut joining = self.joining.lock();
        joining.retain(|_, asked| asked.elapsed() < WANTED_FOR);
        joining.keys().copied().collect()
    }

    fn logged(&self) -> Logged {
        self.engine.load().as_deref().map_or_else(|| Logged::clone(&self.stopped.load()), Engine::logged)
    }

    /// The state, if the log, or what it is purged up to, has entries.
    fn state(&self, logged: &Logged, adopted: Option<Adopted>) -> Option<State> {
        let last = logged.last?;
        let Adopted { cluster, origin } = adopted?;
        let (revision, barred) =
            self.view.latest(|table| (table.revision(), table.barred().map(NodeName::from).collect()));
        Some(State {
            cluster,
            origin,
            last: LogId { term: last.leader_id.term, index: last.index },
            membership: membership(&logged.membership, logged.applied),
            barred,
            revision,
        })
    }

    async fn order_of_peer(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<(), String>>) -> Order,
    ) -> Result<(), String> {
        self.order(order).await.unwrap_or_else(|| Err("this node stops".to_owned()))
    }
}

/// The membership in effect, as the rules look at it.
pub(super) fn membership(stored: &StoredMembership, applied: u64) -> Membership {
    let config = stored.membership().get_joint_config();
    let name = |id: &NodeId| {
        let member = stored.membership().get_node(id);
        NodeName::from(member.map_or("", |member| member.name.as_str()))
    };
    let members = |ids: &BTreeSet<NodeId>| -> Members { ids.iter().map(|id| (name(id), *id)).collect() };
    let voters = config.last().map(&members).unwrap_or_default();
    let learners: BTreeSet<NodeId> = stored.membership().learner_ids().collect();
    let is_committed = stored.log_id().is_some_and(|id| id.index <= applied);
    let stage = match (config.as_slice(), is_committed) {
        ([before, _], _) => Stage::Proposed { over: members(before) },
        (_, true) => Stage::Committed,
        // A founder's first entry has nobody before it.
        (_, false) if stored.log_id().is_none_or(|id| id.index == 0) => {
            Stage::Proposed { over: Members::new() }
        }
        (_, false) => Stage::Proposed { over: voters.clone() },
    };
    Membership { voters, learners: members(&learners), stage }
}

impl LocalNode for Local {
    fn disk(&self) -> Disk {
        let identity = self.identity.load();
        let logged = self.logged();
        let (vote, state) = (logged.vote, self.state(&logged, identity.adopted));
        let standing = match (state, &identity.bound) {
            (Some(state), _) => Standing::State(state),
            (None, Bound::Consent { cluster, founder }) => {
                Standing::Consenting { cluster: *cluster, founder: founder.clone() }
            }
            (None, Bound::Founding { cluster, list, table }) => {
                Standing::Founding { cluster: *cluster, list: list.clone(), table: *table }
            }
            (None, Bound::Free) if self.has_old_table.load(Ordering::Acquire) => Standing::OldTable,
            (None, Bound::Free) => Standing::Blank,
        };
        Disk { id: identity.node, vote, spent: identity.spent, standing }
    }

    fn greeting(&self) -> Greeting {
        let answer = Answer {
            disk: self.disk(),
            terms: Terms::clone(&self.terms.load()),
            incarnation: self.incarnation,
            seen: None,
        };
        Greeting { answer, report: self.report() }
    }

    fn greeted(&self, _name: &NodeName, _greeting: Greeting) {}

    fn raft(&self) -> Option<Raft<Types>> {
        self.engine.load().as_deref().map(|engine| engine.raft.clone())
    }

    fn routing(&self) -> Option<Routing> {
        self.engine.load().as_deref().map(|_| self.routing.clone())
    }

    fn adopt(&self, cluster: ClusterId) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.order_of_peer(move |answer| Order::Adopt(cluster, answer)))
    }

    fn consent(&self, request: Request) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.order_of_peer(move |answer| Order::Consent(request, answer)))
    }

    fn join(&self, _name: NodeName, id: NodeId) -> BoxFuture<'_, Joining> {
        let answer = match self.engine.load().as_deref() {
            None => Joining::Refused("Raft does not run here".to_owned()),
            Some(engine) => {
                let metrics = engine.raft.metrics().borrow().clone();
                let leader = metrics.current_leader;
                let named = leader
                    .and_then(|leader| metrics.membership_config.membership().get_node(&leader).cloned());
                match (leader, named) {
                    (Some(leader), _) if leader == metrics.id => {
                        let mut joining = self.joining.lock();
                        if joining.len() < MAX_JOINING {
                            joining.insert(id, Instant::now());
                        }
                        Joining::Taken
                    }
                    (Some(_), Some(member)) => Joining::Ask(member.name.as_str().into()),
                    (_, _) => Joining::Refused("nobody leads".to_owned()),
                }
            }
        };
        Box::pin(std::future::ready(answer))
    }

    fn drain(&self, ordered: bool) -> Report {
        self.shown.drain.order(ordered);
        self.report()
    }
}
