//! Bounces: to SRS addresses of ours, and to nobody (RFC 5321 §4.5.5).

use std::net::IpAddr;

use tokio::time::timeout;

use crate::support::{ALICE, Client, LIMIT, LISTED, SENDER, STRANGER, World, letter, signed};

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

/// Bounces of one session: fewer than it is allowed errors.
const BOUNCES_A_SESSION: usize = 10;
/// Bad hashes of one client that are answered at once.
const FREE_GUESSES: usize = 20;

/// A return address that we never wrote.
fn forged(number: usize) -> String {
    format!("SRS0=q{number:03}=2W=sender.example=alice{}@ours.example", number % 7)
}

/// Bounces to these return addresses, over as few sessions from this client as it takes; the codes heard at RCPT.
async fn bounces(world: &World, from: IpAddr, to: &[String]) -> Vec<u16> {
    let mut codes = Vec::new();
    for some in to.chunks(BOUNCES_A_SESSION) {
        let mut client = world.client(from, "mx.bouncer.example").await;
        for address in some {
            client.command("MAIL FROM:<>", "250").await;
            codes.push(client.exchange(&format!("RCPT TO:<{address}>")).await.code());
            client.command("RSET", "250").await;
        }
    }
    codes
}

/// A client that has said RCPT with a forged address and waits for what it hears.
async fn asking(world: &World, from: IpAddr) -> Client {
    let mut client = world.client(from, "mx.bouncer.example").await;
    client.command("MAIL FROM:<>", "250").await;
    client.send(&format!("RCPT TO:<{}>", forged(999))).await;
    client
}

/// Has the client use up what it is answered at once, and one of two further guesses kept waiting; that one.
async fn kept_waiting(world: &World) -> Client {
    let free: Vec<String> = (0..FREE_GUESSES).map(forged).collect();
    assert_eq!(bounces(world, STRANGER, &free).await, [550; FREE_GUESSES]);
    let (mut one, mut other) = (asking(world, STRANGER).await, asking(world, STRANGER).await);
    // Which of them waits is the node's affair.
    let (heard, waits) = tokio::select! {
        heard = one.reply() => (heard, other),
        heard = other.reply() => (heard, one),
    };
    heard.starts("451 4.7.0").contains("#sender-rewriting").contains("(trace ");
    waits
}

/// The forged return addresses are in spam, and the provider, which is all of a /24, bounces what it cannot deliver.
#[tokio::test]
async fn a_provider_that_bounces_to_forged_addresses_is_shut_out_of_nothing() {
    let world = World::start().await;
    let srs = rewritten(&world).await;
    let _waits = kept_waiting(&world).await;
    let forged: Vec<String> = (FREE_GUESSES + 2..1000).map(forged).collect();
    let codes = bounces(&world, STRANGER, &forged).await;
    assert!(codes.iter().all(|code| *code == 451), "{codes:?}");

    world.sender().await.submit(ALICE, &["info@ours.example"], &letter("honest")).await.starts("250");
    for from in [STRANGER, SENDER] {
        let mut client = world.client(from, "mx.bouncer.example").await;
        client.submit("", &[&srs], &bounce()).await.starts("250");
    }
    let taken = world.mx.taken();
    assert_eq!(taken.iter().filter(|message| message.recipients() == [ALICE]).count(), 2);
}

#[tokio::test]
async fn what_is_no_bounce_is_no_guess() {
    let world = World::start().await;
    for _ in 0..3 {
        let mut client = world.sender().await;
        for number in 0..BOUNCES_A_SESSION {
            client.command(&format!("MAIL FROM:<{ALICE}>"), "250").await;
            client.command(&format!("RCPT TO:<{}>", forged(number)), "550 5.7.1").await;
            client.command("RSET", "250").await;
        }
    }
    assert_eq!(bounces(&world, SENDER, &[forged(0)]).await, [550]);
}

#[tokio::test]
async fn an_answer_that_waits_does_not_hold_up_the_end_of_the_node() {
    let world = World::start().await;
    let mut waits = kept_waiting(&world).await;
    world.node.drain().await;
    waits.expect("421").await;
}

#[tokio::test]
async fn a_client_that_goes_waits_no_longer() {
    let world = World::start().await;
    drop(kept_waiting(&world).await);
    let ended = async { while !world.metrics().await.contains("\npostroad_smtp_connections 0\n") {} };
    timeout(LIMIT, ended).await.expect("the session ends with its client");
}

#[tokio::test]
async fn return_addresses_of_a_secret_out_of_use_are_refused_and_no_guesses() {
    let world = World::following().await;
    let srs = rewritten(&world).await;
    world.write("srs", "another s3cret of many octets\n");
    let refused = async { while bounces(&world, STRANGER, std::slice::from_ref(&srs)).await != [550] {} };
    timeout(LIMIT, refused).await.expect("the new secret in time");
    let old = vec![srs; FREE_GUESSES + 5];
    assert_eq!(bounces(&world, STRANGER, &old).await, [550; FREE_GUESSES + 5]);
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
