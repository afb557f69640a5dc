//! What the destination gets: the message as it was, an envelope in our name, and our trace.

use std::sync::Arc;

use mail_auth::{AuthenticatedMessage, DkimResult, MessageAuthenticator};
use postroad::config::{self, Sealing};
use postroad::dns::Dns;
use postroad::telemetry::Metrics;

use crate::support::{ALICE, SENDER, World, letter, signed};

#[tokio::test]
async fn a_signed_message_arrives_once_unchanged_and_signed_by_us() {
    let world = World::start().await;
    let message = signed(&letter("one"));
    let mut client = world.sender().await;
    client.submit(ALICE, &["info@ours.example"], &message).await.starts("250");

    let received = world.mx.only();
    assert!(received.reverse_path().starts_with("SRS0="), "{}", received.mail);
    assert!(received.reverse_path().ends_with("=sender.example=alice@ours.example"), "{}", received.mail);
    assert_eq!(received.recipients(), ["ana@dest.example"]);
    assert_eq!(received.helo, "email.relay.example");
    assert!(received.octets.ends_with(message.as_bytes()), "{}", received.text());

    let servers = vec![world.dns.addr()];
    let dns =
        Dns::new(&config::Dns { servers, ..Default::default() }, Arc::new(Metrics::new().unwrap())).unwrap();
    let authenticator = MessageAuthenticator(dns.resolver().clone());
    let parsed = AuthenticatedMessage::parse(&received.octets).unwrap();
    let outputs = authenticator.verify_dkim(&parsed).await;
    let passed: Vec<&str> = outputs
        .iter()
        .filter(|output| *output.result() == DkimResult::Pass)
        .map(|output| output.signature().unwrap().d.as_str())
        .collect();
    assert!(passed.contains(&"sender.example"), "{outputs:?}");
    assert!(passed.contains(&"email.relay.example"), "{outputs:?}");
    let arc = authenticator.verify_arc(&parsed).await;
    assert_eq!(*arc.result(), DkimResult::Pass);
}

/// `arc.seal = "needed"`.
#[tokio::test]
async fn what_the_destination_can_judge_itself_gets_no_seal_when_only_what_needs_it_does() {
    let world = World::with(|config| config.arc.seal = Sealing::Needed).await;
    let message = signed(&letter("signed"));
    world.sender().await.submit(ALICE, &["info@ours.example"], &message).await.starts("250");
    world.sender().await.submit(ALICE, &["info@ours.example"], &letter("unsigned")).await.starts("250");
    // Signed, but not by the author's domain.
    let foreign = signed(&letter("foreign").replace(ALICE, "bob@plain.example"));
    world.sender().await.submit(ALICE, &["info@ours.example"], &foreign).await.starts("250");
    let taken = world.mx.taken();
    let seals: Vec<bool> =
        taken.iter().map(|received| received.text().starts_with("ARC-Seal: i=1;")).collect();
    assert_eq!(seals, [false, true, true]);
    assert!(!taken[0].text().contains("ARC-"), "{}", taken[0].text());
    assert!(taken[0].octets.ends_with(message.as_bytes()), "{}", taken[0].text());
}

#[tokio::test]
async fn a_chain_that_came_with_a_message_is_continued_though_nobody_needs_it() {
    let first = World::start().await;
    first.sender().await.submit(ALICE, &["info@ours.example"], &signed(&letter("one"))).await.starts("250");
    let sealed = first.mx.only().text();

    let world = World::with(|config| config.arc.seal = Sealing::Needed).await;
    world.sender().await.submit(ALICE, &["sales@ours.example"], &sealed).await.starts("250");
    let text = world.mx.only().text();
    assert!(text.starts_with("ARC-Seal: i=2; a=rsa-sha256;"), "{text}");
    assert!(text.contains("cv=pass"), "{text}");
}

#[tokio::test]
async fn the_destination_stands_in_no_octet_but_rcpt() {
    let world = World::start().await;
    world.sender().await.submit(ALICE, &["info@ours.example"], &signed(&letter("one"))).await.starts("250");
    let sent = String::from_utf8_lossy(&world.mx.octets()).to_lowercase();
    let elsewhere: Vec<&str> =
        sent.lines().filter(|line| line.contains("ana@dest") && !line.starts_with("rcpt to:")).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
}

#[tokio::test]
async fn trace_fields_are_put_before_all_others() {
    let world = World::start().await;
    let heard = world.sender().await.submit(ALICE, &["info@ours.example"], &letter("one")).await;
    let text = world.mx.only().text();
    assert!(text.contains(&heard.trace()), "no trace {} in {text}", heard.trace());
    let (ours, _) = text.split_once("From: Alice").unwrap();
    assert!(ours.contains("\r\n") && ours.contains("Received: from mail.sender.example"), "{ours}");
    assert!(ours.contains("by linda.mx.relay.example"), "{ours}");
    assert!(ours.contains(&SENDER.to_string()), "{ours}");
    assert!(ours.contains("Authentication-Results: email.relay.example"), "{ours}");
    assert!(ours.contains("spf=pass"), "{ours}");
    assert!(!ours.to_lowercase().contains("return-path:"), "{ours}");
}

#[tokio::test]
async fn rfc8601_5_forged_results_of_ours_are_left_out_and_foreign_ones_kept() {
    let world = World::start().await;
    let forged = "Authentication-Results: EMAIL.relay.example; dmarc=pass header.from=bank.example\r\n\
                  Authentication-Results: (x) \"email.relay.example\" 1;\r\n dkim=pass header.d=bank.example\r\n\
                  Authentication-Results: mx.third.example; spf=pass smtp.mailfrom=third.example\r\n";
    let message = format!("{forged}{}", letter("one"));
    world.sender().await.submit(ALICE, &["info@ours.example"], &message).await.starts("250");
    let text = world.mx.only().text();
    assert!(!text.contains("bank.example"), "{text}");
    assert!(text.contains("Authentication-Results: mx.third.example; spf=pass"), "{text}");
}

