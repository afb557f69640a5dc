//! Which of a destination's addresses is reached (RFC 5321 §5.1, RFC 7505).

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::support::{ALICE, Act, LIMIT, Stage, UpstreamV6, World, letter, until};

const INFO: &[&str] = &["info@ours.example"];

async fn verdict(world: &World) -> crate::support::Heard {
    world.sender().await.submit(ALICE, INFO, &letter("x")).await
}

fn families(world: &World) -> Vec<&'static str> {
    world
        .mx
        .connections()
        .iter()
        .map(|address: &SocketAddr| if address.is_ipv6() { "6" } else { "4" })
        .collect()
}

#[tokio::test]
async fn ipv6_is_reached_before_ipv4() {
    let world = World::start().await;
    world.dns.replace("mx.dest.example. 300 IN AAAA ::1").unwrap();
    verdict(&world).await.starts("250");
    assert_eq!(families(&world), ["6"]);
}

#[tokio::test]
async fn ipv4_is_reached_in_the_same_session_when_ipv6_is_a_black_hole() {
    let configure =
        |config: &mut postroad::config::Config| config.delivery.connect_timeout_v6 = Duration::from_secs(1);
    let world = World::with_upstream(UpstreamV6::BlackHole, configure).await;
    world.dns.replace("mx.dest.example. 300 IN AAAA ::1").unwrap();
    verdict(&world).await.starts("250");
    assert_eq!(families(&world), ["4"]);
    // The destination's IPv6 is left alone for a while after a time-out.
    let start = Instant::now();
    verdict(&world).await.starts("250");
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
}

#[tokio::test]
async fn ipv4_follows_when_ipv6_is_refused_at_the_banner() {
    let world = World::start().await;
    world.dns.replace("mx.dest.example. 300 IN AAAA ::1").unwrap();
    world.mx.when(Stage::Banner, "", 1, Act::Say("554 5.7.1 no IPv6 from you".into()));
    verdict(&world).await.starts("250");
    assert_eq!(families(&world), ["6", "4"]);
}

#[tokio::test]
async fn each_hosts_addresses_come_before_the_next_hosts() {
    let world = World::start().await;
    let (second, ip) = world.another_mx(3).await;
    world
        .dns
        .replace(&format!(
            "dest.example. 300 IN MX 10 mx.dest.example.\ndest.example. 300 IN MX 20 b.dest.example.\n\
             mx.dest.example. 300 IN AAAA ::1\nb.dest.example. 300 IN A {ip}"
        ))
        .unwrap();
    world.mx.say(Stage::Banner, "421 4.3.2 not now");
    verdict(&world).await.starts("250");
    assert_eq!(families(&world), ["6", "4"]);
    assert_eq!(second.taken().len(), 1);
}

#[tokio::test]
async fn a_refusal_of_the_message_ends_the_search() {
    let world = World::start().await;
    let (second, ip) = world.another_mx(3).await;
    world
        .dns
        .replace(&format!(
            "dest.example. 300 IN MX 10 mx.dest.example.\ndest.example. 300 IN MX 20 b.dest.example.\n\
             b.dest.example. 300 IN A {ip}"
        ))
        .unwrap();
    world.mx.say(Stage::Rcpt, "450 4.2.0 greylisted");
    verdict(&world).await.starts("450-4.2.0 greylisted");
    assert!(second.connections().is_empty());
}

#[tokio::test]
async fn rfc5321_5_1_a_domain_without_mx_is_its_own_host() {
    let world = World::start().await;
    world.dns.remove("other.example.").unwrap();
    world.dns.replace(&format!("other.example. 300 IN A {}", world.upstream_ip(2))).unwrap();
    world.sender().await.submit(ALICE, &["far@ours.example"], &letter("x")).await.starts("250");
    assert_eq!(world.mx.only().recipients(), ["cal@other.example"]);
}

#[tokio::test]
async fn rfc7505_a_null_mx_takes_no_mail() {
    let world = World::start().await;
    world.dns.replace("other.example. 300 IN MX 0 .").unwrap();
    let heard = world.sender().await.submit(ALICE, &["far@ours.example"], &letter("x")).await;
    heard.starts("556 5.1.10").lacks("other.example");
}

#[tokio::test]
async fn a_destination_that_does_not_exist_is_refused() {
    let world = World::start().await;
    world.dns.remove("other.example.").unwrap();
    world.dns.remove("mx.other.example.").unwrap();
    let heard = world.sender().await.submit(ALICE, &["far@ours.example"], &letter("x")).await;
    heard.starts("550 5.1.2").lacks("other.example");
}

#[tokio::test]
async fn a_destination_whose_mx_is_ours_is_a_loop() {
    let world = World::start().await;
    world.dns.replace("other.example. 300 IN MX 5 linda.mx.relay.example.\nother.example. 300 IN MX 9 mx.other.example.").unwrap();
    world.sender().await.submit(ALICE, &["far@ours.example"], &letter("x")).await.starts("550 5.4.6");
}

#[tokio::test]
async fn private_addresses_are_refused_unless_allowed() {
    let world =
        World::with(|config| config.delivery.private_addresses = postroad::config::PrivateAddresses::Refuse)
            .await;
    world.unvouched().await.starts("550 5.4.4").lacks("dest.example");
    verdict(&world).await.starts("550 5.4.4").lacks("dest.example");
    assert!(world.mx.connections().is_empty());
    assert!(world.queued().await.is_empty());
}

