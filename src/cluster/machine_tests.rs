use std::fs;

use bytes::Bytes;
use openraft::storage::{RaftLogStorage as _, RaftLogStorageExt as _};
use openraft::testing::{StoreBuilder, Suite};
use openraft::{RaftLogId as _, StorageHelper};
use tempfile::TempDir;

use super::*;
use crate::cluster::log::LogStore;
use crate::cluster::proposal::{Finish, Part};
use crate::cluster::snapshot::ArrivingSnapshot;
use crate::cluster::test_state::{
    changes, create_domain, create_rule, domain, log_id, membership, options, replica, stamped, suspend,
};
use crate::routing::{Change, DomainPatch, RequestId, Stamped};

struct Stores;

impl StoreBuilder<Types, LogStore, Machine, TempDir> for Stores {
    async fn build(&self) -> Result<(TempDir, LogStore, Machine), StorageError> {
        let dir = tempfile::tempdir().unwrap();
        let log = LogStore::create(&dir.path().join("log")).unwrap();
        let machine = Machine::create(dir.path(), &View::empty(options())).unwrap();
        Ok((dir, log, machine))
    }
}

#[test]
fn the_engines_suite_holds() {
    Suite::test_all(Stores).unwrap();
}

fn machine(dir: &TempDir) -> Machine {
    Machine::open(dir.path(), &View::empty(options())).unwrap()
}

fn changed(changes: &[Stamped]) -> Proposal {
    Proposal::changes(changes.iter().map(|change| change.encode().unwrap()).collect())
}

fn entry(index: u64, changes: &[Stamped]) -> Entry {
    Entry { log_id: log_id(3, index), payload: EntryPayload::Normal(changed(changes)) }
}

fn member_entry(index: u64) -> Entry {
    Entry { log_id: log_id(3, index), payload: EntryPayload::Membership(membership()) }
}

fn blank(index: u64) -> Entry {
    Entry { log_id: log_id(3, index), payload: EntryPayload::Blank }
}

/// A membership, then an entry of all kinds of changes, then one of one.
fn entries() -> Vec<Entry> {
    vec![
        blank(1),
        member_entry(2),
        entry(3, &changes()),
        entry(4, &[stamped(50, create_rule("info")), stamped(51, suspend("other.example"))]),
        blank(5),
    ]
}

fn digest(machine: &Machine) -> [u8; 32] {
    let shown = machine.table().digest();
    assert_eq!(machine.state.replica.table().digest(), shown);
    shown
}

/// The octets of the snapshot that a machine would send.
async fn sent(machine: &mut Machine) -> (SnapshotMeta, Vec<u8>) {
    let snapshot = machine.get_current_snapshot().await.unwrap().unwrap();
    let SnapshotFile::Finished(file) = *snapshot.snapshot else { panic!() };
    (snapshot.meta, file.read(0, usize::MAX).unwrap())
}

async fn arriving(machine: &mut Machine, octets: &[u8]) -> Box<SnapshotFile> {
    let SnapshotFile::Arriving(mut file) = *machine.begin_receiving_snapshot().await.unwrap() else {
        panic!()
    };
    octets.chunks(100).for_each(|chunk| ArrivingSnapshot::append(&mut file, chunk).unwrap());
    Box::new(SnapshotFile::Arriving(file))
}

