use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::join_all;
use openraft::raft::AppendEntriesRequest;
use openraft::{Config, EntryPayload, SnapshotPolicy};
use tempfile::TempDir;

use super::*;
use crate::cluster::log::LogStore;
use crate::cluster::machine::Machine;
use crate::cluster::nobody::Nobody;
use crate::cluster::test_state::{create_domain, create_rule, domain, log_id, options};
use crate::cluster::types::{Entry, Member, Membership, Vote};
use crate::mail::Address;
use crate::routing::{
    Change, Changed, DomainPatch, ErrorKind, Matcher, NewRule, Replica, Routing, RuleAction,
};

const ME: NodeId = NodeId(7);

/// A node with its log and its table on a disk of its own.
struct Node {
    raft: Raft<Types>,
    routing: Routing,
    proposer: JoinHandle<()>,
    _dir: TempDir,
}

impl Node {
    /// A member of nothing.
    async fn blank(confirmed_within: Duration) -> Self {
        let config = Config {
            heartbeat_interval: 50,
            election_timeout_min: 150,
            election_timeout_max: 300,
            snapshot_policy: SnapshotPolicy::Never,
            ..Config::default()
        };
        let dir = tempfile::tempdir().unwrap();
        let log = LogStore::create(&dir.path().join("log")).unwrap();
        let view = View::empty(options());
        let machine = Machine::create(dir.path(), &view).unwrap();
        let config = Arc::new(config.validate().unwrap());
        let raft = Raft::new(ME, config, Nobody, log, machine).await.unwrap();
        let (routing, mut orders) = Routing::agreed(view.clone());
        // Whoever would tell it more is gone, and what is known stays.
        let (_, silent) = watch::channel(vec!["amir".to_owned(), "isaac".to_owned()]);
        let mut proposer = Proposer::new(raft.clone(), view.clone(), silent);
        proposer.confirmed_within = confirmed_within;
        let proposer = tokio::spawn(async move {
            if proposer.run(&mut orders, &CancellationToken::new()).await {
                refuse(&mut orders, &view, || RoutingError::ClusterStopped).await;
            }
        });
        Self { raft, routing, proposer, _dir: dir }
    }

    /// The one member of a cluster, with one.example.
    async fn alone(confirmed_within: Duration) -> Self {
        let node = Self::blank(confirmed_within).await;
        node.raft.initialize(members(&[7])).await.unwrap();
        node.until(|metrics| metrics.current_leader == Some(ME)).await;
        // A slow disk may take longer than a test calls short.
        let made = async {
            let create = || node.routing.change(create_domain("one.example"));
            while !["made", "DOMAIN_EXISTS"].contains(&Self::reason(create().await)) {}
        };
        timeout(Duration::from_secs(60), made).await.unwrap();
        node
    }

    /// One of three, who led before the others were there.
    async fn deserted(confirmed_within: Duration) -> Self {
        let node = Self::alone(confirmed_within).await;
        for id in [8, 9] {
            node.raft.add_learner(NodeId(id), Member::default(), false).await.unwrap();
        }
        let raft = node.raft.clone();
        let voters: BTreeSet<NodeId> = [7, 8, 9].map(NodeId).into();
        // Never agreed on, and in force.
        tokio::spawn(async move { raft.change_membership(voters, false).await });
        node.until(|metrics| metrics.membership_config.voter_ids().count() == 3).await;
        node
    }

    async fn until(&self, holds: impl Fn(&openraft::RaftMetrics<NodeId, Member>) -> bool + Send) {
        let waited = self.raft.wait(Some(Duration::from_secs(60)));
        waited.metrics(holds, "as the test needs it").await.unwrap();
    }

    fn entries(&self) -> Option<u64> {
        self.raft.metrics().borrow().last_log_index
    }

    fn reason(changed: Result<Changed, RoutingError>) -> &'static str {
        changed.map_or_else(|error| error.reason(), |_| "made")
    }
}

fn members(ids: &[u64]) -> std::collections::BTreeMap<NodeId, Member> {
    ids.iter().map(|id| (NodeId(*id), Member::default())).collect()
}

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);
/// Soon over.
const SHORT: Duration = Duration::from_millis(200);

fn id(text: &str) -> RequestId {
    RequestId::parse(text).unwrap()
}

