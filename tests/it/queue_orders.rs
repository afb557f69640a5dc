//! What an operator orders of the queue is done: `postroadctl queue` against a node that delivers.

use std::time::Duration;

use tokio::time::timeout;

use crate::support::{ALICE, Act, LIMIT, Stage, World, letter, signed, until};

/// A world with one message queued, whose next attempt is an hour away.
async fn holding() -> (World, String) {
    let world = World::with(|config| {
        config.delivery.retry_first = Duration::from_secs(3600);
        config.delivery.retry_longest = Duration::from_secs(3600);
    })
    .await;
    world.mx.at(Stage::Banner, Act::Close);
    let heard = world.sender().await.submit(ALICE, &["info@ours.example"], &signed(&letter("one"))).await;
    heard.starts("250 2.0.0 Queued");
    let (_, list, _) = world.ctl(&["queue", "list", "--domain", "dest.example"]).await;
    let id = list["messages"][0]["id"].as_str().unwrap().to_owned();
    assert!(heard.text().contains(&id), "{list}");
    let copy = &list["messages"][0]["copies"][0];
    assert_eq!((&copy["state"], &copy["alias"]), (&"WAITING".into(), &"info@ours.example".into()), "{copy}");
    (world, id)
}

#[tokio::test]
async fn a_retry_delivers_at_once_whatever_the_back_off() {
    let (world, id) = holding().await;
    world.mx.be_kind();
    let (status, answer, err) = world.ctl(&["queue", "retry", &id]).await;
    assert_eq!((status, &answer["count"]), (0, &"1".into()), "{err}");
    until("the queue delivers", || world.mx.taken().len() == 1, LIMIT).await;
}

#[tokio::test]
async fn a_cancelled_message_is_never_delivered() {
    let (world, id) = holding().await;
    world.mx.be_kind();
    let (status, _, err) = world.ctl(&["queue", "cancel", &id]).await;
    assert_eq!(status, 0, "{err}");
    let (status, _, err) = world.ctl(&["queue", "retry", &id]).await;
    assert_eq!(status, 1);
    assert!(err.contains("(MESSAGE_NOT_FOUND)"), "{err}");
    let world = world.restarted().await;
    assert_eq!(world.ctl(&["queue", "list"]).await.1, serde_json::json!({"messages": []}));
    assert_eq!(world.mx.taken().len(), 0);
}

#[tokio::test]
async fn a_message_that_is_being_delivered_is_left_alone() {
    let (world, id) = holding().await;
    world.mx.at(Stage::Banner, Act::Hang);
    let before = world.mx.connections().len();
    assert_eq!(world.ctl(&["queue", "retry", "--all"]).await.0, 0);
    until("the upstream is asked", || world.mx.connections().len() > before, LIMIT).await;
    let (status, answer, err) = world.ctl(&["queue", "cancel", &id]).await;
    assert_eq!((status, &answer["count"]), (1, &"0".into()), "{err}");
    assert!(err.contains("1 left alone because a delivery is under way"), "{err}");
}

#[tokio::test]
async fn nothing_goes_to_a_suspended_destination_until_it_is_resumed() {
    let (world, id) = holding().await;
    let heard = world.sender().await.submit(ALICE, &["far@ours.example"], &signed(&letter("two"))).await;
    heard.starts("250 2.0.0 Queued");
    world.mx.be_kind();
    assert_eq!(world.ctl(&["queue", "suspend", "dest.example", "--reason", "moving"]).await.0, 0);
    let world = world.restarted().await;
    let (_, suspended, _) = world.ctl(&["queue", "suspensions"]).await;
    assert_eq!(suspended["suspensions"][0]["reason"], "moving", "{suspended}");
    let counted = async { while !world.metrics().await.contains("\npostroad_suspended_destinations 1\n") {} };
    timeout(LIMIT, counted).await.expect("the suspension is counted");
    // The suspended one becomes due first, and is still there when the other is delivered.
    assert_eq!(world.ctl(&["queue", "retry", &id]).await.0, 0);
    assert_eq!(world.ctl(&["queue", "retry", "--domain", "other.example"]).await.0, 0);
    until("the other is delivered", || world.mx.taken().len() == 1, LIMIT).await;
    assert_eq!(world.mx.only().recipients(), ["cal@other.example"]);
    assert_eq!(world.ctl(&["queue", "resume", "dest.example"]).await.0, 0);
    until("both are delivered", || world.mx.taken().len() == 2, LIMIT).await;
}

/// What `postroadctl trace` says came later, once it says so much.
async fn later(world: &World, id: &str, results: &[&str]) -> serde_json::Value {
    let end = tokio::time::Instant::now() + LIMIT;
    loop {
        let (status, trace, err) = world.ctl(&["trace", id]).await;
        assert_eq!((status, &trace["outcome"]), (0, &"QUEUED".into()), "{err}");
        let deliveries = trace["deliveries"].as_array().unwrap();
        let told: Vec<&str> = deliveries.iter().map(|one| one["result"].as_str().unwrap()).collect();
        if told == results {
            return trace["deliveries"].clone();
        }
        assert!(tokio::time::Instant::now() < end, "{told:?}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_trace_tells_later_attempts_that_are_news_and_how_it_ended() {
    let (world, id) = holding().await;
    // What nobody answers to is no news, nor is a second refusal like the first.
    let asked = world.mx.connections().len();
    assert_eq!(world.ctl(&["queue", "retry", &id]).await.0, 0);
    until("the upstream is asked", || world.mx.connections().len() > asked, LIMIT).await;
    world.mx.be_kind();
    world.mx.when(Stage::Rcpt, "ana@", 2, Act::Say("450 4.2.0 come back".into()));
    assert_eq!(world.ctl(&["queue", "retry", &id]).await.0, 0);
    later(&world, &id, &["DEFERRED"]).await;
    while !world.ctl(&["queue", "retry", &id]).await.2.contains("MESSAGE_NOT_FOUND") {
        tokio::task::yield_now().await;
    }
    let told = later(&world, &id, &["DEFERRED", "DELIVERED"]).await;
    assert_eq!((&told[0]["attempts"], &told[1]["attempts"]), (&3.into(), &5.into()), "{told}");
    assert_eq!((&told[0]["code"], &told[0]["text"]), (&450.into(), &"come back".into()), "{told}");
    assert_eq!(
        (&told[1]["recipient"], &told[1]["host"]),
        (&"info@ours.example".into(), &"mx.dest.example".into())
    );
}

#[tokio::test]
async fn a_trace_tells_of_a_cancellation_and_of_a_refusal_with_its_report() {
    let (world, id) = holding().await;
    assert_eq!(world.ctl(&["queue", "cancel", &id]).await.0, 0);
    later(&world, &id, &["CANCELLED"]).await;
    let heard = world.sender().await.submit(ALICE, &["info@ours.example"], &signed(&letter("two"))).await;
    heard.starts("250 2.0.0 Queued");
    world.mx.be_kind();
    world.mx.when(Stage::Rcpt, "ana@", 1, Act::Say("550 5.1.1 nobody".into()));
    assert_eq!(world.ctl(&["queue", "retry", "--all"]).await.0, 0);
    let told = later(&world, &heard.trace(), &["TOLD", "FAILED"]).await;
    assert_eq!(told[0]["recipient"], ALICE, "{told}");
    assert!(told[0]["text"].as_str().unwrap().starts_with("failed (report 01"), "{told}");
}
