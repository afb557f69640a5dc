//! Senders whose DNS is slow: what time they use up is not held against the destinations of their mail.

use std::time::Duration;

use futures_util::future::join_all;
use postroad::config::Config;
use postroad::dev::dns::Behaviour;

use crate::support::{ALICE, Act, Stage, World, letter, signed};

const INFO: &[&str] = &["info@ours.example"];
/// One more than close a destination.
const MESSAGES: usize = 6;

/// A world whose upstream, at an IPv6 and an IPv4 address, is well and takes a while to greet. Nobody is asked at
/// RCPT.
async fn world(in_session_timeout: Duration, greeting: Duration) -> World {
    let world = World::with(|config: &mut Config| {
        config.delivery.in_session_timeout = in_session_timeout;
        config.delivery.cut_through = false;
    })
    .await;
    world.dns.replace("mx.dest.example. 300 IN AAAA ::1").unwrap();
    world.mx.at(Stage::Banner, Act::SayAfter(greeting, "220 mx.dest.example ESMTP".into()));
    world
}

/// What came of six messages at once.
async fn submit_all(world: &World, message: impl Fn(&str) -> String) -> Vec<String> {
    let message = &message;
    let submissions = (0..MESSAGES).map(|number| async move {
        let message = message(&format!("slow{number}"));
        world.sender().await.submit(ALICE, INFO, &message).await.text()
    });
    join_all(submissions).await
}

/// A good sender's message is forwarded at once, over IPv6.
async fn is_open(world: &World) {
    world.mx.be_kind();
    world.sender().await.submit(ALICE, INFO, &letter("good")).await.starts("250-2.0.0 taken");
    let last = *world.mx.connections().last().unwrap();
    assert!(last.is_ipv6(), "{last}");
}

#[tokio::test]
async fn authentication_leaves_delivery_its_part_of_the_time() {
    let world = world(Duration::from_secs(4), Duration::from_millis(400)).await;
    world.dns.behave("s1._domainkey.sender.example.", Behaviour::Silent).unwrap();
    let heard = submit_all(&world, |subject| signed(&letter(subject))).await;
    assert!(heard.iter().all(|heard| heard.starts_with("250-2.0.0 taken")), "{heard:?}");
    is_open(&world).await;
}

#[tokio::test]
async fn who_had_no_time_to_answer_is_not_blamed() {
    let world = world(Duration::from_secs(2), Duration::from_millis(1500)).await;
    let heard = submit_all(&world, letter).await;
    assert!(heard.iter().all(|heard| heard.starts_with("250 2.0.0 Queued")), "{heard:?}");
    is_open(&world).await;
}
