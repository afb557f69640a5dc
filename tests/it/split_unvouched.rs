//! Senders that nobody vouches for, and recipients whose mail goes more than one way: no copy is refused
//! without a word to anybody (`smtp.split_unvouched`).

use std::time::Duration;

use postroad::dev::dns::Behaviour;

use crate::support::{ALICE, Act, Client, Heard, LIMIT, STRANGER, Stage, World, letter, signed, until};

const INFO: &str = "info@ours.example";
const SALES: &str = "sales@ours.example";
const FAR: &str = "far@ours.example";
const BIN: &str = "bin@ours.example";
/// A sender that no SPF record knows.
const BOB: &str = "bob@stranger.example";
const ANOTHER_TRANSACTION: &str = "452 4.5.3 Too many recipients";

/// A client that has said MAIL, and nobody vouches for the sender.
async fn unvouched(world: &World, sender: &str) -> Client {
    let mut client = world.client(STRANGER, "stranger.example").await;
    client.command(&format!("MAIL FROM:<{sender}>"), "250").await;
    client
}

async fn rcpt(client: &mut Client, recipient: &str) -> Heard {
    client.exchange(&format!("RCPT TO:<{recipient}>")).await
}

/// A message that passes by its author's signature, which does not vouch for the reverse-path.
fn message() -> String {
    signed(&letter("x"))
}

/// The value of a metric without labels, or with these.
async fn metric(world: &World, series: &str) -> String {
    let metrics = world.metrics().await;
    let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series}")).to_owned()
}

#[tokio::test]
async fn one_provider_takes_the_message_and_the_others_refusal_is_heard() {
    for cut_through in [true, false] {
        let world = World::with(|config| config.delivery.cut_through = cut_through).await;
        let other = world.other_provider().await;
        other.say(Stage::Dot, "554 5.7.1 not wanted");
        let mut client = unvouched(&world, BOB).await;
        rcpt(&mut client, INFO).await.starts("250");
        rcpt(&mut client, FAR).await.starts(ANOTHER_TRANSACTION).contains("#smtp-errors (trace ");
        rcpt(&mut client, SALES).await.starts("250");
        client.data(&message()).await.starts("250");
        assert_eq!(world.mx.only().recipients(), ["ana@dest.example", "bob@dest.example"]);
        client.command(&format!("MAIL FROM:<{BOB}>"), "250").await;
        rcpt(&mut client, FAR).await.starts("250");
        client.data(&message()).await.starts("554-5.7.1 not wanted");
        assert_eq!(metric(&world, "postroad_copies_refused_untold_total").await, "0");
        let split = "postroad_smtp_responses_total{code=\"452\",command=\"rcpt\",reason=\"recipient_group\"}";
        assert_eq!(metric(&world, split).await, "1");
    }
}

#[tokio::test]
async fn where_it_is_switched_off_the_operator_is_told_of_the_refusal() {
    let world = World::with(|config| config.smtp.split_unvouched = false).await;
    let other = world.other_provider().await;
    other.say(Stage::Dot, "554 5.7.1 not wanted");
    let mut client = unvouched(&world, BOB).await;
    for recipient in [INFO, FAR] {
        rcpt(&mut client, recipient).await.starts("250");
    }
    let heard = client.data(&message()).await;
    heard.starts("250-2.0.0 taken");
    assert_eq!(metric(&world, "postroad_copies_refused_untold_total").await, "1");
    assert_eq!(metric(&world, "postroad_messages_received_total{verdict=\"forwarded\"}").await, "1");
    let (_, trace, _) = world.ctl(&["trace", &heard.trace()]).await;
    assert_eq!(trace["outcome"], "PARTLY_REFUSED", "{trace}");
    let steps = trace["steps"].to_string();
    assert!(steps.contains("far@ours.example: refused, and nobody may be told"), "{steps}");
    let (_, events, _) = world.ctl(&["events", "--outcome", "partly-refused"]).await;
    assert_eq!(events["trace"]["id"], heard.trace(), "{events}");
    assert!(world.queued().await.is_empty(), "no bounce goes to a sender that may be forged");
}

