use super::*;
use crate::config;
use crate::dev::dns::{Behaviour, DnsServer};
use crate::telemetry::Metrics;
use std::sync::Arc;

struct World {
    server: DnsServer,
    dns: Dns,
}

impl World {
    /// A small internet with the zone example.com, and the reverse zones of the clients below.
    async fn with(records: &str) -> Self {
        let reverse = "10.2 PTR mx.example.com.\n77.2 PTR other.example.com.\n";
        let zones = [("example.com", records), ("0.192.in-addr.arpa", reverse)];
        let server = DnsServer::start(&zones).await.unwrap();
        let config = config::Dns { servers: vec![server.addr()], ..Default::default() };
        let dns = Dns::new(&config, Arc::new(Metrics::new().unwrap())).unwrap();
        Self { server, dns }
    }

    async fn check(&self, sender: &Sender) -> Checked {
        check_host(&self.dns, sender).await
    }

    /// The verdict on `ann@DOMAIN` from 192.0.2.10.
    async fn verdict(&self, domain: &str) -> SpfVerdict {
        self.check(&ann(domain)).await.verdict
    }

    fn asked(&self, name: &str, record_type: &str) -> usize {
        self.server.queries(name, record_type)
    }
}

fn ann(domain: &str) -> Sender {
    Sender {
        ip: "192.0.2.10".parse().unwrap(),
        helo: "mx.example.com".into(),
        local: "ann".into(),
        domain: domain.into(),
    }
}

fn by_ip6(domain: &str) -> Sender {
    Sender { ip: "2001:db8::10".parse().unwrap(), ..ann(domain) }
}

/// The verdict on `ann@example.com`, whose zone this is.
async fn verdict(records: &str) -> SpfVerdict {
    World::with(records).await.verdict("example.com").await
}

#[tokio::test]
async fn rfc7208_4_3_a_domain_that_cannot_have_a_policy_has_none_and_is_not_asked_for() {
    let world = World::with("@ TXT \"v=spf1 -all\"\n").await;
    let long = format!("{}.example.com", "x".repeat(64));
    for domain in ["com", "", ".", "a..example.com", ".example.com", "[192.0.2.10]", "[IPv6:::1]", &long] {
        let checked = world.check(&ann(domain)).await;
        assert_eq!(checked.verdict, SpfVerdict::None, "{domain}");
    }
    assert_eq!(world.verdict("example.com").await, SpfVerdict::Fail);
    assert_eq!(world.verdict("EXAMPLE.com.").await, SpfVerdict::Fail);
    assert_eq!(world.verdict("nowhere.example.com").await, SpfVerdict::None);
}

#[tokio::test]
async fn rfc7208_4_4_a_record_that_cannot_be_had_is_a_temporary_error() {
    let world = World::with("@ TXT \"v=spf1 include:broken.example.com +all\"\n").await;
    world.server.behave("broken.example.com", Behaviour::ServFail).unwrap();
    assert_eq!(world.verdict("broken.example.com").await, SpfVerdict::TempError);
    assert_eq!(world.verdict("example.com").await, SpfVerdict::TempError, "through an include too");
}

#[tokio::test]
async fn rfc7208_4_6_an_error_behind_the_match_is_found_before_anything_is_asked() {
    let world = World::with("@ TXT \"v=spf1 a +all moo\"\n@ A 192.0.2.10\n").await;
    let checked = world.check(&ann("example.com")).await;
    assert_eq!(checked.verdict, SpfVerdict::PermError);
    assert!(matches!(checked.fault, Some(Fault::Syntax { domain, .. }) if domain == "example.com"));
    assert_eq!(world.asked("example.com", "A"), 0);
}

#[tokio::test]
async fn rfc7208_5_2_the_qualifier_is_the_outer_one_however_deep_the_match() {
    let records = "outer TXT \"v=spf1 ?include:middle.example.com -all\"\nfail TXT \"v=spf1 -include:middle.example.com ~all\"\n\
        middle TXT \"v=spf1 include:inner.example.com -all\"\ninner TXT \"v=spf1 ip4:192.0.2.0/24 -all\"\n";
    let world = World::with(records).await;
    assert_eq!(world.verdict("outer.example.com").await, SpfVerdict::Neutral);
    assert_eq!(world.verdict("fail.example.com").await, SpfVerdict::Fail);
    assert_eq!(world.verdict("middle.example.com").await, SpfVerdict::Pass);
}

