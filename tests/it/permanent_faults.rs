//! What will not mend itself is never answered 4xx: its sender would try for five days and then hear nothing better. A
//! table of the faults that DNS and records can have for good, by method, each in a message that hangs on nothing
//! else and in one that something else speaks for. `docs/authentication.md` is the same table for people.

use std::sync::LazyLock;

use postroad::dev::dns::Data;
use postroad::dev::keys::signature;
use postroad::mail::dkim::NewKey;

use crate::support::{SENDER_NAME, STRANGER, World};

/// What the message hears when nothing passes.
const REFUSED: &str = "550 5.7.26";
/// What it hears when something else speaks for it.
const TAKEN: &str = "250";
/// Lets the client send.
const GOOD_SPF: &str = "@ TXT \"v=spf1 ip4:127.0.0.20 -all\"\n";

static KEY: LazyLock<NewKey> = LazyLock::new(|| NewKey::generate().unwrap());

/// Of the sender's domain, at its name or for lack of one below it.
const SPF: &[(&str, &str)] = &[
    ("no record", "@ A 192.0.2.1\n"),
    ("no such name", ""),
    ("two records", "@ TXT \"v=spf1 +all\"\n@ TXT \"v=spf1 ?all\"\n"),
    ("a syntax error", "@ TXT \"v=spf1 ip4:127.0.0.300 +all\"\n"),
    ("an octet that is not ASCII", "@ TXT \"v=spf1 ä +all\"\n"),
    ("an include without record", "@ TXT \"v=spf1 include:nowhere.example +all\"\n"),
    ("a redirect without record", "@ TXT \"v=spf1 redirect=nowhere.example\"\n"),
    ("an include of no name", "@ TXT \"v=spf1 include:a..example +all\"\n"),
    ("an include of one label", "@ TXT \"v=spf1 include:%{l} +all\"\n"),
    ("a loop of includes", "@ TXT \"v=spf1 include:%{d} +all\"\n"),
    ("a loop of redirects", "@ TXT \"v=spf1 redirect=%{d}\"\n"),
    ("three void look-ups", "@ TXT \"v=spf1 a:a.%{d} a:b.%{d} a:c.%{d} +all\"\n"),
    (
        "eleven MX hosts",
        "@ TXT \"v=spf1 mx +all\"\n@ MX 1 a\n@ MX 2 b\n@ MX 3 c\n@ MX 4 d\n@ MX 5 e\n@ MX 6 f\n@ MX 7 g\n@ MX 8 h\n@ MX 9 i\n\
         @ MX 10 j\n@ MX 11 k\n",
    ),
    ("an alias of nothing", "mail CNAME gone\n"),
    ("a target that is no name", "@ TXT \"v=spf1 exists:.%{l} -all\"\n"),
];

/// At `s1._domainkey`; `K` is the value of a good key.
const DKIM: &[(&str, &str)] = &[
    ("no such name", ""),
    ("no record", "s1._domainkey A 192.0.2.1\n"),
    ("an alias of nothing", "s1._domainkey CNAME nowhere\n"),
    ("a revoked key", "s1._domainkey TXT \"v=DKIM1; p=\"\n"),
    ("no tag list", "s1._domainkey TXT \"DKIM1\"\n"),
    ("no key in it", "s1._domainkey TXT \"v=DKIM1; k=rsa\"\n"),
    ("a key that is no base64", "s1._domainkey TXT \"v=DKIM1; p=!!!!\"\n"),
    ("a key that is none", "s1._domainkey TXT \"v=DKIM1; p=QUJDREVGR0g=\"\n"),
    ("a key of another kind", "s1._domainkey TXT \"v=DKIM1; k=ed25519; p=\" K\n"),
    ("an unknown kind of key", "s1._domainkey TXT \"v=DKIM1; k=mayo; p=\" K\n"),
    ("another version", "s1._domainkey TXT \"v=DKIM2; p=\" K\n"),
    ("the version not first", "s1._domainkey TXT \"k=rsa; v=DKIM1; p=\" K\n"),
    ("a key for something else", "s1._domainkey TXT \"v=DKIM1; s=tlsrpt; p=\" K\n"),
    ("a key for another hash", "s1._domainkey TXT \"v=DKIM1; h=sha1; p=\" K\n"),
    ("a duplicate tag", "s1._domainkey TXT \"v=DKIM1; k=rsa; k=rsa; p=\" K\n"),
    ("a key for tests", "s1._domainkey TXT \"v=DKIM1; t=y; p=\" K\n"),
];

