use super::tests::World;
use super::*;
use crate::cluster::part::RaftMetrics;
use crate::cluster::proposal::Proposal;
use crate::cluster::test_state::create_domain;
use crate::routing::Coverage;

#[tokio::test]
async fn a_log_that_is_long_is_compacted_and_a_restart_knows_all_of_it() {
    let world = World::new();
    let (site, part) = world.begun().await;
    let keeper = Keeper::new(&part, 4);
    let raft = part.raft.clone();
    let (routing, orders) = Routing::agreed(site.view.clone());
    let keeping = tokio::spawn(keeper.run());
    let stop = CancellationToken::new();
    let working = tokio::spawn(site.work(Condition::Agreeing(part), orders, stop.clone()));
    for number in 0..20 {
        routing.change(create_domain(&format!("d{number}.example"))).await.unwrap();
    }
    let few = |now: &RaftMetrics| {
        now.purged.zip(now.last_applied).is_some_and(|(purged, last)| last.index < purged.index + 4)
    };
    raft.wait(Some(Duration::from_secs(60))).metrics(few, "few entries").await.unwrap();
    keeping.abort();
    let digest = routing.snapshot().digest();
    stop.cancel();
    drop(raft);
    working.await.unwrap();
    drop(routing);
    let (routing, agreement) = world.open().await;
    assert_eq!(routing.snapshot().digest(), digest);
    assert_eq!(routing.snapshot().domain_count(), 20);
    agreement.shut_down().await;
}

/// Of a later version, or damaged before it was agreed on.
#[tokio::test]
async fn what_cannot_be_applied_ends_raft_and_the_table_stays() {
    let world = World::new();
    let (site, part) = world.begun().await;
    let raft = part.raft.clone();
    let (routing, orders) = Routing::agreed(site.view.clone());
    let (metrics, stop): (Arc<Metrics>, _) = (site.metrics.clone(), CancellationToken::new());
    let working = tokio::spawn(site.work(Condition::Agreeing(part), orders, stop.clone()));
    routing.change(create_domain("one.example")).await.unwrap();
    raft.client_write(Proposal(vec![0xff].into())).await.unwrap_err();
    drop(raft);
    World::refuses(&routing).await;
    assert_eq!(metrics.cluster_stopped.get(), 1);
    let table = routing.snapshot();
    assert_eq!((table.domain_count(), table.coverage()), (1, Coverage::Whole));
    stop.cancel();
    working.await.unwrap();
    drop(routing);

    let (routing, agreement) = world.open().await;
    assert!(!agreement.took_part());
    let table = routing.snapshot();
    assert_eq!((table.domain_count(), table.coverage()), (1, Coverage::Lost));
    agreement.shut_down().await;
}