#[tokio::test]
async fn rfc7208_5_2_the_table_of_what_an_include_comes_to() {
    for (included, expected) in [
        ("+all", SpfVerdict::Pass),
        ("-all", SpfVerdict::SoftFail),
        ("~all", SpfVerdict::SoftFail),
        ("?all", SpfVerdict::SoftFail),
        ("ip4:203.0.113.1", SpfVerdict::SoftFail),
        ("moo", SpfVerdict::PermError),
        ("include:nowhere.example.com", SpfVerdict::PermError),
    ] {
        let records = format!(
            "@ TXT \"v=spf1 include:i.example.com ~all\"\ni TXT \"v=spf1 {included}\"\ni TXT \"other\"\n"
        );
        assert_eq!(verdict(&records).await, expected, "{included}");
    }
}

#[tokio::test]
async fn rfc7208_4_5_two_records_are_an_error_at_every_level() {
    for record in ["v=spf1 include:two.example.com +all", "v=spf1 redirect=two.example.com"] {
        let two = "two TXT \"v=spf1 +all\"\ntwo TXT \"v=spf1 moo\"\n";
        assert_eq!(verdict(&format!("@ TXT \"{record}\"\n{two}")).await, SpfVerdict::PermError, "{record}");
    }
}

#[tokio::test]
async fn rfc7208_6_1_a_redirect_is_followed_where_nothing_matches() {
    let target = "r TXT \"v=spf1 ip4:192.0.2.10 ~all\"\n";
    let with = |record: &str| format!("@ TXT \"{record}\"\n{target}");
    assert_eq!(verdict(&with("v=spf1 redirect=r.example.com ip4:203.0.113.1")).await, SpfVerdict::Pass);
    assert_eq!(verdict(&with("v=spf1 redirect=r.example.com -ip4:192.0.2.10")).await, SpfVerdict::Fail);
    assert_eq!(verdict(&with("v=spf1 redirect=r.example.com ?all")).await, SpfVerdict::Neutral);
    assert_eq!(verdict(&with("v=spf1 redirect=nowhere.example.com")).await, SpfVerdict::PermError);
    assert_eq!(verdict(&with("v=spf1 redirect=a..example.com")).await, SpfVerdict::PermError);
    let dotted = "@ TXT \"v=spf1 redirect=r.example.com.\"\nr TXT \"v=spf1 a:%{d}.x.example.com\"\nr.example.com.x A 192.0.2.10\n";
    assert_eq!(verdict(dotted).await, SpfVerdict::Pass, "the dot is no part of the domain");
}

#[tokio::test]
async fn rfc7208_5_3_and_5_4_addresses_of_the_clients_family_with_prefix_lengths() {
    let records = "a TXT \"v=spf1 a:h.example.com/24//64 -all\"\nm TXT \"v=spf1 mx:h.example.com/28//64 -all\"\n\
        h A 192.0.2.99\nh AAAA 2001:db8::ffff\nh MX 5 .\nh MX 10 one\nh MX 20 two\none A 203.0.113.1\ntwo A 192.0.2.9\n\
        two AAAA 2001:db8::ffff\n";
    let world = World::with(records).await;
    assert_eq!(world.verdict("a.example.com").await, SpfVerdict::Pass);
    assert_eq!(world.verdict("m.example.com").await, SpfVerdict::Pass);
    for domain in ["a.example.com", "m.example.com"] {
        assert_eq!(world.check(&by_ip6(domain)).await.verdict, SpfVerdict::Pass, "{domain}");
    }
    let far = Sender { ip: "198.51.100.1".parse().unwrap(), ..ann("a.example.com") };
    assert_eq!(world.check(&far).await.verdict, SpfVerdict::Fail);
}

#[tokio::test]
async fn rfc7208_5_5_ptr_matches_the_name_itself_and_names_below_it() {
    let records = "exact TXT \"v=spf1 ptr:mx.example.com -all\"\nbelow TXT \"v=spf1 ptr:example.com. -all\"\n\
        not TXT \"v=spf1 ptr:x.example.com -all\"\nmx TXT \"v=spf1 ptr -all\"\nmx A 192.0.2.10\nother A 203.0.113.1\n";
    let world = World::with(records).await;
    assert_eq!(world.verdict("exact.example.com").await, SpfVerdict::Pass);
    assert_eq!(world.verdict("below.example.com").await, SpfVerdict::Pass);
    assert_eq!(world.verdict("mx.example.com").await, SpfVerdict::Pass);
    assert_eq!(world.verdict("not.example.com").await, SpfVerdict::Fail);
    let unconfirmed = Sender { ip: "192.0.2.77".parse().unwrap(), ..ann("below.example.com") };
    assert_eq!(world.check(&unconfirmed).await.verdict, SpfVerdict::Fail, "the name is not the client's");
    world.server.behave("77.2.0.192.in-addr.arpa", Behaviour::ServFail).unwrap();
    assert_eq!(world.check(&unconfirmed).await.verdict, SpfVerdict::Fail, "an error there is no match");
}

