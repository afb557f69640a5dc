use super::super::tests::World;
use super::*;
use crate::cluster::proposal::Proposal;
use crate::cluster::test_state::create_domain;
use crate::routing::{Coverage, RoutingError};

#[tokio::test]
async fn a_log_that_is_long_is_compacted_and_a_restart_knows_all_of_it() {
    let world = World::new();
    let (routing, agreement) = world.open().await;
    let keeper = Keeper { max_entries: 4, ..agreement.keeper().unwrap() };
    let (raft, stop) = (keeper.raft.clone(), CancellationToken::new());
    let keeping = tokio::spawn(keeper.run(stop.clone()));
    for number in 0..20 {
        routing.change(create_domain(&format!("d{number}.example"))).await.unwrap();
    }
    let few = |now: &RaftMetrics| {
        now.purged.zip(now.last_applied).is_some_and(|(purged, last)| last.index < purged.index + 4)
    };
    raft.wait(Some(Duration::from_secs(60))).metrics(few, "few entries").await.unwrap();
    stop.cancel();
    keeping.await.unwrap();
    let digest = routing.snapshot().digest();
    drop((raft, routing));
    agreement.shut_down().await;
    let (routing, _agreement) = world.open().await;
    assert_eq!(routing.snapshot().digest(), digest);
    assert_eq!(routing.snapshot().domain_count(), 20);
}

/// Of a later version, or damaged before it was agreed on.
#[tokio::test]
async fn what_cannot_be_applied_ends_raft_and_the_table_stays() {
    let world = World::new();
    let (routing, agreement) = world.open().await;
    routing.change(create_domain("one.example")).await.unwrap();
    let keeper = agreement.keeper().unwrap();
    let (raft, metrics) = (keeper.raft.clone(), keeper.metrics.clone());
    let keeping = tokio::spawn(keeper.run(CancellationToken::new()));
    raft.client_write(Proposal(vec![0xff].into())).await.unwrap_err();
    keeping.await.unwrap();
    assert_eq!(metrics.cluster_stopped.get(), 1);
    let refused = routing.change(create_domain("two.example")).await.unwrap_err();
    assert!(matches!(refused, RoutingError::ClusterStopped), "{refused}");
    let table = routing.snapshot();
    assert_eq!((table.domain_count(), table.coverage()), (1, Coverage::Whole));
    drop((raft, routing));
    agreement.shut_down().await;

    let (routing, agreement) = world.open().await;
    assert!(agreement.keeper().is_none());
    assert_eq!(routing.snapshot().coverage(), Coverage::Lost);
}
