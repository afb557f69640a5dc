use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::test_world::*;
use super::*;
use crate::aliases::{Aliases, Original};
use crate::blocklist::Blocklist;
use crate::cluster::facts::{Exchange, Owners, Patience};
use crate::config;
use crate::dev::dns::{Behaviour, DnsServer};
use crate::dns::Dns;
use crate::ledger::{Key, Ledger, Recorded};
use crate::mail::{Address, Domain};
use crate::srs::AliasToken;
use crate::store::{Committer, Store};
use crate::telemetry::Metrics;
use crate::telemetry::labels::{FactEvent, FactKind};

/// A zone as RFC 5782 wants it, that lists 10.0.0.0/16.
const ZONE: &str = "2.0.0.127 60 A 127.0.0.2\n*.0.10 60 A 127.0.0.4\n\
    2.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0 60 A 127.0.0.2\n";
/// Clients that reach all nodes at once.
const CLIENTS: u32 = if cfg!(debug_assertions) { 200 } else { 1000 };
/// On a busy machine, a sign takes its time.
const PATIENT: Patience = Patience { sign: Duration::from_millis(500), answer: Duration::from_secs(2) };

const DAY: Duration = Duration::from_secs(86_400);

/// A node's blocklists, and what else it shares.
struct Zones {
    blocklist: Arc<Blocklist>,
    ledger: Ledger,
    aliases: Arc<Aliases>,
    metrics: Arc<Metrics>,
    _data: TempDir,
}

fn stored(data: &TempDir) -> (Ledger, Arc<Aliases>) {
    let store = Store::open(data.path()).unwrap();
    let committer = || Committer::start(store.clone()).unwrap();
    let ledger = Ledger::open(&store, committer()).unwrap();
    (ledger, Arc::new(Aliases::open(&store, committer(), 21).unwrap()))
}

/// Three nodes that share what their blocklists say.
struct Shared {
    world: World,
    nodes: Vec<Zones>,
    server: DnsServer,
    stop: CancellationToken,
    _stopped: DropGuard,
}

fn settings(listed: &str) -> config::Dnsbl {
    let listed = vec![listed.parse().unwrap()];
    config::Dnsbl { name: "bl".into(), zone: Domain::parse("bl.example").unwrap(), key_file: None, listed }
}

/// Every third of them is.
fn is_in_zone(at: u32) -> bool {
    at.is_multiple_of(3)
}

fn client(at: u32) -> IpAddr {
    let first = if is_in_zone(at) { 10 } else { 11 };
    Ipv4Addr::new(first, 0, (at / 250) as u8, (at % 250) as u8).into()
}

fn asked(ip: IpAddr) -> String {
    let IpAddr::V4(ip) = ip else { panic!() };
    let [a, b, c, d] = ip.octets();
    format!("{d}.{c}.{b}.{a}.bl.example")
}

impl Shared {
    async fn new(patience: Patience) -> Self {
        Self::of(World::new().await, patience, ["127.0.0.0/8"; 3]).await
    }

    async fn of(world: World, patience: Patience, listed: [&str; 3]) -> Self {
        let server = DnsServer::start(&[("bl.example", ZONE)]).await.unwrap();
        let stop = CancellationToken::new();
        let mut nodes = Vec::new();
        for (node, listed) in world.nodes.iter().zip(listed) {
            let metrics = Arc::new(Metrics::new().unwrap());
            let config = config::Dns { servers: vec![server.addr()], ..Default::default() };
            let dns = Dns::new(&config, metrics.clone()).unwrap();
            let exchange = Exchange::with_patience(node.peers.clone(), patience, metrics.clone());
            let facts = Arc::new(exchange.facts());
            let blocklist = Blocklist::among(facts, &[settings(listed)], dns, metrics.clone()).unwrap();
            tokio::spawn(blocklist.clone().watch(stop.clone()));
            let data = tempfile::tempdir().unwrap();
            let (ledger, aliases) = stored(&data);
            let current = Arc::new(ArcSwap::from(blocklist.clone()));
            let owners = Owners { blocklist: current, ledger: ledger.clone(), aliases: aliases.clone() };
            tokio::spawn(exchange.run(owners, stop.clone()));
            nodes.push(Zones { blocklist, ledger, aliases, metrics, _data: data });
        }
        let stopped = stop.clone().drop_guard();
        let shared = Self { world, nodes, server, stop, _stopped: stopped };
        shared.linked().await;
        // Both zones are tested by then.
        join_all(shared.nodes.iter().map(|node| node.blocklist.check([11, 9, 9, 9].into()))).await;
        shared
    }

