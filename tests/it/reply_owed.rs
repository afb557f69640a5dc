//! Who has heard the reply to its message, and who was gone before: no message twice, and none swallowed.
//! Clients pipeline here, as Postfix does: QUIT is in the packet with the final dot (RFC 2920 §3.1).

use std::time::Duration;

use crate::support::{ALICE, Act, Client, LIMIT, SENDER, SENDER_NAME, Stage, World, letter, until};

const INFO: &str = "info@ours.example";
const SALES: &str = "sales@ours.example";
/// Longer than a client needs to be gone, once its message is upstream.
const LATE: Duration = Duration::from_secs(1);

/// How a message ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Data,
    Bdat,
}

const WAYS: [By; 2] = [By::Data, By::Bdat];

/// Sends a message and what is pipelined behind it, and reads no reply to either.
async fn send(client: &mut Client, to: &[&str], message: &str, (by, behind): (By, &str)) {
    client.command(&format!("MAIL FROM:<{ALICE}>"), "250").await;
    for recipient in to {
        client.command(&format!("RCPT TO:<{recipient}>"), "250").await;
    }
    let octets = match by {
        By::Data => {
            client.command("DATA", "354").await;
            format!("{}.\r\n{behind}", message.replace("\r\n.", "\r\n.."))
        }
        By::Bdat => format!("BDAT {} LAST\r\n{message}{behind}", message.len()),
    };
    client.send_octets(octets.as_bytes()).await;
}

/// The upstream answers the next final dot late.
fn late(world: &World) {
    world.mx.when(Stage::Dot, "", 1, Act::SayAfter(LATE, "250 2.0.0 taken".into()));
}

async fn upstream_has(world: &World, messages: usize) {
    until("the message is upstream", || world.mx.received().len() == messages, LIMIT).await;
}

/// Sends a message as it should be sent, and hears that it was taken.
async fn retry(world: &World, message: &str) {
    let mut client = world.sender().await;
    client.submit(ALICE, &[INFO], message).await.starts("250");
    client.command("QUIT", "221").await;
    client.ended().await;
}

#[tokio::test]
async fn who_is_gone_before_a_late_reply_does_not_double_its_message_whatever_it_pipelined() {
    for by in WAYS {
        for behind in ["", "QUIT\r\n", "RSET\r\nMAIL FROM:<alice@sender.example>\r\nNOOP\r\n", "NO"] {
            let world = World::start().await;
            late(&world);
            let mut client = world.sender().await;
            send(&mut client, &[INFO], &letter("gone"), (by, behind)).await;
            upstream_has(&world, 1).await;
            drop(client);
            // The stop comes before the reply, and does not lose the record.
            let world = world.restarted().await;
            retry(&world, &letter("gone")).await;
            assert_eq!(world.mx.received().len(), 1, "{by:?} {behind:?}");
            // It was answered, so that mail with the same content is new again.
            let world = world.restarted().await;
            retry(&world, &letter("gone")).await;
            assert_eq!(world.mx.received().len(), 2, "{by:?} {behind:?}");
        }
    }
}

#[tokio::test]
async fn who_resets_the_connection_before_a_late_reply_does_not_double_its_message() {
    let world = World::start().await;
    late(&world);
    let mut client = Client::abrupt(SENDER, world.smtp).await;
    client.expect("220").await;
    client.command(&format!("EHLO {SENDER_NAME}"), "250").await;
    send(&mut client, &[INFO], &letter("reset"), (By::Data, "QUIT\r\n")).await;
    upstream_has(&world, 1).await;
    drop(client);
    let world = world.restarted().await;
    retry(&world, &letter("reset")).await;
    assert_eq!(world.mx.received().len(), 1);
}

#[tokio::test]
async fn who_is_gone_before_a_late_reply_under_tls_does_not_double_its_message() {
    let world = World::start().await;
    late(&world);
    let mut client = world.sender().await;
    client.starttls().await;
    client.command(&format!("EHLO {SENDER_NAME}"), "250").await;
    send(&mut client, &[INFO], &letter("gone"), (By::Data, "QUIT\r\n")).await;
    upstream_has(&world, 1).await;
    drop(client);
    let world = world.restarted().await;
    retry(&world, &letter("gone")).await;
    assert_eq!(world.mx.received().len(), 1);
}

