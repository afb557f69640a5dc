use super::*;
use crate::dev::dns::{Behaviour, DnsServer};

const ZONE: &str = "\
@ 60 SOA ns hostmaster 1 3600 600 86400 30
@ MX 10 mx1
@ MX 20 mx2
@ TXT \"v=spf1 \" \"-all\"
@ TXT \"other\"
mx1 A 192.0.2.1
mx1 A 192.0.2.2
mx1 AAAA 2001:db8::1
week 604800 A 192.0.2.3
www CNAME mx1
null MX 0 .
alias CNAME null
literal MX 10 192.0.2.1.
host A 192.0.2.9
a.b.c A 192.0.2.4
";

struct World {
    server: DnsServer,
    dns: Dns,
    metrics: Arc<Metrics>,
}

impl World {
    async fn new(options: DnsOptions) -> Self {
        let zones = [
            ("example.com", ZONE),
            ("2.0.192.in-addr.arpa", "1 PTR MX1.Example.com.\n1 PTR other.example.\n"),
            ("8.b.d.0.1.0.0.2.ip6.arpa", &format!("1{} PTR mx1.example.com.\n", ".0".repeat(23))),
        ];
        let server = DnsServer::start(&zones).await.unwrap();
        let metrics = Arc::new(Metrics::new().unwrap());
        let config = config::Dns { servers: vec![server.addr()], ..Default::default() };
        let dns = Dns::with_options(&config, options, metrics.clone()).unwrap();
        Self { server, dns, metrics }
    }

    async fn mx(&self, name: &str) -> Result<MailHosts, DnsError> {
        self.dns.mx(&Domain::parse(name).unwrap()).await
    }

    fn counted(&self, record_type: &str, result: &str) -> u64 {
        self.metrics.dns_lookups_total.with_label_values(&[record_type, result]).get()
    }
}

async fn world() -> World {
    World::new(DnsOptions::default()).await
}

/// One attempt of 200 ms: for names that never answer.
async fn hasty_world() -> World {
    World::new(DnsOptions { time_limit: Duration::from_millis(200), attempts: 1, cache_entries: 100 }).await
}

fn seconds_left(until: Instant) -> u64 {
    until.saturating_duration_since(Instant::now()).as_secs()
}

#[tokio::test]
async fn addresses_are_found_whatever_the_case_and_the_trailing_dot() {
    let world = world().await;
    for name in ["mx1.example.com", "MX1.Example.COM", "mx1.example.com."] {
        let answer = world.dns.ipv4(name).await.unwrap();
        assert_eq!(answer.records, [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)]);
        assert!((270..=300).contains(&seconds_left(answer.valid_until)));
    }
    let answer = world.dns.ipv6("mx1.example.com").await.unwrap();
    assert_eq!(answer.records, ["2001:db8::1".parse::<Ipv6Addr>().unwrap()]);
}

#[tokio::test]
async fn names_are_absolute_and_no_search_list_applies() {
    let world = world().await;
    let error = world.dns.ipv4("mx1").await.unwrap_err();
    assert!(matches!(&error, DnsError::NoSuchName { name, .. } if name == "mx1"), "{error}");
    assert_eq!(world.server.queries("mx1", "A"), 1);
}

#[tokio::test]
async fn texts_that_are_no_names_are_not_asked_for() {
    let world = world().await;
    for name in ["", "[192.0.2.1]", &"a".repeat(64), &"a.".repeat(200), "a..b", "ü.example"] {
        let error = world.dns.ipv4(name).await.unwrap_err();
        assert!(matches!(error, DnsError::NotAName { .. }), "{name}: {error}");
        assert!(!error.is_temporary());
    }
    let literal = world.mx("[192.0.2.1]").await.unwrap_err();
    assert!(matches!(literal, DnsError::NotAName { .. }), "{literal}");
}

#[tokio::test]
async fn rfc7208_3_3_strings_of_a_txt_record_are_joined() {
    let answer = world().await.dns.txt("example.com").await.unwrap();
    assert_eq!(answer.records, [b"v=spf1 -all".to_vec(), b"other".to_vec()]);
}

