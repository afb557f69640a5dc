//! Each outbound address: its PTR record, the name's addresses, and whether customers' SPF records cover it.

use std::net::IpAddr;

use crate::check::spf::{Coverage, Walk};
use crate::check::{Finding, Verdict};
use crate::config::{Service, Source};
use crate::dns::Dns;

/// Forward-confirmed reverse DNS: Gmail and others refuse IPv6 mail without it (RFC 8601 §2.7.3 `iprev`).
pub(super) async fn names(source: &Source, dns: &Dns) -> Vec<Finding> {
    let (address, hostname) = (source.address, source.hostname.as_str());
    let ptr = match dns.ptr(address).await {
        Ok(answer) if answer.records.iter().any(|name| name == hostname) => {
            Finding::new(Verdict::Ok, "ptr", format!("{address} is {hostname}"))
        }
        Ok(answer) => {
            let names = answer.records.join(", ");
            Finding::new(Verdict::Fail, "ptr", format!("{address} is {names}, want {hostname}"))
        }
        Err(cause) => Finding::new(Verdict::Fail, "ptr", format!("{address}, want {hostname}: {cause}")),
    };
    let forward = match address {
        IpAddr::V4(ip) => dns.ipv4(hostname).await.map(|answer| answer.records.contains(&ip)),
        IpAddr::V6(ip) => dns.ipv6(hostname).await.map(|answer| answer.records.contains(&ip)),
    };
    let forward = match forward {
        Ok(true) => Finding::new(Verdict::Ok, "dns", format!("{hostname} has {address}")),
        Ok(false) => Finding::new(Verdict::Fail, "dns", format!("{hostname} does not have {address}")),
        Err(cause) => Finding::new(Verdict::Fail, "dns", format!("{hostname}, want {address}: {cause}")),
    };
    vec![ptr, forward]
}

/// Whether `service.spf_name` passes the address.
pub(super) async fn spf(source: &Source, service: &Service, dns: &Dns) -> Vec<Finding> {
    let address = source.address;
    let Some(name) = &service.spf_name else {
        let detail = format!("{address} is not checked: service.spf_name is not set");
        return vec![Finding::new(Verdict::Warn, "spf", detail)];
    };
    let (verdict, text) = match Walk::new(dns, address).covers(name.as_str()).await {
        Coverage::Covered => (Verdict::Ok, "is passed by".to_owned()),
        Coverage::NotCovered => (Verdict::Fail, "is not passed by".to_owned()),
        Coverage::Unknown(term) => (Verdict::Warn, format!("cannot be told from \"{term}\" in")),
        Coverage::Broken(cause) => (Verdict::Fail, format!("is not passed, because of {cause}, by")),
    };
    vec![Finding::new(verdict, "spf", format!("{address} {text} {name}"))]
}