/// At `_dmarc`, for a message that SPF speaks for and that is not aligned: a policy that is none refuses nothing.
const DMARC: &[(&str, &str)] = &[
    ("no such name", ""),
    ("no record", "_dmarc A 192.0.2.1\n"),
    ("an alias of nothing", "_dmarc CNAME nowhere\n"),
    ("two records", "_dmarc TXT \"v=DMARC1; p=reject\"\n_dmarc TXT \"v=DMARC1; p=reject;\"\n"),
    ("another version", "_dmarc TXT \"v=DMARC2; p=reject\"\n"),
    ("the version not first", "_dmarc TXT \"p=reject; v=DMARC1\"\n"),
    ("no policy", "_dmarc TXT \"v=DMARC1; sp=reject\"\n"),
    ("a policy that is none", "_dmarc TXT \"v=DMARC1; p=refuse\"\n"),
];

/// Of the client, which says HELO as `mail` of the zone and sends a bounce: its address must be its name's.
const REVERSE: &[(&str, &str, &str)] = &[
    ("no such name", "", "mail A 127.0.0.20\n"),
    ("an alias of nothing", "20.0.0 CNAME nowhere.example.\n", "mail A 127.0.0.20\n"),
    ("a name without address", "20.0.0 PTR mail.D.\n", "mail TXT \"x\"\n"),
    ("a name that does not exist", "20.0.0 PTR mail.D.\n", ""),
    ("a name of another address", "20.0.0 PTR mail.D.\n", "mail A 192.0.2.1\n"),
    ("the root for a name", "20.0.0 PTR .\n", "mail A 127.0.0.20\n"),
];

#[tokio::test]
async fn rfc7208_a_fault_of_spf_is_no_pass_and_no_temporary_failure() {
    let world = World::start().await;
    for (number, (fault, zone)) in SPF.iter().enumerate() {
        let domain = format!("spf{number}.example");
        world.dns.add_zone(&domain, &with_key(zone, "")).unwrap();
        let signed = sign(&letter(&domain), &domain, "s2");
        world
            .dns
            .publish(format!("s2._domainkey.{domain}").as_bytes(), &Data::Txt(&[record().as_bytes()]))
            .unwrap();
        // Where the zone itself says nothing of it, the sender is at a name below.
        let sender = if zone.contains('@') { format!("x@{domain}") } else { format!("x@mail.{domain}") };
        hears(&world, &sender, &letter(&domain), REFUSED, &format!("SPF, {fault}")).await;
        hears(&world, &sender, &signed, TAKEN, &format!("SPF, {fault}, signed")).await;
    }
}

#[tokio::test]
async fn rfc6376_a_fault_of_a_key_is_no_pass_and_no_temporary_failure() {
    let world = World::start().await;
    for (number, (fault, zone)) in DKIM.iter().enumerate() {
        let domain = format!("dkim{number}.example");
        world.dns.add_zone(&domain, &with_key(zone, GOOD_SPF)).unwrap();
        let signed = sign(&letter(&domain), &domain, "s1");
        hears(&world, "x@nowhere.example", &signed, REFUSED, &format!("DKIM, {fault}")).await;
        hears(&world, &format!("x@{domain}"), &signed, TAKEN, &format!("DKIM, {fault}, SPF passes")).await;
    }
}

