//! The forms that standards give a choice in: what a report gives back, how a name is composed.

use std::time::Duration;

use postroad::config::OnTempfail;

use crate::support::{ALICE, Stage, World, letter, until};
use crate::support::{Act, LIMIT};

/// A world whose upstream defers a message once and then refuses it, so that a report follows.
async fn refusing() -> World {
    let world = World::with(|config| {
        config.delivery.on_tempfail = OnTempfail::Queue;
        config.delivery.retry_first = Duration::from_millis(200);
        config.delivery.cut_through = false;
    })
    .await;
    // The latest rule is the first.
    world.mx.when(Stage::Dot, "", 1, Act::Say("550 5.7.1 never".into()));
    world.mx.when(Stage::Dot, "", 1, Act::Say("451 4.3.0 not now".into()));
    world
}

/// The report that follows a message with this parameter of MAIL.
async fn report(parameters: &str, message: &str) -> String {
    let world = refusing().await;
    let mut client = world.sender().await;
    client.command(&format!("MAIL FROM:<{ALICE}>{parameters}"), "250").await;
    client.command("RCPT TO:<info@ours.example>", "250").await;
    client.data(message).await.starts("250 2.0.0 Queued");
    until("the report", || world.mx.taken().len() == 1, LIMIT).await;
    world.mx.taken()[0].text()
}

const BODY: &str = "\r\n\r\nHello,\r\n\r\n  this is whole.\r\n.dot\r\n\r\n--";

#[tokio::test]
async fn rfc3461_4_3_full_returns_the_message_and_everything_else_its_header_section() {
    let text = report(" RET=FULL", &letter("whole")).await;
    assert!(text.contains("Content-Type: message/rfc822\r\n\r\n"), "{text}");
    assert!(text.contains("Subject: whole\r\n") && text.contains(BODY), "{text}");
    for parameters in ["", " RET=HDRS"] {
        let text = report(parameters, &letter("whole")).await;
        assert!(text.contains("Content-Type: text/rfc822-headers\r\n\r\n"), "{text}");
        assert!(text.contains("Subject: whole\r\n") && !text.contains("this is whole"), "{text}");
    }
}

#[tokio::test]
async fn a_message_past_1_mib_is_returned_as_its_header_section() {
    let line = "x".repeat(70) + "\r\n";
    let text = report(" RET=FULL", &(letter("large") + &line.repeat((1 << 20) / line.len() + 1))).await;
    assert!(text.contains("Content-Type: text/rfc822-headers\r\n\r\n") && text.len() < 20_000);
    // Past what is kept in memory and in a record, and still whole.
    let text = report(" RET=FULL", &(letter("middling") + &line.repeat(400_000 / line.len()))).await;
    assert!(text.contains("Content-Type: message/rfc822\r\n\r\n") && text.len() > 400_000);
}

#[tokio::test]
async fn rfc6532_3_1_an_alias_finds_its_rule_however_either_is_composed() {
    const COMPOSED: &str = "jos\u{e9}@ours.example";
    const DECOMPOSED: &str = "jose\u{301}@ours.example";
    for (rule, asked) in [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)] {
        let world = World::start().await;
        world.forward(rule, &["ana@dest.example"]).await;
        world.mx.offer(&["PIPELINING", "8BITMIME", "SMTPUTF8"]);
        let mut client = world.sender().await;
        client.command(&format!("MAIL FROM:<{ALICE}> SMTPUTF8"), "250").await;
        client.command(&format!("RCPT TO:<{asked}>"), "250").await;
        client.data(&letter("named")).await.starts("250");
        assert_eq!(world.mx.only().recipients(), ["ana@dest.example"]);
    }
}
