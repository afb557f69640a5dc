//! SIZE (RFC 1870), and what a message may take of us.

use crate::support::{ALICE, World, letter};

#[tokio::test]
async fn the_limit_is_offered_and_held_at_mail() {
    let world = World::start().await;
    let mut client = world.raw().await;
    client.expect("220").await;
    client.command("EHLO mail.sender.example", "250").await.contains("SIZE 26214400");
    let heard = client.command(&format!("MAIL FROM:<{ALICE}> SIZE=26214401"), "552 5.3.4").await;
    heard.contains("26214400").contains("(trace ");
    client.command(&format!("MAIL FROM:<{ALICE}> SIZE=26214400"), "250").await;
}

#[tokio::test]
async fn a_message_past_the_limit_is_read_to_its_end_and_refused() {
    let world = World::with(|config| config.service.max_message_octets = 65_536).await;
    let mut client = world.sender().await;
    for _ in 0..2 {
        client
            .submit(ALICE, &["info@ours.example"], &(letter("big") + &"x".repeat(998).repeat(70)))
            .await
            .starts("552 5.3.4");
    }
    client.submit(ALICE, &["info@ours.example"], &letter("small")).await.starts("250");
    assert_eq!(world.mx.taken().len(), 1);
}

#[tokio::test]
async fn chunks_past_the_limit_are_read_and_refused() {
    let world = World::with(|config| config.service.max_message_octets = 65_536).await;
    let mut client = world.sender().await;
    client.command(&format!("MAIL FROM:<{ALICE}>"), "250").await;
    client.command("RCPT TO:<info@ours.example>", "250").await;
    let chunk = "x".repeat(78) + "\r\n";
    let chunk = chunk.repeat(1000);
    client.send_octets(format!("BDAT {}\r\n{chunk}", chunk.len()).as_bytes()).await;
    client.expect("552 5.3.4").await;
    client.command("RSET", "250").await;
    client.submit(ALICE, &["info@ours.example"], &letter("small")).await.starts("250");
}

#[tokio::test]
async fn exactly_the_limit_is_taken() {
    let world = World::with(|config| config.service.max_message_octets = 65_536).await;
    let mut client = world.sender().await;
    let letter = letter("brim");
    let fill = 65_536 - letter.len();
    let lines = ("x".repeat(62) + "\r\n").repeat(fill / 64);
    let rest = fill - lines.len();
    let message = format!("{letter}{lines}{}\r\n", "y".repeat(rest.max(2) - 2));
    assert_eq!(message.len(), 65_536);
    client.submit(ALICE, &["info@ours.example"], &message).await.starts("250");
    client.submit(ALICE, &["info@ours.example"], &format!("{message}x")).await.starts("552");
}

#[tokio::test]
async fn a_message_past_a_mebibyte_arrives_unchanged() {
    let world = World::start().await;
    let line = "0123456789abcdef".repeat(4) + "\r\n";
    let message = crate::support::signed(&(letter("large") + &line.repeat(50_000)));
    let mut client = world.sender().await;
    client.submit(ALICE, &["info@ours.example"], &message).await.starts("250");
    assert!(world.mx.only().octets.ends_with(message.as_bytes()));
}

#[tokio::test]
async fn a_message_larger_than_the_destination_takes_is_refused() {
    let world = World::start().await;
    world.mx.offer(&["SIZE 20000"]);
    let message = letter("large") + &("x".repeat(98) + "\r\n").repeat(400);
    let mut client = world.sender().await;
    client.submit(ALICE, &["info@ours.example"], &message).await.starts("552 5.3.4");
    assert!(world.mx.received().is_empty());
}

#[tokio::test]
async fn rfc5321_4_5_3_1_8_a_hundred_recipients_are_taken_and_the_next_hears_452() {
    let world = World::start().await;
    for number in 0..101 {
        world.forward(&format!("user{number}@ours.example"), &["ana@dest.example"]).await;
    }
    let mut client = world.sender().await;
    client.command(&format!("MAIL FROM:<{ALICE}>"), "250").await;
    for number in 0..100 {
        client.command(&format!("RCPT TO:<user{number}@ours.example>"), "250").await;
    }
    client.command("RCPT TO:<user100@ours.example>", "452 4.5.3").await;
    client.data(&letter("all")).await.starts("250");
    assert!(!world.mx.taken().is_empty());
}

#[tokio::test]
async fn the_limit_of_recipients_is_offered() {
    let world = World::with(|config| config.limits.recipients = 100).await;
    let mut client = world.raw().await;
    client.expect("220").await;
    client.command("EHLO x.example", "250").await.contains("LIMITS ").contains("RCPTMAX=100");
}
