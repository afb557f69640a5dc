//! What an operator orders of the queue is done: `postroadctl queue` against a node that delivers.

use std::time::Duration;

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
    // The suspended one becomes due first, and is still there when the other is delivered.
    assert_eq!(world.ctl(&["queue", "retry", &id]).await.0, 0);
    assert_eq!(world.ctl(&["queue", "retry", "--domain", "other.example"]).await.0, 0);
    until("the other is delivered", || world.mx.taken().len() == 1, LIMIT).await;
    assert_eq!(world.mx.only().recipients(), ["cal@other.example"]);
    assert_eq!(world.ctl(&["queue", "resume", "dest.example"]).await.0, 0);
    until("both are delivered", || world.mx.taken().len() == 2, LIMIT).await;
}
