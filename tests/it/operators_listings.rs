//! Networks of clients that an operator blocks or allows, in the place of what blocklists say of them.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use postroad::clock;
use postroad::routing::Change;

use crate::support::{ALICE, Client, LISTED, SENDER, STRANGER, World, letter, signed};

/// The question about [`LISTED`].
const QUESTION: &str = "66.0.0.127.dnsbl.example.";
const INFO: &str = "RCPT TO:<info@ours.example>";

fn block(network: &str, until: Option<SystemTime>) -> Change {
    Change::Block { network: network.parse().unwrap(), until, reason: "spam since Monday".into() }
}

fn allow(network: &str) -> Change {
    Change::Allow { network: network.parse().unwrap(), until: None, reason: String::new() }
}

fn unlist(network: &str) -> Change {
    Change::Unlist { network: network.parse().unwrap(), etag: None }
}

/// What a client hears at RCPT in a new transaction of this session.
async fn heard(client: &mut Client, start: &str) {
    client.command("RSET", "250").await;
    client.command(&format!("MAIL FROM:<{ALICE}>"), "250").await;
    client.command(INFO, start).await;
}

#[tokio::test]
async fn a_blocked_client_hears_why_at_rcpt_and_is_asked_of_no_zone() {
    let world = World::start().await;
    world.change(block("127.0.0.64/28", None)).await;
    let mut client = world.client(LISTED, "listed.example").await;
    client.command(&format!("MAIL FROM:<{ALICE}>"), "250").await;
    let heard = client.command(INFO, "554 5.7.1").await;
    heard.starts(
        "554 5.7.1 127.0.0.66 is blocked by the operator of this service (spam since Monday). Refer to ",
    );
    heard.contains("https://relay.example/postmaster#blocked-addresses (trace ");
    assert_eq!(world.dns.queries(QUESTION, "A"), 0);
    let counted = "postroad_smtp_responses_total{code=\"554\",command=\"rcpt\",reason=\"blocked\"} 1";
    assert!(world.metrics().await.contains(counted));
    client.command("RSET", "250").await;
    let (status, trace, err) = world.ctl(&["trace", &heard.trace()]).await;
    assert_eq!((status, &trace["outcome"]), (0, &"REJECTED".into()), "{err}");
}

#[tokio::test]
async fn a_client_that_is_blocked_without_a_reason_hears_none() {
    let world = World::start().await;
    let network = "127.0.0.20/32".parse().unwrap();
    world.change(Change::Block { network, until: None, reason: String::new() }).await;
    let mut client = world.client(STRANGER, "stranger.example").await;
    client.command(&format!("MAIL FROM:<{ALICE}>"), "250").await;
    let heard = client.command(INFO, "554 5.7.1").await;
    heard.starts("554 5.7.1 127.0.0.20 is blocked by the operator of this service. Refer to ");
}

#[tokio::test]
async fn a_blocked_client_may_write_to_postmaster_and_abuse() {
    let world = World::start().await;
    world.change(block("127.0.0.0/24", None)).await;
    let mut client = world.sender().await;
    for recipient in ["postmaster@ours.example", "abuse@ours.example"] {
        client.submit(ALICE, &[recipient], &signed(&letter("why"))).await.starts("250");
    }
    client.submit(ALICE, &["info@ours.example"], &signed(&letter("x"))).await.starts("554 5.7.1");
}

#[tokio::test]
async fn an_allowed_client_is_asked_of_no_zone() {
    let world = World::start().await;
    world.change(allow("127.0.0.66/32")).await;
    let mut client = world.client(LISTED, "listed.example").await;
    client.submit(ALICE, &["info@ours.example"], &signed(&letter("x"))).await.starts("250");
    assert_eq!(world.dns.queries(QUESTION, "A"), 0);
}

#[tokio::test]
async fn the_narrowest_network_decides() {
    let world = World::start().await;
    world.change(block("127.0.0.0/8", None)).await;
    world.change(allow("127.0.0.10/32")).await;
    world.sender().await.submit(ALICE, &["info@ours.example"], &letter("x")).await.starts("250");
    let mut stranger = world.client(STRANGER, "stranger.example").await;
    heard(&mut stranger, "554 5.7.1 127.0.0.20 is blocked").await;
}