    /// Waits until each node is linked to both others.
    async fn linked(&self) {
        until("all are linked", || async {
            self.world.nodes.iter().all(|node| node.peers.facts().is_some_and(|facts| facts.links() == 2))
        })
        .await;
    }

    fn count(&self, at: usize, event: FactEvent) -> u64 {
        self.nodes[at].metrics.cluster_facts_total.of((FactKind::Dnsbl, event)).get()
    }

    async fn is_listed(&self, at: usize, ip: IpAddr) -> bool {
        self.nodes[at].blocklist.check(ip).await.is_listed()
    }

    /// Facts that a node found out.
    fn found(&self, at: usize) -> u64 {
        let queries = |result| self.nodes[at].metrics.dnsbl_queries_total.with_label_values(&["bl", result]);
        queries("listed").get() + queries("not_listed").get()
    }

    /// Facts that were told, to each peer.
    fn told(&self) -> u64 {
        (0..3).map(|at| self.count(at, FactEvent::Sent)).sum()
    }

    /// Waits until all that the DNS said is told to both others, and heard by them.
    async fn settled(&self) {
        until("all is told", || async {
            let all = 2 * (0..3).map(|at| self.found(at)).sum::<u64>();
            let heard = |at| self.count(at, FactEvent::Received) + self.count(at, FactEvent::Ignored);
            all > 0 && self.told() == all && (0..3).map(heard).sum::<u64>() == all
        })
        .await;
    }