#[tokio::test]
async fn a_refused_change_is_refused_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = machine(&dir);
    machine.apply([entry(1, &changes())]).await.unwrap();
    let disable = |etag| Change::UpdateDomain {
        name: domain("one.example"),
        patch: DomainPatch { enabled: Some(false), ..DomainPatch::default() },
        etag,
    };
    let mixed =
        [create_domain("two.example"), disable(Some(999)), create_domain("three.example"), disable(Some(1))];
    let mixed: Vec<Stamped> = (100..).zip(mixed).map(|(number, change)| stamped(number, change)).collect();
    let outcomes = machine.apply([entry(2, &mixed), blank(3)]).await.unwrap();
    let reasons: Vec<Vec<&str>> = outcomes
        .iter()
        .map(|outcome| {
            outcome
                .0
                .iter()
                .map(|made| made.as_ref().map_or_else(|error| error.reason(), |_| "made"))
                .collect()
        })
        .collect();
    assert_eq!(reasons, [vec!["made", "ETAG_MISMATCH", "made", "made"], vec![]]);
    let table = machine.table();
    assert!(table.hosts(&domain("two.example")) && table.hosts(&domain("three.example")));
    assert!(!table.domain(&domain("one.example")).unwrap().enabled);
}

#[tokio::test]
async fn the_same_entries_make_the_same_state_however_they_come() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [mut at_once, mut one_by_one] = [machine(&dirs[0]), machine(&dirs[1])];
    let mut outcomes = Vec::new();
    for entry in entries() {
        outcomes.extend(one_by_one.apply([entry]).await.unwrap());
    }
    let made = at_once.apply(entries()).await.unwrap();
    assert_eq!(made.iter().map(|made| made.0.len()).collect::<Vec<_>>(), [0, 0, 8, 2, 0]);
    assert_eq!(format!("{made:?}"), format!("{outcomes:?}"));
    assert_eq!(digest(&at_once), digest(&one_by_one));
    let state = at_once.applied_state().await.unwrap();
    assert_eq!(state, one_by_one.applied_state().await.unwrap());
    assert_eq!(state, (Some(log_id(3, 5)), StoredMembership::new(Some(log_id(3, 2)), membership())));
}

#[tokio::test]
async fn a_change_that_cannot_be_read_stops_raft_and_nothing_of_its_call_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = machine(&dir);
    machine.apply([entry(1, &changes())]).await.unwrap();
    let (before, state) = (digest(&machine), machine.applied_state().await.unwrap());
    let good = stamped(50, create_domain("two.example"));
    let nothing = Proposal::changes(vec![good.encode().unwrap(), Vec::new()]).0;
    for (proposal, expected) in [
        (Bytes::from_static(&[0xff]), "a proposal cannot be decoded"),
        // Field 99.
        (Bytes::from_static(&[0x9a, 0x06, 0x00]), "a proposal is of a kind that this version does not know"),
        (nothing, "change 1 of a proposal: the first id of a stamped change cannot be read"),
    ] {
        let bad = Entry { log_id: log_id(3, 3), payload: EntryPayload::Normal(Proposal(proposal)) };
        let error =
            machine.apply([entry(2, std::slice::from_ref(&good)), bad]).await.unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("Apply"), "{error}");
        assert_eq!((digest(&machine), machine.applied_state().await.unwrap()), (before, state.clone()));
    }
}

#[tokio::test]
async fn a_snapshot_is_taken_over_by_another_node_and_outlasts_a_restart() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut leader, mut follower) = (machine(&from), machine(&to));
    leader.apply(entries()).await.unwrap();
    leader.get_snapshot_builder().await.build_snapshot().await.unwrap();
    let (meta, octets) = sent(&mut leader).await;
    let view = follower.state.replica.view().clone();
    let mut changes = view.suspension_changes();
    let file = arriving(&mut follower, &octets).await;
    follower.install_snapshot(&meta, file).await.unwrap();
    assert_eq!((view.snapshot().digest(), digest(&follower)), (digest(&leader), digest(&leader)));
    assert!(changes.has_changed().unwrap() && *changes.borrow_and_update() == view.snapshot().revision());
    let state = leader.applied_state().await.unwrap();
    assert_eq!(follower.applied_state().await.unwrap(), state);
    assert_eq!(sent(&mut follower).await, (meta, octets));
    drop(follower);
    let mut follower = machine(&to);
    assert_eq!((digest(&follower), follower.applied_state().await.unwrap()), (digest(&leader), state));
}