#[tokio::test]
async fn a_listing_counts_from_the_next_transaction_of_an_open_session() {
    let world = World::start().await;
    let mut client = world.sender().await;
    client.command(&format!("MAIL FROM:<{ALICE}>"), "250").await;
    world.change(block("127.0.0.10/32", None)).await;
    client.command(INFO, "250").await;
    heard(&mut client, "554 5.7.1 127.0.0.10 is blocked").await;
    world.change(unlist("127.0.0.10/32")).await;
    client.command(INFO, "554 5.7.1 127.0.0.10 is blocked").await;
    heard(&mut client, "250").await;
}

#[tokio::test]
async fn zones_are_asked_of_a_client_whose_listing_is_taken_back_while_its_session_is_open() {
    let world = World::start().await;
    world.change(allow("127.0.0.66/32")).await;
    let mut client = world.client(LISTED, "listed.example").await;
    heard(&mut client, "250").await;
    world.change(unlist("127.0.0.66/32")).await;
    heard(&mut client, "554 5.7.1 127.0.0.66 found on one or more DNSBLs (test)").await;
    assert_eq!(world.dns.queries(QUESTION, "A"), 1);
    world.change(allow("127.0.0.66/32")).await;
    heard(&mut client, "250").await;
}

#[tokio::test]
async fn a_listing_that_is_over_counts_as_none() {
    let world = World::start().await;
    let hour = Duration::from_secs(3600);
    world.change(block("127.0.0.0/24", Some(clock::now() + hour))).await;
    heard(&mut world.sender().await, "554 5.7.1 127.0.0.10 is blocked").await;
    world.change(block("127.0.0.0/24", Some(clock::now() - hour))).await;
    heard(&mut world.sender().await, "250").await;
    let mut listed = world.client(LISTED, "listed.example").await;
    heard(&mut listed, "554 5.7.1 127.0.0.66 found on").await;
}

#[tokio::test]
async fn a_client_that_a_proxy_names_in_the_ipv6_form_of_its_ipv4_address_is_the_same_client() {
    let world =
        World::with(|config| config.smtp.trusted_proxies = vec!["127.0.0.5/32".parse().unwrap()]).await;
    world.change(block("127.0.0.20/32", None)).await;
    let proxy: IpAddr = "127.0.0.5".parse().unwrap();
    let mut client = Client::connect(proxy, world.smtp).await;
    client.send_octets(b"PROXY TCP6 ::ffff:127.0.0.20 ::1 12345 25\r\n").await;
    client.expect("220").await;
    client.command("EHLO stranger.example", "250").await;
    heard(&mut client, "554 5.7.1 127.0.0.20 is blocked").await;
}

#[tokio::test]
async fn a_listing_outlives_the_node() {
    let world = World::start().await;
    world.change(block("127.0.0.10/32", None)).await;
    let world = world.restarted().await;
    let mut client = world.client(SENDER, "mail.sender.example").await;
    heard(&mut client, "554 5.7.1 127.0.0.10 is blocked").await;
}

#[tokio::test]
async fn an_operators_block_is_in_force_when_the_command_has_returned() {
    let world = World::start().await;
    let words = ["dnsbl", "block", "127.0.0.0/24", "--for", "1h", "--reason", "spam"];
    let (status, _, err) = world.ctl(&words).await;
    assert_eq!(status, 0, "{err}");
    let mut client = world.sender().await;
    heard(&mut client, "554 5.7.1 127.0.0.10 is blocked by the operator of this service (spam).").await;
    let (_, found, _) = world.ctl(&["dnsbl", "check", "127.0.0.66"]).await;
    assert_eq!(
        (&found["listing"]["access"], &found["zones"][0]["verdict"]),
        (&"BLOCKED".into(), &"LISTED".into())
    );
    assert_eq!(world.ctl(&["dnsbl", "remove", "127.0.0.0/24"]).await.0, 0);
    heard(&mut client, "250").await;
}