fn enable(etag: u64) -> Change {
    let patch = DomainPatch { enabled: Some(true), ..DomainPatch::default() };
    Change::UpdateDomain { name: domain("one.example"), patch, etag: Some(etag) }
}

/// A change of so many rules, to one destination.
fn rules(count: usize) -> Change {
    let to = RuleAction::Forward(vec![Address::parse("to@dest.example").unwrap()]);
    let rule = |at| NewRule::new(domain("one.example"), Matcher::Local(format!("user{at}")), to.clone());
    Change::Batch((0..count).map(|at| Change::CreateRule(rule(at))).collect())
}

#[tokio::test]
async fn a_stale_etag_among_good_changes_is_refused_alone() {
    let node = Node::alone(LONG).await;
    let changes = [create_domain("two.example"), enable(99), create_rule("info"), enable(1)];
    let made = join_all(changes.map(|change| node.routing.change(change))).await;
    let reasons: Vec<_> = made.into_iter().map(Node::reason).collect();
    assert_eq!(reasons, ["made", "ETAG_MISMATCH", "made", "made"]);
    let table = node.routing.snapshot();
    assert!(table.hosts(&domain("two.example")) && table.rules_count() == 1);
}

#[tokio::test]
async fn one_request_is_carried_out_once_in_one_entry_and_later() {
    let node = Node::alone(LONG).await;
    let ask = || node.routing.change_once(id("a"), create_rule("info"));
    let (first, second, other) =
        tokio::join!(ask(), ask(), node.routing.change_once(id("b"), create_rule("info")));
    let first = first.unwrap();
    assert_eq!(second.unwrap(), first);
    assert_ne!(other.unwrap(), first);
    let (entries, revision) = (node.entries(), node.routing.snapshot().revision());
    assert_eq!(ask().await.unwrap(), first);
    assert_eq!((node.entries(), node.routing.snapshot().revision()), (entries, revision));
    assert_eq!(node.routing.snapshot().rules_count(), 2);
}

#[tokio::test]
async fn changes_of_many_clients_share_entries() {
    let node = Node::alone(LONG).await;
    let before = node.entries().unwrap();
    let names: Vec<String> = (0..300).map(|at| format!("d{at}.example")).collect();
    let made = join_all(names.iter().map(|name| node.routing.change(create_domain(name)))).await;
    assert!(made.iter().all(Result::is_ok));
    assert_eq!(node.routing.snapshot().domain_count(), 301);
    // At most 64 in an entry, and the first may have gone alone.
    assert!((5..=100).contains(&(node.entries().unwrap() - before)));
}

/// What waits for a table with one.example, and who waits for it.
async fn orders(changes: Vec<Change>) -> (Replica, VecDeque<Order>, impl Sized) {
    let mut replica = Replica::new(options());
    replica.apply(&crate::cluster::test_state::stamped(1, create_domain("one.example"))).unwrap();
    let (routing, mut orders) = Routing::agreed(replica.view().clone());
    let count = changes.len();
    let mut waiting: Vec<_> = changes
        .into_iter()
        .map(|change| {
            let routing = routing.clone();
            Box::pin(async move { routing.change(change).await })
        })
        .collect();
    let mut taken = VecDeque::new();
    for ordering in &mut waiting {
        assert!(futures_util::poll!(ordering.as_mut()).is_pending());
    }
    while taken.len() < count {
        taken.extend(orders.take(MAX_CHANGES).await);
    }
    (replica, taken, waiting)
}

fn filled(replica: &Replica, orders: VecDeque<Order>, within: Duration) -> Filled {
    fill(&mut Draft::new(replica.table()), replica.table(), orders, within, |_| Vec::new())
}

#[tokio::test]
async fn an_entry_takes_what_fits_and_the_rest_comes_next() {
    let (replica, orders, _waiting) = orders((0..10).map(|_| rules(1000)).collect()).await;
    let one = crate::cluster::test_state::stamped(1, rules(1000)).encode().unwrap().len();
    let fit = MAX_PROPOSAL_OCTETS / one;
    assert!((2..9).contains(&fit), "{fit}");
    let filled = filled(&replica, orders, LONG);
    let Filling::Changes(changes) = filled.entry else { panic!() };
    assert_eq!((changes.len(), filled.rest.len()), (fit, 10 - fit));
    let proposal = Proposal::changes(changes.into_iter().map(|change| change.octets).collect());
    assert!(proposal.0.len() <= MAX_PROPOSAL_OCTETS);
}

