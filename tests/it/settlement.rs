//! One reply for several outcomes, and no message twice: slow upstreams, lost replies, several recipients.
//! Where the disk has room for a queue, see `queue.rs`.

use std::time::Duration;

use crate::support::{ALICE, Act, LIMIT, Stage, World, letter, until};

const INFO: &[&str] = &["info@ours.example"];

/// A world where all that an upstream says is heard behind the dot, whoever sends.
async fn at_the_dot() -> World {
    World::with(|config| config.delivery.cut_through = false).await
}

#[tokio::test]
async fn an_upstream_slower_than_the_session_delivers_exactly_once() {
    let world = World::without_room().await;
    world.mx.when(Stage::Dot, "", 1, Act::SayAfter(Duration::from_secs(4), "250 2.0.0 at last".into()));
    let message = letter("slow");
    world.sender().await.submit(ALICE, INFO, &message).await.starts("451 4.4.2");
    // The reply is still open, and is not asked for again.
    world.sender().await.submit(ALICE, INFO, &message).await.starts("451 4.4.2");
    until("the late reply", || world.mx.taken().len() == 1, LIMIT).await;
    let mut client = world.sender().await;
    let mut heard = client.submit(ALICE, INFO, &message).await;
    if heard.code() == 451 {
        // The reply was written, and not yet read by the node.
        heard = client.submit(ALICE, INFO, &message).await;
    }
    heard.starts("250");
    client.command("QUIT", "221").await;
    assert_eq!(world.mx.received().len(), 1);
}

#[tokio::test]
async fn a_late_refusal_is_what_the_retry_hears() {
    let world = World::without_room().await;
    world.mx.when(Stage::Dot, "", 1, Act::SayAfter(Duration::from_secs(3), "554 5.7.1 no, after all".into()));
    let message = letter("slow");
    world.sender().await.submit(ALICE, INFO, &message).await.starts("451 4.4.2");
    let replied = || world.mx.received().iter().any(|message| message.replied.is_some());
    until("the late reply", replied, LIMIT).await;
    let mut client = world.sender().await;
    let mut heard = client.submit(ALICE, INFO, &message).await;
    if heard.code() == 451 {
        heard = client.submit(ALICE, INFO, &message).await;
    }
    heard.starts("554").contains("no, after all");
    assert_eq!(world.mx.received().len(), 1);
}

#[tokio::test]
async fn the_same_mail_sent_again_on_purpose_is_delivered_again() {
    let world = World::start().await;
    let message = letter("cron");
    for _ in 0..3 {
        let mut client = world.sender().await;
        client.submit(ALICE, INFO, &message).await.starts("250");
        client.command("QUIT", "221").await;
    }
    assert_eq!(world.mx.taken().len(), 3);
}

#[tokio::test]
async fn the_same_mail_is_delivered_again_after_an_idle_client_was_told_goodbye() {
    let world = World::with(|config| config.limits.command_timeout = Duration::from_secs(1)).await;
    let message = letter("status");
    for _ in 0..2 {
        let mut client = world.sender().await;
        client.submit(ALICE, INFO, &message).await.starts("250");
        client.expect("421 4.4.2").await;
        client.ended().await;
    }
    assert_eq!(world.mx.taken().len(), 2);
}

#[tokio::test]
async fn the_same_mail_is_delivered_again_after_a_drain() {
    let world = World::start().await;
    let message = letter("status");
    let mut client = world.sender().await;
    client.submit(ALICE, INFO, &message).await.starts("250");
    let (world, ()) = tokio::join!(world.restarted(), async {
        client.expect("421 4.3.2").await;
        client.ended().await;
    });
    world.sender().await.submit(ALICE, INFO, &message).await.starts("250");
    assert_eq!(world.mx.taken().len(), 2);
}

#[tokio::test]
async fn the_same_mail_is_delivered_again_after_tls_ended_without_a_word() {
    let world = World::start().await;
    let message = letter("status");
    for _ in 0..2 {
        let mut client = world.raw().await;
        client.expect("220").await;
        client.command("EHLO mail.sender.example", "250").await;
        client.starttls().await;
        client.command("EHLO mail.sender.example", "250").await;
        client.submit(ALICE, INFO, &message).await.starts("250");
        drop(client);
        let ended = async { while !world.metrics().await.contains("\npostroad_smtp_connections 0\n") {} };
        tokio::time::timeout(LIMIT, ended).await.expect("the session ends");
    }
    assert_eq!(world.mx.taken().len(), 2);
}

#[tokio::test]
async fn a_client_that_vanished_before_its_reply_does_not_double_its_message() {
    let world = World::start().await;
    world.mx.when(Stage::Dot, "", 1, Act::SayAfter(Duration::from_secs(1), "250 2.0.0 taken".into()));
    let message = letter("vanish");
    let mut client = world.sender().await;
    client.command(&format!("MAIL FROM:<{ALICE}>"), "250").await;
    client.command("RCPT TO:<info@ours.example>", "250").await;
    client.command("DATA", "354").await;
    client
        .send_octets(format!("{}\r\n.\r\n", message.trim_end().replace("\r\n.", "\r\n..")).as_bytes())
        .await;
    until("the message at the upstream", || !world.mx.received().is_empty(), LIMIT).await;
    drop(client);
    until("the upstream's reply", || world.mx.taken().len() == 1, LIMIT).await;
    let mut client = world.sender().await;
    let heard = client.submit(ALICE, INFO, &message).await;
    assert!(matches!(heard.code(), 250 | 451), "{}", heard.text());
    assert_eq!(world.mx.received().len(), 1);
}

