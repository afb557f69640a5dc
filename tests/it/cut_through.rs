//! Upstreams are asked while the client is at RCPT (cut-through): every answer at every stage, by DATA and
//! by BDAT, and what becomes of a transaction that waits for its message.

use std::time::Duration;

use futures_util::StreamExt;
use postroad::config::OnTempfail;

use crate::support::{ALICE, Act, Client, LIMIT, STRANGER, Stage, World, letter, signed, until};

const ALWAYS: usize = usize::MAX;
const INFO: &str = "info@ours.example";
const SALES: &str = "sales@ours.example";
/// To another domain.
const FAR: &str = "far@ours.example";
/// To two mailboxes.
const BOTH: &str = "both@ours.example";

/// What the upstream does, what the client hears at each RCPT and at the dot, and the recipients of each
/// message that arrives.
struct Row {
    upstream: &'static [(Stage, &'static str, usize, Does)],
    recipients: &'static [&'static str],
    rcpts: &'static [&'static str],
    dot: &'static str,
    arrived: &'static [&'static [&'static str]],
}

#[derive(Debug, Clone, Copy)]
enum Does {
    Say(&'static str),
    Close,
    Hang,
}
use Does::{Close, Hang, Say};
use Stage::{Banner, Data, Dot, Ehlo, Mail, Rcpt};

const ANA: &[&str] = &["ana@dest.example"];
const BOB: &[&str] = &["bob@dest.example"];
const BOTH_OF_THEM: &[&str] = &["ana@dest.example", "bob@dest.example"];
const CAL: &[&str] = &["cal@other.example"];

/// One recipient: at RCPT, at the dot, and whether the message arrives.
const fn one(
    upstream: &'static [(Stage, &'static str, usize, Does)],
    rcpts: &'static [&'static str],
    dot: &'static str,
    arrived: &'static [&'static [&'static str]],
) -> Row {
    Row { upstream, recipients: &[INFO], rcpts, dot, arrived }
}

const fn two(
    upstream: &'static [(Stage, &'static str, usize, Does)],
    rcpts: &'static [&'static str],
    dot: &'static str,
    arrived: &'static [&'static [&'static str]],
) -> Row {
    Row { upstream, recipients: &[INFO, SALES], rcpts, dot, arrived }
}

