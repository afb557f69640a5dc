use tokio_util::sync::CancellationToken;

use super::*;
use crate::ledger::Recorded;

#[tokio::test]
async fn the_next_message_uses_the_same_connection() {
    let (world, upstream) = one_host(&["hello \n mail\n mail\n mail"]).await;
    for _ in 0..3 {
        assert!(matches!(world.deliver_one(Mail::to(&[ANA])).await, Outcome::Delivered(_)));
    }
    assert_eq!(world.upstreams.metrics.delivery_connections.get(), 1);
    world.upstreams.drain().await;
    world.until_connections(0).await;
    assert_eq!(upstream.finish().await.lines.last().unwrap(), "QUIT");
}

#[tokio::test]
async fn a_connection_under_tls_is_reused_under_tls() {
    let script = "hello STARTTLS\n < STARTTLS\n > 220 go\n tls\n < EHLO\n > 250 mx\n mail\n mail";
    let (world, upstream) = one_host(&[script]).await;
    for _ in 0..2 {
        assert!(matches!(world.deliver_one(Mail::to(&[ANA])).await, Outcome::Delivered(_)));
    }
    assert_eq!(upstream.heard().clients.len(), 1);
}

#[tokio::test]
async fn a_refused_transaction_is_reset_before_the_connection_is_used_again() {
    let script = "hello
        < MAIL
        > 250 ok
        < RCPT
        > 550 5.1.1 no
        < RSET
        > 250 ok
        mail";
    let (world, upstream) = one_host(&[script]).await;
    assert!(matches!(world.deliver_one(Mail::to(&[ANA])).await, Outcome::Refused(_)));
    for _ in 0..100 {
        if upstream.heard().lines.contains(&"RSET".to_owned()) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(matches!(world.deliver_one(Mail::to(&[ANA])).await, Outcome::Delivered(_)));
    assert_eq!(upstream.heard().clients.len(), 1);
}

#[tokio::test]
async fn an_idle_connection_that_died_is_replaced() {
    for ending in ["close", "> 421 4.4.2 idle too long\n close"] {
        let (world, upstream) = one_host(&[&format!("hello \n mail\n {ending}"), "hello \n mail"]).await;
        assert!(matches!(world.deliver_one(Mail::to(&[ANA])).await, Outcome::Delivered(_)));
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(matches!(world.deliver_one(Mail::to(&[ANA])).await, Outcome::Delivered(_)), "{ending}");
        assert_eq!(upstream.heard().messages.len(), 2);
    }
}

#[tokio::test]
async fn a_reused_connection_that_dies_before_the_dot_is_retried_on_a_fresh_one() {
    for ending in [
        "< MAIL\n close",
        "< MAIL\n > 421 4.7.0 enough",
        "< MAIL\n > 250 ok\n < RCPT\n > 250 ok\n < DATA\n close",
    ] {
        let (world, upstream) = one_host(&[&format!("hello \n mail\n {ending}"), "hello \n mail"]).await;
        assert!(matches!(world.deliver_one(Mail::to(&[ANA])).await, Outcome::Delivered(_)));
        assert!(matches!(world.deliver_one(Mail::to(&[ANA])).await, Outcome::Delivered(_)), "{ending}");
        assert_eq!(upstream.heard().clients.len(), 2);
    }
}

#[tokio::test]
async fn a_reused_connection_that_dies_after_the_dot_is_not() {
    let script =
        "hello \n mail\n < MAIL\n > 250 ok\n < RCPT\n > 250 ok\n < DATA\n > 354 go\n message\n close";
    let (world, upstream) = one_host(&[script, "hello \n mail"]).await;
    assert!(matches!(world.deliver_one(Mail::to(&[ANA])).await, Outcome::Delivered(_)));
    let outcome = world.deliver_one(Mail::to(&[ANA])).await;
    assert_eq!(said(&outcome), "unknown at mx1.dest.example");
    assert_eq!(upstream.heard().clients.len(), 1);
}

#[tokio::test]
async fn idle_connections_end_in_time() {
    let (world, upstream) = one_host(&["hello \n mail"]).await;
    let stop = CancellationToken::new();
    let watch = tokio::spawn(world.upstreams.clone().watch(stop.clone()));
    assert!(matches!(world.deliver_one(Mail::to(&[ANA])).await, Outcome::Delivered(_)));
    world.until_connections(0).await;
    assert_eq!(upstream.finish().await.lines.last().unwrap(), "QUIT");
    stop.cancel();
    watch.await.unwrap();
}

#[tokio::test]
async fn rfc9422_a_connection_serves_no_more_messages_than_the_upstream_wants() {
    let (world, upstream) = one_host(&["hello LIMITS MAILMAX=1\n mail", "hello \n mail"]).await;
    for _ in 0..2 {
        assert!(matches!(world.deliver_one(Mail::to(&[ANA])).await, Outcome::Delivered(_)));
    }
    assert_eq!(upstream.heard().clients.len(), 2);
}

#[tokio::test]
async fn after_drain_nothing_is_kept() {
    let (world, _upstream) = one_host(&["hello \n mail"]).await;
    world.upstreams.drain().await;
    assert!(matches!(world.deliver_one(Mail::to(&[ANA])).await, Outcome::Delivered(_)));
    world.until_connections(0).await;
}

#[tokio::test]
async fn a_copy_that_an_earlier_transaction_settled_is_not_offered_again() {
    let (world, upstream) = one_host(&["hello \n mail"]).await;
    let mail = Mail::to(&[ANA, BOB]).rewritten();
    let target = &mail.shipments[0].targets[0];
    let content = crate::ledger::Fingerprint::of(&mail.message).unwrap();
    let ledger = &world.upstreams.ledger;
    let key = ledger.key(&content, &ReversePath::Null, &target.alias, &target.destination);
    ledger.record(vec![(key, Recorded::Open)]).await.unwrap();
    let attempted = deliver(world.upstreams.clone(), mail).await;
    assert!(matches!(attempted.deliveries[0].outcome, Outcome::Recorded(Recorded::Open)));
    assert!(matches!(attempted.deliveries[1].outcome, Outcome::Delivered(_)));
    let rcpts = upstream.heard().lines.into_iter().filter(|line| line.starts_with("RCPT"));
    assert_eq!(rcpts.collect::<Vec<_>>(), ["RCPT TO:<bob@dest.example>"]);
}
