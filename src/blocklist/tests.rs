use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use parking_lot::Mutex;
use tracing::instrument::WithSubscriber;

use super::answer::{Family, Verdict};
use super::zone::Health;
use super::*;
use crate::dev::dns::{Behaviour, DnsServer};
use crate::mail::Domain;

const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);
const QUESTION: &str = "66.0.0.127.bl.example";

/// A zone as RFC 5782 wants it, with the client 127.0.0.66 listed.
const GOOD: &str = "\
@ 60 SOA ns hostmaster 1 3600 600 86400 30
2.0.0.127 60 A 127.0.0.2
2.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0 60 A 127.0.0.2
66.0.0.127 60 A 127.0.0.4
67.0.0.127 60 A 127.255.255.254
1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2 60 A 127.0.0.2
";
/// A zone that covers IPv4 only.
const IPV4_ONLY: &str = "2.0.0.127 60 A 127.0.0.2\n66.0.0.127 60 A 127.0.0.2\n";

struct World {
    server: DnsServer,
    blocklist: Arc<Blocklist>,
    metrics: Arc<Metrics>,
}

impl World {
    /// A world with these zones, not tested yet.
    async fn untested(zones: &[(&str, &str)], configs: &[config::Dnsbl]) -> Self {
        Self::within(BlocklistOptions::default().time_limit, zones, configs).await
    }

    /// The same with a time limit of the test's choice.
    async fn within(time_limit: Duration, zones: &[(&str, &str)], configs: &[config::Dnsbl]) -> Self {
        let server = DnsServer::start(zones).await.unwrap();
        let metrics = Arc::new(Metrics::new().unwrap());
        let config = config::Dns { servers: vec![server.addr()], ..Default::default() };
        let dns = Dns::new(&config, metrics.clone()).unwrap();
        let options = BlocklistOptions {
            time_limit,
            test_interval: Duration::from_millis(5),
            retest_interval: Duration::from_millis(5),
        };
        let blocklist = Blocklist::with_options(configs, options, dns, metrics.clone()).unwrap();
        Self { server, blocklist, metrics }
    }

    async fn new(zones: &[(&str, &str)], configs: &[config::Dnsbl]) -> Self {
        let world = Self::untested(zones, configs).await;
        world.test().await;
        world
    }

    async fn with(records: &str) -> Self {
        Self::new(&[("bl.example", records)], &[zone("bl", "bl.example")]).await
    }

    /// One round of tests: the health of every zone, IPv4 and IPv6.
    async fn test(&self) -> Vec<(Health, Health)> {
        let mut health = Vec::new();
        for zone in &self.blocklist.zones {
            health.push((zone.test(Family::Ipv4).await, zone.test(Family::Ipv6).await));
        }
        health
    }

    async fn listing(&self, ip: impl Into<IpAddr>) -> Vec<String> {
        self.blocklist.check(ip.into()).await.zones
    }

    fn counted(&self, zone: &str, result: &str) -> u64 {
        self.metrics.dnsbl_queries_total.with_label_values(&[zone, result]).get()
    }

    fn healthy(&self, family: &str) -> i64 {
        self.metrics.dnsbl_zone_healthy.with_label_values(&["bl", family]).get()
    }
}

fn zone(name: &str, zone: &str) -> config::Dnsbl {
    let listed = vec!["127.0.0.0/8".parse().unwrap()];
    config::Dnsbl { name: name.into(), zone: Domain::parse(zone).unwrap(), key_file: None, listed }
}

fn key_file(content: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content.as_bytes()).unwrap();
    file
}

