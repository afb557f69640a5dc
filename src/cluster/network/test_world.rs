//! Nodes for tests, in one process: each with its log, its table, its certificate and its listener on loopback.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use openraft::{Config, Raft, SnapshotPolicy};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::dial::Link;
use super::*;
use crate::cluster::founding::{
    Answer, ClusterId, Disk, LogId, Membership, NodeId, NodeName, Origin, Request, Stage, Standing, State,
    Terms,
};
use crate::cluster::log::LogStore;
use crate::cluster::machine::Machine;
use crate::cluster::propose::Proposer;
use crate::cluster::test_state::options;
use crate::cluster::types::{Member, Types};
use crate::proto::cluster::v1::cluster_service_client::ClusterServiceClient;
use crate::routing::{Routing, View};
use crate::tls::LinkTls;
use crate::tls::test_authority::{Authority, link_identity};

pub(super) const CLUSTER: ClusterId = ClusterId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
/// Longer than anything takes that a test waits for.
const LIMIT: Duration = Duration::from_secs(60);

pub(super) fn name(text: &str) -> NodeName {
    text.into()
}

/// Waits until it holds.
pub(super) async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let waited = timeout(LIMIT, async {
        while !holds().await {
            sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{what}"));
}

/// What the network asks.
pub(super) struct TestNode {
    pub(super) id: NodeId,
    pub(super) standing: Mutex<Standing>,
    raft: Mutex<Option<Raft<Types>>>,
    routing: Mutex<Option<Routing>>,
    pub(super) greeted: Mutex<Vec<(NodeName, Greeting)>>,
}

pub(super) fn terms() -> Terms {
    let names: BTreeSet<NodeName> = ["linda", "amir", "isaac"].map(NodeName::from).into();
    Terms { names, domain: [7; 32] }
}

pub(super) fn member_of(cluster: ClusterId) -> Standing {
    let membership =
        Membership { voters: BTreeMap::new(), learners: BTreeMap::new(), stage: Stage::Committed };
    Standing::State(State {
        cluster,
        origin: Origin::Cluster,
        last: LogId { term: 0, index: 0 },
        membership,
        barred: BTreeSet::new(),
        revision: 0,
    })
}

impl LocalNode for TestNode {
    fn disk(&self) -> Disk {
        Disk { id: self.id, vote: 0, spent: None, standing: self.standing.lock().clone() }
    }

    fn greeting(&self) -> Greeting {
        let answer = Answer { disk: self.disk(), terms: terms(), incarnation: 7, seen: None };
        let report = Report { software: "0.2.0".to_owned(), queue: 3, ..Report::default() };
        Greeting { answer, report }
    }

    fn greeted(&self, name: &NodeName, greeting: Greeting) {
        self.greeted.lock().push((name.clone(), greeting));
    }

    fn raft(&self) -> Option<Raft<Types>> {
        self.raft.lock().clone()
    }

    fn routing(&self) -> Option<Routing> {
        self.routing.lock().clone()
    }

    fn adopt(&self, cluster: ClusterId) -> BoxFuture<'_, Result<(), String>> {
        *self.standing.lock() = member_of(cluster);
        async { Ok(()) }.boxed()
    }

    fn consent(&self, request: Request) -> BoxFuture<'_, Result<(), String>> {
        let willing = request.terms == terms() && request.to == self.id;
        async move { willing.then_some(()).ok_or_else(|| "the files differ".to_owned()) }.boxed()
    }

    fn join(&self, joiner: NodeName, id: NodeId) -> BoxFuture<'_, Joining> {
        async move { Joining::Refused(format!("{joiner} is {id}")) }.boxed()
    }

    fn drain(&self, ordered: bool) -> Report {
        Report { drained: ordered, ..Report::default() }
    }
}

/// A node that runs.
pub(super) struct Running {
    pub(super) name: NodeName,
    pub(super) node: Arc<TestNode>,
    pub(super) raft: Raft<Types>,
    pub(super) routing: Routing,
    pub(super) peers: Peers,
    pub(super) passed: PassedCalls,
    pub(super) tls: LinkTls,
    pub(super) address: SocketAddr,
    stop: CancellationToken,
    server: JoinHandle<()>,
    dir: TempDir,
}

/// What the node is reached by, before it runs.
pub(super) struct Bound {
    name: NodeName,
    id: NodeId,
    tls: LinkTls,
    server: ClusterServer,
}

impl Bound {
    pub(super) async fn new(ca: &Authority, name: &str, id: u64) -> Self {
        let tls = LinkTls::new(link_identity(&ca.issue(&[name]), &[ca]));
        let server = ClusterServer::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        Self { name: name.into(), id: NodeId(id), tls, server }
    }

    pub(super) fn address(&self) -> (NodeName, String) {
        (self.name.clone(), self.server.address().to_string())
    }

