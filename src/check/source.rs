//! Outbound addresses: their PTR records, the name's addresses, and whether customers' SPF records cover them.

use std::net::IpAddr;

use crate::check::{Finding, Verdict};
use crate::check_host::check_host;
use crate::config::Service;
use crate::dns::Dns;
use crate::mail::Domain;
use crate::spf::{Sender, SpfVerdict};

/// Forward-confirmed reverse DNS: Gmail and others refuse IPv6 mail without it (RFC 8601 §2.7.3 `iprev`).
pub(super) async fn names(address: IpAddr, hostname: &Domain, dns: &Dns) -> Vec<Finding> {
    let hostname = hostname.as_str();
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

/// Whether `service.spf_name` passes the address, from which outgoing sessions say `helo`.
pub(super) async fn spf(address: IpAddr, helo: &Domain, service: &Service, dns: &Dns) -> Vec<Finding> {
    let Some(name) = &service.spf_name else {
        let detail = format!("{address} is not checked: service.spf_name is not set");
        return vec![Finding::new(Verdict::Warn, "spf", detail)];
    };
    let sender = Sender {
        ip: address,
        helo: helo.to_string(),
        local: "postmaster".to_owned(),
        domain: name.to_string(),
    };
    let checked = check_host(dns, &sender).await;
    let verdict = if checked.verdict == SpfVerdict::Pass { Verdict::Ok } else { Verdict::Fail };
    let cause = checked.fault.map(|fault| format!(" ({fault})")).unwrap_or_default();
    vec![Finding::new(verdict, "spf", format!("{address}: {} by {name}{cause}", checked.verdict))]
}