#[tokio::test]
async fn a_damaged_snapshot_leaves_what_was_there() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut leader, mut follower) = (machine(&from), machine(&to));
    follower.apply(entries()).await.unwrap();
    follower.get_snapshot_builder().await.build_snapshot().await.unwrap();
    leader.apply(entries().into_iter().chain([blank(6)])).await.unwrap();
    leader.get_snapshot_builder().await.build_snapshot().await.unwrap();
    let (meta, whole) = sent(&mut leader).await;
    let before = (digest(&follower), follower.applied_state().await.unwrap(), sent(&mut follower).await);
    let middle = whole.len() / 2;
    let flipped = [&whole[..middle], &[!whole[middle]], &whole[middle + 1..]].concat();
    for damaged in [&flipped, &whole[..middle], &[]] {
        let file = arriving(&mut follower, damaged).await;
        let error = follower.install_snapshot(&meta, file).await.unwrap_err().to_string();
        assert!(error.contains("cannot be read at offset"), "{error}");
        assert_eq!(
            (digest(&follower), follower.applied_state().await.unwrap(), sent(&mut follower).await),
            before
        );
        assert_eq!(fs::read_dir(to.path()).unwrap().count(), 1);
    }
    drop(follower);
    let mut follower = machine(&to);
    assert_eq!(
        (digest(&follower), follower.applied_state().await.unwrap(), sent(&mut follower).await),
        before
    );
}

/// A snapshot is of the state for which it was asked, whatever is applied while it is written.
#[tokio::test]
async fn a_builder_keeps_the_state_that_it_was_made_of() {
    let dir = tempfile::tempdir().unwrap();
    let mut changed = machine(&dir);
    changed.apply([entry(1, &changes())]).await.unwrap();
    let mut builder = changed.get_snapshot_builder().await;
    changed.apply([entry(2, &[stamped(50, create_rule("info"))])]).await.unwrap();
    let built = builder.build_snapshot().await.unwrap();
    assert_eq!(built.meta.last_log_id, Some(log_id(3, 1)));
    let again = machine(&dir);
    assert_eq!(digest(&again), replica().table().digest());
    assert_ne!(digest(&again), digest(&changed));
}

#[tokio::test]
async fn after_a_restart_the_state_is_that_of_the_snapshot_and_of_the_log_behind_it() {
    let (dir, mut log, mut before) = Stores.build().await.unwrap();
    log.blocking_append(entries()).await.unwrap();
    let (agreed, proposed) = entries().into_iter().partition(|entry: &Entry| entry.get_log_id().index < 5);
    let agreed: Vec<Entry> = agreed;
    assert_eq!((agreed.len(), Vec::len(&proposed)), (4, 1));
    log.save_committed(Some(log_id(3, 4))).await.unwrap();
    before.apply(agreed[..3].to_vec()).await.unwrap();
    before.get_snapshot_builder().await.build_snapshot().await.unwrap();
    before.apply(agreed[3..].to_vec()).await.unwrap();
    log.purge(log_id(3, 2)).await.unwrap();
    let (expected, state) = (digest(&before), before.applied_state().await.unwrap());
    drop((log, before));
    let (mut log, mut after) = (LogStore::open(&dir.path().join("log")).unwrap(), machine(&dir));
    assert_eq!(after.applied_state().await.unwrap().0, Some(log_id(3, 3)), "not ahead of the disk");
    StorageHelper::new(&mut log, &mut after).get_initial_state().await.unwrap();
    assert_eq!((digest(&after), after.applied_state().await.unwrap()), (expected, state));
}

#[tokio::test]
async fn a_new_node_begins_where_there_is_no_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = Machine::create(dir.path(), &View::empty(options())).unwrap();
    machine.apply(entries()).await.unwrap();
    drop(machine);
    let mut machine = Machine::create(dir.path(), &View::empty(options())).unwrap();
    assert_eq!(machine.applied_state().await.unwrap(), (None, StoredMembership::default()));
    machine.apply(entries()).await.unwrap();
    machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
    let error = Machine::create(dir.path(), &View::empty(options())).unwrap_err();
    assert!(matches!(error, SnapshotError::Exists(_)), "{error}");
}

