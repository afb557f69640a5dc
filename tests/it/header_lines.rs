//! What we judge is what the next hop reads: of a header section whose end readers would not agree on, nothing is
//! forwarded (RFC 5322 §2.2).

use crate::support::{ALICE, World, letter, signed};

const INFO: &[&str] = &["info@ours.example"];

/// Each would end the header section for some reader, who shows no author then, or one of his own making.
const ODD_LINES: &[&str] = &[
    "Please find the report attached.\r\n",
    "Note well: this is prose\r\n",
    ">From bob@sender.example Mon Nov 23 12:00:00 2026\r\n",
    ": no name\r\n",
    "X-Caf\u{e9}: 8-bit\r\n",
    "X-\u{1}Control: x\r\n",
    "\u{feff}From: <ceo@plain.example>\r\n",
];

#[tokio::test]
async fn a_message_with_a_header_line_that_is_no_field_is_refused_at_its_end() {
    let world = World::with(|config| config.limits.errors = 100).await;
    let mut client = world.sender().await;
    for line in ODD_LINES {
        let good = signed(&letter("x"));
        for message in [good.replacen("To: ", &format!("{line}To: "), 1), format!("X: y\r\n{line}{good}")] {
            let heard = client.submit(ALICE, INFO, &message).await;
            heard
                .starts("550 5.6.0")
                .contains("no field")
                .contains("/postmaster#smtp-errors")
                .contains("(trace ");
        }
    }
    for folded in [" folded\r\n", "\tFrom: <ceo@plain.example>\r\n"] {
        client.submit(ALICE, INFO, &format!("{folded}{}", letter("x"))).await.starts("550 5.6.0");
    }
    // All of a message without an empty line is header section, and prose in it no body.
    client.submit(ALICE, INFO, &letter("x").replacen("\r\n\r\n", "\r\n", 1)).await.starts("550 5.6.0");
    assert!(world.mx.received().is_empty());
    client.submit(ALICE, INFO, &letter("x")).await.starts("250");
}

/// RFC 5322 §4.5: receivers take it, and some of them end the section there.
#[tokio::test]
async fn white_space_before_a_colon_is_judged_and_sent_on_as_if_it_were_not_there() {
    let world = World::start().await;
    let mut client = world.sender().await;
    let good = letter("x");
    client.submit(ALICE, INFO, &good.replacen("From:", "From \t:", 1)).await.starts("250");
    let received = world.mx.only();
    assert!(received.octets.ends_with(good.as_bytes()), "{}", received.text());
    assert!(received.text().contains("dmarc=pass"));
    let second = format!("From : <ceo@plain.example>\r\n{good}");
    client.submit(ALICE, INFO, &second).await.starts("550 5.6.0").contains("one From field");
}

#[tokio::test]
async fn chunks_with_such_a_line_are_refused_when_the_last_is_there() {
    let world = World::start().await;
    let mut client = world.sender().await;
    client.command(&format!("MAIL FROM:<{ALICE}>"), "250").await;
    client.command("RCPT TO:<info@ours.example>", "250").await;
    let message = format!("X: y\r\nprose\r\n{}", letter("x"));
    client.send_octets(format!("BDAT {}\r\n{message}", message.len()).as_bytes()).await;
    client.expect("250").await;
    client.send_octets(b"BDAT 6 LAST\r\nlast\r\n").await;
    client.expect("550 5.6.0").await;
    client.submit(ALICE, INFO, &letter("x")).await.starts("250");
}

/// RFC 4155 appendix A: gateways leave it there, and behind our fields it would end the section.
#[tokio::test]
async fn a_from_line_before_a_message_is_not_part_of_it() {
    for line in ["From ceo@plain.example Mon Nov 23 12:00:00 2026\r\n", ">From ceo@plain.example\r\n"] {
        let world = World::start().await;
        let mut client = world.sender().await;
        let message = signed(&letter("x"));
        client.submit(ALICE, INFO, &format!("{line}{message}")).await.starts("250");
        let received = world.mx.only();
        assert!(received.octets.ends_with(message.as_bytes()) && !received.text().contains("ceo@plain"));
        assert!(received.text().contains("dkim=pass") && received.text().contains("dmarc=pass"));
    }
}

#[tokio::test]
async fn a_message_of_more_fields_than_any_has_is_refused_at_its_end() {
    let world = World::start().await;
    let mut client = world.sender().await;
    let heard = client.submit(ALICE, INFO, &format!("{}{}", "X: y\r\n".repeat(1_000), letter("x"))).await;
    heard.starts("552 5.3.4").contains("1000 fields").contains("/postmaster#message-size");
    client.submit(ALICE, INFO, &format!("{}{}", "X: y\r\n".repeat(900), letter("x"))).await.starts("250");
}
