//! Bounces: to SRS addresses of ours, and to nobody (RFC 5321 §4.5.5).

use crate::support::{ALICE, Client, LISTED, SENDER, STRANGER, World, letter, signed};

/// A bounce as its receiver's system writes it.
fn bounce() -> String {
    letter("bounce").replace("Alice <alice@sender.example>", "MAILER-DAEMON@dest.example")
}

/// The SRS address under which the upstream got a letter of alice's.
async fn rewritten(world: &World) -> String {
    world.sender().await.submit(ALICE, &["info@ours.example"], &letter("one")).await.starts("250");
    let address = world.mx.only().reverse_path().to_owned();
    world.mx.say(crate::support::Stage::Quit, "221 2.0.0 bye");
    address
}

#[tokio::test]
async fn an_unsigned_bounce_to_an_srs_address_goes_back_to_the_sender() {
    let world = World::start().await;
    let srs = rewritten(&world).await;
    let mut client = world.client(STRANGER, "mx.dest.example").await;
    client.submit("", &[&srs], &bounce()).await.starts("250");
    let taken = world.mx.taken();
    assert_eq!(taken.len(), 2);
    assert_eq!((taken[1].reverse_path(), taken[1].recipients()), ("", vec![ALICE]));
}

#[tokio::test]
async fn a_bounce_to_a_case_folded_srs_address_arrives_too() {
    let world = World::start().await;
    let srs = rewritten(&world).await.to_lowercase();
    let mut client = world.client(STRANGER, "mx.dest.example").await;
    client.submit("", &[&srs], &bounce()).await.starts("250");
    assert_eq!(world.mx.taken()[1].recipients(), [ALICE]);
}

#[tokio::test]
async fn forged_and_expired_srs_addresses_are_refused_at_rcpt() {
    let world = World::start().await;
    let mut client = world.client(STRANGER, "mx.dest.example").await;
    client.command("MAIL FROM:<>", "250").await;
    for forged in [
        "SRS0=aaaa=2W=sender.example=alice@ours.example",
        "SRS1=aaaa=first.example==aaaa=2W=sender.example=alice@ours.example",
        "SRS0=vmyz=2W=otherdomain.com=test@ours.example",
        "SRSA=aaaa=2W=AAAAAAAAAAAAAAAA@ours.example",
        "SRS0=nonsense@ours.example",
    ] {
        client.command(&format!("RCPT TO:<{forged}>"), "550 5.1.1").await.contains("#sender-rewriting");
    }
}

#[tokio::test]
async fn only_bounces_come_to_srs_addresses() {
    let world = World::start().await;
    let srs = rewritten(&world).await;
    let mut client = world.sender().await;
    client.command(&format!("MAIL FROM:<{ALICE}>"), "250").await;
    client.command(&format!("RCPT TO:<{srs}>"), "550 5.7.1").await;
}

#[tokio::test]
async fn a_catch_all_does_not_swallow_srs_addresses() {
    let world = World::start().await;
    let rule = postroad::routing::NewRule::new(
        postroad::mail::Domain::parse("ours.example").unwrap(),
        postroad::routing::Matcher::CatchAll,
        postroad::routing::RuleAction::Drop,
    );
    world.change(postroad::routing::Change::CreateRule(rule)).await;
    let mut client = world.client(STRANGER, "mx.dest.example").await;
    client.command("MAIL FROM:<>", "250").await;
    client.command("RCPT TO:<SRS0=aaaa=2W=sender.example=alice@ours.example>", "550 5.1.1").await;
}

#[tokio::test]
async fn guessing_hashes_ends_the_session() {
    let world = World::start().await;
    let mut client = world.client(STRANGER, "guesser.example").await;
    client.command("MAIL FROM:<>", "250").await;
    for guess in 0..200 {
        let heard = client.exchange(&format!("RCPT TO:<SRS0=a{guess:03}=2W=o.example=x@ours.example>")).await;
        match heard.code() {
            550 => {}
            421 => return,
            _ => panic!("{}", heard.text()),
        }
    }
    panic!("200 guesses were answered");
}

