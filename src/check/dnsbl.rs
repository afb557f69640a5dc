//! The test points of each DNSBL (RFC 5782 §5): what must be listed, and what must not be.

use std::net::Ipv4Addr;

use crate::check::{Finding, Verdict};
use crate::config::{Dnsbl, files};
use crate::dns::{Answer, Dns, DnsError};

/// 127.0.0.2 must be listed and 127.0.0.1 must not.
const IPV4: [&str; 2] = ["2.0.0.127", "1.0.0.127"];
/// ::FFFF:7F00:2 must be listed and ::FFFF:7F00:1 must not, in nibbles.
const IPV6: [&str; 2] = [
    "2.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0",
    "1.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0",
];

/// What a zone says of one test point.
enum Said {
    Listed,
    NotListed,
    /// 127.255.255.0/24: the zone does not answer us (a public resolver, no key, too many queries).
    RefusesUs(Ipv4Addr),
    /// No answer; the cause would show the key within the name.
    Nothing,
}

/// Asks for the four test points of a zone.
pub(super) async fn check(zone: &Dnsbl, dns: &Dns) -> Vec<Finding> {
    let name = &zone.name;
    let finding = |verdict, text: String| vec![Finding::new(verdict, "dnsbl", format!("{name} {text}"))];
    let key = match zone.key_file.as_deref().map(files::dnsbl_key).transpose() {
        Ok(key) => key.map(|key| format!("{}.", key.expose())).unwrap_or_default(),
        Err(cause) => return finding(Verdict::Fail, format!("key_file {cause}")),
    };
    let ask = async |point: &str| said(dns.ipv4(&format!("{point}.{key}{}", zone.zone)).await, zone);
    let ([listed, unlisted], [listed_v6, unlisted_v6]) = (IPV4, IPV6);
    let answers = tokio::join!(ask(listed), ask(unlisted), ask(listed_v6), ask(unlisted_v6));
    match answers {
        (Said::RefusesUs(code), ..) => finding(Verdict::Fail, format!("refuses our queries with {code}")),
        (Said::Nothing, ..) | (_, Said::Nothing, ..) => {
            finding(Verdict::Fail, "does not answer: it is left out until it does".to_owned())
        }
        (Said::NotListed, ..) => finding(
            Verdict::Fail,
            "does not list 127.0.0.2: not a DNSBL, a wrong key, or `listed` is too narrow".to_owned(),
        ),
        (_, Said::Listed | Said::RefusesUs(_), ..) => {
            finding(Verdict::Fail, "lists 127.0.0.1, so everybody: it is left out".to_owned())
        }
        (Said::Listed, Said::NotListed, Said::Listed, Said::NotListed) => {
            finding(Verdict::Ok, "answers its test points for IPv4 and IPv6".to_owned())
        }
        (Said::Listed, Said::NotListed, ..) => {
            finding(Verdict::Ok, "answers its test points for IPv4, has none for IPv6".to_owned())
        }
    }
}

fn said(answer: Result<Answer<Ipv4Addr>, DnsError>, zone: &Dnsbl) -> Said {
    match answer {
        Ok(answer) => {
            let refusal = answer.records.iter().find(|ip| ip.octets().starts_with(&[127, 255, 255]));
            let listed =
                |ip: &Ipv4Addr| *ip != Ipv4Addr::LOCALHOST && zone.listed.iter().any(|net| net.contains(ip));
            match refusal {
                Some(code) => Said::RefusesUs(*code),
                None if answer.records.iter().any(listed) => Said::Listed,
                None => Said::NotListed,
            }
        }
        Err(cause) if cause.is_temporary() => Said::Nothing,
        Err(_) => Said::NotListed,
    }
}
