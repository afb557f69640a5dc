//! Memory and the disk while clients take their time: whoever drips holds little of them, and honest messages are served.

use std::net::{IpAddr, Ipv4Addr};

use postroad::telemetry::free_octets;

use crate::support::{ALICE, Act, Client, LIMIT, Stage, World, letter, signed, until};

/// Octets of the node's memory for messages: less than a few clients have begun to send.
const CRAMPED_OCTETS: u64 = 1_048_576;

async fn cramped() -> World {
    World::with(|config| config.limits.octets_in_flight = CRAMPED_OCTETS).await
}

/// A session of a client in this network whose DATA was answered.
async fn begun(world: &World, network: u8) -> Client {
    let mut client = addressed(world, Ipv4Addr::new(127, 0, network, 1)).await;
    client.command("DATA", "354").await;
    client
}

/// A session of a client whose message has a recipient.
async fn addressed(world: &World, from: Ipv4Addr) -> Client {
    let mut client = world.client(IpAddr::V4(from), "drip.example").await;
    client.command("MAIL FROM:<bob@stranger.example>", "250").await;
    client.command("RCPT TO:<info@ours.example>", "250").await;
    client
}

/// A message whose header section and body have so many octets more.
fn bulky(header_octets: usize, body_octets: usize) -> String {
    let line = "x".repeat(98) + "\r\n";
    let header = format!("X-Bulk: {}\r\n", "x".repeat(490)).repeat(header_octets / 500);
    signed(&(header + &letter("bulky") + &line.repeat(body_octets / 100)))
}

#[tokio::test]
async fn clients_that_say_data_and_nothing_more_keep_nobody_out() {
    let world = cramped().await;
    let mut idle = Vec::new();
    for network in 1..=20 {
        idle.push(begun(&world, network).await);
    }
    let mut alice = world.sender().await;
    alice.submit(ALICE, &["info@ours.example"], &letter("honest")).await.starts("250");
}

#[tokio::test]
async fn clients_that_drip_keep_nobody_out() {
    let world = cramped().await;
    let mut dripping = Vec::new();
    for network in 1..=20 {
        let mut client = begun(&world, network).await;
        client.send_octets("x".repeat(98).as_bytes()).await;
        client.send_octets(("\r\n".to_owned() + &"x".repeat(98)).repeat(1000).as_bytes()).await;
        dripping.push(client);
    }
    let mut alice = world.sender().await;
    for _ in 0..3 {
        for client in &mut dripping {
            client.send_octets(b"x").await;
        }
        alice.submit(ALICE, &["info@ours.example"], &bulky(150_000, 200_000)).await.starts("250");
    }
    let sent = bulky(150_000, 200_000);
    for received in world.mx.taken() {
        assert!(received.octets.ends_with(&sent.as_bytes()[sent.find("X-Bulk").unwrap()..]));
    }
    // A drip is no fault: what has come so far is still good.
    let mut patient = dripping.remove(0);
    patient.send_octets(b"\r\n.\r\n").await;
    patient.expect("550").await;
}

#[tokio::test]
async fn a_destination_that_does_not_answer_keeps_nobody_out() {
    const WAITING: u8 = 15;
    let world = cramped().await;
    world.mx.when(Stage::Dot, "", usize::from(WAITING), Act::Hang);
    let stuffed = bulky(1000, 60_000).replace("\r\n.", "\r\n..") + ".\r\n";
    let mut waiting = Vec::new();
    for network in 1..=WAITING {
        let mut client = begun(&world, network).await;
        client.send_octets(stuffed.as_bytes()).await;
        waiting.push(client);
    }
    until("all of them are upstream", || world.mx.received().len() == waiting.len(), LIMIT).await;
    let mut alice = world.sender().await;
    alice.submit(ALICE, &["info@ours.example"], &bulky(1000, 200_000)).await.starts("250");
}

#[tokio::test]
async fn a_header_section_larger_than_its_declared_size_arrives_unchanged() {
    let world = World::start().await;
    let message = bulky(150_000, 200_000);
    let mut alice = world.sender().await;
    alice.command(&format!("MAIL FROM:<{ALICE}> SIZE=1000"), "250").await;
    alice.command("RCPT TO:<info@ours.example>", "250").await;
    alice.data(&message).await.starts("250");
    assert!(world.mx.only().octets.ends_with(message.as_bytes()));
}

#[tokio::test]
async fn a_disk_below_its_floor_takes_no_temporary_files() {
    let world = World::with(|config| config.limits.min_free_octets = u64::MAX).await;
    let mut alice = world.sender().await;
    let large = letter("large") + &("x".repeat(98) + "\r\n").repeat(20_000);
    for _ in 0..2 {
        // Read to its true end, and the session is in step.
        alice.submit(ALICE, &["info@ours.example"], &large).await.starts("452 4.3.1");
        alice.submit(ALICE, &["info@ours.example"], &letter("small")).await.starts("250");
    }
    assert_eq!(world.mx.taken().len(), 2);
}

/// On a file system that nobody else writes to: what is free there does not change under the test.
#[tokio::test]
async fn a_network_that_stalls_large_messages_leaves_the_disk_to_others() {
    const MIB: u64 = 1_048_576;
    let disk = tempfile::tempdir_in("/dev/shm").unwrap();
    let free = free_octets(disk.path()).unwrap();
    let world = World::with(|config| {
        config.node.data_dir = disk.path().join("data");
        config.limits.min_free_octets = free.saturating_sub(48 * MIB);
        config.service.max_message_octets = 4 * MIB;
        config.delivery.cut_through = false;
    })
    .await;
    let piece = ("x".repeat(98) + "\r\n").repeat(30_000);
    let mut hoard = Vec::new();
    for host in 1..=20 {
        let mut client = addressed(&world, Ipv4Addr::new(127, 0, 77, host)).await;
        client.send_octets(format!("BDAT {}\r\nA: b\r\n\r\n{piece}", piece.len() + 8).as_bytes()).await;
        client.expect("250").await;
        hoard.push(client);
    }
    let mut alice = world.sender().await;
    world.mx.when(Stage::Banner, "", 1, Act::Close);
    alice.submit(ALICE, &["info@ours.example"], &letter("queued")).await.starts("250 2.0.0 Queued");
    alice.submit(ALICE, &["info@ours.example"], &bulky(1000, 3_000_000)).await.starts("250");
    let mut refused = 0;
    for mut client in hoard {
        client.send("BDAT 0 LAST").await;
        refused += usize::from(client.reply().await.text().starts_with("452 4.3.1"));
    }
    // 4 MiB are the network's, and each message is 3 MB.
    assert_eq!(refused, 19);
}