#[tokio::test]
async fn a_change_past_an_entry_comes_in_its_turn() {
    let (replica, orders, _waiting) = orders(vec![create_rule("a"), rules(10_000), create_rule("b")]).await;
    let first = filled(&replica, orders, LONG);
    assert!(matches!(&first.entry, Filling::Changes(changes) if changes.len() == 1));
    let second = filled(&replica, first.rest, LONG);
    assert!(matches!(&second.entry, Filling::Large(large) if large.octets.len() > MAX_PROPOSAL_OCTETS));
    let third = filled(&replica, second.rest, LONG);
    assert!(matches!(&third.entry, Filling::Changes(changes) if changes.len() == 1));
    assert!(third.rest.is_empty());
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_not_proposed() {
    let (replica, orders, waiting) = orders(vec![create_rule("a"), create_rule("b")]).await;
    drop(waiting);
    let filled = filled(&replica, orders, LONG);
    assert!(matches!(filled.entry, Filling::Changes(changes) if changes.is_empty()));
    assert!(filled.rest.is_empty());
}

#[tokio::test]
async fn who_has_waited_too_long_is_told_so() {
    let replica = Replica::new(options());
    let (routing, mut orders) = Routing::agreed(replica.view().clone());
    let (asked, ()) = tokio::join!(routing.change(create_domain("one.example")), async {
        let filled = filled(&replica, orders.take(1).await.into(), Duration::ZERO);
        assert!(matches!(filled.entry, Filling::Changes(changes) if changes.is_empty()));
    });
    let error = asked.unwrap_err();
    assert_eq!((error.reason(), error.kind()), ("OVERTAKEN", ErrorKind::Unavailable));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_of_a_hundred_thousand_rules_is_made_all_or_nothing() {
    let node = Node::alone(LONG).await;
    let before = node.entries().unwrap();
    let made = tokio::spawn({
        let routing = node.routing.clone();
        async move { routing.change(rules(100_000)).await }
    });
    while !made.is_finished() {
        let count = node.routing.snapshot().rules_count();
        assert!(count == 0 || count == 100_000, "{count}");
        tokio::task::yield_now().await;
    }
    let Changed::Batch(made) = made.await.unwrap().unwrap() else { panic!() };
    assert_eq!((made.len(), node.routing.snapshot().rules_count()), (100_000, 100_000));
    let entries = node.entries().unwrap();
    assert!(entries - before > 10);
    // One that is refused is so before anything of it is in the log.
    let Change::Batch(mut bad) = rules(10_000) else { panic!() };
    bad.push(enable(99));
    assert_eq!(Node::reason(node.routing.change(Change::Batch(bad)).await), "ETAG_MISMATCH");
    assert_eq!((node.entries(), node.routing.snapshot().rules_count()), (Some(entries), 100_000));
}

#[tokio::test]
async fn a_document_that_another_leader_began_is_in_the_way_of_others_but_not_of_its_own_request() {
    let node = Node::alone(LONG).await;
    let begun = Part { request_id: id("a"), at: clock::now(), offset: 0, octets: Bytes::from_static(b"x") };
    node.raft.client_write(Proposal::part(&begun)).await.unwrap();
    let error = node.routing.change_once(id("b"), rules(10_000)).await.unwrap_err();
    assert_eq!((error.reason(), error.kind()), ("LARGE_CHANGE_UNDER_WAY", ErrorKind::Aborted));
    // Small changes go on.
    node.routing.change(create_domain("two.example")).await.unwrap();
    assert_eq!(node.routing.snapshot().rules_count(), 0);
    node.routing.change_once(id("a"), rules(10_000)).await.unwrap();
    assert_eq!(node.routing.snapshot().rules_count(), 10_000);
    let (entries, again) = (node.entries(), node.routing.change_once(id("a"), rules(10_000)).await);
    assert_eq!(again.unwrap(), Changed::Batch(Vec::new()));
    assert_eq!(node.entries(), entries);
    node.routing.change_once(id("b"), rules(10_000)).await.unwrap();
    assert_eq!(node.routing.snapshot().rules_count(), 20_000);
}

#[tokio::test]
async fn without_a_leader_a_change_is_refused_at_once_with_who_is_missing() {
    let node = Node::blank(LONG).await;
    let error = node.routing.change(create_domain("one.example")).await.unwrap_err();
    assert_eq!((error.reason(), error.kind()), ("NO_LEADER", ErrorKind::Unavailable));
    assert_eq!(
        error.to_string(),
        "no node leads the cluster, and nothing was changed: amir, isaac cannot be reached"
    );
}

#[tokio::test]
async fn a_node_that_does_not_lead_names_who_does() {
    let node = Node::blank(LONG).await;
    let membership = Membership::new(vec![[7, 8].map(NodeId).into()], members(&[7, 8]));
    let entry = Entry { log_id: log_id(0, 0), payload: EntryPayload::Membership(membership) };
    let request = AppendEntriesRequest {
        vote: Vote::new_committed(5, NodeId(8)),
        prev_log_id: None,
        entries: vec![entry],
        leader_commit: None,
    };
    node.raft.append_entries(request).await.unwrap();
    node.until(|metrics| metrics.current_leader == Some(NodeId(8))).await;
    let error = node.routing.change(create_domain("one.example")).await.unwrap_err();
    assert!(matches!(error, RoutingError::NotLeader { leader: 8 }), "{error}");
    assert_eq!(error.to_string(), "node 0000000000000008 leads the cluster, and takes changes");
}

#[tokio::test]
async fn what_is_not_confirmed_may_still_take_effect_and_later_changes_are_refused_at_once() {
    let node = Node::deserted(SHORT).await;
    let (first, second) = tokio::join!(
        node.routing.change_once(id("a"), create_rule("info")),
        node.routing.change(create_rule("sales"))
    );
    let error = first.unwrap_err();
    assert_eq!((error.reason(), error.kind()), ("UNCONFIRMED", ErrorKind::DeadlineExceeded));
    assert_eq!(
        error.to_string(),
        "the change was not confirmed, and may still take effect: repeat it with its request id \"a\""
    );
    // In the same entry, or behind it.
    assert!(["UNCONFIRMED", "NO_MAJORITY"].contains(&Node::reason(second)));
    let entries = node.entries();
    let error = node.routing.change_once(id("a"), create_rule("info")).await.unwrap_err();
    assert_eq!((error.reason(), error.kind()), ("NO_MAJORITY", ErrorKind::Unavailable));
    assert!(error.to_string().ends_with("amir, isaac cannot be reached"), "{error}");
    assert_eq!(node.entries(), entries);
}

#[tokio::test]
async fn a_document_whose_parts_are_not_confirmed_changes_nothing() {
    let node = Node::deserted(SHORT).await;
    assert_eq!(Node::reason(node.routing.change(rules(10_000)).await), "NO_MAJORITY");
}

#[tokio::test]
async fn when_raft_stops_meanwhile_nobody_waits() {
    let node = Node::deserted(LONG).await;
    let before = node.entries();
    let asked = tokio::spawn({
        let routing = node.routing.clone();
        async move { routing.change_once(id("a"), create_rule("info")).await }
    });
    node.until(|metrics| metrics.last_log_index > before).await;
    node.raft.shutdown().await.unwrap();
    assert_eq!(Node::reason(asked.await.unwrap()), "UNCONFIRMED");
    let error = node.routing.change(create_rule("sales")).await.unwrap_err();
    assert_eq!((error.reason(), error.kind()), ("CLUSTER_STOPPED", ErrorKind::Unavailable));
}

#[tokio::test]
async fn a_repeat_is_answered_where_nothing_can_be_proposed_any_more() {
    let node = Node::alone(LONG).await;
    let first = node.routing.change_once(id("a"), create_rule("info")).await.unwrap();
    node.raft.shutdown().await.unwrap();
    assert_eq!(node.routing.change_once(id("a"), create_rule("info")).await.unwrap(), first);
    assert_eq!(
        Node::reason(node.routing.change_once(id("a"), create_rule("sales")).await),
        "REQUEST_ID_REUSED"
    );
    assert_eq!(
        Node::reason(node.routing.change_once(id("b"), create_rule("sales")).await),
        "CLUSTER_STOPPED"
    );
}

#[tokio::test]
async fn it_ends_with_those_who_can_ask() {
    let Node { routing, proposer, .. } = Node::alone(LONG).await;
    drop(routing);
    proposer.await.unwrap();
}