/// What our own code logs, at every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn subscriber(&self) -> impl tracing::Subscriber + Send + Sync + 'static {
        // Else a test beside this one, which logs to nobody, may have a line switched off for all. Set once is enough.
        let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry());
        let log = self.clone();
        tracing_subscriber::fmt()
            .with_env_filter("postroad=trace")
            .with_ansi(false)
            .with_writer(move || log.clone())
            .finish()
    }

    fn lines(&self) -> Vec<String> {
        String::from_utf8(self.0.lock().clone()).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Write for Log {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn rfc5782_2_1_a_listed_ipv4_client_is_found() {
    let world = World::with(GOOD).await;
    assert_eq!(world.listing(CLIENT).await, ["bl"]);
    assert_eq!(world.listing([127, 0, 0, 3]).await, [""; 0]);
    assert_eq!((world.counted("bl", "listed"), world.counted("bl", "not_listed")), (1, 1));
}

#[tokio::test]
async fn rfc5782_2_4_a_listed_ipv6_client_is_found() {
    let world = World::with(GOOD).await;
    assert_eq!(world.listing("2001:db8::1".parse::<Ipv6Addr>().unwrap()).await, ["bl"]);
    assert!(world.listing("2001:db8::2".parse::<Ipv6Addr>().unwrap()).await.is_empty());
}

#[tokio::test]
async fn a_mapped_client_is_asked_for_as_ipv4() {
    let world = World::with(GOOD).await;
    assert_eq!(world.listing(CLIENT.to_ipv6_mapped()).await, ["bl"]);
    assert_eq!(world.server.queries(QUESTION, "A"), 1);
}

#[tokio::test]
async fn every_listing_zone_is_named_in_the_order_of_the_file() {
    let clean = "2.0.0.127 60 A 127.0.0.2\n";
    let zones = [("b.example", IPV4_ONLY), ("a.example", IPV4_ONLY), ("clean.example", clean)];
    let configs = [zone("z", "b.example"), zone("clean", "clean.example"), zone("a", "a.example")];
    let world = World::new(&zones, &configs).await;
    let listing = world.blocklist.check(CLIENT.into()).await;
    assert!(listing.is_listed());
    assert_eq!(listing.zones, ["z", "a"]);
    assert!(!Listing::default().is_listed());
}

#[tokio::test]
async fn refusals_are_errors_and_no_listings() {
    let world = World::with(GOOD).await;
    assert!(world.listing([127, 0, 0, 67]).await.is_empty());
    assert_eq!(world.counted("bl", "error"), 1);
}

#[tokio::test]
async fn answers_outside_of_the_mask_are_no_listings_but_pass_the_test() {
    let config = config::Dnsbl { listed: vec!["127.0.0.8/29".parse().unwrap()], ..zone("bl", "bl.example") };
    let world = World::new(&[("bl.example", GOOD)], &[config]).await;
    assert!(world.listing(CLIENT).await.is_empty());
    assert_eq!(world.counted("bl", "not_listed"), 1);
}

#[tokio::test]
async fn a_subscribers_key_stands_before_the_zone() {
    let file = key_file("  Key-1234 \n");
    let config = config::Dnsbl { key_file: Some(file.path().into()), ..zone("bl", "bl.example") };
    let world = World::new(&[("key-1234.bl.example", IPV4_ONLY), ("bl.example", "")], &[config]).await;
    assert_eq!(world.listing(CLIENT).await, ["bl"]);
    assert_eq!(world.server.queries("66.0.0.127.key-1234.bl.example", "A"), 1);
}

#[tokio::test]
async fn a_subscribers_key_is_in_no_log_and_no_debug_text() {
    let file = key_file("sesame");
    let config = config::Dnsbl { key_file: Some(file.path().into()), ..zone("bl", "bl.example") };
    let log = Log::default();
    let world = World::untested(&[("sesame.bl.example", IPV4_ONLY)], &[config]).await;
    async {
        world.test().await;
        world.server.behave("2.0.0.127.sesame.bl.example", Behaviour::ServFail).unwrap();
        world.server.behave("66.0.0.127.sesame.bl.example", Behaviour::ServFail).unwrap();
        world.listing(CLIENT).await;
        world.test().await;
    }
    .with_subscriber(log.subscriber())
    .await;
    assert_eq!(log.lines().len(), 3, "{:?}", log.lines());
    assert!(!log.lines().concat().contains("sesame"));
    assert_eq!(format!("{:?}", world.blocklist), "[\"bl\"]");
}

#[tokio::test]
async fn key_files_and_zones_that_cannot_be_used_are_refused_by_name() {
    let metrics = Arc::new(Metrics::new().unwrap());
    let servers = vec!["127.0.0.1:9".parse().unwrap()];
    let dns = Dns::new(&config::Dns { servers, ..Default::default() }, metrics.clone()).unwrap();
    let refused = |config: config::Dnsbl| {
        Blocklist::new(&[config], dns.clone(), metrics.clone()).unwrap_err().to_string()
    };
    let with_key =
        |path: &std::path::Path| config::Dnsbl { key_file: Some(path.into()), ..zone("bl", "bl.example") };
    for content in ["", "two labels", "a.b", &"k".repeat(64)] {
        let error = refused(with_key(key_file(content).path()));
        assert!(error.contains("of dnsbl bl does not hold one label"), "{error}");
        assert!(content.is_empty() || !error.contains(content), "{error}");
    }
    let error = refused(with_key("/nowhere/key".as_ref()));
    assert_eq!(error, "key file /nowhere/key of dnsbl bl cannot be read");
    let long = ["a".repeat(60), "b".repeat(60), "c".repeat(60), "example".into()].join(".");
    let error = refused(zone("long", &long));
    assert!(error.starts_with("zone of dnsbl long is"), "{error}");
    assert!(refused(zone("literal", "[192.0.2.1]")).starts_with("zone of dnsbl literal is"));
}

#[tokio::test]
async fn rfc5782_5_a_zone_that_passes_is_healthy_for_both_families() {
    let world = World::untested(&[("bl.example", GOOD)], &[zone("bl", "bl.example")]).await;
    assert_eq!((world.healthy("ipv4"), world.healthy("ipv6")), (0, 0));
    assert_eq!(world.test().await, [(Health::Healthy, Health::Healthy)]);
    assert_eq!((world.healthy("ipv4"), world.healthy("ipv6")), (1, 1));
}

#[tokio::test]
async fn rfc5782_5_a_zone_without_ipv6_is_switched_off_for_ipv6_quietly() {
    let log = Log::default();
    let world = World::untested(&[("bl.example", IPV4_ONLY)], &[zone("bl", "bl.example")]).await;
    let health = world.test().with_subscriber(log.subscriber()).await;
    assert_eq!(health, [(Health::Healthy, Health::ListsNothing)]);
    assert_eq!((world.healthy("ipv4"), world.healthy("ipv6")), (1, 0));
    assert!(!log.lines().iter().any(|line| line.contains("ERROR")), "{:?}", log.lines());
    assert!(world.listing("2001:db8::1".parse::<Ipv6Addr>().unwrap()).await.is_empty());
    assert_eq!(world.counted("bl", "off"), 1);
    assert_eq!(world.listing(CLIENT).await, ["bl"]);
}

#[tokio::test]
async fn rfc5782_5_a_zone_that_lists_everything_is_switched_off() {
    let world = World::with("* 60 A 127.0.0.2\n").await;
    assert_eq!(world.test().await, [(Health::ListsEverything, Health::ListsEverything)]);
    assert!(world.listing(CLIENT).await.is_empty());
    assert_eq!(world.server.queries(QUESTION, "A"), 0, "a zone that is off is not asked");
}

#[tokio::test]
async fn rfc5782_5_a_zone_that_lists_nothing_is_switched_off() {
    let world = World::with("66.0.0.127 60 A 127.0.0.2\n").await;
    assert_eq!(world.test().await, [(Health::ListsNothing, Health::ListsNothing)]);
    assert!(world.listing(CLIENT).await.is_empty());
}

#[tokio::test]
async fn rfc5782_5_a_zone_that_answers_with_errors_is_switched_off() {
    for records in ["* 60 A 127.255.255.254\n", "* 60 A 203.0.113.7\n", "* 60 A 127.0.0.1\n"] {
        let world = World::with(records).await;
        assert_eq!(world.test().await, [(Health::Failing, Health::Failing)], "{records}");
        assert!(world.listing(CLIENT).await.is_empty());
    }
}

#[tokio::test]
async fn rfc5782_5_one_failing_test_point_is_enough() {
    let world = World::with(GOOD).await;
    world.server.behave("1.0.0.127.bl.example", Behaviour::ServFail).unwrap();
    assert_eq!(world.test().await, [(Health::Failing, Health::Healthy)]);
}

#[tokio::test]
async fn a_zones_health_is_logged_once_a_change() {
    let log = Log::default();
    let world = World::untested(&[("bl.example", GOOD)], &[zone("bl", "bl.example")]).await;
    async {
        world.test().await;
        world.server.replace("1.0.0.127.bl.example 60 A 127.0.0.2").unwrap();
        for _ in 0..3 {
            assert_eq!(world.test().await, [(Health::ListsEverything, Health::Healthy)]);
        }
        world.server.remove("1.0.0.127.bl.example").unwrap();
        world.test().await;
    }
    .with_subscriber(log.subscriber())
    .await;
    let lines = log.lines();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines[2].contains("ERROR") && lines[2].contains("dnsbl zone is switched off"), "{lines:?}");
    assert!(lines[2].contains("zone=\"bl\"") && lines[2].contains("ip_family=\"ipv4\""), "{lines:?}");
    assert!(lines[3].contains("dnsbl zone is in use again"), "{lines:?}");
}

#[tokio::test]
async fn watching_sees_a_zone_go_bad_and_recover_and_stops() {
    let world = World::untested(&[("bl.example", GOOD)], &[zone("bl", "bl.example")]).await;
    let stop = CancellationToken::new();
    let watch = tokio::spawn(world.blocklist.clone().watch(stop.clone()));
    let becomes = async |wanted: Health| {
        let mut health = world.blocklist.zones[0].subscribe(Family::Ipv4);
        let changed = health.wait_for(|health| *health == wanted);
        tokio::time::timeout(Duration::from_secs(10), changed).await.unwrap().unwrap();
    };
    becomes(Health::Healthy).await;
    world.server.behave("2.0.0.127.bl.example", Behaviour::ServFail).unwrap();
    becomes(Health::Failing).await;
    world.server.behave("2.0.0.127.bl.example", Behaviour::Answer).unwrap();
    becomes(Health::Healthy).await;
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), watch).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_check_before_the_first_test_waits_for_it() {
    let world = World::untested(&[("bl.example", GOOD)], &[zone("bl", "bl.example")]).await;
    let (listing, _) = tokio::join!(world.listing(CLIENT), world.test());
    assert_eq!(listing, ["bl"]);
}