#[tokio::test]
async fn rfc7208_5_7_exists_asks_for_a_whatever_the_client() {
    let records = "@ TXT \"v=spf1 exists:%{l}.e.example.com -all\"\nann.e A 127.0.0.2\nbob.e AAAA ::1\n";
    let world = World::with(records).await;
    assert_eq!(world.verdict("example.com").await, SpfVerdict::Pass);
    assert_eq!(world.check(&by_ip6("example.com")).await.verdict, SpfVerdict::Pass);
    let bob = Sender { local: "bob".into(), ..by_ip6("example.com") };
    assert_eq!(world.check(&bob).await.verdict, SpfVerdict::Fail, "AAAA does not count");
    world.server.behave("carl.e.example.com", Behaviour::ServFail).unwrap();
    let carl = Sender { local: "carl".into(), ..ann("example.com") };
    assert_eq!(world.check(&carl).await.verdict, SpfVerdict::TempError);
}

#[tokio::test]
async fn rfc2181_11_names_of_any_octets_are_asked_for_and_the_rest_does_not_match() {
    let records = "@ TXT \"v=spf1 exists:%{l}.e.example.com -all\"\n*.e A 127.0.0.2\n\
        never TXT \"v=spf1 exists:%{l}.e.example.com ip4:192.0.2.10 -all\"\n";
    let world = World::with(records).await;
    for local in ["bounce+17=bob", "o'neil", "a b", "a@b", "\\", "%", "\u{1}"] {
        let odd = Sender { local: local.into(), ..ann("example.com") };
        assert_eq!(world.check(&odd).await.verdict, SpfVerdict::Pass, "{local:?}");
    }
    for local in ["x".repeat(64), "a..b".into(), ".a".into()] {
        let never = Sender { local, ..ann("never.example.com") };
        assert_eq!(world.check(&never).await.verdict, SpfVerdict::Pass, "{}", never.local);
    }
}

#[tokio::test]
async fn rfc8616_4_a_term_with_a_local_part_that_is_not_ascii_matches_nothing() {
    let records = "@ TXT \"v=spf1 exists:%{l}.e.example.com exists:%{S2}.e.example.com include:%{l}.i.example.com exists:%{d}.e.example.com ~all\"\n\
        *.e A 127.0.0.2\n*.i TXT \"v=spf1 +all\"\nown TXT \"v=spf1 -exists:%{l}.e.example.com exists:%{o}.e.example.com ~all\"\n";
    let world = World::with(records).await;
    for (local, domain, expected) in [
        ("jürgen", "own.example.com", SpfVerdict::Pass),
        ("ann", "own.example.com", SpfVerdict::Fail),
        ("jürgen", "example.com", SpfVerdict::Pass),
    ] {
        let sender = Sender { local: local.into(), ..ann(domain) };
        assert_eq!(world.check(&sender).await.verdict, expected, "{local}@{domain}");
    }
    let asked = world.asked("example.com.e.example.com", "A");
    assert_eq!(asked, 1, "the fourth term was the one that matched");
}

#[tokio::test]
async fn rfc7208_5_4_hosts_count_in_order_of_preference_whatever_the_order_of_the_answer() {
    let records = "first TXT \"v=spf1 mx -all\"\nfirst MX 20 broken\nfirst MX 10 good\nlast TXT \"v=spf1 mx -all\"\nlast MX 10 broken\n\
        last MX 20 good\ngood A 192.0.2.10\n";
    let world = World::with(records).await;
    world.server.behave("broken.example.com", Behaviour::ServFail).unwrap();
    assert_eq!(world.verdict("first.example.com").await, SpfVerdict::Pass);
    assert_eq!(
        world.verdict("last.example.com").await,
        SpfVerdict::TempError,
        "the mechanism stops at an error"
    );
}

#[tokio::test]
async fn rfc7208_5_an_ipv4_mapped_client_is_an_ipv4_client() {
    let world = World::with("@ TXT \"v=spf1 ip6:::/0 ip4:192.0.2.10 -all\"\n").await;
    let mapped = Sender { ip: "::ffff:192.0.2.10".parse().unwrap(), ..ann("example.com") };
    assert_eq!(world.check(&mapped).await.verdict, SpfVerdict::Pass);
    let other = Sender { ip: "::ffff:192.0.2.11".parse().unwrap(), ..ann("example.com") };
    assert_eq!(world.check(&other).await.verdict, SpfVerdict::Fail);
}