#[tokio::test]
async fn a_null_reverse_path_stays_null() {
    let world = World::start().await;
    let mut client = world.client(SENDER, "mail.sender.example").await;
    let notice = letter("notice").replace("alice@sender.example", "MAILER-DAEMON@sender.example");
    client.submit("", &["info@ours.example"], &notice).await.starts("250");
    assert_eq!(world.mx.only().reverse_path(), "");
}

#[tokio::test]
async fn a_null_reverse_path_from_a_host_without_a_name_is_refused() {
    let world = World::start().await;
    let mut client = world.client(STRANGER, "nobody.plain.example").await;
    client.submit("", &["info@ours.example"], &bounce()).await.starts("550 5.7.26");
}

#[tokio::test]
async fn our_own_srs_address_as_sender_is_unwrapped_and_not_nested() {
    let world = World::start().await;
    let srs = rewritten(&world).await;
    world.dns.replace("ours.example. 300 IN TXT \"v=spf1 ip4:127.0.0.10 -all\"").unwrap();
    let mut client = world.sender().await;
    client.submit(&srs, &["sales@ours.example"], &signed(&letter("again"))).await.starts("250");
    let taken = world.mx.taken();
    assert_eq!(taken[1].reverse_path(), srs);
}

#[tokio::test]
async fn another_forwarders_srs0_becomes_srs1_and_its_bounce_goes_straight_back() {
    let world = World::start().await;
    let foreign = "SRS0=xxxx=yy=origin.example=joe@sender.example";
    world.sender().await.submit(foreign, &["info@ours.example"], &letter("far")).await.starts("250");
    let ours = world.mx.only().reverse_path().to_owned();
    assert!(
        ours.starts_with("SRS1=") && ours.contains("=sender.example==xxxx=yy=origin.example=joe@"),
        "{ours}"
    );
    let mut client = world.client(STRANGER, "mx.dest.example").await;
    client.submit("", &[&ours], &bounce()).await.starts("250");
    assert_eq!(world.mx.taken()[1].recipients(), [foreign]);
}

#[tokio::test]
async fn rfc5321_4_5_3_1_1_a_sender_too_long_for_srs_gets_an_alias_that_takes_its_bounces() {
    let world = World::start().await;
    let long = format!("{}@sender.example", "a-long-name.".repeat(5) + "end");
    world.sender().await.submit(&long, &["info@ours.example"], &letter("long")).await.starts("250");
    let alias = world.mx.only().reverse_path().to_owned();
    assert!(alias.len() <= 64 + "@ours.example".len() && alias.ends_with("@ours.example"), "{alias}");
    let mut client = world.client(STRANGER, "mx.dest.example").await;
    client.submit("", &[&alias], &bounce()).await.starts("250");
    assert_eq!(world.mx.taken()[1].recipients(), [long.as_str()]);
}

#[tokio::test]
async fn a_quoted_sender_stays_quoted() {
    let world = World::start().await;
    let quoted = "\"a test\"@sender.example";
    world.sender().await.submit(quoted, &["info@ours.example"], &letter("quoted")).await.starts("250");
    let srs = world.mx.only().reverse_path().to_owned();
    assert!(srs.starts_with("\"SRS0=") && srs.ends_with("=a test\"@ours.example"), "{srs}");
    let mut client: Client = world.client(STRANGER, "mx.dest.example").await;
    client.submit("", &[&srs], &bounce()).await.starts("250");
    assert_eq!(world.mx.taken()[1].recipients(), [quoted]);
}

#[tokio::test]
async fn a_listed_client_cannot_bounce() {
    let world = World::start().await;
    let srs = rewritten(&world).await;
    let mut client = world.client(LISTED, "listed.example").await;
    client.command("MAIL FROM:<>", "250").await;
    client.command(&format!("RCPT TO:<{srs}>"), "554 5.7.1").await;
}
