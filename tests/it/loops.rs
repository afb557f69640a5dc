//! Mail loops end (RFC 5321 §6.3): by our own token at once, by the count of hops at last.

use crate::support::{ALICE, World, letter};

#[tokio::test]
async fn a_message_that_comes_back_for_the_same_alias_is_a_loop() {
    let world = World::start().await;
    let mut client = world.sender().await;
    client.submit(ALICE, &["info@ours.example"], &letter("x")).await.starts("250");
    let returned = world.mx.only().text();
    client.submit(ALICE, &["info@ours.example"], &returned).await.starts("550 5.4.6").contains("(trace ");
    assert_eq!(world.mx.taken().len(), 1);
}

#[tokio::test]
async fn a_message_that_comes_back_for_another_alias_is_none() {
    let world = World::start().await;
    let mut client = world.sender().await;
    client.submit(ALICE, &["info@ours.example"], &letter("x")).await.starts("250");
    let returned = world.mx.only().text();
    client.submit(ALICE, &["sales@ours.example"], &returned).await.starts("250");
    assert_eq!(world.mx.taken().len(), 2);
}

#[tokio::test]
async fn too_many_hops_are_a_loop() {
    let world = World::with(|config| config.limits.hops = 50).await;
    let hop = "Received: from a.example by b.example; Mon, 23 Nov 2026 12:00:00 +0000\r\n";
    let mut client = world.sender().await;
    let message = |hops: usize| hop.repeat(hops) + &letter("x");
    client.submit(ALICE, &["info@ours.example"], &message(60)).await.starts("550 5.4.6");
    client.submit(ALICE, &["info@ours.example"], &message(30)).await.starts("250");
}

#[tokio::test]
async fn a_destination_in_a_domain_of_ours_is_resolved_without_smtp() {
    let world = World::start().await;
    world.domain("second.example").await;
    world.destination("info@ours.example").await;
    world.forward("x@second.example", &["info@ours.example"]).await;
    let mut client = world.sender().await;
    client.submit(ALICE, &["x@second.example"], &letter("x")).await.starts("250");
    assert_eq!(world.mx.only().recipients(), ["ana@dest.example"]);
}
