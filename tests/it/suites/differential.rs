//! The evaluator's half of the differential test against pyspf (`tests/interop/pyspf`): it answers the
//! cases of the file that `POSTROAD_SPF_CASES` names, a JSON object a line, into the file that `POSTROAD_SPF_ANSWERS`
//! names. Without the variables it says so and proves nothing; whether the answers are right, the other half tells.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use postroad::check_host::check_host;
use postroad::config;
use postroad::dev::dns::{Behaviour, Data, DnsServer};
use postroad::dns::Dns;
use postroad::spf::Sender;
use postroad::telemetry::Metrics;
use serde::Deserialize;

use super::folder;
use super::internet::{octets, publish};

/// Cases under way at a time.
const AT_ONCE: usize = 64;

/// One evaluation, and every record that it may see; names of other cases are other names.
#[derive(Deserialize)]
struct Case {
    id: String,
    ip: String,
    helo: String,
    local: String,
    domain: String,
    zone: Vec<Record>,
}

/// A record, or a name that fails.
#[derive(Deserialize)]
#[serde(untagged)]
enum Record {
    Fails(String, String),
    Text(String, String, Vec<String>),
    Exchange(String, String, (u16, String)),
    Value(String, String, String),
}

#[tokio::test]
async fn the_cases_of_the_differential_test_are_answered() {
    let (Some(cases), Some(answers)) = (folder("POSTROAD_SPF_CASES"), folder("POSTROAD_SPF_ANSWERS")) else {
        return;
    };
    let text = std::fs::read_to_string(&cases).unwrap();
    let cases: Vec<Case> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let server = DnsServer::start(&[(".", "")]).await.unwrap();
    cases.iter().flat_map(|case| &case.zone).for_each(|record| record.publish(&server));
    let config = config::Dns { servers: vec![server.addr()], ..Default::default() };
    let dns = Dns::new(&config, Arc::new(Metrics::new().unwrap())).unwrap();
    let lines =
        stream::iter(&cases).map(|case| case.answer(&dns)).buffered(AT_ONCE).collect::<Vec<_>>().await;
    println!("{} cases answered", lines.len());
    std::fs::write(answers, lines.concat()).unwrap();
}

impl Case {
    async fn answer(&self, dns: &Dns) -> String {
        let sender = Sender {
            ip: self.ip.parse::<std::net::IpAddr>().unwrap().to_canonical(),
            helo: self.helo.clone(),
            local: self.local.clone(),
            domain: self.domain.clone(),
        };
        let verdict = check_host(dns, &sender).await.verdict;
        format!("{}\n", serde_json::json!({ "id": self.id, "result": verdict.word() }))
    }
}

impl Record {
    fn publish(&self, server: &DnsServer) {
        match self {
            Self::Fails(name, word) => {
                assert_eq!(word, "SERVFAIL", "{name}");
                server.behave(name, Behaviour::ServFail).unwrap();
            }
            Self::Text(name, kind, strings) => {
                assert_eq!(kind, "TXT", "{name}");
                let strings: Vec<Vec<u8>> = strings.iter().map(|text| octets(text)).collect();
                let strings: Vec<&[u8]> = strings.iter().map(Vec::as_slice).collect();
                publish(server, name, &Data::Txt(&strings));
            }
            Self::Exchange(name, kind, (preference, host)) => {
                assert_eq!(kind, "MX", "{name}");
                publish(server, name, &Data::Mx(*preference, &octets(host)));
            }
            Self::Value(name, kind, value) => match kind.as_str() {
                "A" => publish(server, name, &Data::A(value.parse::<Ipv4Addr>().unwrap())),
                "AAAA" => publish(server, name, &Data::Aaaa(value.parse::<Ipv6Addr>().unwrap())),
                "CNAME" => publish(server, name, &Data::Cname(&octets(value))),
                "PTR" => publish(server, name, &Data::Ptr(&octets(value))),
                other => panic!("{name}: a record of type {other}"),
            },
        }
    }
}
