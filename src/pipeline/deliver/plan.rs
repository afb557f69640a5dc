//! Where a destination domain's mail goes: its hosts in order, and each host's addresses in order
//! (RFC 5321 §5.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::outcome::Failure;
use crate::dns::{Dns, DnsError, MailHost, MailHosts, Security};
use crate::mail::Domain;
use crate::pipeline::parcel::Silence;
use crate::pipeline::refusal::Refusal;

/// One host to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    /// Its name, or the address literal.
    pub(super) name: String,
    /// How its addresses are found.
    pub(super) origin: Origin,
    /// Whether DNSSEC vouches for its being a host of the destination.
    pub(super) security: Security,
}

/// Why this host is one of the destination's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// An MX record names it.
    Mx,
    /// The domain has no MX record, and is its own host if it has an address.
    Implicit,
    /// The domain is an address literal (RFC 5321 §4.1.3).
    Literal(IpAddr),
}

/// The destination's hosts, best first; none of them ours.
pub(super) async fn hosts(domain: &Domain, dns: &Dns, ours: &[Domain]) -> Result<Vec<Host>, Failure> {
    if let Some(ip) = literal(domain) {
        return Ok(vec![Host {
            name: domain.to_string(),
            origin: Origin::Literal(ip),
            security: Security::Insecure,
        }]);
    }
    let (hosts, security) = match dns.mx_secured(domain).await {
        Ok((hosts, security)) => (Ok(hosts), security),
        Err(error) => (Err(error), Security::Insecure),
    };
    match hosts {
        Ok(MailHosts::Null) => Err(Failure::Ruled(Refusal::RecipientNullMx)),
        Ok(MailHosts::Implicit(name)) if ours.contains(&name) => Err(Failure::Ruled(Refusal::Loop)),
        Ok(MailHosts::Implicit(name)) => {
            Ok(vec![Host { name: name.to_string(), origin: Origin::Implicit, security }])
        }
        Ok(MailHosts::Hosts(hosts)) => {
            let hosts = before_ours(hosts, ours);
            let hosts: Vec<_> = hosts
                .into_iter()
                .map(|host| Host { name: host.name.to_string(), origin: Origin::Mx, security })
                .collect();
            if hosts.is_empty() { Err(Failure::Ruled(Refusal::Loop)) } else { Ok(hosts) }
        }
        Err(error) => Err(Failure::of_mx(&error)),
    }
}

/// The hosts that are better than the best of ours: RFC 5321 §5.1 has all others dropped, since they would
/// send the message back to us.
pub(super) fn before_ours(mut hosts: Vec<MailHost>, ours: &[Domain]) -> Vec<MailHost> {
    let own = hosts.iter().filter(|host| ours.contains(&host.name)).map(|host| host.preference).min();
    if let Some(own) = own {
        hosts.retain(|host| host.preference < own);
    }
    hosts
}

/// The host's addresses: IPv6 first, then IPv4. Asked for both at once; when one question has no answer
/// the other's is used. With them whether DNSSEC vouches for the host and all of them (RFC 7672 §2.2.2).
pub(super) async fn addresses(host: &Host, dns: &Dns) -> Result<(Vec<IpAddr>, Security), Failure> {
    if let Origin::Literal(ip) = host.origin {
        return Ok((vec![ip], Security::Insecure));
    }
    let (v6, v4) = tokio::join!(dns.ipv6_secured(&host.name), dns.ipv4_secured(&host.name));
    let v6: Result<(Vec<_>, _), _> =
        v6.map(|answer| (answer.records.into_iter().map(IpAddr::V6).collect(), answer.security));
    let v4: Result<(Vec<_>, _), _> =
        v4.map(|answer| (answer.records.into_iter().map(IpAddr::V4).collect(), answer.security));
    match (v6, v4) {
        (Ok((v6, of_v6)), Ok((v4, of_v4))) => Ok(([v6, v4].concat(), host.security.and(of_v6).and(of_v4))),
        (Ok((one, security)), Err(_)) | (Err(_), Ok((one, security))) => {
            Ok((one, host.security.and(security)))
        }
        (Err(v6), Err(v4)) => Err(no_address(host, &v6, &v4)),
    }
}

/// What it means that a host has no address. Of the domain itself: there is no such destination, once both
/// questions were answered. Of an MX host: its owner's mistake, which a retry may find mended.
fn no_address(host: &Host, v6: &DnsError, v4: &DnsError) -> Failure {
    let known = !v6.is_temporary() && !v4.is_temporary();
    if known && host.origin == Origin::Implicit {
        return Failure::Ruled(Refusal::DestinationUnknown);
    }
    let cause = if v4.is_temporary() { v4 } else { v6 };
    Failure::no_answer(Silence::LookUp, &cause.to_string())
}

impl Failure {
    /// What it means that the MX question has no answer: no such domain, nothing usable, or nobody knows.
    fn of_mx(error: &DnsError) -> Self {
        if error.is_temporary() {
            Self::no_answer(Silence::LookUp, &error.to_string())
        } else {
            Self::Ruled(Refusal::DestinationUnknown)
        }
    }
}

/// The address of an address literal.
fn literal(domain: &Domain) -> Option<IpAddr> {
    let inner = domain.as_str().strip_prefix('[')?.strip_suffix(']')?;
    match inner.strip_prefix("IPv6:") {
        Some(v6) => v6.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => inner.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
