use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use openraft::CommittedLeaderId;
use openraft::storage::RaftLogStorage as _;
use tempfile::TempDir;

use super::*;
use crate::cluster::disk::{self, inspect};
use crate::cluster::founding::NodeId;
use crate::cluster::log::LogStore;
use crate::cluster::machine::Machine;
use crate::cluster::test_state::{create_domain, create_rule, domain, options, shown, suspend};
use crate::cluster::types::{LogId, Member, Membership, Vote};
use crate::routing::test_table::write_earlier;
use crate::routing::{Change, Coverage, RoutingError, Table, read_store};
use crate::store::Store;

/// A data directory. It has a new store each time that a node opens it.
pub(super) struct World {
    dir: TempDir,
}

impl World {
    pub(super) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn raft(&self) -> PathBuf {
        disk::folder(self.dir.path())
    }

    /// Where log and snapshot stand.
    fn state(&self) -> PathBuf {
        self.raft().join("1")
    }

    fn place(&self) -> Place {
        Place {
            data_dir: self.dir.path().to_owned(),
            name: "linda".into(),
            store: Store::open(self.dir.path()).unwrap(),
            options: options(),
            tried_every: Duration::from_millis(50),
        }
    }

    pub(super) async fn open(&self) -> (Routing, Agreement) {
        self.try_open().await.unwrap()
    }

    async fn try_open(&self) -> Result<(Routing, Agreement), AloneError> {
        Agreement::open(self.place(), Arc::new(Metrics::new().unwrap()), shown()).await
    }

    /// A node that has begun, and whose orders nobody carries out yet.
    pub(super) async fn begun(&self) -> (Site, Part) {
        let place = self.place();
        let view = View::empty(place.options.clone());
        let lock = place.lock().await.unwrap();
        let site =
            Site { place, view, metrics: Arc::new(Metrics::new().unwrap()), lock, known: Arc::default() };
        let Begun::Part(part) = site.begin().await.unwrap() else { panic!() };
        (site, part)
    }