#[tokio::test]
async fn ptr_names_are_lower_case_without_trailing_dot() {
    let world = world().await;
    let names = ["mx1.example.com", "other.example"];
    for ip in ["192.0.2.1", "::ffff:192.0.2.1"] {
        assert_eq!(world.dns.ptr(ip.parse().unwrap()).await.unwrap().records, names, "{ip}");
    }
    let answer = world.dns.ptr("2001:db8::1".parse().unwrap()).await.unwrap();
    assert_eq!(answer.records, ["mx1.example.com"]);
}

#[tokio::test]
async fn rfc6761_6_3_loopback_addresses_are_localhost_unasked() {
    let answer = world().await.dns.ptr("127.0.0.66".parse().unwrap()).await.unwrap();
    assert_eq!(answer.records, ["localhost"]);
}

#[tokio::test]
async fn rfc5321_5_1_mx_hosts_come_by_preference() {
    let MailHosts::Hosts(hosts) = world().await.mx("example.com").await.unwrap() else { panic!("no hosts") };
    let hosts: Vec<_> = hosts.iter().map(|host| (host.preference, host.name.as_str())).collect();
    assert_eq!(hosts, [(10, "mx1.example.com"), (20, "mx2.example.com")]);
}

#[tokio::test]
async fn rfc5321_5_1_a_name_without_mx_is_its_own_host() {
    let world = world().await;
    let host = Domain::parse("host.example.com").unwrap();
    assert_eq!(world.mx("host.example.com").await.unwrap(), MailHosts::Implicit(host));
}

#[tokio::test]
async fn rfc5321_5_1_a_name_that_does_not_exist_is_an_error_and_permanent() {
    let error = world().await.mx("nowhere.example.com").await.unwrap_err();
    assert!(matches!(error, DnsError::NoSuchName { .. }), "{error}");
    assert!(!error.is_temporary());
}

#[tokio::test]
async fn rfc8020_2_a_name_with_names_below_it_exists() {
    let error = world().await.dns.ipv4("b.c.example.com").await.unwrap_err();
    assert!(matches!(error, DnsError::NoRecords { .. }), "{error}");
}

#[tokio::test]
async fn rfc7505_3_a_null_mx_is_found_through_a_cname_too() {
    let world = world().await;
    assert_eq!(world.mx("null.example.com").await.unwrap(), MailHosts::Null);
    assert_eq!(world.mx("alias.example.com").await.unwrap(), MailHosts::Null);
}

#[tokio::test]
async fn an_mx_that_names_an_address_is_no_host() {
    let error = world().await.mx("literal.example.com").await.unwrap_err();
    assert!(matches!(error, DnsError::NoUsableMx { .. }), "{error}");
}

#[tokio::test]
async fn rfc1034_3_6_2_cname_chains_are_followed_across_zones() {
    let world = world().await;
    world.server.replace("far.example.com CNAME elsewhere.2.0.192.in-addr.arpa").unwrap();
    world.server.replace("elsewhere.2.0.192.in-addr.arpa 20 CNAME www.example.com").unwrap();
    let answer = world.dns.ipv4("far.example.com").await.unwrap();
    assert_eq!(answer.records.len(), 2);
    assert!(seconds_left(answer.valid_until) <= 20, "the shortest TTL of the chain counts");
}

#[tokio::test]
async fn a_cname_loop_ends_without_records() {
    let world = world().await;
    world.server.replace("x.example.com CNAME y.example.com\ny.example.com CNAME x.example.com").unwrap();
    assert!(world.dns.ipv4("x.example.com").await.is_err());
}

#[tokio::test]
async fn rfc7766_5_a_truncated_answer_is_asked_for_again_over_tcp() {
    let world = world().await;
    let records: Vec<String> = (0..200).map(|n| format!("big.example.com A 198.51.100.{n}\n")).collect();
    world.server.replace(&records.concat()).unwrap();
    assert_eq!(world.dns.ipv4("big.example.com").await.unwrap().records.len(), 200);
    assert_eq!(world.server.queries_over_tcp("big.example.com", "A"), 1);
}