#[tokio::test]
async fn rfc6376_a_selector_that_cannot_be_asked_for_is_no_temporary_failure() {
    let world = World::start().await;
    world.dns.add_zone("odd.example", GOOD_SPF).unwrap();
    for selector in ["x".repeat(64), vec!["x".repeat(60); 4].join("."), "a..b".into(), "under_score".into()] {
        let signed = sign(&letter("odd.example"), "odd.example", &selector);
        hears(&world, "x@nowhere.example", &signed, REFUSED, &format!("DKIM, selector {selector}")).await;
    }
}

#[tokio::test]
async fn rfc9989_a_fault_of_a_policy_is_no_policy_and_no_temporary_failure() {
    let world = World::start().await;
    world.dns.add_zone("good.example", GOOD_SPF).unwrap();
    for (number, (fault, zone)) in DMARC.iter().enumerate() {
        let domain = format!("dmarc{number}.example");
        world.dns.add_zone(&domain, zone).unwrap();
        hears(&world, "x@good.example", &letter(&domain), TAKEN, &format!("DMARC, {fault}")).await;
    }
    let long = format!("{}.dmarc0.example", vec!["x".repeat(57); 4].join("."));
    hears(&world, "x@good.example", &letter(&long), TAKEN, "DMARC, a name too long to be asked for").await;
}

#[tokio::test]
async fn rfc8601_a_fault_of_reverse_dns_confirms_nothing_and_is_no_temporary_failure() {
    for (number, (fault, reverse, forward)) in REVERSE.iter().enumerate() {
        let world = World::start().await;
        let domain = format!("ptr{number}.example");
        world.dns.add_zone(&domain, forward).unwrap();
        world.dns.add_zone("127.in-addr.arpa", &reverse.replace('D', &domain)).unwrap();
        let mut client = world.client(STRANGER, &format!("mail.{domain}")).await;
        let heard = client.submit("", &["info@ours.example"], &letter(&domain)).await;
        assert!(heard.text().starts_with(REFUSED), "PTR, {fault}: {}", heard.text());
    }
}

/// RFC 8617 §5.2: a chain whose key is not there fails, which refuses nothing.
#[tokio::test]
async fn rfc8617_a_fault_of_an_arc_key_is_no_temporary_failure() {
    let world = World::start().await;
    world.dns.add_zone("good.example", GOOD_SPF).unwrap();
    let set = "ARC-Seal: i=1; a=rsa-sha256; cv=none; d=gone.good.example; s=s; b=QUJD\r\n\
        ARC-Message-Signature: i=1; a=rsa-sha256; d=gone.good.example; s=s; h=from; bh=QUJD; b=QUJD\r\n\
        ARC-Authentication-Results: i=1; gone.good.example; none\r\n";
    let message = format!("{set}{}", letter("good.example"));
    hears(&world, "x@good.example", &message, TAKEN, "ARC, no key").await;
    assert!(world.mx.only().text().contains("arc=fail"));
}

async fn hears(world: &World, reverse_path: &str, message: &str, expected: &str, case: &str) {
    let mut client = world.client(STRANGER, SENDER_NAME).await;
    let heard = client.submit(reverse_path, &["info@ours.example"], message).await;
    assert!(heard.text().starts_with(expected), "{case}: expected {expected}, heard {}", heard.text());
}

fn letter(domain: &str) -> String {
    crate::support::letter("fault").replace("sender.example", domain)
}

fn sign(message: &str, domain: &str, selector: &str) -> String {
    signature(&KEY, domain, selector, message.as_bytes()).unwrap() + message
}

/// The key's record in one string.
fn record() -> String {
    KEY.record().split('"').enumerate().filter(|(place, _)| place % 2 == 1).map(|(_, text)| text).collect()
}

/// A zone with the good key where `K` stands in it.
fn with_key(zone: &str, more: &str) -> String {
    let record = record();
    let key = record.split_once("p=").unwrap().1;
    let strings: Vec<String> =
        key.as_bytes().chunks(200).map(|part| format!("\"{}\"", String::from_utf8_lossy(part))).collect();
    format!("{more}{}", zone.replace(" K\n", &format!(" {}\n", strings.join(" "))))
}