#[tokio::test]
async fn partly_delivered_is_451_and_the_retry_goes_to_the_rest() {
    let world = World::without_room().await;
    world.mx.when(Stage::Rcpt, "bob@", 1, Act::Say("450 4.2.0 come back".into()));
    let both = &["info@ours.example", "sales@ours.example"];
    let message = letter("partly");
    let mut client = world.sender().await;
    client.submit(ALICE, both, &message).await.starts("451");
    assert_eq!(world.mx.only().recipients(), ["ana@dest.example"]);
    client.submit(ALICE, both, &message).await.starts("250");
    let taken = world.mx.taken();
    assert_eq!(taken.len(), 2);
    assert_eq!(taken[1].recipients(), ["bob@dest.example"]);
}

#[tokio::test]
async fn partly_delivered_to_two_domains_is_retried_at_one() {
    let world = World::without_room().await;
    let other = world.other_provider().await;
    other.when(Stage::Dot, "", 1, Act::Say("451 4.3.0 not now".into()));
    let both = &["info@ours.example", "far@ours.example"];
    let mut client = world.sender().await;
    client.submit(ALICE, both, &letter("x")).await.starts("451");
    client.submit(ALICE, both, &letter("x")).await.starts("250");
    assert_eq!((world.mx.taken().len(), other.taken().len()), (1, 1));
}

#[tokio::test]
async fn all_refused_for_good_is_the_first_refusal() {
    let world = at_the_dot().await;
    world.mx.when(Stage::Rcpt, "ana@", 1, Act::Say("550 5.1.1 first".into()));
    world.mx.when(Stage::Rcpt, "bob@", 1, Act::Say("551 5.1.6 second".into()));
    let both = &["info@ours.example", "sales@ours.example"];
    world.sender().await.submit(ALICE, both, &letter("x")).await.starts("550-5.1.1 first");
}

#[tokio::test]
async fn a_temporary_refusal_among_permanent_ones_lets_the_sender_retry() {
    let world = at_the_dot().await;
    world.mx.when(Stage::Rcpt, "ana@", 1, Act::Say("550 5.1.1 gone".into()));
    world.mx.when(Stage::Rcpt, "bob@", 1, Act::Say("450 4.2.0 later".into()));
    let both = &["info@ours.example", "sales@ours.example"];
    world.sender().await.submit(ALICE, both, &letter("x")).await.starts("450-4.2.0 later");
    assert!(world.mx.received().is_empty());
}

#[tokio::test]
async fn a_connection_lost_after_the_dot_is_temporary() {
    let world = World::without_room().await;
    world.mx.when(Stage::Dot, "", 1, Act::Close);
    let mut client = world.sender().await;
    client.submit(ALICE, INFO, &letter("lost")).await.starts("451 4.4.");
    client.submit(ALICE, INFO, &letter("lost")).await.starts("250");
    assert_eq!(world.mx.taken().len(), 1);
}

#[tokio::test]
async fn one_silent_destination_does_not_hold_up_another() {
    let world = World::with(|config| config.delivery.in_session_timeout = Duration::from_secs(8)).await;
    let other = world.other_provider().await;
    other.at(Stage::Dot, Act::Hang);
    let mut stuck = world.sender().await;
    stuck.command(&format!("MAIL FROM:<{ALICE}>"), "250").await;
    stuck.command("RCPT TO:<far@ours.example>", "250").await;
    stuck.command("DATA", "354").await;
    stuck.send_octets(format!("{}\r\n.\r\n", letter("stuck").replace("\r\n.", "\r\n..")).as_bytes()).await;
    until("the silent upstream has it", || !other.received().is_empty(), LIMIT).await;
    world.sender().await.submit(ALICE, INFO, &letter("free")).await.starts("250");
    stuck.expect("250 2.0.0 Queued").await;
}

#[tokio::test]
async fn who_has_a_message_is_remembered_through_a_restart() {
    let world = World::without_room().await;
    world.mx.when(Stage::Rcpt, "bob@", 1, Act::Say("450 4.2.0 come back".into()));
    let both = &["info@ours.example", "sales@ours.example"];
    world.sender().await.submit(ALICE, both, &letter("partly")).await.starts("451");
    let world = world.restarted().await;
    world.sender().await.submit(ALICE, both, &letter("partly")).await.starts("250");
    let taken = world.mx.taken();
    assert_eq!((taken.len(), taken[1].recipients()), (2, vec!["bob@dest.example"]));
}

#[tokio::test]
async fn many_senders_at_once_are_each_answered_and_delivered_once() {
    let world = World::start().await;
    let sessions = (0..40).map(|session| {
        let world = &world;
        async move {
            let mut client = world.sender().await;
            for message in 0..3 {
                let subject = format!("s{session}m{message}");
                client.submit(ALICE, INFO, &letter(&subject)).await.starts("250");
            }
        }
    });
    futures_util::future::join_all(sessions).await;
    let mut subjects: Vec<String> = world
        .mx
        .taken()
        .iter()
        .map(|message| message.text().split_once("Subject: ").unwrap().1.lines().next().unwrap().to_owned())
        .collect();
    subjects.sort();
    subjects.dedup();
    assert_eq!((subjects.len(), world.mx.received().len()), (120, 120));
}