#[tokio::test]
async fn rfc7208_2_6_6_rcodes_other_than_0_and_3_are_temporary() {
    let world = world().await;
    world.server.behave("mx1.example.com", Behaviour::ServFail).unwrap();
    let error = world.dns.ipv4("mx1.example.com").await.unwrap_err();
    assert!(
        matches!(error, DnsError::Temporary { cause: Cause::ResponseCode(2), .. }),
        "SERVFAIL is RCODE 2: {error}"
    );
    assert!(error.is_temporary());
    assert_eq!(world.server.queries("mx1.example.com", "A"), 2, "two attempts");
    world.server.behave("mx1.example.com", Behaviour::Answer).unwrap();
    assert!(world.dns.ipv4("mx1.example.com").await.is_ok(), "failures are not cached");
}

#[tokio::test]
async fn a_server_that_never_answers_is_a_time_out_and_temporary() {
    let world = hasty_world().await;
    world.server.behave("mx1.example.com", Behaviour::Silent).unwrap();
    let error = world.dns.ipv4("mx1.example.com").await.unwrap_err();
    assert!(matches!(error, DnsError::Temporary { cause: Cause::TimedOut, .. }), "{error}");
    assert!(error.is_temporary());
    assert_eq!(world.counted("A", "timeout"), 1);
}

#[tokio::test]
async fn a_long_cname_chain_of_slow_servers_ends_at_the_time_limit() {
    let world = hasty_world().await;
    // The server gives 16 links an answer, so that this chain takes three questions of 150 ms.
    for link in 0..48 {
        let (name, next) = (format!("link{link}.example.com"), format!("link{}.example.com", link + 1));
        world.server.replace(&format!("{name} CNAME {next}")).unwrap();
        world.server.behave(&name, Behaviour::Delay(Duration::from_millis(150))).unwrap();
    }
    let error = world.dns.ipv4("link0.example.com").await.unwrap_err();
    assert!(matches!(error, DnsError::Temporary { cause: Cause::TimedOut, .. }), "{error}");
    assert_eq!(world.server.queries("link32.example.com", "A"), 0);
}

#[tokio::test]
async fn who_does_not_wait_any_more_hears_what_is_known_and_no_more() {
    let world = world().await;
    world.dns.ipv4("mx1.example.com").await.unwrap();
    world.server.behave("mx1.example.com", Behaviour::Silent).unwrap();
    let late = world.dns.until(tokio::time::Instant::now());
    assert!(late.ipv4("mx1.example.com").await.is_ok());
    let error = late.ipv6("mx1.example.com").await.unwrap_err();
    assert!(matches!(error, DnsError::Temporary { cause: Cause::TimedOut, .. }), "{error}");
}

#[tokio::test]
async fn an_unreachable_server_is_temporary() {
    let config = config::Dns { servers: vec!["127.0.0.1:9".parse().unwrap()], ..Default::default() };
    let options = DnsOptions { time_limit: Duration::from_millis(300), ..DnsOptions::default() };
    let dns = Dns::with_options(&config, options, Arc::new(Metrics::new().unwrap())).unwrap();
    let error = dns.ipv4("mx1.example.com").await.unwrap_err();
    assert!(error.is_temporary(), "{error}");
}

#[tokio::test]
async fn answers_are_cached() {
    let world = world().await;
    for _ in 0..3 {
        world.dns.ipv4("mx1.example.com").await.unwrap();
        world.mx("example.com").await.unwrap();
    }
    assert_eq!(world.server.queries("mx1.example.com", "A"), 1);
    assert_eq!(world.server.queries("example.com", "MX"), 1);
}

#[tokio::test]
async fn responses_that_take_much_memory_are_not_kept() {
    let world = world().await;
    let strings = |count: usize| "\"\" ".repeat(count);
    world
        .server
        .replace(&format!("large.example.com TXT {}\nsmall.example.com TXT {}", strings(1500), strings(500)))
        .unwrap();
    for _ in 0..2 {
        assert_eq!(world.dns.txt("large.example.com").await.unwrap().records, [b""]);
        assert_eq!(world.dns.txt("small.example.com").await.unwrap().records, [b""]);
    }
    assert_eq!(world.server.queries_over_tcp("large.example.com", "TXT"), 2);
    assert_eq!(world.server.queries("small.example.com", "TXT"), 1);
}