const TABLE: &[Row] = &[
    one(&[], &["250 2.1.5"], "250-2.0.0 taken", &[ANA]),
    // The upstream's word on the recipient, or on its sender, is heard at RCPT.
    one(&[(Rcpt, "", ALWAYS, Say("550 5.1.1 no ana"))], &["550-5.1.1 no info"], "554", &[]),
    one(&[(Rcpt, "", ALWAYS, Say("504 5.1.1 no ana"))], &["550-5.1.1 no info"], "554", &[]),
    one(&[(Rcpt, "", ALWAYS, Say("452 4.2.2 full"))], &["452-4.2.2 full"], "554", &[]),
    one(&[(Rcpt, "", ALWAYS, Say("552 5.5.3 many"))], &["452-4.5.3 many"], "554", &[]),
    one(&[(Rcpt, "", 1, Say("450 4.2.0 later"))], &["450-4.2.0 later"], "554", &[]),
    one(&[(Mail, "", ALWAYS, Say("550 5.7.1 not you"))], &["550-5.7.1 not you"], "554", &[]),
    one(&[(Mail, "", ALWAYS, Say("451 4.7.1 slowly"))], &["451-4.7.1 slowly"], "554", &[]),
    // What is about us is not, and the dot does what it does without it: what nobody answers for is queued.
    one(&[(Banner, "", ALWAYS, Say("554 5.7.1 bad address"))], &["250"], "250 2.0.0 Queued", &[]),
    one(&[(Banner, "", 1, Say("554 5.7.1 bad address"))], &["250"], "250-2.0.0 taken", &[ANA]),
    one(&[(Banner, "", ALWAYS, Say("421 4.3.2 no"))], &["250"], "250 2.0.0 Queued", &[]),
    one(&[(Banner, "", 1, Close)], &["250"], "250-2.0.0 taken", &[ANA]),
    one(&[(Banner, "", ALWAYS, Hang)], &["250"], "250 2.0.0 Queued", &[]),
    one(&[(Banner, "", 1, Hang)], &["250"], "250-2.0.0 taken", &[ANA]),
    one(&[(Ehlo, "", ALWAYS, Say("554 5.7.1 no"))], &["250"], "250 2.0.0 Queued", &[]),
    one(&[(Ehlo, "", 1, Say("554 5.7.1 no"))], &["250"], "250-2.0.0 taken", &[ANA]),
    one(&[(Mail, "", ALWAYS, Say("421 4.7.0 enough"))], &["250"], "250 2.0.0 Queued", &[]),
    one(&[(Mail, "", ALWAYS, Say("503 5.5.1 what"))], &["250"], "451 4.3.0", &[]),
    one(&[(Mail, "", 1, Close)], &["250"], "250-2.0.0 taken", &[ANA]),
    one(&[(Mail, "", 1, Hang)], &["250"], "250-2.0.0 taken", &[ANA]),
    one(&[(Rcpt, "", ALWAYS, Say("421 4.7.0 enough"))], &["250"], "250 2.0.0 Queued", &[]),
    one(&[(Rcpt, "", 1, Say("421 4.7.0 enough"))], &["250"], "250-2.0.0 taken", &[ANA]),
    one(&[(Rcpt, "", 1, Say("530 5.7.0 log in"))], &["250"], "250-2.0.0 taken", &[ANA]),
    one(&[(Rcpt, "", 1, Close)], &["250"], "250-2.0.0 taken", &[ANA]),
    one(&[(Rcpt, "", 1, Hang)], &["250"], "250-2.0.0 taken", &[ANA]),
    one(&[(Rcpt, "", ALWAYS, Hang)], &["250"], "250 2.0.0 Queued", &[]),
    one(&[(Rcpt, "", 1, Say("nonsense"))], &["250"], "250-2.0.0 taken", &[ANA]),
    // Behind RCPT a transaction that was held is like any other, and one that is gone is replaced.
    one(&[(Data, "", ALWAYS, Say("451 4.3.0 no room"))], &["250"], "451-4.3.0 no room", &[]),
    one(&[(Data, "", ALWAYS, Say("554 5.7.1 never"))], &["250"], "554-5.7.1 never", &[]),
    one(&[(Data, "", 1, Say("421 4.4.2 idle"))], &["250"], "250-2.0.0 taken", &[ANA]),
    one(&[(Data, "", 1, Say("503 5.5.1 MAIL first"))], &["250"], "250-2.0.0 taken", &[ANA]),
    one(&[(Data, "", 1, Close)], &["250"], "250-2.0.0 taken", &[ANA]),
    one(&[(Data, "", 1, Hang)], &["250"], "250-2.0.0 taken", &[ANA]),
    one(&[(Dot, "", ALWAYS, Say("552 5.3.4 large"))], &["250"], "552-5.3.4 large", &[]),
    one(&[(Dot, "", ALWAYS, Say("451 4.3.0 later"))], &["250"], "451-4.3.0 later", &[]),
    one(&[(Dot, "", ALWAYS, Say("421 4.3.2 down"))], &["250"], "451 4.3.0", &[]),
    one(&[(Dot, "", 1, Close)], &["250"], "250 2.0.0 Queued", &[]),
    one(&[(Dot, "", 1, Hang)], &["250"], "250 2.0.0 Queued", &[]),
    // Several recipients share a transaction; each hears its own answer.
    two(&[], &["250", "250"], "250-2.0.0 taken", &[BOTH_OF_THEM]),
    two(&[(Rcpt, "bob", 1, Say("550 5.1.1 no"))], &["250", "550-5.1.1"], "250-2.0.0 taken", &[ANA]),
    two(&[(Rcpt, "ana", 1, Say("450 4.2.0 no"))], &["450-4.2.0", "250"], "250-2.0.0 taken", &[BOB]),
    two(&[(Rcpt, "", ALWAYS, Say("550 5.1.1 no"))], &["550-5.1.1", "550-5.1.1"], "554", &[]),
    two(&[(Rcpt, "bob", 1, Close)], &["250", "250"], "250-2.0.0 taken", &[BOTH_OF_THEM]),
    two(&[(Rcpt, "bob", 1, Hang)], &["250", "250"], "250-2.0.0 taken", &[BOTH_OF_THEM]),
    two(&[(Rcpt, "bob", 1, Say("421 4.7.0 no"))], &["250", "250"], "250-2.0.0 taken", &[BOTH_OF_THEM]),
    two(&[(Rcpt, "bob", 1, Say("452 4.5.3 many"))], &["250", "250"], "250-2.0.0 taken", &[ANA, BOB]),
    two(&[(Data, "", 1, Close)], &["250", "250"], "250-2.0.0 taken", &[BOTH_OF_THEM]),
    two(&[(Dot, "", 1, Say("554 5.7.1 spam"))], &["250", "250"], "554-5.7.1 spam", &[]),
    Row {
        upstream: &[],
        recipients: &[INFO, FAR],
        rcpts: &["250", "250"],
        dot: "250-2.0.0 taken",
        arrived: &[ANA, CAL],
    },
    Row {
        upstream: &[(Rcpt, "cal", 1, Say("550 5.1.1 no"))],
        recipients: &[INFO, FAR],
        rcpts: &["250", "550-5.1.1 no"],
        dot: "250-2.0.0 taken",
        arrived: &[ANA],
    },
    // A recipient with two destinations is refused when neither would take it.
    Row {
        upstream: &[],
        recipients: &[BOTH],
        rcpts: &["250"],
        dot: "250-2.0.0 taken",
        arrived: &[BOTH_OF_THEM],
    },
    Row {
        upstream: &[(Rcpt, "bob", 1, Say("550 5.1.1 no"))],
        recipients: &[BOTH],
        rcpts: &["250"],
        dot: "250-2.0.0 taken",
        arrived: &[ANA],
    },
    Row {
        upstream: &[(Rcpt, "", ALWAYS, Say("550 5.1.1 no"))],
        recipients: &[BOTH],
        rcpts: &["550-5.1.1 no"],
        dot: "554",
        arrived: &[],
    },
    Row {
        upstream: &[(Rcpt, "ana", 1, Say("550 5.1.1 gone")), (Rcpt, "bob", 1, Say("450 4.2.0 later"))],
        recipients: &[BOTH],
        rcpts: &["450-4.2.0 later"],
        dot: "554",
        arrived: &[],
    },
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Data,
    Bdat,
}

