use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use super::*;
use crate::config;
use crate::dev::dns::{Behaviour, DnsServer};
use crate::telemetry::Metrics;
use crate::tls::{Policies, trusted_roots};

struct World {
    dns: DnsServer,
    policies: Policies,
    store: Store,
    _data: tempfile::TempDir,
}

impl World {
    async fn new(records: &str) -> Self {
        let dns = DnsServer::start(&[("dest.example", records)]).await.unwrap();
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path()).unwrap();
        let config = config::Dns { servers: vec![dns.addr()], ..Default::default() };
        let resolver = Dns::new(&config, Arc::new(Metrics::new().unwrap())).unwrap();
        let policies = Policies::open(&store, resolver, trusted_roots(), 9).unwrap();
        Self { dns, policies, store, _data: data }
    }

    fn note(&self, basis: Basis, failure: Option<TlsFailure>) {
        let sighting = Sighting { domain: &domain(), basis, failure };
        self.policies.reports().note(&sighting, "mx.dest.example");
    }

    async fn due(&self, days: u64) -> Vec<Report> {
        self.policies.due_reports(clock::now() + Duration::from_secs(days * DAY), &reporter()).await
    }
}

fn domain() -> Domain {
    Domain::parse("dest.example").unwrap()
}

fn reporter() -> Reporter {
    Reporter { organization: Domain::parse("relay.example").unwrap() }
}

fn decoded(report: &Report) -> Value {
    let text = String::from_utf8(report.octets.to_vec()).unwrap();
    let (_, part) = text.split_once("application/tlsrpt+gzip").unwrap();
    let (_, body) = part.split_once("\r\n\r\n").unwrap();
    let encoded: String = body.split("--report").next().unwrap().split_whitespace().collect();
    let mut gzip = Vec::new();
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in encoded.as_bytes().chunks(4) {
        let digits: Vec<u32> = group
            .iter()
            .filter_map(|letter| alphabet.iter().position(|known| known == letter))
            .map(|position| position as u32)
            .collect();
        let bits = digits.iter().fold(0, |bits, digit| bits << 6 | digit) << (6 * (4 - digits.len()));
        gzip.extend(&bits.to_be_bytes()[1..digits.len()]);
    }
    let mut json = String::new();
    GzDecoder::new(gzip.as_slice()).read_to_string(&mut json).unwrap();
    serde_json::from_str(&json).unwrap()
}

#[tokio::test]
async fn rfc8460_4_4_a_day_is_reported_once_to_whom_the_domain_names() {
    let record = "_smtp._tls TXT \"v=TLSRPTv1; rua=https://r.example/x,mailto:tls@dest.example?x,MAILTO:two@r.example\"\n";
    let world = World::new(record).await;
    world.note(Basis::Tlsa, None);
    world.note(Basis::Tlsa, None);
    world.note(Basis::Tlsa, Some(TlsFailure::CertificateNotTrusted));
    assert_eq!(world.due(0).await, [], "the day is not over");

    let reports = world.due(1).await;
    let to: Vec<String> = reports.iter().map(|report| report.to.to_string()).collect();
    assert_eq!(to, ["tls@dest.example", "two@r.example"]);
    let content = decoded(&reports[0]);
    assert_eq!(content["organization-name"], "relay.example");
    assert_eq!(content["contact-info"], "postmaster@relay.example");
    let today = crate::mail::date::rfc3339(clock::now());
    assert_eq!(content["date-range"]["start-datetime"], json!(format!("{}T00:00:00Z", &today[..10])));
    assert_eq!(
        content["policies"],
        json!([{
            "policy": { "policy-type": "tlsa", "policy-domain": "dest.example" },
            "summary": { "total-successful-session-count": 2, "total-failure-session-count": 1 },
            "failure-details": [{
                "result-type": "certificate-not-trusted",
                "receiving-mx-hostname": "mx.dest.example",
                "failed-session-count": 1,
            }],
        }])
    );
    assert_eq!(world.due(1).await, [], "each is given out once");
}