#[tokio::test]
async fn a_fresh_look_up_sees_what_the_cache_does_not() {
    let world = world().await;
    world.dns.ipv4("host.example.com").await.unwrap();
    world.server.replace("host.example.com A 203.0.113.1").unwrap();
    assert_eq!(world.dns.ipv4("host.example.com").await.unwrap().records, [Ipv4Addr::new(192, 0, 2, 9)]);
    let fresh = world.dns.ipv4_afresh("host.example.com").await.unwrap();
    assert_eq!(fresh.records, [Ipv4Addr::new(203, 0, 113, 1)]);
    assert_eq!(world.dns.ipv4("host.example.com").await.unwrap().records, fresh.records);
}

#[tokio::test]
async fn rfc2308_5_negative_answers_are_cached_by_their_soa() {
    let world = world().await;
    for _ in 0..3 {
        let DnsError::NoSuchName { valid_until, .. } =
            world.dns.ipv4("nowhere.example.com").await.unwrap_err()
        else {
            panic!("the name does not exist")
        };
        assert!((10..=30).contains(&seconds_left(valid_until)), "the SOA's minimum is 30 s");
        let DnsError::NoRecords { valid_until, .. } = world.dns.ipv6("host.example.com").await.unwrap_err()
        else {
            panic!("the name has an A record only")
        };
        assert!((10..=30).contains(&seconds_left(valid_until)));
    }
    assert_eq!(world.server.queries("nowhere.example.com", "A"), 1);
    assert_eq!(world.server.queries("host.example.com", "AAAA"), 1);
}

#[tokio::test]
async fn rfc2308_5_negative_answers_without_soa_are_not_cached() {
    let world = world().await;
    for _ in 0..2 {
        assert!(world.dns.ipv4("outside.example.org").await.is_err());
    }
    assert_eq!(world.server.queries("outside.example.org", "A"), 2);
}

#[tokio::test]
async fn rfc1035_3_2_1_a_ttl_of_zero_is_for_one_look_up() {
    let world = world().await;
    world.server.replace("short.example.com 0 A 192.0.2.5").unwrap();
    for _ in 0..2 {
        world.dns.ipv4("short.example.com").await.unwrap();
    }
    assert_eq!(world.server.queries("short.example.com", "A"), 2);
}

#[tokio::test]
async fn rfc8767_4_no_answer_is_kept_longer_than_a_day() {
    let answer = world().await.dns.ipv4("week.example.com").await.unwrap();
    assert!(seconds_left(answer.valid_until) <= MAX_POSITIVE_TTL.as_secs());
}

#[tokio::test]
async fn equal_questions_at_a_time_become_one_query() {
    let world = world().await;
    world.server.behave("mx1.example.com", Behaviour::Delay(Duration::from_millis(50))).unwrap();
    let asked = (0..50).map(|_| world.dns.ipv4("mx1.example.com"));
    for answer in futures_util::future::join_all(asked).await {
        answer.unwrap();
    }
    assert_eq!(world.server.queries("mx1.example.com", "A"), 1);
}

#[tokio::test]
async fn look_ups_are_counted_by_type_and_result() {
    let world = world().await;
    assert_eq!(world.counted("TXT", "no_such_name"), 0);
    let _ = world.mx("example.com").await;
    let _ = world.mx("host.example.com").await;
    let _ = world.dns.txt("nowhere.example.com").await;
    world.server.behave("mx1.example.com", Behaviour::ServFail).unwrap();
    let _ = world.dns.ipv6("mx1.example.com").await;
    assert_eq!(world.counted("MX", "found"), 1);
    assert_eq!(world.counted("MX", "no_records"), 1);
    assert_eq!(world.counted("TXT", "no_such_name"), 1);
    assert_eq!(world.counted("AAAA", "error"), 1);
}