#[tokio::test]
async fn who_pipelines_quit_and_reads_the_reply_leaves_no_record() {
    for (round, by) in WAYS.into_iter().enumerate() {
        let mut world = World::start().await;
        for (message, delay) in [None, Some(LATE), None].into_iter().enumerate() {
            if delay.is_some() {
                late(&world);
            }
            let mut client = world.sender().await;
            send(&mut client, &[INFO], &letter("cron"), (by, "QUIT\r\n")).await;
            client.expect("250").await;
            if round == 0 {
                client.expect("221").await;
                client.ended().await;
            }
            // In the other round 221 is not looked at, and the connection is perhaps reset by it.
            drop(client);
            world = world.restarted().await;
            assert_eq!(world.mx.taken().len(), message + 1, "{by:?}");
        }
    }
}

#[tokio::test]
async fn messages_pipelined_in_one_session_are_each_judged_by_what_came_behind_their_reply() {
    let world = World::start().await;
    let (first, second) = (letter("first"), letter("second"));
    world.mx.when(Stage::Dot, "first", 1, Act::Say("250 2.0.0 taken".into()));
    world.mx.when(Stage::Dot, "second", 1, Act::SayAfter(LATE, "250 2.0.0 taken".into()));
    let mut client = world.sender().await;
    let next =
        format!("MAIL FROM:<{ALICE}>\r\nRCPT TO:<{INFO}>\r\nBDAT {} LAST\r\n{second}QUIT\r\n", second.len());
    send(&mut client, &[INFO], &first, (By::Bdat, &next)).await;
    client.expect("250").await;
    upstream_has(&world, 2).await;
    drop(client);
    let world = world.restarted().await;
    retry(&world, &second).await;
    assert_eq!(world.mx.received().len(), 2, "the second was delivered again");
    retry(&world, &first).await;
    assert_eq!(world.mx.received().len(), 3, "the first was not delivered again");
}

#[tokio::test]
async fn a_record_outlives_an_answer_that_was_pipelined_past_and_not_read() {
    let world = World::start().await;
    late(&world);
    let mut client = world.sender().await;
    send(&mut client, &[INFO], &letter("twice gone"), (By::Data, "QUIT\r\n")).await;
    upstream_has(&world, 1).await;
    drop(client);
    let world = world.restarted().await;
    // One copy of the retry is answered from the record, and the other keeps the client waiting in vain.
    late(&world);
    let mut client = world.sender().await;
    send(&mut client, &[INFO, SALES], &letter("twice gone"), (By::Data, "QUIT\r\n")).await;
    upstream_has(&world, 2).await;
    drop(client);
    let world = world.restarted().await;
    world.sender().await.submit(ALICE, &[INFO, SALES], &letter("twice gone")).await.starts("250");
    let received = world.mx.received();
    let recipients: Vec<_> = received.iter().flat_map(|message| message.recipients()).collect();
    assert_eq!(recipients, ["ana@dest.example", "bob@dest.example"]);
}

#[tokio::test]
async fn who_was_gone_before_its_reply_is_told_once_of_a_copy_that_was_refused() {
    let world = World::start().await;
    let other = world.other_provider().await;
    other.say(Stage::Dot, "554 5.7.1 not wanted");
    late(&world);
    let both = &[INFO, "far@ours.example"];
    let mut client = world.sender().await;
    send(&mut client, both, &letter("partly"), (By::Data, "QUIT\r\n")).await;
    upstream_has(&world, 1).await;
    drop(client);
    let world = world.restarted().await;
    world.sender().await.submit(ALICE, both, &letter("partly")).await.starts("250");
    world.emptied().await;
    let told = world.mx.taken().into_iter().filter(|message| message.reverse_path().is_empty());
    assert_eq!((told.count(), other.received().len()), (1, 1));
}

#[tokio::test]
async fn who_sends_nothing_more_and_hears_goodbye_leaves_no_record() {
    let world = World::with(|config| config.limits.command_timeout = Duration::from_secs(1)).await;
    let mut client = world.sender().await;
    // RSET came before the reply to the dot; behind that nothing does, the connection is not closed either.
    send(&mut client, &[INFO], &letter("idle"), (By::Data, "RSET\r\n")).await;
    for code in ["250", "250", "421 4.4.2"] {
        client.expect(code).await;
    }
    client.ended().await;
    let world = world.restarted().await;
    retry(&world, &letter("idle")).await;
    assert_eq!(world.mx.taken().len(), 2);
}

#[tokio::test]
async fn who_closes_only_its_own_direction_hears_every_reply() {
    let world = World::start().await;
    late(&world);
    let mut client = world.sender().await;
    send(&mut client, &[INFO], &letter("half"), (By::Data, "QUIT\r\n")).await;
    client.shut_down().await;
    client.expect("250").await;
    client.expect("221").await;
    client.ended().await;
    // It looks like one that is gone: its retry is answered, and not delivered again.
    let world = world.restarted().await;
    retry(&world, &letter("half")).await;
    assert_eq!(world.mx.received().len(), 1);
}
