//! How long a client may go on without bringing a message: commands, refused recipients, and what is counted of it.

use postroad::mail::Address;
use postroad::routing::{Change, RuleAction};

use crate::support::{ALICE, Client, STRANGER, World, letter, signed};

/// More than any limit of commands here, and fewer than nobody would wait for.
const MANY: usize = 300;

/// Says these lines over and over; how often, until it hears 421 4.7.0 and the session is over.
async fn until_dismissed(client: &mut Client, lines: &[&str]) -> usize {
    for times in 0..MANY {
        for line in lines {
            let heard = client.exchange(line).await;
            if heard.code() == 421 {
                heard.starts("421 4.7.0");
                client.ended().await;
                return times;
            }
        }
    }
    panic!("{lines:?} were answered {MANY} times");
}

#[tokio::test]
async fn commands_that_bring_no_message_end_the_session() {
    let world = World::start().await;
    let mail = format!("MAIL FROM:<{ALICE}>");
    for lines in [&["NOOP"][..], &["RSET"], &["VRFY info"], &["HELP"], &["EHLO x.example"], &[&mail, "RSET"]]
    {
        let mut client = world.sender().await;
        let times = until_dismissed(&mut client, lines).await;
        assert!((90..=100).contains(&times), "{lines:?}: {times}");
    }
}

/// RFC 3030 §2 has no least size of a chunk.
#[tokio::test]
async fn chunks_that_bring_nothing_end_the_session() {
    let world = World::start().await;
    let mut client = world.sender().await;
    client.command(&format!("MAIL FROM:<{ALICE}>"), "250").await;
    client.command("RCPT TO:<info@ours.example>", "250").await;
    let times = until_dismissed(&mut client, &["BDAT 0"]).await;
    assert!((90..=100).contains(&times), "{times}");
}

#[tokio::test]
async fn a_message_in_a_hundred_small_chunks_is_taken_after_another() {
    let world = World::start().await;
    let mut client = world.sender().await;
    for _ in 0..2 {
        client.command(&format!("MAIL FROM:<{ALICE}>"), "250").await;
        client.command("RCPT TO:<info@ours.example>", "250").await;
        let message = letter("x");
        client.send_octets(format!("BDAT {}\r\n{message}", message.len()).as_bytes()).await;
        client.expect("250").await;
        for _ in 0..90 {
            client.send_octets(b"BDAT 3\r\nx\r\n").await;
            client.expect("250").await;
        }
        client.command("BDAT 0 LAST", "250").await;
    }
}

#[tokio::test]
async fn recipients_that_we_refuse_for_now_end_the_session() {
    let world = World::start().await;
    let address = Address::parse("waiting@dest.example").unwrap();
    world.change(Change::CreateDestination { address: address.clone(), verified: false }).await;
    world.rule("waiting@ours.example", RuleAction::Forward(vec![address])).await;
    let mut client = world.sender().await;
    client.command(&format!("MAIL FROM:<{ALICE}>"), "250").await;
    client.command("RCPT TO:<waiting@ours.example>", "450 4.2.1").await;
    until_dismissed(&mut client, &["RCPT TO:<waiting@ours.example>"]).await;
}

/// RFC 5321 §4.5.3.1.10: who is told 452 4.5.3 sends to the rest in the next transaction.
#[tokio::test]
async fn recipients_past_the_limit_of_a_transaction_end_nothing() {
    let world = World::with(|config| config.limits.recipients = 1).await;
    let mut alice = world.sender().await;
    let mut stranger = world.client(STRANGER, "stranger.example").await;
    alice.command(&format!("MAIL FROM:<{ALICE}>"), "250").await;
    stranger.command("MAIL FROM:<bob@stranger.example>", "250").await;
    for client in [&mut alice, &mut stranger] {
        client.command("RCPT TO:<info@ours.example>", "250").await;
        for _ in 0..MANY {
            client.command("RCPT TO:<far@ours.example>", "452 4.5.3").await;
        }
        client.data(&signed(&letter("x"))).await.starts("250");
    }
}

#[tokio::test]
async fn a_message_makes_up_for_what_came_before_it() {
    let world = World::start().await;
    let mut client = world.sender().await;
    for _ in 0..3 {
        for _ in 0..90 {
            client.command("NOOP", "250").await;
        }
        client.submit(ALICE, &["info@ours.example"], &letter("x")).await.starts("250");
    }
}

#[tokio::test]
async fn whoever_pipelines_without_end_is_answered_to_the_end() {
    let world = World::start().await;
    let mut client = world.sender().await;
    client.send_octets("NOOP\r\n".repeat(MANY).as_bytes()).await;
    for _ in 0..99 {
        client.expect("250").await;
    }
    // EHLO was the first of the hundred; the one past them is answered too, and then the session ends.
    client.expect("250").await;
    client.expect("421 4.7.0").await;
}

#[tokio::test]
async fn an_early_talker_is_counted_as_one() {
    let world = World::start().await;
    let mut client = world.raw().await;
    client.send_octets(b"EHLO bot.example\r\n").await;
    client.expect("554 5.5.1").await;
    client.ended().await;
    let series = "postroad_smtp_connections_total{ip_family=\"ipv4\",outcome=\"early_talker\"} 1";
    for _ in 0..1000 {
        if world.metrics().await.contains(series) {
            return;
        }
    }
    panic!("no {series} in\n{}", world.metrics().await);
}
