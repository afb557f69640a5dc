//! Who may send what: SPF, DKIM and DMARC as the sender hears them (RFC 7208, RFC 6376, RFC 9989).

use postroad::config::DmarcMode;
use postroad::dev::dns::Behaviour;

use crate::support::{ALICE, STRANGER, World, letter, signed};

const INFO: &[&str] = &["info@ours.example"];

#[tokio::test]
async fn a_spoof_of_a_domain_with_p_reject_is_refused_by_name() {
    let world = World::start().await;
    let mut client = world.client(STRANGER, "spoofer.example").await;
    let heard = client.submit("ceo@plain.example", INFO, &letter("spoof")).await;
    heard.starts("550 5.7.26").contains("DMARC").contains("sender.example").contains("/postmaster#dmarc");
    heard.contains("(trace ");
    assert!(world.mx.connections().is_empty() || world.mx.received().is_empty());
}

#[tokio::test]
async fn a_signature_vouches_where_spf_does_not() {
    let world = World::start().await;
    let mut client = world.client(STRANGER, "forwarder.example").await;
    client.submit(ALICE, INFO, &signed(&letter("signed"))).await.starts("250");
    assert!(world.mx.only().text().contains("dmarc=pass"));
}

#[tokio::test]
async fn a_changed_body_breaks_the_signature() {
    let world = World::start().await;
    let mut client = world.client(STRANGER, "forwarder.example").await;
    let tampered = signed(&letter("signed")).replace("Hello", "Hallo");
    client.submit(ALICE, INFO, &tampered).await.starts("550 5.7.26").contains("DMARC");
}

#[tokio::test]
async fn monitor_mode_refuses_nothing_by_dmarc() {
    let world = World::with(|config| {
        config.authentication.dmarc = DmarcMode::Monitor;
        config.authentication.require_pass = false;
    })
    .await;
    let mut client = world.client(STRANGER, "spoofer.example").await;
    client.submit(ALICE, INFO, &letter("spoof")).await.starts("250");
    assert!(world.mx.only().text().contains("dmarc=fail"));
}

#[tokio::test]
async fn quarantine_passes_on_and_is_marked() {
    let world = World::start().await;
    world.dns.replace("_dmarc.sender.example. 300 IN TXT \"v=DMARC1; p=quarantine\"").unwrap();
    world.dns.replace("plain.example. 300 IN TXT \"v=spf1 ip4:127.0.0.20 -all\"").unwrap();
    let mut client = world.client(STRANGER, "plain.example").await;
    client.submit("x@plain.example", INFO, &letter("spoof")).await.starts("250");
    let text = world.mx.only().text();
    assert!(text.contains("dmarc=fail") && text.to_lowercase().contains("quarantine"), "{text}");
}

#[tokio::test]
async fn mail_that_nothing_vouches_for_is_refused() {
    let world = World::start().await;
    let message = letter("x").replace("sender.example", "plain.example");
    let mut client = world.client(STRANGER, "plain.example").await;
    client.submit("x@plain.example", INFO, &message).await.starts("550 5.7.26").contains("(trace ");
}

/// RFC 7208 §6.2: in its owner's words, and said to be his.
#[tokio::test]
async fn a_refusal_after_an_spf_fail_says_what_the_domain_has_to_say() {
    let world = World::start().await;
    let records = "@ TXT \"v=spf1 -all exp=why.%{d}\"\nwhy TXT \"%{i} is no host of ours;\" \" see http://%{d}/?s=%{S}\"\n";
    world.dns.add_zone("strict.example", records).unwrap();
    let message = letter("x").replace("sender.example", "strict.example");
    let mut client = world.client(STRANGER, "strict.example").await;
    let heard = client.submit("x@strict.example", INFO, &message).await;
    heard.starts("550 5.7.26").contains("strict.example explains: 127.0.0.20 is no host of ours; see http");
    heard.contains("?s=x%40strict.example)").contains("(trace ");
}

#[tokio::test]
async fn mail_that_nothing_vouches_for_still_reaches_postmaster_and_abuse() {
    let world = World::start().await;
    let message = letter("x").replace("sender.example", "plain.example");
    let mut client = world.client(STRANGER, "plain.example").await;
    for recipient in ["postmaster@ours.example", "abuse@ours.example"] {
        client.submit("x@plain.example", &[recipient], &message).await.starts("250");
    }
}

#[tokio::test]
async fn rfc5322_3_6_there_is_one_from_field_with_an_address() {
    let world = World::start().await;
    let good = letter("x");
    let two = good.replace("To: ", "From: Bob <bob@sender.example>\r\nTo: ");
    let none = good.replace("From: Alice <alice@sender.example>\r\n", "");
    let empty = good.replace("Alice <alice@sender.example>", "nobody in particular");
    let mut client = world.sender().await;
    for message in [two, none, empty] {
        client.submit(ALICE, INFO, &message).await.starts("550 5.6.0");
    }
    client.submit(ALICE, INFO, &good).await.starts("250");
    assert_eq!(world.mx.taken().len(), 1);
}

#[tokio::test]
async fn a_from_field_with_two_domains_meets_the_stricter_policy() {
    let world = World::start().await;
    world.dns.replace("plain.example. 300 IN TXT \"v=spf1 ip4:127.0.0.20 -all\"").unwrap();
    let message =
        letter("x").replace("Alice <alice@sender.example>", "alice@sender.example, x@plain.example");
    let mut client = world.client(STRANGER, "plain.example").await;
    client.submit("x@plain.example", INFO, &message).await.starts("550 5.7.26").contains("sender.example");
}

#[tokio::test]
async fn a_dns_failure_that_would_decide_is_temporary() {
    let world = World::start().await;
    world.dns.behave("s1._domainkey.sender.example.", Behaviour::ServFail).unwrap();
    let mut client = world.client(STRANGER, "forwarder.example").await;
    client.submit(ALICE, INFO, &signed(&letter("x"))).await.starts("451 4.7.");

    let world = World::start().await;
    world.dns.replace("plain.example. 300 IN TXT \"v=spf1 ip4:127.0.0.20 -all\"").unwrap();
    world.dns.behave("_dmarc.sender.example.", Behaviour::ServFail).unwrap();
    let mut client = world.client(STRANGER, "plain.example").await;
    client.submit("x@plain.example", INFO, &letter("x")).await.starts("451 4.7.");
}

#[tokio::test]
async fn a_dns_failure_that_decides_nothing_is_passed_over() {
    let world = World::start().await;
    world.dns.behave("20.0.0.127.in-addr.arpa.", Behaviour::ServFail).unwrap();
    world.dns.behave("s9._domainkey.third.example.", Behaviour::ServFail).unwrap();
    let third = "DKIM-Signature: v=1; a=rsa-sha256; d=third.example; s=s9; h=from; bh=AAAA; b=AAAA\r\n";
    let mut client = world.sender().await;
    client.submit(ALICE, INFO, &format!("{third}{}", signed(&letter("x")))).await.starts("250");
}

#[tokio::test]
async fn rfc7505_4_2_a_sender_whose_domain_takes_no_mail_is_refused() {
    let world = World::start().await;
    world.dns.replace("plain.example. 300 IN MX 0 .").unwrap();
    let mut client = world.client(STRANGER, "plain.example").await;
    client.submit("x@plain.example", INFO, &letter("x")).await.starts("550 5.7.27");
}