    /// Runs it, a blank node as Raft sees it.
    pub(super) async fn run(self, standing: Standing, addresses: &Addresses) -> Running {
        let Self { name, id, tls, server } = self;
        let node = Arc::new(TestNode {
            id,
            standing: Mutex::new(standing),
            raft: Mutex::default(),
            routing: Mutex::default(),
            greeted: Mutex::default(),
        });
        let peers = Peers::new(name.clone(), node.clone(), tls.clone(), addresses);
        let config = Config {
            heartbeat_interval: 250,
            election_timeout_min: 500,
            election_timeout_max: 1000,
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: 0,
            ..Config::default()
        };
        let dir = tempfile::tempdir().unwrap();
        let log = LogStore::create(&dir.path().join("log")).unwrap();
        let view = View::empty(options());
        let machine = Machine::create(dir.path(), &view).unwrap();
        let log = log.after_snapshots(machine.durable());
        let config = Arc::new(config.validate().unwrap());
        let raft = Raft::new(id, config, peers.network(id), log, machine).await.unwrap();
        let (routing, mut orders) = Routing::agreed(view.clone());
        let silent = watch::channel(Vec::new()).1;
        let proposer = Proposer::new(raft.clone(), view, silent).forwarding(peers.clone());
        tokio::spawn(async move { proposer.run(&mut orders, &CancellationToken::new()).await });
        (*node.raft.lock(), *node.routing.lock()) = (Some(raft.clone()), Some(routing.clone()));
        let (address, stop) = (server.address(), CancellationToken::new());
        let passed = PassedCalls::default();
        let serving = server.serve(peers.clone(), passed.clone(), stop.clone());
        let server = tokio::spawn(async move { serving.await.unwrap() });
        Running { name, node, raft, routing, peers, passed, tls, address, stop, server, dir }
    }
}

impl Running {
    /// Ends it as a stop of its process would.
    pub(super) async fn stop(&mut self) {
        self.raft.shutdown().await.unwrap();
        *self.node.raft.lock() = None;
        self.stop.cancel();
        (&mut self.server).await.unwrap();
    }

    /// The folder of its log.
    pub(super) fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    pub(super) fn leader(&self) -> Option<NodeId> {
        self.raft.metrics().borrow().current_leader
    }

    pub(super) async fn until(
        &self,
        what: &str,
        holds: impl Fn(&openraft::RaftMetrics<NodeId, Member>) -> bool + Send,
    ) {
        self.raft.wait(Some(LIMIT)).metrics(holds, what).await.unwrap();
    }

    /// A client of this node that is connected as `tls` has it, and may say anything.
    pub(super) fn strange_client(&self, tls: &LinkTls) -> ClusterServiceClient<tonic::transport::Channel> {
        ClusterServiceClient::new(Link::new(&self.name, &self.address.to_string(), tls).short)
    }

    pub(super) async fn until_rules(&self, count: usize) {
        until("the rules are there", || async { self.routing.snapshot().rules_count() == count }).await;
    }
}

/// Three nodes of one cluster.
pub(super) struct World {
    pub(super) ca: Authority,
    pub(super) nodes: Vec<Running>,
    pub(super) addresses: Addresses,
}

impl World {
    /// Three voters, one of whom leads.
    pub(super) async fn new() -> Self {
        Self::reached_by(async |addresses| addresses).await
    }

    /// Three voters, who find each other at other addresses than theirs.
    pub(super) async fn reached_by(place: impl AsyncFnOnce(Addresses) -> Addresses) -> Self {
        let (ca, mut bound) = (Authority::new(), Vec::new());
        for (name, id) in [("linda", 1), ("amir", 2), ("isaac", 3)] {
            bound.push(Bound::new(&ca, name, id).await);
        }
        let addresses = place(bound.iter().map(Bound::address).collect()).await;
        let mut nodes = Vec::new();
        for node in bound {
            nodes.push(node.run(member_of(CLUSTER), &addresses).await);
        }
        let members = nodes.iter().map(|node| (node.node.id, Member::from(&node.name)));
        let members: BTreeMap<NodeId, Member> = members.collect();
        nodes[0].raft.initialize(members).await.unwrap();
        let world = Self { ca, nodes, addresses };
        world.leader().await;
        world
    }

    /// Who leads, as soon as two say so, and nobody else.
    pub(super) async fn leader(&self) -> usize {
        let leader = || {
            let running = self.nodes.iter().filter(|node| node.node.raft().is_some());
            let said: Vec<NodeId> = running.filter_map(Running::leader).collect();
            let leader = said.first().filter(|first| said.len() > 1 && said.iter().all(|id| id == *first))?;
            self.nodes.iter().position(|node| node.node.id == *leader && node.node.raft().is_some())
        };
        until("one leads", || async { leader().is_some() }).await;
        leader().unwrap()
    }

    /// One that follows, and runs.
    pub(super) async fn follower(&self) -> usize {
        let leader = self.leader().await;
        let id = Some(self.nodes[leader].node.id);
        let mut others = (0..self.nodes.len()).filter(|at| *at != leader);
        others.find(|at| self.nodes[*at].node.raft().is_some() && self.nodes[*at].leader() == id).unwrap()
    }
}

/// Stands between a node and its peers, and can stand still.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    flows: watch::Sender<bool>,
}

impl Proxy {
    pub(super) async fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (flows, told) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (target, told) = (target.clone(), told.clone());
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(&target).await else { return };
                    let ((near_read, near_write), (far_read, far_write)) =
                        (near.into_split(), far.into_split());
                    tokio::join!(pump(near_read, far_write, told.clone()), pump(far_read, near_write, told));
                });
            }
        });
        Self { address, flows }
    }

    pub(super) fn stand_still(&self) {
        self.flows.send_replace(false);
    }

    pub(super) fn go_on(&self) {
        self.flows.send_replace(true);
    }
}

async fn pump(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut flows: watch::Receiver<bool>,
) {
    let mut octets = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut octets).await {
        if flows.wait_for(|flows| *flows).await.is_err() || to.write_all(&octets[..read]).await.is_err() {
            return;
        }
    }
}