#[tokio::test]
async fn a_zone_that_was_never_tested_fails_open_at_the_time_limit() {
    let limit = Duration::from_millis(50);
    let world = World::within(limit, &[("bl.example", GOOD)], &[zone("bl", "bl.example")]).await;
    assert!(world.listing(CLIENT).await.is_empty());
    assert_eq!(world.counted("bl", "timeout"), 1);
    assert_eq!(world.server.queries(QUESTION, "A"), 0);
}

#[tokio::test]
async fn a_silent_zone_fails_open_at_the_time_limit_and_spoils_no_other() {
    let zones = [("bl.example", GOOD), ("ok.example", GOOD)];
    let configs = [zone("bl", "bl.example"), zone("ok", "ok.example")];
    let world = World::within(Duration::from_millis(500), &zones, &configs).await;
    world.test().await;
    world.server.behave(QUESTION, Behaviour::Silent).unwrap();
    assert_eq!(world.listing(CLIENT).await, ["ok"]);
    assert_eq!((world.counted("bl", "timeout"), world.counted("ok", "listed")), (1, 1));
}

#[tokio::test]
async fn a_failing_question_fails_open_and_is_not_cached() {
    let world = World::with(GOOD).await;
    world.server.behave(QUESTION, Behaviour::ServFail).unwrap();
    assert!(world.listing(CLIENT).await.is_empty());
    assert_eq!(world.counted("bl", "error"), 1);
    world.server.behave(QUESTION, Behaviour::Answer).unwrap();
    assert_eq!(world.listing(CLIENT).await, ["bl"]);
}