#[tokio::test]
async fn rfc7208_4_6_4_ten_terms_and_not_one_more_wherever_they_stand() {
    let ten = format!("@ TXT \"v=spf1 {}ip4:192.0.2.10 -all\"\n@ A 203.0.113.1\n", "a ".repeat(10));
    assert_eq!(verdict(&ten).await, SpfVerdict::Pass, "ten are allowed");
    let world = World::with(&ten.replace("ip4:", "a ip4:")).await;
    assert!(matches!(world.check(&ann("example.com")).await.fault, Some(Fault::TooManyTerms)));
    let nested = "@ TXT \"v=spf1 include:i.example.com a a a ip4:192.0.2.10 -all\"\ni TXT \"v=spf1 a a a a a a a\"\n\
        @ A 203.0.113.1\ni A 203.0.113.1\n";
    assert_eq!(verdict(nested).await, SpfVerdict::PermError, "1 + 7 + 3");
    let loops = "@ TXT \"v=spf1 include:example.com\"\nr TXT \"v=spf1 redirect=r.example.com\"\n";
    let world = World::with(loops).await;
    assert_eq!(world.verdict("example.com").await, SpfVerdict::PermError);
    assert_eq!(world.verdict("r.example.com").await, SpfVerdict::PermError);
}

#[tokio::test]
async fn rfc7208_4_6_4_two_void_terms_and_not_one_more_even_as_the_last() {
    let hosts = "only4 A 203.0.113.1\nonly4 MX 1 only4\nonly4 MX 2 void8\nonly4 MX 3 void9\nnull MX 0 .\n";
    let of = |terms: &str| format!("@ TXT \"v=spf1 {terms} ip4:192.0.2.10 ip6:2001:db8::10 -all\"\n{hosts}");
    for (terms, expected) in [
        ("a:v1.example.com a:v2.example.com", SpfVerdict::Pass),
        ("a:v1.example.com a:v2.example.com a:v3.example.com", SpfVerdict::PermError),
        ("a:v1.example.com mx:v2.example.com exists:v3.example.com", SpfVerdict::PermError),
        // The same name three times is three terms.
        ("a:v1.example.com a:v1.example.com a:v1.example.com", SpfVerdict::PermError),
        // Hosts have a limit of their own.
        ("mx:only4.example.com mx:only4.example.com mx:only4.example.com", SpfVerdict::Pass),
        ("mx:null.example.com mx:null.example.com mx:null.example.com", SpfVerdict::Pass),
        // What cannot be asked for is no query, and so none that is void.
        ("a:.a.example.com a:.b.example.com a:.c.example.com", SpfVerdict::Pass),
    ] {
        assert_eq!(verdict(&of(terms)).await, expected, "{terms}");
    }
    let last = "@ TXT \"v=spf1 include:i.example.com\"\ni TXT \"v=spf1 a:v1.example.com a:v2.example.com a:v3.example.com\"\n";
    assert_eq!(verdict(last).await, SpfVerdict::PermError);
    // RCODE 0 without records is void beside A records too.
    let world = World::with(&of(&"a:only4.example.com ".repeat(3))).await;
    assert_eq!(world.verdict("example.com").await, SpfVerdict::Pass);
    assert_eq!(world.check(&by_ip6("example.com")).await.verdict, SpfVerdict::PermError);
}

#[tokio::test]
async fn rfc7208_4_6_4_more_than_ten_hosts_are_an_error_and_names_past_ten_are_ignored() {
    let hosts =
        |count: usize| (0..count).map(|n| format!("@ MX {n} h{n}\nh{n} A 192.0.2.10\n")).collect::<String>();
    assert_eq!(verdict(&format!("@ TXT \"v=spf1 mx -all\"\n{}", hosts(10))).await, SpfVerdict::Pass);
    assert_eq!(verdict(&format!("@ TXT \"v=spf1 mx -all\"\n{}", hosts(11))).await, SpfVerdict::PermError);
    let world = World::with("@ TXT \"v=spf1 ptr -all\"\n").await;
    let pointers: String =
        (0..30).map(|n| format!("10.2.0.192.in-addr.arpa. PTR p{n}.example.com.\n")).collect();
    world.server.replace(&pointers).unwrap();
    assert_eq!(world.verdict("example.com").await, SpfVerdict::Fail);
    let asked: usize = (0..30).map(|n| world.asked(&format!("p{n}.example.com"), "A")).sum();
    assert_eq!(asked, MAX_NAMES);
}

