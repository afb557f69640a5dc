use std::collections::BTreeMap;
use std::fs;

use openraft::CommittedLeaderId;
use tempfile::TempDir;

use super::*;
use crate::cluster::founding::NodeId;
use crate::cluster::test_state::{create_domain, create_rule, domain, options, suspend};
use crate::cluster::types::{LogId, Member, Membership, Vote};
use crate::routing::test_table::write_earlier;
use crate::routing::{Change, Coverage, RoutingError, read_store};

/// A data directory. It has a new store each time that a node opens it.
pub(super) struct World {
    dir: TempDir,
}

impl World {
    pub(super) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn raft(&self) -> PathBuf {
        folder(self.dir.path())
    }

    fn place(&self) -> Place {
        Place {
            data_dir: self.dir.path().to_owned(),
            name: "linda".into(),
            store: Store::open(self.dir.path()).unwrap(),
            options: options(),
        }
    }

    pub(super) async fn open(&self) -> (Routing, Agreement) {
        self.try_open().await.unwrap()
    }

    async fn try_open(&self) -> Result<(Routing, Agreement), AloneError> {
        Agreement::open(self.place(), Arc::new(Metrics::new().unwrap())).await
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
    let dir = world.raft();
    let identity = Identity::draw("linda".into());
    for crashed_after in 0..3 {
        found::begin(&dir).unwrap();
        if crashed_after > 0 {
            found::snapshot(&dir, old.clone(), &identity).unwrap();
        }
        if crashed_after > 1 {
            found::log(&dir, &identity).await.unwrap();
        }
        let table = world.found().await;
        assert_whole(&table);
        assert_eq!(table.digest(), old.digest());
        // The store without its mark is as it was before.
        Mark::open(&world.place().store).unwrap().write(Standing::InStore).unwrap();
    }
    // After the identity, and before the mark.
    let table = world.found().await;
    assert_whole(&table);
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
    Mark::open(&world.place().store).unwrap().write(Standing::Lost).unwrap();
    found::begin(&world.raft()).unwrap();
    found::snapshot(&world.raft(), Table::lost(options()), &Identity::draw("linda".into())).unwrap();
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

/// Damages it, and starts a node on it: how many domains are left, of which nothing says that others do not exist.
async fn domains_after(damage: impl FnOnce(&Path)) -> usize {
    let (world, _) = World::old();
    world.found().await;
    damage(&world.raft());
    let metrics = Arc::new(Metrics::new().unwrap());
    let (routing, agreement) = Agreement::open(world.place(), metrics.clone()).await.unwrap();
    assert_eq!(metrics.cluster_stopped.get(), 1);
    let table = routing.snapshot();
    assert_eq!(table.coverage(), Coverage::Lost);
    let refused = routing.change(create_domain("two.example")).await.unwrap_err();
    assert!(matches!(refused, RoutingError::ClusterStopped), "{refused}");
    end(routing, agreement).await;
    table.domain_count()
}

#[tokio::test]
async fn without_its_log_a_node_forwards_by_the_snapshot_and_takes_no_change() {
    assert_eq!(domains_after(|raft| fs::remove_dir_all(raft.join("log")).unwrap()).await, 1);
    let garbage = |raft: &Path| {
        let segment = fs::read_dir(raft.join("log")).unwrap().next().unwrap().unwrap().path();
        let mut octets = fs::read(&segment).unwrap();
        octets[40..60].fill(0xaa);
        fs::write(segment, octets).unwrap();
    };
    assert_eq!(domains_after(garbage).await, 1);
}

#[tokio::test]
async fn without_its_snapshot_a_node_knows_nothing_and_says_so() {
    assert_eq!(domains_after(|raft| fs::remove_file(raft.join("snapshot")).unwrap()).await, 0);
    assert_eq!(domains_after(|raft| fs::write(raft.join("snapshot"), "spoilt").unwrap()).await, 0);
}

#[tokio::test]
async fn without_its_identity_a_node_removes_nothing_and_forwards_by_the_snapshot() {
    assert_eq!(domains_after(|raft| fs::remove_file(raft.join("identity")).unwrap()).await, 1);
    assert_eq!(domains_after(|raft| fs::write(raft.join("identity"), "spoilt").unwrap()).await, 1);
}

#[tokio::test]
async fn a_second_process_stays_away() {
    let world = World::new();
    let (routing, agreement) = world.open().await;
    let error = lock::take(world.dir.path()).unwrap_err();
    assert!(matches!(error, AloneError::Locked(_)), "{error}");
    assert!(matches!(inspect(world.dir.path()), Err(AloneError::Locked(_))));
    end(routing, agreement).await;
    inspect(world.dir.path()).unwrap();
}

/// They would go on without it, or it without them.
#[tokio::test]
async fn a_member_of_a_cluster_of_several_does_not_start_alone() {
    let world = World::new();
    let (dir, identity) = (world.raft(), Identity::draw("linda".into()));
    found::begin(&dir).unwrap();
    let voters = [identity.node, NodeId(7)];
    let members: BTreeMap<NodeId, Member> = voters.map(|id| (id, Member::default())).into();
    let membership = Membership::new(vec![voters.into()], members);
    let first = LogId::new(CommittedLeaderId::new(1, NodeId(7)), 1);
    Machine::found(&dir, Table::lost(options()), first, membership).unwrap();
    let mut log = LogStore::create(&dir.join("log")).unwrap();
    log.save_vote(&Vote::new_committed(1, NodeId(7))).await.unwrap();
    log.purge(first).await.unwrap();
    drop(log);
    identity.write(&dir).unwrap();
    let refused = world.try_open().await.err().unwrap();
    assert!(matches!(refused, AloneError::OtherMembers), "{refused}");
}
