use std::sync::Arc;

use super::*;
use crate::config;
use crate::dev::dns::{Behaviour, DnsServer};
use crate::telemetry::Metrics;

impl Dns {
    /// Forgets what the resolver that asks for the AD bit has cached.
    pub(crate) fn forget_secured(&self) {
        if let Some(resolver) = &self.shared.servers.load().secured {
            resolver.clear_cache();
        }
    }
}

const ZONE: &str = "\
@ MX 10 mx1
mx1 A 192.0.2.1
mx1 AAAA 2001:db8::1
_25._tcp.mx1 TLSA 3 1 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
";

async fn world(trust_ad: TrustAd) -> (DnsServer, Dns) {
    let zones = [("signed.example", ZONE), ("plain.example", ZONE)];
    let server = DnsServer::start(&zones).await.unwrap();
    server.vouch("signed.example").unwrap();
    let config = config::Dns { servers: vec![server.addr()], trust_ad };
    let dns = Dns::new(&config, Arc::new(Metrics::new().unwrap())).unwrap();
    (server, dns)
}

async fn securities(dns: &Dns, domain: &str) -> [Security; 4] {
    let host = format!("mx1.{domain}");
    let (_, mx) = dns.mx_secured(&Domain::parse(domain).unwrap()).await.unwrap();
    [
        mx,
        dns.ipv4_secured(&host).await.unwrap().security,
        dns.ipv6_secured(&host).await.unwrap().security,
        dns.tlsa(&host).await.unwrap().security,
    ]
}

#[tokio::test]
async fn rfc7672_2_1_1_the_ad_bit_of_a_resolver_on_loopback_counts_from_the_cache_too() {
    let (server, dns) = world(TrustAd::Loopback).await;
    for _ in 0..2 {
        assert_eq!(securities(&dns, "signed.example").await, [Security::Secure; 4]);
        assert_eq!(securities(&dns, "plain.example").await, [Security::Insecure; 4]);
    }
    assert_eq!(server.queries("_25._tcp.mx1.signed.example", "TLSA"), 1);
    assert_eq!(server.queries("mx1.signed.example", "A"), 1);
}

#[tokio::test]
async fn nobodys_ad_bit_counts_where_none_is_trusted() {
    let (_server, dns) = world(TrustAd::Never).await;
    assert_eq!(securities(&dns, "signed.example").await, [Security::Insecure; 4]);
}

#[tokio::test]
async fn a_resolver_elsewhere_is_trusted_only_when_told_so() {
    let far = ResolverConfig::from_parts(
        None,
        Vec::new(),
        vec![super::super::name_server(&"192.0.2.53:53".parse().unwrap())],
    );
    let trusted = |trust| resolver(trust, &far, DnsOptions::default()).unwrap().is_some();
    assert!(!trusted(TrustAd::Loopback));
    assert!(trusted(TrustAd::Always));
}

#[tokio::test]
async fn tlsa_records_come_as_they_are() {
    let (server, dns) = world(TrustAd::Loopback).await;
    let records = dns.tlsa("mx1.signed.example").await.unwrap().records;
    assert_eq!((records[0].usage, records[0].selector, records[0].matching), (3, 1, 1));
    assert_eq!(records[0].data.len(), 32);
    let none = dns.tlsa("mx2.signed.example").await.unwrap_err();
    assert!(!none.is_temporary(), "{none}");
    server.behave("_25._tcp.mx3.signed.example", Behaviour::ServFail).unwrap();
    assert!(dns.tlsa("mx3.signed.example").await.unwrap_err().is_temporary());
}

#[tokio::test]
async fn a_chain_of_answers_is_not_vouched_for_by_its_last_link() {
    let (server, dns) = world(TrustAd::Loopback).await;
    let links: String = (0..17)
        .map(|link| format!("link{link}.plain.example CNAME link{}.plain.example\n", link + 1))
        .collect();
    server.replace(&links).unwrap();
    server.replace("link17.plain.example CNAME mx1.signed.example").unwrap();
    server.vouch("link16.plain.example").unwrap();
    for _ in 0..2 {
        let answer = dns.ipv4_secured("link0.plain.example").await.unwrap();
        assert_eq!(answer.security, Security::Insecure);
    }
}

#[tokio::test]
async fn of_a_hosts_addresses_and_tlsa_records_no_more_are_kept_than_anybody_tries() {
    let record = |n| format!("mx A 192.0.2.{n}\nmx AAAA 2001:db8::{n}\n_25._tcp.mx TLSA 3 1 1 {n:064x}\n");
    let zone: String = (1..=25).map(record).collect();
    let server = DnsServer::start(&[("many.example", &zone)]).await.unwrap();
    let config = config::Dns { servers: vec![server.addr()], trust_ad: TrustAd::Loopback };
    let dns = Dns::new(&config, Arc::new(Metrics::new().unwrap())).unwrap();
    let host = "mx.many.example";
    let kept = [
        dns.ipv4_secured(host).await.unwrap().records.len(),
        dns.ipv6_secured(host).await.unwrap().records.len(),
        dns.tlsa(host).await.unwrap().records.len(),
    ];
    assert_eq!(kept, [MAX_ADDRESSES, MAX_ADDRESSES, MAX_TLSA]);
    let all = dns.ipv4(host).await.unwrap().records.len();
    assert_eq!(all, 25, "who asks whether an address is among them hears of each");
}