#[tokio::test]
async fn each_answer_at_each_stage_is_heard_where_it_belongs() {
    let rows =
        TABLE.iter().enumerate().flat_map(|(number, row)| [By::Data, By::Bdat].map(|by| (number, row, by)));
    let played = futures_util::stream::iter(rows).map(|(number, row, by)| play(number, row, by));
    let wrong: Vec<String> = played.buffer_unordered(8).filter_map(|wrong| async { wrong }).collect().await;
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Plays a row; what differs from it.
async fn play(number: usize, row: &Row, by: By) -> Option<String> {
    let world = World::with(|config| config.delivery.in_session_timeout = Duration::from_secs(4)).await;
    for (stage, part, times, does) in row.upstream {
        let act = match *does {
            Say(text) => Act::Say(text.into()),
            Close => Act::Close,
            Hang => Act::Hang,
        };
        world.mx.when(*stage, part, *times, act);
    }
    let mut client = world.sender().await;
    client.command(&format!("MAIL FROM:<{ALICE}>"), "250").await;
    let mut rcpts = Vec::new();
    for recipient in row.recipients {
        rcpts.push(client.exchange(&format!("RCPT TO:<{recipient}>")).await.text());
    }
    let dot = submit(&mut client, by).await;
    let mut arrived: Vec<Vec<String>> = Vec::new();
    // The empty one ends a DATA that was refused (RFC 2920 §3.1).
    for message in world.mx.taken().iter().filter(|message| !message.octets.is_empty()) {
        assert!(message.text().contains("DKIM-Signature: v=1; a=rsa-sha256;"), "row {number} is unsigned");
        assert!(message.text().contains("\r\n.dot\r\n"), "{}", message.text());
        arrived.push(message.recipients().iter().map(|to| (*to).to_owned()).collect());
    }
    arrived.sort();
    let fits = rcpts.len() == row.rcpts.len()
        && rcpts.iter().zip(row.rcpts).all(|(heard, expected)| heard.starts_with(expected))
        && dot.starts_with(row.dot)
        && arrived == row.arrived;
    let upstream = row.upstream;
    (!fits).then(|| format!("row {number} by {by:?}, {upstream:?}: {rcpts:?}, {dot:?}, {arrived:?}"))
}

async fn submit(client: &mut Client, by: By) -> String {
    let message = letter("x");
    let heard = match by {
        By::Data => client.data(&message).await,
        By::Bdat => {
            client.send_octets(format!("BDAT {} LAST\r\n{message}", message.len()).as_bytes()).await;
            client.reply().await
        }
    };
    heard.text()
}

/// A client that has said MAIL with these parameters.
async fn mail(world: &World, parameters: &str) -> Client {
    let mut client = world.sender().await;
    client.command(&format!("MAIL FROM:<{ALICE}>{parameters}"), "250").await;
    client
}

/// The commands that the upstream heard, over all connections.
fn commands(world: &World, verb: &str) -> Vec<String> {
    let octets = world.mx.octets();
    let text = String::from_utf8_lossy(&octets);
    text.lines().filter(|line| line.starts_with(verb)).map(str::to_owned).collect()
}

#[tokio::test]
async fn the_message_goes_through_the_transaction_that_rcpt_opened() {
    let world = World::start().await;
    let mut client = mail(&world, " SIZE=1000 BODY=8BITMIME").await;
    client.command(&format!("RCPT TO:<{INFO}>"), "250").await;
    assert_eq!((commands(&world, "MAIL").len(), commands(&world, "RCPT").len()), (1, 1));
    assert!(commands(&world, "DATA").is_empty());
    client.data(&letter("x")).await.starts("250");
    assert!(world.mx.only().mail.ends_with(" SIZE=9192 BODY=8BITMIME"), "{}", world.mx.only().mail);
    assert!(world.mx.only().reverse_path().starts_with("SRS0="));
    assert_eq!((world.mx.connections().len(), commands(&world, "MAIL").len()), (1, 1));
    let metrics = world.metrics().await;
    for result in ["taken", "used"] {
        let line = format!("postroad_cut_through_total{{result=\"{result}\"}} 1");
        assert!(metrics.contains(&line), "no {line}");
    }
    assert!(metrics.contains("postroad_srs_operations_total{operation=\"encode\",result=\"ok\"} 1\n"));
}

#[tokio::test]
async fn nobody_is_asked_for_a_sender_that_spf_does_not_vouch_for() {
    let world = World::start().await;
    world.mx.say(Rcpt, "550 5.1.1 nobody");
    let mut stranger = world.client(STRANGER, "somebody.example").await;
    stranger.command(&format!("MAIL FROM:<{ALICE}>"), "250").await;
    stranger.command(&format!("RCPT TO:<{INFO}>"), "250 2.1.5").await;
    let mut bounce = world.sender().await;
    bounce.command("MAIL FROM:<>", "250").await;
    bounce.command(&format!("RCPT TO:<{INFO}>"), "250 2.1.5").await;
    let mut dropped = mail(&world, "").await;
    dropped.command("RCPT TO:<bin@ours.example>", "250 2.1.5").await;
    assert!(world.mx.connections().is_empty());
    // A signature vouches for the stranger's message, behind the dot.
    stranger.data(&signed(&letter("x"))).await.starts("550-5.1.1 nobody");
}

#[tokio::test]
async fn nobody_is_asked_where_it_is_switched_off() {
    let world = World::with(|config| config.delivery.cut_through = false).await;
    let mut client = mail(&world, "").await;
    client.command(&format!("RCPT TO:<{INFO}>"), "250").await;
    assert!(world.mx.connections().is_empty());
    client.data(&letter("x")).await.starts("250");
}

#[tokio::test]
async fn every_end_without_a_message_resets_the_upstream() {
    let world = World::start().await;
    for (number, end) in ["RSET", "EHLO again.example", "QUIT", "hang up", "bare"].into_iter().enumerate() {
        let mut client = mail(&world, "").await;
        client.command(&format!("RCPT TO:<{INFO}>"), "250").await;
        match end {
            "hang up" => drop(client),
            "bare" => {
                client.data("Subject: x\r\n\r\na bare\nline feed\r\n").await.starts("550 5.5.2");
            }
            _ => {
                client.exchange(end).await;
            }
        }
        until(end, || commands(&world, "RSET").len() == number + 1, LIMIT).await;
    }
    assert!(world.mx.received().is_empty());
    world.sender().await.submit(ALICE, &[INFO], &letter("x")).await.starts("250");
    assert_eq!(world.mx.connections().len(), 1, "the connection was not used again");
}

#[tokio::test]
async fn a_message_that_is_not_what_mail_said_gets_a_transaction_of_its_own() {
    let world = World::start().await;
    let long = letter("long") + &"more than was said\r\n".repeat(600);
    let eight_bit = letter("eight") + "Grüße\r\n";
    for (parameters, message, expected) in [(" SIZE=500", long, ""), ("", eight_bit, " BODY=8BITMIME")] {
        let mut client = mail(&world, parameters).await;
        client.command(&format!("RCPT TO:<{INFO}>"), "250").await;
        client.data(&message).await.starts("250");
        let taken = world.mx.taken();
        assert!(taken.last().unwrap().mail.ends_with(expected), "{taken:?}");
    }
    assert_eq!((world.mx.taken().len(), commands(&world, "MAIL").len()), (2, 4));
}

#[tokio::test]
async fn rfc2920_a_pipelined_envelope_is_asked_in_order() {
    let world = World::start().await;
    world.mx.when(Rcpt, "ana", 1, Act::Say("550 5.1.1 <ana@dest.example> unknown".into()));
    let mut client = world.sender().await;
    let envelope = format!(
        "MAIL FROM:<{ALICE}>\r\nRCPT TO:<{INFO}>\r\nRCPT TO:<{SALES}>\r\nRCPT TO:<{FAR}>\r\nDATA\r\n"
    );
    client.send_octets(envelope.as_bytes()).await;
    client.expect("250 2.1.0").await;
    client.expect("550-5.1.1 <info@ours.example> unknown").await.contains("upstream mx.dest.example (trace ");
    for code in ["250 2.1.5", "250 2.1.5", "354"] {
        client.expect(code).await;
    }
    client.send_octets(b"From: alice@sender.example\r\n\r\nhi\r\n.\r\n").await;
    client.expect("250").await;
    assert_eq!(world.mx.taken().len(), 2);
}

#[tokio::test]
async fn relayed_refusals_are_errors_of_the_client() {
    let world = World::with(|config| config.limits.errors = 3).await;
    world.mx.say(Rcpt, "550 5.1.1 unknown");
    let mut client = mail(&world, "").await;
    for recipient in [INFO, SALES] {
        client.command(&format!("RCPT TO:<{recipient}>"), "550").await;
    }
    client.command(&format!("RCPT TO:<{FAR}>"), "550").await;
    client.expect("421 4.7.0").await;
    client.ended().await;
}

#[tokio::test]
async fn an_upstream_is_asked_once_about_a_recipient() {
    let world = World::start().await;
    world.mx.say(Rcpt, "450 4.2.0 later");
    let mut client = mail(&world, "").await;
    for _ in 0..5 {
        client.command(&format!("RCPT TO:<{INFO}>"), "450-4.2.0 later").await;
    }
    assert_eq!(commands(&world, "RCPT").len(), 1);
}

#[tokio::test]
async fn no_more_recipients_are_asked_than_may_be_taken() {
    let world = World::with(|config| config.limits.recipients = 2).await;
    world.mx.say(Rcpt, "450 4.2.0 later");
    let mut client = mail(&world, "").await;
    for recipient in [INFO, SALES] {
        client.command(&format!("RCPT TO:<{recipient}>"), "450-4.2.0 later").await;
    }
    client.command(&format!("RCPT TO:<{FAR}>"), "250").await;
    assert_eq!(commands(&world, "RCPT").len(), 2);
}

#[tokio::test]
async fn what_is_queued_is_not_refused_for_now() {
    let world = World::with(|config| config.delivery.on_tempfail = OnTempfail::Queue).await;
    world.mx.say(Rcpt, "450 4.2.0 later");
    mail(&world, "").await.command(&format!("RCPT TO:<{INFO}>"), "250").await;
    world.mx.say(Rcpt, "550 5.1.1 never");
    mail(&world, "").await.command(&format!("RCPT TO:<{INFO}>"), "550").await;
}

#[tokio::test]
async fn a_silent_upstream_keeps_rcpt_waiting_once() {
    let world = World::with(|config| config.delivery.in_session_timeout = Duration::from_secs(8)).await;
    world.mx.at(Rcpt, Act::Hang);
    let mut client = mail(&world, "").await;
    let start = tokio::time::Instant::now();
    client.command(&format!("RCPT TO:<{INFO}>"), "250").await;
    assert!(start.elapsed() < Duration::from_millis(4500), "{:?}", start.elapsed());
    let mut client = mail(&world, "").await;
    let start = tokio::time::Instant::now();
    client.command(&format!("RCPT TO:<{SALES}>"), "250").await;
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(world.mx.connections().len(), 1);
}

#[tokio::test]
async fn no_more_than_four_upstreams_are_held_for_a_message() {
    let world = World::start().await;
    let mut destinations = Vec::new();
    for number in 0..6 {
        let name = format!("d{number}.dest.example");
        world.dns.replace(&format!("{name}. 300 IN MX 10 mx.dest.example.")).unwrap();
        destinations.push(format!("x@{name}"));
        world.destination(&destinations[number]).await;
    }
    let destinations: Vec<&str> = destinations.iter().map(String::as_str).collect();
    world.forward("six@ours.example", &destinations).await;
    let mut client = mail(&world, "").await;
    client.command("RCPT TO:<six@ours.example>", "250").await;
    assert_eq!(world.mx.connections().len(), 4);
    client.data(&letter("x")).await.starts("250");
    assert_eq!(world.mx.taken().len(), 6);
}
