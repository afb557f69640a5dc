use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use super::local::Logged;
use super::*;
use crate::cluster::disk::{Identity, Place};
use crate::cluster::founding::{Allowed, NodeId, NodeName};
use crate::cluster::network::Addresses;
use crate::cluster::operate::Bootstrap;
use crate::cluster::status::{Heard, Role};
use crate::cluster::test_state::{create_domain, options, shown};
use crate::routing::test_table::write_earlier;
use crate::routing::{Change, Coverage, Routing, RoutingError};
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::tls::LinkTls;
use crate::tls::test_authority::{Authority, link_identity};

const NAMES: [&str; 3] = ["amir", "isaac", "linda"];
/// Longer than anything takes that a test waits for.
const LIMIT: Duration = Duration::from_secs(60);

/// Three data directories, and the nodes that run on them.
struct World {
    authority: Authority,
    dirs: BTreeMap<&'static str, TempDir>,
    nodes: BTreeMap<&'static str, Node>,
}

struct Node {
    routing: Routing,
    member: Member,
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let waited = timeout(LIMIT, async {
        while !holds().await {
            sleep(Duration::from_millis(50)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{what}"));
}

impl World {
    fn new() -> Self {
        let dirs = NAMES.map(|name| (name, tempfile::tempdir().unwrap())).into();
        Self { authority: Authority::new(), dirs, nodes: BTreeMap::new() }
    }

    fn dir(&self, name: &str) -> &Path {
        self.dirs[name].path()
    }

    async fn start(&mut self, name: &'static str) {
        let data_dir = self.dir(name).to_owned();
        let place = Place {
            store: Store::open(&data_dir).unwrap(),
            data_dir,
            name: name.into(),
            options: options(),
            tried_every: Duration::from_millis(100),
        };
        let settings = Settings {
            listen: "127.0.0.1:0".parse().unwrap(),
            peers: NAMES.map(|name| (name.into(), "127.0.0.1:1".to_owned())).into(),
            domain: [7; 32],
            voters: Allowed::Three,
            timing: Timing { heartbeat: 50, election: (200, 400) },
            tls: LinkTls::new(link_identity(&self.authority.issue(&[name]), &[&self.authority])),
            shown: shown(),
        };
        let metrics = Arc::new(Metrics::new().unwrap());
        let (routing, member) = Member::open(place, settings, metrics).await.unwrap();
        self.nodes.insert(name, Node { routing, member });
        self.introduce();
    }

    /// Tells each where the others are.
    fn introduce(&self) {
        let addresses: Addresses = self
            .nodes
            .iter()
            .map(|(name, node)| ((*name).into(), node.member.address().to_string()))
            .collect();
        for node in self.nodes.values() {
            let known = |name: &&str| NodeName::from(*name);
            let others = NAMES.iter().map(known).filter(|name| !addresses.contains_key(name));
            let absent = others.map(|name| (name, "127.0.0.1:1".to_owned()));
            node.member.handle().name_peers(&addresses.clone().into_iter().chain(absent).collect());
        }
    }

    async fn start_all(&mut self) {
        for name in NAMES {
            self.start(name).await;
        }
    }

    async fn stop(&mut self, name: &str) {
        let Node { routing, member } = self.nodes.remove(name).unwrap();
        drop(routing);
        member.shut_down().await;
    }

    fn routing(&self, name: &str) -> Routing {
        self.nodes[name].routing.clone()
    }

    /// Adds a domain on a node as soon as it takes changes.
    async fn add(&self, on: &str, domain: &str) {
        let routing = self.routing(on);
        until(&format!("{on} takes {domain}"), async || {
            let made = routing.change(create_domain(domain)).await;
            made.is_ok() || made.is_err_and(|error| error.reason() == "DOMAIN_EXISTS")
        })
        .await;
    }

    /// Waits until every node that runs has so many domains, in the same table.
    async fn have(&self, domains: usize) {
        until(&format!("all have {domains} domains"), async || {
            let tables = self.nodes.values().map(|node| node.routing.snapshot());
            let digests: BTreeSet<_> = tables
                .map(|table| (table.domain_count(), table.coverage() == Coverage::Whole, table.digest()))
                .collect();
            digests.len() == 1 && digests.iter().all(|(count, whole, _)| (*count, *whole) == (domains, true))
        })
        .await;
    }

    fn id(&self, name: &str) -> NodeId {
        Identity::read(&self.dir(name).join("raft")).unwrap().unwrap().node
    }

    fn cluster(&self, name: &str) -> Option<u128> {
        let identity = Identity::read(&self.dir(name).join("raft")).unwrap().unwrap();
        identity.adopted.map(|adopted| adopted.cluster.0)
    }

    fn wipe(&mut self, name: &'static str) {
        self.dirs.insert(name, tempfile::tempdir().unwrap());
    }
}

#[tokio::test]
async fn three_blank_nodes_form_one_cluster_and_a_change_on_any_is_used_on_all() {
    let mut world = World::new();
    world.start_all().await;
    for (at, name) in NAMES.iter().enumerate() {
        world.add(name, &format!("of-{name}.example")).await;
        // Whoever took it uses it already.
        assert_eq!(world.routing(name).snapshot().domain_count(), at + 1);
    }
    world.have(3).await;
    let clusters: BTreeSet<_> = NAMES.iter().map(|name| world.cluster(name)).collect();
    assert_eq!(clusters.len(), 1);
    for name in NAMES {
        world.stop(name).await;
    }
    world.start_all().await;
    world.add("isaac", "later.example").await;
    world.have(4).await;
}

#[tokio::test]
async fn two_of_three_found_nothing_and_two_of_a_cluster_go_on() {
    let mut world = World::new();
    world.start("isaac").await;
    world.start("linda").await;
    sleep(Duration::from_secs(2)).await;
    let refused = world.routing("linda").change(create_domain("one.example")).await.unwrap_err();
    assert!(matches!(refused, RoutingError::NoLeader { .. }), "{refused}");
    assert!(refused.to_string().contains("amir"), "{refused}");
    assert_eq!((world.cluster("isaac"), world.cluster("linda")), (None, None));
    world.start("amir").await;
    world.add("linda", "one.example").await;
    world.have(1).await;
    world.stop("amir").await;
    world.add("linda", "two.example").await;
    world.add("isaac", "three.example").await;
    world.have(3).await;
    world.stop("isaac").await;
    until("linda takes no change", async || {
        world.routing("linda").change(create_domain("four.example")).await.is_err()
    })
    .await;
    world.start("isaac").await;
    world.start("amir").await;
    world.add("amir", "five.example").await;
    until("all are the same", async || {
        let tables: BTreeSet<_> = NAMES.iter().map(|name| world.routing(name).snapshot().digest()).collect();
        tables.len() == 1
    })
    .await;
}

#[tokio::test]
async fn a_wiped_voter_comes_back_under_its_name_as_a_new_node() {
    let mut world = World::new();
    world.start_all().await;
    world.add("amir", "one.example").await;
    world.have(1).await;
    let before = world.id("linda");
    world.stop("linda").await;
    world.wipe("linda");
    world.start("linda").await;
    world.have(1).await;
    assert_ne!(world.id("linda"), before);
    // It votes: the cluster lives on it and one other.
    let votes = |name: &&str| world.nodes[name].member.handle().voters().contains(&world.id("linda"));
    until("linda is a voter", async || NAMES.iter().all(votes)).await;
    world.stop("isaac").await;
    world.add("linda", "two.example").await;
    world.have(2).await;
}

#[tokio::test]
async fn the_one_table_of_an_earlier_version_is_that_of_the_cluster() {
    let mut world = World::new();
    write_earlier(&Store::open(world.dir("isaac")).unwrap());
    world.start("isaac").await;
    // Until there is a cluster, mail is forwarded by it.
    assert_eq!(world.routing("isaac").snapshot().domain_count(), 1);
    let refused = world.routing("isaac").change(create_domain("two.example")).await;
    assert!(refused.is_err());
    world.start("amir").await;
    world.start("linda").await;
    world.add("linda", "two.example").await;
    world.have(2).await;
    assert_eq!(world.routing("amir").snapshot().rules_count(), 1);
    // As all of them know: a membership between two still needs isaac.
    let votes = |name: &&str| world.nodes[name].member.handle().voters().len() == 3;
    until("all vote", async || NAMES.iter().all(votes)).await;
    world.stop("isaac").await;
    world.add("amir", "three.example").await;
    fs::remove_dir_all(world.dir("isaac").join("raft")).unwrap();
}

#[tokio::test]
async fn a_node_that_has_entries_is_blank_to_nobody_whether_its_log_can_be_read_or_not() {
    let mut world = World::new();
    world.start_all().await;
    world.add("amir", "one.example").await;
    world.have(1).await;
    world.stop("amir").await;
    let folder = world.dir("amir").join("raft");
    let identity = Identity::read(&folder).unwrap().unwrap();
    let whole = Logged::read(&folder, &identity);
    assert!(whole.last.is_some_and(|last| last.index > 0) && whole.vote > 0, "{whole:?}");
    fs::remove_dir_all(identity.dir(&folder).join("log")).unwrap();
    assert!(Logged::read(&folder, &identity).last.is_some());
    let blank = Identity { adopted: None, ..identity };
    assert!(Logged::read(&folder, &blank).last.is_none());
}

/// Has a node run alone for a while, and adds these domains.
async fn ran_alone(world: &World, name: &'static str, domains: &[&str]) {
    let data_dir = world.dir(name).to_owned();
    let (store, tried_every) = (Store::open(&data_dir).unwrap(), Duration::from_millis(100));
    let place = Place { store, data_dir, name: name.into(), options: options(), tried_every };
    let metrics = Arc::new(Metrics::new().unwrap());
    let (routing, agreement) = crate::cluster::alone::Agreement::open(place, metrics, shown()).await.unwrap();
    for domain in domains {
        routing.change(create_domain(domain)).await.unwrap();
    }
    drop(routing);
    agreement.shut_down().await;
}

#[tokio::test]
async fn nodes_that_ran_alone_and_were_told_nothing_form_one_cluster() {
    let mut world = World::new();
    for name in NAMES {
        ran_alone(&world, name, &[]).await;
    }
    world.start_all().await;
    world.add("linda", "one.example").await;
    world.have(1).await;
    let clusters: BTreeSet<_> = NAMES.iter().map(|name| world.cluster(name)).collect();
    assert_eq!(clusters.len(), 1);
}

#[tokio::test]
async fn the_table_of_a_node_that_ran_alone_is_that_of_the_cluster() {
    let mut world = World::new();
    ran_alone(&world, "amir", &[]).await;
    ran_alone(&world, "isaac", &["one.example", "two.example"]).await;
    world.start_all().await;
    world.add("linda", "three.example").await;
    world.have(3).await;
}

impl World {
    fn handle(&self, name: &str) -> Handle {
        self.nodes[name].member.handle()
    }

    fn leader(&self, by: &str) -> Option<&'static str> {
        let nodes = self.handle(by).status().nodes;
        let leads = nodes.into_iter().find(|node| node.leads)?.name.to_string();
        NAMES.into_iter().find(|name| *name == leads)
    }

    fn role(&self, by: &str, of: &str) -> Option<Role> {
        let nodes = self.handle(by).status().nodes;
        nodes.into_iter().find(|node| node.name.to_string() == of).map(|node| node.role)
    }

    /// A cluster of three with one domain, in which all vote and know who leads.
    async fn formed() -> Self {
        let mut world = Self::new();
        world.start_all().await;
        world.add("amir", "one.example").await;
        world.have(1).await;
        let settled = |name: &&str| {
            let status = world.handle(name).status();
            let votes =
                status.nodes.iter().all(|node| node.role == Role::Voter && node.heard == Some(Heard::Now));
            status.takes_changes && votes && world.leader(name).is_some()
        };
        until("all vote", async || NAMES.iter().all(settled)).await;
        world
    }
}

#[tokio::test]
async fn a_node_says_how_the_cluster_is_and_what_is_missing() {
    let mut world = World::formed().await;
    let status = world.handle("amir").status_now().await;
    assert_eq!(status.detail, "changes are taken");
    assert!(status.nodes.iter().all(|node| node.said.revision > 0), "{status:?}");
    assert_eq!(status.cluster.map(|cluster| cluster.0), world.cluster("linda"));
    world.stop("isaac").await;
    let says = |text: &str| world.handle("amir").status().detail == text;
    let silent = "changes are taken; isaac cannot be reached; once another voter is lost, none will be";
    until("isaac is missed", async || says(silent)).await;
    world.stop("linda").await;
    let says = |text: &str| world.handle("amir").status().detail == text;
    let none =
        "no change is taken here: waiting for isaac, linda: without one more of the voters no write is taken";
    until("both are missed", async || says(none)).await;
    assert!(!world.handle("amir").status().takes_changes);
}

#[tokio::test]
async fn a_leader_that_is_removed_stays_out_until_it_is_admitted() {
    let mut world = World::formed().await;
    let removed = world.leader("amir").unwrap();
    let [stays, other] = NAMES.into_iter().filter(|name| *name != removed).collect::<Vec<_>>()[..] else {
        panic!()
    };
    world.handle(stays).may_remove(removed).unwrap();
    let unknown = world.handle(stays).may_remove("nobody").unwrap_err();
    assert_eq!(
        (unknown.reason(), unknown.to_string().contains("amir, isaac, linda")),
        ("NODE_NOT_FOUND", true)
    );
    world.routing(stays).change(Change::BarNode { name: removed.to_owned() }).await.unwrap();
    until("it is removed", async || {
        let others = [stays, other].map(|by| world.role(by, removed) == Some(Role::Removed));
        others == [true; 2] && world.handle(removed).status().detail.contains("was removed")
    })
    .await;
    // It hears of no change any more, and forwards by what it has, after a new start as well.
    let remains = |world: &World| {
        let table = world.routing(removed).snapshot();
        (table.coverage(), table.domain_count()) == (Coverage::Lost, 1)
    };
    assert!(remains(&world));
    world.stop(removed).await;
    world.start(removed).await;
    until("it has what is left", async || remains(&world)).await;
    world.add(other, "two.example").await;
    until("both have it", async || {
        [stays, other].iter().all(|name| world.routing(name).snapshot().domain_count() == 2)
    })
    .await;
    world.stop(other).await;
    until("the last two hold each other", async || {
        world.handle(stays).may_remove(stays).is_err_and(|error| error.reason() == "NO_MAJORITY_LEFT")
    })
    .await;
    world.start(other).await;
    until("it is admitted", async || {
        let admitted = world.routing(stays).change(Change::AdmitNode { name: removed.to_owned() }).await;
        admitted.is_ok() || world.role(stays, removed) != Some(Role::Removed)
    })
    .await;
    until("it votes again", async || world.role(stays, removed) == Some(Role::Voter)).await;
    world.have(2).await;
}

#[tokio::test]
async fn one_goes_on_alone_by_an_operators_order_once_the_majority_is_gone() {
    let mut world = World::formed().await;
    let cluster = world.cluster("linda");
    let refused = async |extent| world.handle("linda").bootstrap(extent).await.unwrap_err().reason();
    assert_eq!(refused(Bootstrap::Found).await, "CLUSTER_EXISTS");
    assert_eq!(refused(Bootstrap::AbandonOthers).await, "MAJORITY_ANSWERS");
    world.stop("amir").await;
    world.stop("isaac").await;
    // For a while they may only be slow.
    until("linda goes on alone", async || {
        world.handle("linda").bootstrap(Bootstrap::AbandonOthers).await.is_ok()
    })
    .await;
    world.add("linda", "two.example").await;
    assert_eq!(world.routing("linda").snapshot().domain_count(), 2);
    assert_ne!(world.cluster("linda"), cluster);
    world.wipe("amir");
    world.wipe("isaac");
    world.start("amir").await;
    world.start("isaac").await;
    world.have(2).await;
    assert_eq!(world.cluster("amir"), world.cluster("linda"));
}

#[tokio::test]
async fn a_drained_leader_leaves_it_to_others_until_the_order_is_taken_back() {
    let mut world = World::formed().await;
    let drained = world.leader("amir").unwrap();
    let by = NAMES.into_iter().find(|name| *name != drained).unwrap();
    assert!(world.handle(by).drain(drained, true).await.unwrap().drained);
    until("another leads", async || {
        NAMES.iter().all(|name| world.leader(name).is_some_and(|leader| leader != drained))
    })
    .await;
    world.add(drained, "two.example").await;
    world.have(2).await;
    // Where nobody else can, it leads all the same.
    for name in NAMES.into_iter().filter(|name| *name != drained && *name != by) {
        world.stop(name).await;
    }
    world.add(drained, "three.example").await;
    assert!(!world.handle(by).drain(drained, false).await.unwrap().drained);
    let unknown = world.handle(by).drain("nobody", true).await.unwrap_err();
    assert_eq!(unknown.reason(), "NODE_NOT_FOUND");
}

#[tokio::test]
async fn a_cluster_that_lost_its_table_says_of_nothing_that_it_does_not_exist() {
    let mut world = World::formed().await;
    for name in NAMES {
        world.stop(name).await;
        fs::remove_dir_all(world.dir(name).join("raft")).unwrap();
    }
    world.start_all().await;
    let covers = |coverage| NAMES.iter().all(|name| world.routing(name).snapshot().coverage() == coverage);
    until("the table is lost", async || covers(Coverage::Lost)).await;
    world.add("linda", "other.example").await;
    assert_eq!(world.routing("linda").snapshot().coverage(), Coverage::Lost);
    world.routing("linda").change(Change::DeclareWhole).await.unwrap();
    until("the table is whole", async || covers(Coverage::Whole)).await;
}

#[tokio::test]
async fn a_node_whose_identity_is_gone_beside_other_state_says_so() {
    let mut world = World::formed().await;
    world.stop("linda").await;
    fs::remove_file(world.dir("linda").join("raft/identity")).unwrap();
    let data_dir = world.dir("linda").to_owned();
    let place = Place {
        store: Store::open(&data_dir).unwrap(),
        data_dir,
        name: "linda".into(),
        options: options(),
        tried_every: Duration::from_millis(100),
    };
    assert!(is_unidentified(&place).await.unwrap());
}
