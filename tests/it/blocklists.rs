//! DNS blocklists (RFC 5782): who is listed hears so at RCPT.

use std::net::{IpAddr, Ipv6Addr};

use postroad::dev::dns::Behaviour;

use crate::support::{ALICE, LISTED, World, letter, signed};

#[tokio::test]
async fn a_listed_client_hears_it_at_rcpt() {
    let world = World::start().await;
    let mut client = world.client(LISTED, "listed.example").await;
    client.command(&format!("MAIL FROM:<{ALICE}>"), "250").await;
    let heard = client.command("RCPT TO:<info@ours.example>", "554 5.7.1").await;
    heard.starts("554 5.7.1 127.0.0.66 found on one or more DNSBLs (test). Refer to ");
    heard.contains("https://relay.example/postmaster#spam-and-abusive-traffic (trace ");
}

#[tokio::test]
async fn every_zone_that_lists_is_named() {
    let world = World::with(|config| {
        let mut second = config.dnsbl[0].clone();
        second.name = "second".into();
        config.dnsbl.push(second);
    })
    .await;
    let mut client = world.client(LISTED, "listed.example").await;
    client.command(&format!("MAIL FROM:<{ALICE}>"), "250").await;
    client.command("RCPT TO:<info@ours.example>", "554 5.7.1").await.contains("(test, second)");
}

#[tokio::test]
async fn a_listed_client_may_write_to_postmaster_and_abuse() {
    let world = World::start().await;
    let mut client = world.client(LISTED, "listed.example").await;
    for recipient in ["postmaster@ours.example", "abuse@ours.example"] {
        client.submit(ALICE, &[recipient], &signed(&letter("why"))).await.starts("250");
    }
}

#[tokio::test]
async fn a_listed_ipv6_client_hears_it_too() {
    let world = World::with(|config| config.smtp.listen.push("[::1]:0".parse().unwrap())).await;
    world
        .dns
        .replace("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.dnsbl.example. 300 IN A 127.0.0.2")
        .unwrap();
    let to = *world.node.addresses().smtp.iter().find(|address| address.is_ipv6()).unwrap();
    let from = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let mut client = crate::support::Client::greeted(from, to, "listed.example").await;
    client.command(&format!("MAIL FROM:<{ALICE}>"), "250").await;
    client.command("RCPT TO:<info@ours.example>", "554 5.7.1 ::1 found on").await;
}

#[tokio::test]
async fn error_answers_of_a_zone_list_nobody() {
    for answer in ["127.255.255.254", "127.0.0.1", "10.0.0.2"] {
        let world = World::start().await;
        world.dns.replace(&format!("10.0.0.127.dnsbl.example. 300 IN A {answer}")).unwrap();
        world.sender().await.submit(ALICE, &["info@ours.example"], &letter("x")).await.starts("250");
    }
}

#[tokio::test]
async fn rfc5782_5_a_zone_that_lists_everybody_is_switched_off() {
    let world =
        World::with(|config| config.dnsbl[0].zone = postroad::mail::Domain::parse("all.example").unwrap());
    let world = world.await;
    let mut client = world.client(LISTED, "listed.example").await;
    client.submit(ALICE, &["info@ours.example"], &signed(&letter("x"))).await.starts("250");
    assert!(
        world.metrics().await.contains("postroad_dnsbl_zone_healthy{ip_family=\"ipv4\",zone=\"test\"} 0")
    );
}

#[tokio::test]
async fn a_zone_that_does_not_answer_lets_mail_through() {
    let world = World::start().await;
    world.dns.behave("10.0.0.127.dnsbl.example.", Behaviour::Silent).unwrap();
    world.sender().await.submit(ALICE, &["info@ours.example"], &letter("x")).await.starts("250");
}