#[tokio::test]
async fn eight_bit_text_and_long_lines_pass_unchanged() {
    let world = World::start().await;
    let body = format!("{}\r\nGrüße, 世界\r\n..two dots\r\n.\u{a0}dot\r\n\r\n\r\n", "x".repeat(5000));
    let message = format!("{}{body}", letter("long"));
    let mut client = world.sender().await;
    client.command(&format!("MAIL FROM:<{ALICE}> BODY=8BITMIME"), "250").await;
    client.command("RCPT TO:<info@ours.example>", "250").await;
    client.data(&message).await.starts("250");
    assert!(world.mx.only().octets.ends_with(message.as_bytes()));
    assert!(world.mx.only().mail.contains("BODY=8BITMIME"), "{}", world.mx.only().mail);
}

#[tokio::test]
async fn several_messages_in_one_session_are_several() {
    let world = World::start().await;
    let mut client = world.sender().await;
    for subject in ["one", "two", "three"] {
        client.submit(ALICE, &["info@ours.example"], &letter(subject)).await.starts("250");
    }
    client.command("QUIT", "221").await;
    client.ended().await;
    let subjects: Vec<bool> = ["one", "two", "three"]
        .iter()
        .zip(world.mx.taken())
        .map(|(subject, message)| message.text().contains(&format!("Subject: {subject}\r\n")))
        .collect();
    assert_eq!(subjects, [true; 3]);
}

#[tokio::test]
async fn one_alias_to_two_destinations_is_one_transaction() {
    let world = World::start().await;
    world.sender().await.submit(ALICE, &["both@ours.example"], &letter("two")).await.starts("250");
    assert_eq!(world.mx.only().recipients(), ["ana@dest.example", "bob@dest.example"]);
}

#[tokio::test]
async fn rules_drop_and_reject() {
    let world = World::start().await;
    let mut client = world.sender().await;
    client.submit(ALICE, &["bin@ours.example"], &letter("x")).await.starts("250").contains("(trace ");
    let heard = client.submit(ALICE, &["gone@ours.example"], &letter("x")).await;
    heard.starts("550 5.7.1 Nobody here by that name");
    assert!(world.mx.received().is_empty());
}

#[tokio::test]
async fn unknown_recipients_and_domains_are_refused_at_rcpt() {
    let world = World::start().await;
    let mut client = world.sender().await;
    client.command(&format!("MAIL FROM:<{ALICE}>"), "250").await;
    let heard = client.command("RCPT TO:<nobody@ours.example>", "550 5.1.1").await;
    heard.contains("https://relay.example/postmaster#").contains("(trace ");
    client.command("RCPT TO:<info@elsewhere.example>", "550 5.7.1").await;
    client.command("RCPT TO:<INFO@OURS.EXAMPLE>", "250").await;
    client.command("RCPT TO:<info+tag@ours.example>", "250").await;
}

#[tokio::test]
async fn rfc5321_4_5_1_postmaster_has_somewhere_to_go() {
    let world = World::start().await;
    let mut client = world.sender().await;
    for recipient in ["Postmaster", "postmaster@ours.example", "abuse@ours.example"] {
        client.submit(ALICE, &[recipient], &letter("x")).await.starts("250");
    }
    for message in world.mx.taken() {
        assert_eq!(message.recipients(), ["ops@dest.example"]);
    }
    assert_eq!(world.mx.taken().len(), 3);
}

#[tokio::test]
async fn a_rule_to_an_unverified_destination_waits() {
    let world = World::start().await;
    world.forward("soon@ours.example", &["new@dest.example"]).await;
    let mut client = world.sender().await;
    client.submit(ALICE, &["soon@ours.example"], &letter("x")).await.starts("450 4.2.1");
}

/// A DSN of the destination's own system can say so which address was written to.
#[tokio::test]
async fn rfc3461_5_2_1_orcpt_is_the_alias_where_the_sender_gave_none() {
    let world = World::start().await;
    world.mx.offer(&["PIPELINING", "DSN"]);
    world.sender().await.submit(ALICE, &["Info+News@ours.example"], &letter("one")).await.starts("250");
    let rcpts = world.mx.only().rcpts;
    assert!(rcpts[0].ends_with("<ana@dest.example> ORCPT=rfc822;Info+2BNews@ours.example"), "{rcpts:?}");
}

#[tokio::test]
async fn rfc3461_what_the_sender_asks_goes_on_but_for_success() {
    let world = World::start().await;
    world.mx.offer(&["PIPELINING", "DSN"]);
    let mut client = world.sender().await;
    client.command(&format!("MAIL FROM:<{ALICE}> RET=HDRS ENVID=QQ1"), "250").await;
    client.command("RCPT TO:<info@ours.example> NOTIFY=SUCCESS,DELAY", "250").await;
    client.data(&letter("one")).await.starts("250");
    let received = world.mx.only();
    assert!(received.mail.ends_with(" RET=HDRS ENVID=QQ1"), "{}", received.mail);
    assert_eq!(received.rcpts.len(), 1);
    assert!(
        received.rcpts[0].ends_with("> NOTIFY=DELAY ORCPT=rfc822;info@ours.example"),
        "{:?}",
        received.rcpts
    );
}
