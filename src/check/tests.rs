use std::sync::Arc;

use super::*;
use crate::config::test_files::Files;
use crate::config::{self, Config};
use crate::dev::dns::{Behaviour, DnsServer};
use crate::dns::DnsOptions;
use crate::telemetry::Metrics;

/// A server with these zones and a resolver that asks it; a look-up ends after half a second.
pub(super) async fn dns_of(zones: &[(&str, &str)]) -> (DnsServer, Dns) {
    let server = DnsServer::start(zones).await.unwrap();
    let config = config::Dns { servers: vec![server.addr()], ..Default::default() };
    let options = DnsOptions { time_limit: Duration::from_millis(500), ..DnsOptions::default() };
    let dns = Dns::with_options(&config, options, Arc::new(Metrics::new().unwrap())).unwrap();
    (server, dns)
}

const WORLD: &[(&str, &str)] = &[
    (
        "relay.example",
        "email A 192.0.2.1\n\
         linda.mx A 192.0.2.2\nlinda.mx AAAA 2001:db8::2\n\
         _spf.mx TXT \"v=spf1 ip4:192.0.2.0/29 -all\"\n\
         out.email A 192.0.2.1\nwrong.email A 192.0.2.99\n",
    ),
    ("2.0.192.in-addr.arpa", "1 PTR out.email.relay.example.\n9 PTR pool-9.isp.example.\n"),
    ("bl.example", "2.0.0.127 A 127.0.0.2\n"),
    ("all.example", "*.0.0.127 A 127.0.0.2\n"),
    ("none.example", "x A 127.0.0.2\n"),
    ("closed.example", "*.0.0.127 A 127.255.255.254\n"),
    ("silent.example", "x A 127.0.0.2\n"),
];

async fn findings(lines: &str) -> Vec<String> {
    let files = Files::new();
    let config = Config::parse(&files.with(lines), &[]).unwrap();
    let (server, dns) = dns_of(WORLD).await;
    server.behave("2.0.0.127.silent.example", Behaviour::Silent).unwrap();
    check(&config, &dns).await.iter().map(ToString::to_string).collect()
}

fn assert_has(findings: &[String], line: &str) {
    assert!(findings.iter().any(|finding| finding.contains(line)), "{line} in {findings:#?}");
}

#[tokio::test]
async fn outbound_addresses_are_held_against_ptr_forward_and_spf() {
    let found = findings(
        "service.spf_name = '_spf.mx.relay.example'\ndelivery = { source = [\n\
         { address = '192.0.2.1', hostname = 'out.email.relay.example' },\n\
         { address = '192.0.2.9', hostname = 'wrong.email.relay.example' },\n\
         { address = '192.0.2.10', hostname = 'none.email.relay.example' } ] }",
    )
    .await;
    for line in [
        "ok    ptr    192.0.2.1 is out.email.relay.example",
        "ok    dns    out.email.relay.example has 192.0.2.1",
        "ok    spf    192.0.2.1: pass by _spf.mx.relay.example",
        "FAIL  ptr    192.0.2.9 is pool-9.isp.example, want wrong.email.relay.example",
        "FAIL  dns    wrong.email.relay.example does not have 192.0.2.9",
        "FAIL  spf    192.0.2.9: fail by _spf.mx.relay.example",
        "FAIL  ptr    192.0.2.10, want none.email.relay.example: ",
        "FAIL  dns    none.email.relay.example, want 192.0.2.10: ",
    ] {
        assert_has(&found, line);
    }
}

#[tokio::test]
async fn names_keys_disk_and_certificates_are_looked_at() {
    let found = findings("smtp = { certificate_file = '@chain.pem', private_key_file = '@key.pem' }").await;
    for line in [
        "ok    dns    service.domain email.relay.example is 192.0.2.1",
        "ok    dns    node.hostname linda.mx.relay.example is 192.0.2.2, 2001:db8::2",
        "FAIL  dkim   2022._domainkey.email.relay.example is not published: ",
        "ok    disk   ",
        "ok    tls    smtp certificate is good until 4096-01-01T00:00:00Z",
        "warn  ptr    delivery.source is empty",
    ] {
        assert_has(&found, line);
    }
    let found = findings("service.mx = [{ hostname = 'gone.relay.example', preference = 1 }]").await;
    assert_has(&found, "FAIL  dns    service.mx gone.relay.example has no address (A, AAAA)");
    assert_has(&found, "warn  tls    smtp.certificate_file is not set: STARTTLS is not offered");
}

#[tokio::test]
async fn rfc5782_5_dnsbls_answer_their_test_points() {
    let zones: Vec<String> = ["bl", "all", "none", "closed", "silent"]
        .iter()
        .map(|name| format!("{{ name = '{name}', zone = '{name}.example' }}"))
        .collect();
    let found = findings(&format!("dnsbl = [{}]", zones.join(", "))).await;
    for line in [
        "ok    dnsbl  bl answers its test points for IPv4, has none for IPv6",
        "FAIL  dnsbl  all lists 127.0.0.1, so everybody",
        "FAIL  dnsbl  none does not list 127.0.0.2",
        "FAIL  dnsbl  closed refuses our queries with 127.255.255.254",
        "FAIL  dnsbl  silent does not answer",
    ] {
        assert_has(&found, line);
    }
}

#[tokio::test]
async fn a_subscribers_key_is_asked_with_and_not_shown() {
    let found = findings("dnsbl = [{ name = 'bl', zone = 'bl.example', key_file = '@dnsbl.key' }]").await;
    assert_has(&found, "FAIL  dnsbl  bl does not list 127.0.0.2");
    assert!(!found.concat().contains("subscriber1"));
}

#[tokio::test(start_paused = true)]
async fn a_check_that_hangs_is_a_failure() {
    let hangs: Check<'_> = Box::pin(std::future::pending());
    let found = within_time(("spf", hangs)).await;
    assert_eq!(found[0].to_string(), "FAIL  spf    no result within 20 s");
}