    /// Questions for these clients that reached the DNS.
    fn queries(&self, clients: impl Iterator<Item = u32>) -> usize {
        clients.map(|at| self.server.queries(&asked(client(at)), "A")).sum()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_clients_that_reach_three_nodes_at_once_the_dns_is_asked_as_by_one_node() {
    let shared = Shared::new(PATIENT).await;
    // Longer than a round trip between nodes, and than a sign may take.
    for at in 0..CLIENTS {
        let delay = Behaviour::Delay(Duration::from_millis(60));
        shared.server.behave(&asked(client(at)), delay).unwrap();
    }
    let shared = &shared;
    let checks = (0..CLIENTS).flat_map(|at| (0..3).map(move |node| shared.is_listed(node, client(at))));
    let listed = join_all(checks).await;
    let right = |(at, listed): (usize, &bool)| *listed == (at / 3).is_multiple_of(3);
    assert!(listed.iter().enumerate().all(right));
    let queries = shared.queries(0..CLIENTS);
    let unanswered: u64 = (0..3).map(|node| shared.count(node, FactEvent::Unanswered)).sum();
    println!("{CLIENTS} clients, {queries} questions to the DNS, {unanswered} unanswered by their owner");
    assert!(queries >= CLIENTS as usize && queries * 10 <= CLIENTS as usize * 11, "{queries}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_found_out_no_other_asks_the_dns_for_and_it_counts_no_longer_there() {
    let shared = Shared::new(PATIENT).await;
    let clients = 300..330;
    for at in clients.clone() {
        shared.is_listed(0, client(at)).await;
    }
    shared.settled().await;
    for at in clients.clone() {
        for node in [1, 2] {
            assert_eq!(shared.is_listed(node, client(at)).await, is_in_zone(at));
            let report = shared.nodes[node].blocklist.report(client(at)).await.swap_remove(0);
            assert!(report.kept_for.is_some_and(|left| left <= Duration::from_secs(60)), "{report:?}");
        }
    }
    assert_eq!(shared.queries(clients), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_and_refusals_are_not_told() {
    let shared = Shared::new(PATIENT).await;
    let [failing, refused] = [client(301), client(302)];
    shared.server.behave(&asked(failing), Behaviour::ServFail).unwrap();
    shared.server.replace(&format!("{}. 60 A 127.255.255.254", asked(refused))).unwrap();
    shared.settled().await;
    let before = shared.told();
    for (node, ip) in [(0, failing), (1, failing), (2, failing), (0, refused), (1, refused)] {
        assert!(!shared.is_listed(node, ip).await);
    }
    shared.settled().await;
    assert_eq!(shared.told(), before);
    shared.server.behave(&asked(failing), Behaviour::Answer).unwrap();
    assert!(!shared.is_listed(0, failing).await);
    shared.settled().await;
    assert_eq!(shared.told(), before + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_a_zone_with_other_settings_is_ignored() {
    let listed = ["127.0.0.0/8", "127.0.0.0/8", "127.0.0.2/32"];
    let shared = Shared::of(World::new().await, PATIENT, listed).await;
    let clients = (300..330).step_by(3);
    for at in clients.clone() {
        assert!(shared.is_listed(0, client(at)).await);
    }
    shared.settled().await;
    for at in clients.clone() {
        assert!(!shared.is_listed(2, client(at)).await);
    }
    assert_eq!((shared.queries(clients), shared.count(2, FactEvent::Received)), (20, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_stands_still_costs_one_wait_for_a_sign_and_later_questions_nothing() {
    let mut stands = None;
    let world = World::reached_by(async |mut addresses| {
        let linda = addresses.get_mut(&name("linda")).unwrap();
        let proxy = Proxy::to(linda.clone()).await;
        *linda = proxy.address.to_string();
        stands = Some(proxy);
        addresses
    });
    let patience = Patience { sign: Duration::from_millis(300), ..PATIENT };
    let shared = Shared::of(world.await, patience, ["127.0.0.0/8"; 3]).await;
    let stands = stands.unwrap();
    stands.stand_still();
    // Of amir, who calls linda.
    let (mut late, began) = (0, Instant::now());
    for at in 300..350 {
        let asked = Instant::now();
        assert_eq!(shared.is_listed(1, client(at)).await, is_in_zone(at));
        late += usize::from(asked.elapsed() >= patience.sign);
    }
    assert!(late <= 1 && began.elapsed() < Duration::from_secs(2), "{late} {:?}", began.elapsed());
    assert_eq!(shared.count(1, FactEvent::Unanswered), 1);
    assert_eq!(shared.queries(300..350), 50);
    // Once it is heard again, it has all, and is asked again.
    stands.go_on();
    until("linda is told", || async { shared.count(0, FactEvent::Received) >= 50 }).await;
    let before = shared.count(1, FactEvent::Answered);
    shared.linked().await;
    for at in 350..400 {
        shared.is_listed(1, client(at)).await;
    }
    assert!(shared.count(1, FactEvent::Answered) > before + 15);
    assert_eq!(shared.count(1, FactEvent::Unanswered), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_comes_back_is_told_all_that_counts_still() {
    let shared = Shared::new(PATIENT).await;
    let [linda, amir] = [0, 1].map(|at| &shared.world.nodes[at]);
    let without: Addresses = shared
        .world
        .addresses
        .iter()
        .filter(|(of, _)| **of != linda.name)
        .map(|(of, at)| (of.clone(), at.clone()))
        .collect();
    for node in &shared.world.nodes[1..] {
        node.peers.swap_addresses(&without);
    }
    until("linda is alone", || async { linda.peers.facts().is_some_and(|facts| facts.links() == 0) }).await;
    let clients = 300..300 + 2 * CLIENTS;
    join_all(clients.clone().map(|at| shared.is_listed(1, client(at)))).await;
    let (queries, received) = (shared.queries(clients.clone()), shared.count(0, FactEvent::Received));
    for node in &shared.world.nodes[1..] {
        node.peers.swap_addresses(&shared.world.addresses);
    }
    until("linda is told", || async {
        shared.count(0, FactEvent::Received) == received + shared.found(1) + shared.found(2)
    })
    .await;
    for at in clients.clone() {
        assert_eq!(shared.is_listed(0, client(at)).await, is_in_zone(at));
    }
    assert_eq!(shared.queries(clients), queries);
    assert!(amir.peers.facts().is_some());
    shared.stop.cancel();
    until("no link is left", || async { amir.peers.facts().is_some_and(|facts| facts.links() == 0) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_answered_on_whichever_node_it_comes_to_and_once() {
    let shared = Shared::new(PATIENT).await;
    let [linda, amir, isaac] = [0, 1, 2].map(|at| &shared.nodes[at].ledger);
    let key = Key([7; 32]);
    let all_know = async |what: &str, known: Option<Recorded>| {
        until(what, || async { [linda, amir, isaac].iter().all(|ledger| ledger.recall(&key) == known) })
            .await;
    };
    let under_way = linda.begin(vec![key]);
    all_know("it is under way", Some(Recorded::Open)).await;
    linda.record(vec![(key, Recorded::Queued)]).await.unwrap();
    drop(under_way);
    all_know("it is queued", Some(Recorded::Queued)).await;
    amir.forget(vec![key]).await.unwrap();
    all_know("its sender has heard so at amir", None).await;
    assert!(linda.is_empty() && amir.is_empty() && isaac.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_address_is_known_on_all_nodes_and_unknown_only_where_all_say_so() {
    let shared = Shared::new(PATIENT).await;
    let [linda, amir, isaac] = [0, 1, 2].map(|at| shared.nodes[at].aliases.clone());
    let original = Address::parse("somebody@else.example").unwrap();
    let tokens = ["abcdefghijklmnop", "bbcdefghijklmnop", "cbcdefghijklmnop"];
    let [told, kept, unknown] = tokens.map(|token| AliasToken::parse(token).unwrap());
    linda.clone().keep(told.clone(), original.clone()).await.unwrap();
    until("both others have it", || async {
        [&amir, &isaac].iter().all(|aliases| aliases.find_here(&told).unwrap().is_some())
    })
    .await;
    // As if it had been told while amir was away.
    linda.hear(&kept, &original, DAY).unwrap();
    assert_eq!(amir.clone().find(kept.clone()).await.unwrap(), Original::Known(original.clone()));
    assert_eq!(amir.find_here(&kept).unwrap(), Some(original.clone()));
    assert_eq!(amir.clone().find(unknown.clone()).await.unwrap(), Original::Unknown);

    let (nodes, linda) = (&shared.world.nodes, &shared.world.nodes[0]);
    let mut addresses = shared.world.addresses.clone();
    addresses.remove(&linda.name);
    nodes[1..].iter().for_each(|node| node.peers.swap_addresses(&addresses));
    until("linda is alone", || async { linda.peers.facts().is_some_and(|facts| facts.links() == 0) }).await;
    // She is one of them, and does not answer.
    addresses.insert(linda.name.clone(), "127.0.0.1:1".to_owned());
    nodes[1..].iter().for_each(|node| node.peers.swap_addresses(&addresses));
    until("she is missed", || async {
        amir.clone().find(unknown.clone()).await.unwrap() == Original::Unanswered
    })
    .await;
    // Isaac has it still.
    isaac.hear(&AliasToken::parse(tokens[2]).unwrap(), &original, DAY).unwrap();
    assert_eq!(amir.find(AliasToken::parse(tokens[2]).unwrap()).await.unwrap(), Original::Known(original));
}