#[tokio::test]
async fn what_turns_out_to_lead_nowhere_leaves_the_queue() {
    let world = World::impatient().await;
    world.dns.behave("dest.example.", postroad::dev::dns::Behaviour::ServFail).unwrap();
    verdict(&world).await.starts("250 2.0.0 Queued");
    world.dns.replace("dest.example. 300 IN MX 10 gone.dest.example.").unwrap();
    world.dns.behave("dest.example.", postroad::dev::dns::Behaviour::Answer).unwrap();
    until("alice has it back", || bounce(&world).is_some(), LIMIT).await;
    let bounce = bounce(&world).unwrap();
    assert!(bounce.contains("Status: 5.4.4"), "{bounce}");
    assert!(!bounce.contains("ana@dest.example"), "{bounce}");
}

/// The message that alice was sent back.
fn bounce(world: &World) -> Option<String> {
    let taken = world.mx.taken();
    taken.iter().find(|taken| taken.recipients() == [ALICE]).map(|taken| taken.text())
}

#[tokio::test]
async fn rfc7504_4_a_destination_whose_only_host_takes_no_mail_is_refused() {
    let world = World::start().await;
    world.mx.say(Stage::Banner, "521 5.3.2 mx does not accept mail");
    verdict(&world).await.starts("556 5.3.2").lacks("dest.example");
    assert!(world.queued().await.is_empty());
}

#[tokio::test]
async fn a_dns_failure_at_the_destination_is_no_answer() {
    let world = World::start().await;
    world.dns.behave("other.example.", postroad::dev::dns::Behaviour::ServFail).unwrap();
    let mut sender = world.sender().await;
    sender.submit(ALICE, &["far@ours.example"], &letter("x")).await.starts("250 2.0.0 Queued");
    let queued = world.queued().await;
    let said = &queued[0].copies[0].last.as_ref().unwrap().lines;
    assert!(said[0].contains("other.example"), "{said:?}");
}

#[tokio::test]
async fn tls_is_used_where_it_is_offered() {
    let world = World::start().await;
    world.mx.offer(&["STARTTLS", "PIPELINING", "8BITMIME"]);
    verdict(&world).await.starts("250");
    assert!(world.mx.only().tls);
}

#[tokio::test]
async fn a_failed_handshake_is_followed_by_one_plain_try() {
    let world = World::start().await;
    world.mx.offer(&["STARTTLS", "PIPELINING", "8BITMIME"]);
    world.mx.at(Stage::Handshake, Act::Write(b"this is no handshake\r\n".to_vec()));
    verdict(&world).await.starts("250");
    assert!(!world.mx.only().tls);
    assert_eq!(world.mx.connections().len(), 2);
}

#[tokio::test]
async fn octets_behind_the_220_of_starttls_are_thrown_away() {
    let world = World::start().await;
    world.mx.offer(&["STARTTLS", "PIPELINING", "8BITMIME"]);
    world.mx.at(Stage::StartTls, Act::Write(b"220 2.0.0 go\r\n250-evil\r\n250 SIZE 1\r\n".to_vec()));
    verdict(&world).await.starts("250");
    assert!(world.mx.only().tls);
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let world = World::start().await;
    let mut client = world.sender().await;
    for subject in ["one", "two", "three"] {
        client.submit(ALICE, INFO, &letter(subject)).await.starts("250");
    }
    assert_eq!(world.mx.connections().len(), 1);
    assert_eq!(world.mx.taken().len(), 3);
}

#[tokio::test]
async fn a_reused_connection_that_died_is_replaced() {
    let world = World::start().await;
    let mut client = world.sender().await;
    client.submit(ALICE, INFO, &letter("one")).await.starts("250");
    world.mx.when(Stage::Mail, "", 1, Act::Close);
    world.mx.when(Stage::Rset, "", 1, Act::Close);
    client.submit(ALICE, INFO, &letter("two")).await.starts("250");
    assert_eq!(world.mx.taken().len(), 2);
}

#[tokio::test]
async fn rfc6531_internationalised_mail_needs_an_upstream_that_takes_it() {
    let world = World::start().await;
    let mut client = world.sender().await;
    client.command("MAIL FROM:<jürgen@sender.example> SMTPUTF8 BODY=8BITMIME", "250").await;
    client.command("RCPT TO:<info@ours.example>", "250").await;
    client.data(&letter("x")).await.starts("250");
    assert!(world.mx.only().mail.contains("SMTPUTF8"));

    let world = World::start().await;
    world.mx.offer(&["PIPELINING", "8BITMIME"]);
    let mut client = world.sender().await;
    client.command("MAIL FROM:<jürgen@sender.example> SMTPUTF8 BODY=8BITMIME", "250").await;
    client.command("RCPT TO:<info@ours.example>", "250").await;
    client.data(&letter("x")).await.starts("550 5.6.7");
}

#[tokio::test]
async fn rfc6152_eight_bit_mail_needs_an_upstream_that_takes_it() {
    let world = World::start().await;
    world.mx.offer(&["PIPELINING"]);
    let mut client = world.sender().await;
    client.command(&format!("MAIL FROM:<{ALICE}> BODY=8BITMIME"), "250").await;
    client.command("RCPT TO:<info@ours.example>", "250").await;
    client.data(&(letter("x") + "Grüße\r\n")).await.starts("554 5.6.3");
}