#[tokio::test]
async fn verdicts_are_cached() {
    let world = World::with(GOOD).await;
    for client in [[127, 0, 0, 66], [127, 0, 0, 3]] {
        let first = world.listing(client).await;
        assert_eq!(world.listing(client).await, first);
    }
    assert_eq!(world.counted("bl", "cached"), 2);
    assert_eq!(world.server.queries(QUESTION, "A"), 1);
    assert_eq!(world.server.queries("3.0.0.127.bl.example", "A"), 1);
}

#[tokio::test]
async fn a_verdict_past_its_time_is_asked_for_again() {
    let world = World::with(GOOD).await;
    world.blocklist.zones[0].remember(CLIENT.into(), Verdict::NotListed, std::time::Instant::now());
    assert_eq!(world.listing(CLIENT).await, ["bl"]);
    assert_eq!((world.counted("bl", "cached"), world.counted("bl", "listed")), (0, 1));
}

#[tokio::test]
async fn concurrent_questions_for_one_client_are_asked_once() {
    let world = World::with(GOOD).await;
    world.server.behave(QUESTION, Behaviour::Delay(Duration::from_millis(30))).unwrap();
    let listings = join_all((0..50).map(|_| world.listing(CLIENT))).await;
    assert!(listings.iter().all(|zones| zones == &["bl"]));
    assert_eq!((world.counted("bl", "listed"), world.counted("bl", "cached")), (1, 49));
    assert_eq!(world.server.queries(QUESTION, "A"), 1);
}

