//! What a running node makes of a changed file: all of it or nothing, and it says which.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::support::{ALICE, LIMIT, LISTED, World};

const TAKEN: &str = "postroad_config_last_reload_successful 1";
const RESTART_REQUIRED: &str = "postroad_config_restart_required 1";

/// Waits until /metrics has the line.
async fn until_metric(world: &World, line: &str) {
    let end = Instant::now() + LIMIT;
    while !world.metrics().await.lines().any(|other| other == line) {
        assert!(Instant::now() < end, "not within {LIMIT:?}: {line}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the call's answer is as wanted.
async fn until_answer(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !ask().await {
        assert!(Instant::now() < end, "not within {LIMIT:?}: {what}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_key_that_needs_a_restart_is_told_and_the_others_are_taken() {
    let world = World::following().await;
    until_metric(&world, "postroad_config_restart_required 0").await;
    world.edit("[http]\nlisten = \"127.0.0.1:0\"", "[http]\nlisten = \"127.0.0.1:1\"");
    world.edit("min_free_octets", "recipients = 7\nmin_free_octets");
    until_metric(&world, RESTART_REQUIRED).await;
    until_metric(&world, TAKEN).await;
    world.raw().await.expect("220").await;
    let mut client = world.raw().await;
    client.expect("220").await;
    client.command("EHLO x.example", "250").await.contains("RCPTMAX=7");
    world.edit("[http]\nlisten = \"127.0.0.1:1\"", "[http]\nlisten = \"127.0.0.1:0\"");
    until_metric(&world, "postroad_config_restart_required 0").await;
}

#[tokio::test]
async fn a_new_key_in_the_file_of_a_dnsbl_subscriber_is_used() {
    let world = World::following().await;
    let key = world.write("dnsbl.key", "first\n");
    world.edit(
        "zone = \"dnsbl.example\"",
        &format!("zone = \"dnsbl.example\"\nkey_file = \"{}\"", key.display()),
    );
    for name in ["2.0.0.127", "66.0.0.127"] {
        world.dns.replace(&format!("{name}.second.dnsbl.example. 300 IN A 127.0.0.2")).unwrap();
    }
    let listed = async || {
        let mut client = world.client(LISTED, "listed.example").await;
        client.command(&format!("MAIL FROM:<{ALICE}>"), "250").await;
        client.exchange("RCPT TO:<info@ours.example>").await.text().starts_with("554 5.7.1")
    };
    until_answer("the first key", async || !listed().await).await;
    world.write("dnsbl.key", "second\n");
    until_answer("the second key", listed).await;
}