/// A change in parts of so many octets, and its end.
fn in_parts(first_index: u64, change: &Stamped, octets: usize) -> Vec<Entry> {
    let (encoded, at) = (change.encode().unwrap(), change.at);
    let request_id = change.request_id.clone().unwrap();
    let parts = (0..).zip(encoded.chunks(octets)).map(|(number, part)| {
        let (request_id, octets, offset) = (request_id.clone(), part.to_vec().into(), number * octets);
        Proposal::part(&Part { request_id, at, offset, octets })
    });
    let finish = Finish { request_id: request_id.clone(), at, octets: encoded.len() };
    let proposals: Vec<Proposal> = parts.chain([Proposal::finish(&finish)]).collect();
    let entry =
        |(index, proposal)| Entry { log_id: log_id(3, index), payload: EntryPayload::Normal(proposal) };
    (first_index..).zip(proposals).map(entry).collect()
}

fn large(number: u32, id: &str, changes: Vec<Change>) -> Stamped {
    let request_id = Some(RequestId::parse(id).unwrap());
    Stamped { request_id, ..stamped(number, Change::Batch(changes)) }
}

#[tokio::test]
async fn a_change_in_parts_is_made_wholly_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = machine(&dir);
    machine.apply([entry(1, &changes())]).await.unwrap();
    let bad = large(50, "bad", vec![create_domain("two.example"), create_domain("one.example")]);
    let before = digest(&machine);
    let outcomes = machine.apply(in_parts(2, &bad, 10)).await.unwrap();
    let (last, parts) = outcomes.split_last().unwrap();
    assert!(parts.len() > 3 && parts.iter().all(|outcome| outcome.0.is_empty()));
    assert_eq!(last.0[0].as_ref().unwrap_err().reason(), "DOMAIN_EXISTS");
    assert_eq!((digest(&machine), machine.state.staging.parts().count()), (before, 0));

    let good = large(51, "good", vec![create_domain("two.example"), create_rule("info")]);
    let mut entries = in_parts(20, &good, 10);
    let finish = entries.pop().unwrap();
    machine.apply(entries).await.unwrap();
    assert_eq!(digest(&machine), before);
    let other = in_parts(60, &large(52, "other", Vec::new()), 10).remove(0);
    let refused = machine.apply([other]).await.unwrap().remove(0).0.remove(0).unwrap_err();
    assert_eq!(refused.reason(), "LARGE_CHANGE_UNDER_WAY");
    // The parts are in a snapshot, from which another node goes on.
    machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
    drop(machine);
    let mut machine = self::machine(&dir);
    let made = machine.apply([finish]).await.unwrap().remove(0).0.remove(0).unwrap();
    assert!(matches!(made, Changed::Batch(made) if made.len() == 2));
    let table = machine.table();
    assert!(table.hosts(&domain("two.example")) && table.rules_count() == 3);
}

#[tokio::test]
async fn parts_that_make_up_no_change_stop_raft() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = machine(&dir);
    let mut entries = in_parts(1, &large(1, "a", vec![create_domain("one.example")]), 1000);
    let Proposal(later) = Proposal::part(&Part {
        request_id: RequestId::parse("a").unwrap(),
        at: stamped(1, Change::DeclareWhole).at,
        offset: 0,
        octets: vec![0; large(1, "a", vec![create_domain("one.example")]).encode().unwrap().len()].into(),
    });
    entries[0].payload = EntryPayload::Normal(Proposal(later));
    let error = machine.apply(entries).await.unwrap_err().to_string();
    assert!(error.contains("a change in parts: "), "{error}");
}