#[tokio::test]
async fn a_client_that_leaves_does_not_spoil_the_question_for_others() {
    let world = World::with(GOOD).await;
    world.server.behave(QUESTION, Behaviour::Delay(Duration::from_millis(30))).unwrap();
    let leaving = tokio::time::timeout(Duration::from_millis(5), world.listing(CLIENT));
    let (left, stayed) = tokio::join!(leaving, world.listing(CLIENT));
    assert!(left.is_err());
    assert_eq!(stayed, ["bl"]);
}

#[tokio::test]
async fn an_operator_is_told_what_each_zone_says_its_codes_its_words_and_how_long_that_is_kept() {
    let listing = "2.0.0.127 60 A 127.0.0.2\n66.0.0.127 60 A 127.0.0.4\n66.0.0.127 60 A 127.0.0.11\n\
                   66.0.0.127 60 TXT \"sends spam\"\n67.0.0.127 60 A 127.255.255.254\n";
    let zones = [("bl.example", listing), ("dead.example", ""), ("mute.example", IPV4_ONLY)];
    let configs = [zone("bl", "bl.example"), zone("dead", "dead.example"), zone("mute", "mute.example")];
    let world = World::within(Duration::from_millis(500), &zones, &configs).await;
    world.test().await;
    world.server.behave("66.0.0.127.mute.example", Behaviour::Silent).unwrap();
    let [bl, dead, mute] = &*world.blocklist.report(CLIENT.to_ipv6_mapped().into()).await else { panic!() };
    assert_eq!((&*bl.zone, bl.verdict), ("bl", ZoneVerdict::Listed));
    let mut codes = bl.codes.clone();
    codes.sort_unstable();
    assert_eq!(codes, [Ipv4Addr::new(127, 0, 0, 4), Ipv4Addr::new(127, 0, 0, 11)]);
    assert_eq!(bl.texts, ["sends spam"]);
    assert!(bl.kept_for.is_some_and(|time| (1..=60).contains(&time.as_secs())), "{bl:?}");
    let why = "the test point that must be listed is not";
    assert_eq!((dead.verdict, dead.kept_for), (ZoneVerdict::SwitchedOff { why }, None));
    assert_eq!((mute.verdict, mute.kept_for), (ZoneVerdict::TimedOut, None));
    assert_eq!((world.counted("bl", "listed"), world.counted("mute", "timeout")), (1, 1));
    // The client itself comes then, and its verdict is there.
    assert_eq!(world.listing(CLIENT).await, ["bl"]);
    assert_eq!(world.server.queries(QUESTION, "A"), 1);
    let refused = world.blocklist.report([127, 0, 0, 67].into()).await.swap_remove(0);
    let codes = vec![Ipv4Addr::new(127, 255, 255, 254)];
    assert_eq!((refused.verdict, refused.codes), (ZoneVerdict::Nonsense, codes));
    let free = world.blocklist.report([127, 0, 0, 68].into()).await.swap_remove(0);
    assert_eq!((free.verdict, free.codes, free.texts), (ZoneVerdict::NotListed, vec![], vec![]));
}

#[tokio::test]
async fn an_operator_is_told_of_a_listing_though_its_words_do_not_come_in_time() {
    let world =
        World::within(Duration::from_millis(500), &[("bl.example", GOOD)], &[zone("bl", "bl.example")]).await;
    world.test().await;
    world.server.behave_for(QUESTION, "TXT", Behaviour::Silent).unwrap();
    let told = world.blocklist.report(CLIENT.into()).await.swap_remove(0);
    assert_eq!((told.verdict, told.texts), (ZoneVerdict::Listed, vec![]));
}