/// Ten includes of records that have ten MX hosts each, all of them nowhere.
#[tokio::test]
async fn a_record_made_to_be_costly_costs_a_bounded_number_of_questions() {
    let mut records = String::from("@ TXT \"v=spf1");
    for n in 0..10 {
        records.push_str(&format!(" include:i{n}.example.com"));
    }
    records.push_str(" -all\"\n");
    for n in 0..10 {
        let terms: String = (0..10).map(|m| format!(" mx:m{m}.i{n}.example.com")).collect();
        records.push_str(&format!("i{n} TXT \"v=spf1{terms}\"\n"));
        for m in 0..10 {
            let hosts =
                (0..10).map(|h| format!("m{m}.i{n} MX {h} h{h}.m{m}.i{n}\nh{h}.m{m}.i{n} A 203.0.113.1\n"));
            records.extend(hosts);
        }
    }
    let world = World::with(&records).await;
    assert!(matches!(world.check(&ann("example.com")).await.fault, Some(Fault::TooManyTerms)));
    // The record itself, one include, nine of its MX sets with their hosts.
    let hosts = (0..10).flat_map(|m| (0..10).map(move |h| format!("h{h}.m{m}.i0.example.com")));
    let asked: usize = hosts.map(|host| world.asked(&host, "A")).sum();
    assert_eq!(asked, 90);
    assert_eq!(world.asked("i1.example.com", "TXT"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_takes_too_long_is_a_temporary_error() {
    let world = World::with("").await;
    let records: String = (0..10)
        .map(|n| format!("i{n}.example.com TXT \"v=spf1 include:i{}.example.com\"\n", n + 1))
        .collect();
    world.server.replace(&records).unwrap();
    for n in 0..10 {
        world.server.behave(&format!("i{n}.example.com"), Behaviour::Delay(Duration::from_secs(2))).unwrap();
    }
    assert_eq!(world.verdict("i0.example.com").await, SpfVerdict::TempError);
}

#[tokio::test]
async fn rfc7208_7_3_the_validated_name_is_the_domain_or_one_below_it_or_any() {
    let records =
        "@ TXT \"v=spf1 exists:%{p}.p.example.com -all\"\nmx.example.com.p A 127.0.0.2\nmx A 192.0.2.10\n";
    assert_eq!(verdict(records).await, SpfVerdict::Pass);
    let unknown =
        "@ TXT \"v=spf1 exists:%{p}.p.example.com -all\"\nunknown.p A 127.0.0.2\nmx A 203.0.113.1\n";
    assert_eq!(verdict(unknown).await, SpfVerdict::Pass);
}

#[tokio::test]
async fn rfc7208_6_2_an_explanation_is_asked_for_only_when_it_is_shown() {
    let records = "@ TXT \"v=spf1 include:i.example.com -all exp=why.%{d}\"\ni TXT \"v=spf1 -all exp=not.example.com\"\n\
        why TXT \"%{i} \" \"may not send\"\nr TXT \"v=spf1 redirect=example.com exp=not.example.com\"\n\
        two TXT \"v=spf1 -all exp=both.example.com\"\nboth TXT \"a\"\nboth TXT \"b\"\nsoft TXT \"v=spf1 ~all exp=why.example.com\"\n\
        gone TXT \"v=spf1 -all exp=nowhere.example.com\"\nbad TXT \"v=spf1 -all exp=text.example.com\"\ntext TXT \"100% no\"\n";
    let world = World::with(records).await;
    let explained = async |domain: &str| {
        let explanation = world.check(&ann(domain)).await.explanation?;
        explanation.fetch(&world.dns, "mx.receiver.example").await
    };
    assert!(world.check(&ann("example.com")).await.explanation.is_some());
    assert_eq!(world.asked("why.example.com", "TXT"), 0);
    assert_eq!(world.check(&ann("r.example.com")).await.explanation.unwrap().domain(), "example.com");
    assert_eq!(explained("example.com").await.unwrap(), "192.0.2.10 may not send");
    assert_eq!(
        explained("r.example.com").await.unwrap(),
        "192.0.2.10 may not send",
        "the target's, not the source's"
    );
    for domain in ["two.example.com", "gone.example.com", "bad.example.com", "soft.example.com"] {
        assert_eq!(explained(domain).await, None, "{domain}");
    }
}
