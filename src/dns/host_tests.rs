use std::sync::Arc;

use super::*;
use crate::config;
use crate::dev::dns::{Behaviour, DnsServer};
use crate::dns::DnsOptions;
use crate::telemetry::Metrics;

const NAME: &str = "mx1.dest.example";
const ZONE: &str = "mx1 A 192.0.2.1\nmx1 AAAA 2001:db8::1\n";
/// What nobody waits for.
const LONG: Duration = Duration::from_secs(60);

async fn world(time_limit: Duration) -> (DnsServer, Dns) {
    let server = DnsServer::start(&[("dest.example", ZONE)]).await.unwrap();
    let servers = config::Dns { servers: vec![server.addr()], ..Default::default() };
    let options = DnsOptions { time_limit, attempts: 1, cache_entries: 100 };
    let dns = Dns::with_options(&servers, options, Arc::new(Metrics::new().unwrap())).unwrap();
    (server, dns)
}

/// Which families were found.
async fn found(dns: &Dns, will_do: bool) -> (bool, bool) {
    let HostAddresses { ipv6, ipv4 } = dns.host_addresses(NAME, |_| will_do).await;
    (ipv6.is_ok(), ipv4.is_ok())
}

async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never");
}

#[tokio::test]
async fn both_families_are_found() {
    let (_server, dns) = world(LONG).await;
    assert_eq!(found(&dns, true).await, (true, true));
}

#[tokio::test]
async fn rfc8305_3_ipv4_does_not_wait_for_a_question_that_is_dropped() {
    let (server, dns) = world(LONG).await;
    server.behave_for("mx1.dest.example.", "AAAA", Behaviour::Silent).unwrap();
    // The question itself has twice as long.
    let found = tokio::time::timeout(LONG / 2, found(&dns, true)).await.unwrap();
    assert_eq!(found, (false, true));
}

#[tokio::test]
async fn what_comes_late_is_in_the_cache_for_the_next() {
    let (server, dns) = world(LONG).await;
    let late = Behaviour::Delay(RESOLUTION_DELAY * 10);
    server.behave_for("mx1.dest.example.", "AAAA", late).unwrap();
    assert_eq!(found(&dns, true).await, (false, true));
    // No later question has an answer.
    server.behave_for("mx1.dest.example.", "AAAA", Behaviour::Silent).unwrap();
    for _ in 0..1000 {
        if found(&dns, true).await == (true, true) {
            return;
        }
    }
    panic!("never");
}

#[tokio::test]
async fn ipv6_is_waited_for_where_no_ipv4_address_will_do() {
    let (server, dns) = world(LONG).await;
    let late = Behaviour::Delay(RESOLUTION_DELAY * 4);
    server.behave_for("mx1.dest.example.", "AAAA", late).unwrap();
    assert_eq!(found(&dns, false).await, (true, true));
}

#[tokio::test]
async fn a_name_without_an_answer_is_not_asked_again_for_a_while_unless_it_must_be() {
    let (server, dns) = world(Duration::from_millis(200)).await;
    server.behave_for("mx1.dest.example.", "AAAA", Behaviour::Silent).unwrap();
    assert_eq!(found(&dns, true).await, (false, true));
    until(|| dns.shared.slow.has(NAME)).await;
    let asked = server.queries(NAME, "AAAA");
    assert_eq!(found(&dns, true).await, (false, true));
    assert_eq!(server.queries(NAME, "AAAA"), asked);
    server.behave_for("mx1.dest.example.", "AAAA", Behaviour::Answer).unwrap();
    assert_eq!(found(&dns, false).await, (true, true));
}

#[tokio::test(start_paused = true)]
async fn few_names_are_remembered_and_none_for_ever() {
    let slow = Slow::default();
    (0..MAX_REMEMBERED + 10).for_each(|number| slow.note(&number.to_string()));
    assert_eq!(slow.unanswered.lock().len(), MAX_REMEMBERED);
    tokio::time::advance(PAUSE).await;
    assert!(!slow.has("0"));
    slow.note("new");
    assert_eq!(slow.unanswered.lock().len(), 1);
}