#[tokio::test]
async fn a_sender_that_spf_vouches_for_is_not_split_and_hears_of_the_refusal() {
    for cut_through in [true, false] {
        let world = World::with(|config| config.delivery.cut_through = cut_through).await;
        let other = world.other_provider().await;
        other.say(Stage::Dot, "554 5.7.1 not wanted");
        world.sender().await.submit(ALICE, &[INFO, FAR], &letter("x")).await.starts("250-2.0.0 taken");
        // In a DSN, which goes to the MX of sender.example.
        let told = || world.mx.taken().iter().any(|message| message.text().contains("not wanted"));
        until("the sender is told", told, LIMIT).await;
        assert_eq!(metric(&world, "postroad_copies_refused_untold_total").await, "0");
    }
}

#[tokio::test]
async fn a_null_sender_is_split() {
    let world = World::start().await;
    let mut client = world.sender().await;
    client.command("MAIL FROM:<>", "250").await;
    rcpt(&mut client, INFO).await.starts("250");
    rcpt(&mut client, FAR).await.starts(ANOTHER_TRANSACTION);
    rcpt(&mut client, SALES).await.starts("250");
}

#[tokio::test]
async fn who_is_not_known_to_be_vouched_for_in_time_is_not() {
    let world = World::with(|config| config.delivery.in_session_timeout = Duration::from_secs(2)).await;
    world.dns.behave("sender.example", Behaviour::Silent).unwrap();
    let mut client = world.sender().await;
    client.command(&format!("MAIL FROM:<{ALICE}>"), "250").await;
    rcpt(&mut client, INFO).await.starts("250");
    rcpt(&mut client, FAR).await.starts(ANOTHER_TRANSACTION);
    rcpt(&mut client, SALES).await.starts("250");
}

#[tokio::test]
async fn what_goes_nowhere_is_of_every_group() {
    let world = World::start().await;
    let mut client = unvouched(&world, BOB).await;
    for recipient in [BIN, INFO, BIN] {
        rcpt(&mut client, recipient).await.starts("250");
    }
    rcpt(&mut client, FAR).await.starts(ANOTHER_TRANSACTION);
}

#[tokio::test]
async fn an_alias_that_goes_two_ways_is_taken_alone() {
    let world = World::start().await;
    let other = world.other_provider().await;
    other.say(Stage::Dot, "554 5.7.1 not wanted");
    world.forward("team@ours.example", &["ana@dest.example", "cal@other.example"]).await;
    let mut client = unvouched(&world, BOB).await;
    rcpt(&mut client, INFO).await.starts("250");
    rcpt(&mut client, "team@ours.example").await.starts(ANOTHER_TRANSACTION);
    client.command("RSET", "250").await;
    client.command(&format!("MAIL FROM:<{BOB}>"), "250").await;
    rcpt(&mut client, "team@ours.example").await.starts("250");
    rcpt(&mut client, INFO).await.starts(ANOTHER_TRANSACTION);
    rcpt(&mut client, BIN).await.starts("250");
    client.data(&message()).await.starts("250");
    assert_eq!(metric(&world, "postroad_copies_refused_untold_total").await, "1");
}

#[tokio::test]
async fn a_refusal_at_rcpt_of_one_transaction_is_told_to_the_operator_too() {
    let world = World::start().await;
    world.mx.when(Stage::Rcpt, "bob@", 1, Act::Say("550 5.1.1 nobody".into()));
    let mut client = unvouched(&world, BOB).await;
    for recipient in [INFO, SALES] {
        rcpt(&mut client, recipient).await.starts("250");
    }
    client.data(&message()).await.starts("250");
    assert_eq!(metric(&world, "postroad_copies_refused_untold_total").await, "1");
}
