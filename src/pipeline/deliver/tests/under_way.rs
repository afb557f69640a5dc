use super::late::TO_THE_DOT;
use super::*;
use crate::ledger::{Key, Others, Recorded, Told};

/// Nodes that nobody hears.
struct Nobody;

impl Others for Nobody {
    fn tell(&self, _key: Key, _told: Told) {}
}

/// A host that answers the dot of its first message late.
async fn slow_host() -> (World, Upstream) {
    one_host(&[&format!("{TO_THE_DOT}\n wait 1500\n > 250 2.0.0 taken\n mail"), "hello\n mail"]).await
}

/// Waits until a copy of the message is known to be under way, and delivers it once more.
async fn retry(world: &World) -> Attempted {
    for _ in 0..100 {
        if !world.upstreams.ledger.is_empty() {
            return deliver(world.upstreams.clone(), Mail::to(&[ANA]).rewritten()).await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it is not known to be under way");
}

#[tokio::test]
async fn a_retry_waits_while_the_message_of_a_client_that_has_gone_is_offered() {
    let (world, upstream) = slow_host().await;
    let mail = Mail::to(&[ANA]).rewritten();
    mail.transaction.gone.cancel();
    let first = tokio::spawn(deliver(world.upstreams.clone(), mail));
    let again = retry(&world).await;
    assert!(matches!(again.deliveries[0].outcome, Outcome::Recorded(Recorded::Open)));
    let first = first.await.unwrap();
    assert!(matches!(first.deliveries[0].outcome, Outcome::Delivered(_)));
    // Until it is settled, nobody knows better.
    assert!(!world.upstreams.ledger.is_empty());
    drop(first);
    assert!(world.upstreams.ledger.is_empty());
    assert_eq!(upstream.heard().lines.iter().filter(|line| line.starts_with("RCPT")).count(), 1);
}

#[tokio::test]
async fn other_nodes_are_told_of_a_message_whose_upstream_takes_its_time() {
    let (world, _upstream) = slow_host().await;
    world.upstreams.ledger.share(Arc::new(Nobody));
    let first = tokio::spawn(deliver(world.upstreams.clone(), Mail::to(&[ANA]).rewritten()));
    let again = retry(&world).await;
    assert!(matches!(again.deliveries[0].outcome, Outcome::Recorded(Recorded::Open)));
    drop(first.await.unwrap());
    assert!(world.upstreams.ledger.is_empty());
}

/// Of a client that is there, a node that is alone knows all: what it sends twice is sent twice on purpose.
#[tokio::test]
async fn nothing_is_noted_of_a_client_that_waits_or_of_an_upstream_that_answers() {
    let (world, _upstream) = slow_host().await;
    let attempted = deliver(world.upstreams.clone(), Mail::to(&[ANA]).rewritten()).await;
    assert!(attempted.under_way.is_none());
    world.upstreams.ledger.share(Arc::new(Nobody));
    let attempted = deliver(world.upstreams.clone(), Mail::to(&[ANA]).rewritten()).await;
    assert!(attempted.under_way.is_none());
}