#[tokio::test]
async fn rfc8460_5_3_the_message_says_what_it_is() {
    let world = World::new("_smtp._tls TXT \"v=TLSRPTv1;rua=mailto:tls@dest.example\"\n").await;
    world.note(Basis::None, None);
    let reports = world.due(1).await;
    let text = String::from_utf8(reports[0].octets.to_vec()).unwrap();
    for field in [
        "From: <postmaster@relay.example>\r\n",
        "To: <tls@dest.example>\r\n",
        "Subject: Report Domain: dest.example\r\n Submitter: relay.example\r\n Report-ID: <",
        "TLS-Report-Domain: dest.example\r\n",
        "TLS-Report-Submitter: relay.example\r\n",
        "TLS-Required: No\r\n",
        "Content-Type: multipart/report; report-type=\"tlsrpt\";",
        "filename=\"relay.example!dest.example!",
    ] {
        assert!(text.contains(field), "{field:?} in\n{text}");
    }
    assert!(text.lines().all(|line| line.len() <= 998) && text.is_ascii());
}

#[test]
fn rfc6068_2_an_address_in_a_uri_is_percent_encoded() {
    let to = |rua: &str| -> Vec<String> {
        let record = format!("v=TLSRPTv1; rua={rua}");
        addresses(&[record.into_bytes()]).iter().map(ToString::to_string).collect()
    };
    assert_eq!(to("mailto:a%2Bb@dest.example"), ["a+b@dest.example"]);
    assert_eq!(to("mailto:a%21@dest.example,mailto:a%2c@dest.example?x=%40"), ["a!@dest.example"]);
    assert_eq!(to("mailto:a%2@dest.example,mailto:%zz@dest.example,mailto:a%ff@dest.example"), [""; 0]);
}

#[tokio::test]
async fn counts_survive_a_restart() {
    let world = World::new("_smtp._tls TXT \"v=TLSRPTv1; rua=mailto:a@dest.example\"\n").await;
    world.note(Basis::Sts, Some(TlsFailure::StsPolicyFetchError));
    world.policies.reports().save().unwrap();
    let again = Reports::open(&world.store, world.policies.dns().clone()).unwrap();
    let counts = again.shared.counts.lock();
    let (key, count) = counts.by_key.iter().next().unwrap();
    assert_eq!((key.domain.as_str(), key.basis, count.failed()), ("dest.example", Basis::Sts, 1));
}

#[tokio::test]
async fn nobody_is_told_who_does_not_ask() {
    for records in [
        "",
        "_smtp._tls TXT \"v=TLSRPTv1; rua=https://r.example/x\"\n",
        "_smtp._tls TXT \"v=TLSRPTv1; rua=mailto:a@b.example\"\n_smtp._tls TXT \"v=TLSRPTv1; rua=mailto:c@d.example\"\n",
    ] {
        let world = World::new(records).await;
        world.note(Basis::None, None);
        assert_eq!(world.due(1).await, [], "{records}");
        assert_eq!(world.policies.reports().shared.counts.lock().by_key.len(), 0);
    }
}

#[tokio::test]
async fn a_domain_whose_wish_nobody_can_tell_is_asked_again() {
    let world = World::new("_smtp._tls TXT \"v=TLSRPTv1; rua=mailto:a@dest.example\"\n").await;
    world.note(Basis::None, None);
    world.dns.behave("_smtp._tls.dest.example", Behaviour::ServFail).unwrap();
    assert_eq!(world.due(1).await, []);
    world.dns.behave("_smtp._tls.dest.example", Behaviour::Answer).unwrap();
    assert_eq!(world.due(1).await.len(), 1);
}

#[test]
fn failures_at_many_hosts_are_bounded() {
    let mut count = Count::default();
    for host in 0..1000 {
        count.add(Some(TlsFailure::ValidationFailure), &format!("mx{host}.example"));
    }
    assert_eq!((count.failures.len(), count.failed()), (MAX_FAILURES + 1, 1000));
}

#[tokio::test]
async fn rfc8460_4_4_a_host_whose_tls_we_refuse_is_told_so() {
    let world = World::new("_smtp._tls TXT \"v=TLSRPTv1; rua=mailto:tls@dest.example\"\n").await;
    world.note(Basis::None, Some(TlsFailure::NothingInCommon));
    let content = decoded(&world.due(1).await[0]);
    let details = &content["policies"][0]["failure-details"][0];
    assert_eq!(details["result-type"], "validation-failure");
    assert_eq!(details["failure-reason-code"], "no TLS version or cipher suite in common");
}