    /// Waits until changes are refused.
    pub(super) async fn refuses(routing: &Routing) {
        let refusing = async {
            while !matches!(routing.change(Change::DeclareWhole).await, Err(RoutingError::ClusterStopped)) {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(60), refusing).await.unwrap();
    }

    /// The table that a start finds.
    async fn found(&self) -> Arc<Table> {
        let (routing, agreement) = self.open().await;
        let table = routing.snapshot();
        end(routing, agreement).await;
        table
    }

    /// A table as the version before wrote it.
    fn old() -> (Self, Table) {
        let world = Self::new();
        let store = Store::open(world.dir.path()).unwrap();
        write_earlier(&store);
        (world, read_store(&store, options()).unwrap())
    }
}

async fn end(routing: Routing, agreement: Agreement) {
    drop(routing);
    agreement.shut_down().await;
}

async fn change(routing: &Routing) {
    let network = "192.0.2.0/24".parse().unwrap();
    let block = Change::Block { network, until: None, reason: "spam".to_owned() };
    for change in [create_domain("one.example"), create_rule("sales"), suspend("dest.example"), block] {
        routing.change(change).await.unwrap();
    }
}

/// What is left of [`change`].
fn assert_whole(table: &Table) {
    assert_eq!((table.domain_count(), table.rules_count(), table.revision()), (1, 1, 4));
    assert!(table.suspension(&domain("dest.example")).is_some());
    assert_eq!(table.coverage(), Coverage::Whole);
}

#[tokio::test]
async fn a_new_node_founds_itself_and_a_restart_keeps_what_was_changed() {
    let world = World::new();
    let (routing, agreement) = world.open().await;
    assert_eq!(routing.snapshot().coverage(), Coverage::Empty);
    change(&routing).await;
    assert_eq!(routing.snapshot().listing_count(), 1);
    let digest = routing.snapshot().digest();
    end(routing, agreement).await;
    let identity = Identity::read(&world.raft()).unwrap();
    for _ in 0..3 {
        let table = world.found().await;
        assert_whole(&table);
        assert_eq!(table.digest(), digest);
    }
    assert_eq!(Identity::read(&world.raft()).unwrap(), identity);
}

#[tokio::test]
async fn a_table_in_the_store_is_taken_over_once() {
    let (world, old) = World::old();
    let (routing, agreement) = world.open().await;
    assert_eq!(routing.snapshot().digest(), old.digest());
    assert_whole(&routing.snapshot());
    routing.change(create_domain("two.example")).await.unwrap();
    end(routing, agreement).await;
    assert_eq!(world.found().await.domain_count(), 2);
}

#[tokio::test]
async fn a_crash_between_any_two_steps_of_the_founding_loses_nothing() {
    let (world, old) = World::old();
    let unfinished = world.raft().join("unfinished/log");
    fs::create_dir_all(&unfinished).unwrap();
    fs::write(unfinished.join("0000000000000001.log"), "half of it").unwrap();
    for number in 1..4 {
        let table = world.found().await;
        assert_whole(&table);
        assert_eq!(table.digest(), old.digest());
        assert!(world.raft().join(number.to_string()).exists());
        // As after a crash before the mark.
        world.place().store.tree("cluster").unwrap().remove(b"table").unwrap();
        assert_whole(&*world.found().await);
        // As after one before the identity.
        world.place().store.tree("cluster").unwrap().remove(b"table").unwrap();
        fs::remove_file(world.raft().join("identity")).unwrap();
    }
}

#[tokio::test]
async fn a_folder_that_is_gone_is_a_lost_table_and_not_the_one_of_before() {
    let (world, _) = World::old();
    world.found().await;
    fs::remove_dir_all(world.raft()).unwrap();
    for _ in 0..2 {
        let table = world.found().await;
        assert_eq!((table.coverage(), table.domain_count()), (Coverage::Lost, 0));
    }
}

#[tokio::test]
async fn a_crash_while_a_lost_table_is_begun_anew_is_no_old_table() {
    let (world, _) = World::old();
    world.found().await;
    fs::remove_dir_all(world.raft()).unwrap();
    Mark::open(&world.place().store).unwrap().lose().unwrap();
    assert_eq!(world.found().await.coverage(), Coverage::Lost);
}

#[tokio::test]
async fn a_store_that_is_gone_takes_no_table_with_it() {
    let (world, _) = World::old();
    world.found().await;
    fs::remove_dir_all(world.dir.path().join("store")).unwrap();
    let table = world.found().await;
    assert_whole(&table);
}

#[tokio::test]
async fn a_store_and_a_folder_that_are_gone_are_a_lost_table() {
    let (world, _) = World::old();
    world.found().await;
    fs::remove_dir_all(world.dir.path().join("store")).unwrap();
    fs::remove_dir_all(world.raft()).unwrap();
    assert_eq!(world.found().await.coverage(), Coverage::Lost);
}

/// What a node goes on with that takes no part, and whose clients are told so.
async fn refusing(world: &World) -> Arc<Table> {
    let metrics = Arc::new(Metrics::new().unwrap());
    let (routing, agreement) = Agreement::open(world.place(), metrics.clone(), shown()).await.unwrap();
    assert_eq!((metrics.cluster_stopped.get(), agreement.took_part()), (1, false));
    let refused = routing.change(create_domain("more.example")).await.unwrap_err();
    assert!(matches!(refused, RoutingError::ClusterStopped), "{refused}");
    let table = routing.snapshot();
    end(routing, agreement).await;
    table
}

/// Of a node that took a table over and added two.example and three.example: damages what it keeps, and starts it. How
/// many domains are left, of which nothing says that others do not exist.
async fn domains_after(damage: impl FnOnce(&World)) -> usize {
    let (world, _) = World::old();
    let (routing, agreement) = world.open().await;
    for name in ["two.example", "three.example"] {
        routing.change(create_domain(name)).await.unwrap();
    }
    end(routing, agreement).await;
    inspect(world.dir.path(), options()).unwrap();
    damage(&world);
    let told = inspect(world.dir.path(), options()).unwrap_err();
    assert!(matches!(told, DiskError::Damage(_)), "{told}");
    let table = refusing(&world).await;
    assert_eq!(table.coverage(), Coverage::Lost);
    table.domain_count()
}

/// The log's one segment.
fn segment(world: &World) -> PathBuf {
    fs::read_dir(world.state().join("log")).unwrap().next().unwrap().unwrap().path()
}

/// Spoils the first frame of the log that says this.
fn spoil(world: &World, saying: &[u8]) {
    let path = segment(world);
    let mut octets = fs::read(&path).unwrap();
    let at = octets.windows(saying.len()).position(|window| window == saying).unwrap();
    octets[at] ^= 1;
    fs::write(path, octets).unwrap();
}

#[tokio::test]
async fn where_its_log_is_damaged_a_node_forwards_by_what_stands_before_the_damage() {
    assert_eq!(domains_after(|world| spoil(world, b"three.example")).await, 2);
    assert_eq!(domains_after(|world| spoil(world, b"two.example")).await, 1);
    assert_eq!(domains_after(|world| fs::remove_dir_all(world.state().join("log")).unwrap()).await, 1);
}

#[tokio::test]
async fn without_its_snapshot_a_node_knows_nothing_and_says_so() {
    assert_eq!(domains_after(|world| fs::remove_file(world.state().join("snapshot")).unwrap()).await, 0);
    assert_eq!(domains_after(|world| fs::write(world.state().join("snapshot"), "spoilt").unwrap()).await, 0);
}

#[tokio::test]
async fn a_snapshot_from_before_what_the_log_begins_with_is_not_gone_on_from() {
    let domains = domains_after(|world| {
        let later = World::old().0;
        let identity = Identity::read(&world.raft()).unwrap().unwrap();
        let first = LogId::new(CommittedLeaderId::new(1, identity.node), 0);
        let voters = Membership::new(
            vec![[identity.node].into()],
            BTreeMap::from([(identity.node, Member::default())]),
        );
        let table = read_store(&later.place().store, options()).unwrap();
        fs::remove_file(world.state().join("snapshot")).unwrap();
        Machine::found(&world.state(), table, first, voters).unwrap();
    });
    assert_eq!(domains.await, 1);
}

#[tokio::test]
async fn without_its_identity_a_node_removes_nothing_and_forwards_by_what_is_there() {
    let (world, _) = World::old();
    world.found().await;
    fs::remove_file(world.raft().join("identity")).unwrap();
    let table = refusing(&world).await;
    assert_eq!((table.coverage(), table.domain_count()), (Coverage::Lost, 1));
    assert_eq!(domains_after(|world| fs::write(world.raft().join("identity"), "spoilt").unwrap()).await, 3);
}

#[tokio::test]
async fn without_its_identity_and_its_store_too_a_node_forwards_by_what_is_there() {
    let (world, _) = World::old();
    world.found().await;
    fs::remove_file(world.raft().join("identity")).unwrap();
    fs::remove_dir_all(world.dir.path().join("store")).unwrap();
    let table = refusing(&world).await;
    assert_eq!((table.coverage(), table.domain_count()), (Coverage::Lost, 1));
}

#[tokio::test]
async fn what_a_later_version_wrote_is_refused_and_not_called_damage() {
    let (world, _) = World::old();
    world.found().await;
    let path = world.state().join("snapshot");
    let mut octets = fs::read(&path).unwrap();
    octets[11] = 9;
    fs::write(&path, octets).unwrap();
    let inspected = inspect(world.dir.path(), options()).unwrap_err();
    for told in [world.try_open().await.err().unwrap(), inspected.into()] {
        assert!(
            told.to_string().contains("format version 9, which this version of Postroad does not know"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn where_the_disk_refuses_a_founding_the_old_table_counts_until_it_does_not() {
    let (world, old) = World::old();
    fs::create_dir(world.raft()).unwrap();
    let in_the_way = world.raft().join("identity.partial");
    fs::create_dir(&in_the_way).unwrap();
    let (routing, agreement) = world.open().await;
    assert!(!agreement.took_part());
    assert_eq!((routing.snapshot().digest(), routing.snapshot().coverage()), (old.digest(), Coverage::Whole));
    fs::remove_dir(in_the_way).unwrap();
    made(&routing, "two.example").await;
    end(routing, agreement).await;
    assert_eq!(world.found().await.domain_count(), 2);
}

/// Adds a domain as soon as changes are taken.
async fn made(routing: &Routing, name: &str) {
    let making = async {
        while routing.change(create_domain(name)).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(60), making).await.unwrap();
}

#[tokio::test]
async fn what_an_earlier_version_changed_meanwhile_is_told_of_once_and_not_used() {
    let (world, _) = World::old();
    let mark = || world.place().store.tree("cluster").unwrap().get(b"table").unwrap().unwrap();
    world.found().await;
    let first = mark();
    world.found().await;
    assert_eq!(mark(), first);
    world.place().store.tree("suspensions").unwrap().remove(b"dest.example").unwrap();
    let table = world.found().await;
    assert_whole(&table);
    let second = mark();
    assert_ne!(second, first);
    world.found().await;
    assert_eq!(mark(), second);
}

#[tokio::test]
async fn a_second_process_stays_away() {
    let world = World::new();
    let (routing, agreement) = world.open().await;
    assert!(matches!(inspect(world.dir.path(), options()), Err(DiskError::Locked(_))));
    end(routing, agreement).await;
    inspect(world.dir.path(), options()).unwrap();
    let lock = Place::lock(&world.place()).await.unwrap();
    let error = Place::lock(&world.place()).await.unwrap_err();
    assert!(matches!(error, DiskError::Locked(_)), "{error}");
    drop(lock);
}

/// They would go on without it, or it without them.
#[tokio::test]
async fn a_member_of_a_cluster_of_several_does_not_start_alone() {
    let world = World::new();
    let identity = Identity { number: 1, ..Identity::draw("linda".into()) };
    let dir = world.state();
    fs::create_dir_all(&dir).unwrap();
    let voters = [identity.node, NodeId(7)];
    let members: BTreeMap<NodeId, Member> = voters.map(|id| (id, Member::default())).into();
    let membership = Membership::new(vec![voters.into()], members);
    let first = LogId::new(CommittedLeaderId::new(1, NodeId(7)), 1);
    Machine::found(&dir, Table::lost(options()), first, membership).unwrap();
    let mut log = LogStore::create(&dir.join("log")).unwrap();
    log.save_vote(&Vote::new_committed(1, NodeId(7))).await.unwrap();
    log.purge(first).await.unwrap();
    drop(log);
    identity.write(&world.raft()).unwrap();
    let refused = world.try_open().await.err().unwrap();
    assert!(matches!(refused, AloneError::OtherMembers), "{refused}");
}
