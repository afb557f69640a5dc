//! The openspf.org suites: their sections read, and their zones published.

use std::collections::BTreeMap;
use std::net::IpAddr;

use postroad::dev::dns::{Behaviour, Data, DnsServer};
use serde::Deserialize;

use super::internet::{octets, publish};

/// The types that SPF asks for, and the one that a name may answer them with.
const TYPES: [&str; 6] = ["A", "AAAA", "CNAME", "MX", "PTR", "TXT"];

/// Cases of the RFC 4408 suite that it leaves open or that RFC 7208 changed: what is right now, and the clause.
pub(super) const DECIDED: &[(&str, &str, &str)] = &[
    ("txtonly", "fail", "RFC 7208 §3.1: records are of type TXT, and of no other"),
    ("spfonly", "none", "RFC 7208 §3.1"),
    ("spftimeout", "fail", "RFC 7208 §3.1"),
    ("txttimeout", "temperror", "RFC 7208 §3.1, §4.4"),
    ("nospftxttimeout", "temperror", "RFC 7208 §3.1, §4.4"),
    ("spfoverride", "fail", "RFC 7208 §3.1"),
    ("multitxt1", "permerror", "RFC 7208 §3.1, §4.5"),
    ("multispf2", "pass", "RFC 7208 §3.1"),
    ("exists-dnserr", "temperror", "RFC 7208 §5: a DNS error in any mechanism"),
    ("cidr6-0-ip4", "neutral", "RFC 7208 §5: an IPv4 client is one for every mechanism"),
    ("cidr6-ip4", "neutral", "RFC 7208 §5: an IPv4-mapped address is an IPv4 address"),
    ("mx-limit", "permerror", "RFC 7208 §4.6.4: more than 10 MX names"),
];

/// Cases that share a zone.
#[derive(Deserialize)]
pub(super) struct Section {
    pub(super) tests: BTreeMap<String, Case>,
    #[serde(default)]
    zonedata: BTreeMap<String, Vec<Entry>>,
}

/// One evaluation.
#[derive(Deserialize)]
pub(super) struct Case {
    pub(super) helo: String,
    host: String,
    /// MAIL FROM; empty for the null reverse-path.
    #[serde(rename = "mailfrom")]
    pub(super) mail_from: String,
    result: OneOf,
    /// Of a fail: what the domain's owner says about it; `DEFAULT` for nothing.
    pub(super) explanation: Option<String>,
}

/// What a suite accepts.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOf {
    One(String),
    Several(Vec<String>),
}

impl Case {
    /// The client's address, as the connection has it.
    pub(super) fn client_ip(&self) -> IpAddr {
        self.host.parse().unwrap()
    }

    /// Whether this result is right.
    pub(super) fn accepts(&self, result: &str) -> bool {
        self.results().contains(&result)
    }

    /// The results that are right.
    pub(super) fn results(&self) -> Vec<&str> {
        match &self.result {
            OneOf::One(result) => vec![result],
            OneOf::Several(results) => results.iter().map(String::as_str).collect(),
        }
    }
}

/// What a name has.
#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Records(BTreeMap<String, Value>),
    /// `TIMEOUT`: a question for a type that the name has no records of gets no answer.
    Word(String),
}

/// What a record holds.
#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Text(String),
    Exchange(u16, String),
    Strings(Vec<String>),
}

impl Section {
    /// Puts what is right now in the place of what was right or open once.
    pub(super) fn decide(&mut self, decided: &[(&str, &str, &str)]) {
        for (name, result, _) in decided {
            if let Some(case) = self.tests.get_mut(*name) {
                case.result = OneOf::One((*result).to_owned());
            }
        }
    }

    /// Publishes the zone, which needs a root zone. Records of type SPF (99) are published as TXT where the name
    /// says nothing of TXT (`NONE` says that it has none): RFC 7208 §3.1 asks for no other type. What times out
    /// in a suite is a SERVFAIL here: RFC 7208 §2.6.6 makes the same of both, and it needs no waiting.
    pub(super) fn publish(&self, dns: &DnsServer) {
        for (name, entries) in &self.zonedata {
            let records = entries.iter().filter_map(|entry| match entry {
                Entry::Records(records) => Some(records),
                Entry::Word(_) => None,
            });
            let records: Vec<(&str, &Value)> =
                records.flatten().map(|(kind, value)| (kind.as_str(), value)).collect();
            let says_txt = records.iter().any(|(kind, _)| *kind == "TXT");
            let mut answered = Vec::new();
            for (kind, value) in records {
                let kind = match (kind, value) {
                    ("TXT", Value::Text(text)) if text == "NONE" => continue,
                    ("SPF", _) if says_txt => continue,
                    ("SPF", _) => "TXT",
                    _ => kind,
                };
                value.publish(dns, name, kind);
                answered.push(kind);
            }
            if entries.iter().any(|entry| matches!(entry, Entry::Word(word) if word == "TIMEOUT")) {
                for kind in TYPES.iter().filter(|kind| !answered.contains(kind)) {
                    dns.behave_for(name, kind, Behaviour::ServFail).unwrap();
                }
            }
        }
    }
}

impl Value {
    fn publish(&self, dns: &DnsServer, name: &str, kind: &str) {
        match (kind, self) {
            ("A", Self::Text(address)) => publish(dns, name, &Data::A(address.parse().unwrap())),
            ("AAAA", Self::Text(address)) => publish(dns, name, &Data::Aaaa(address.parse().unwrap())),
            ("CNAME", Self::Text(target)) => publish(dns, name, &Data::Cname(target.as_bytes())),
            ("PTR", Self::Text(target)) => publish(dns, name, &Data::Ptr(target.as_bytes())),
            ("MX", Self::Exchange(preference, exchange)) => {
                publish(dns, name, &Data::Mx(*preference, exchange.as_bytes()));
            }
            ("TXT", Self::Text(text)) => publish(dns, name, &Data::Txt(&[&octets(text)])),
            ("TXT", Self::Strings(strings)) => {
                let strings: Vec<Vec<u8>> = strings.iter().map(|text| octets(text)).collect();
                let strings: Vec<&[u8]> = strings.iter().map(Vec::as_slice).collect();
                publish(dns, name, &Data::Txt(&strings));
            }
            _ => panic!("{name}: a record of type {kind} that cannot be read"),
        }
    }
}
