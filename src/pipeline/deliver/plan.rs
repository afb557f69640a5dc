//! Where a destination domain's mail goes: its hosts in order, and each host's addresses in order
//! (RFC 5321 §5.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::outcome::Failure;
use crate::dns::{Dns, DnsError, HostAddresses, MailHost, MailHosts, Security};
use crate::mail::Domain;
use crate::pipeline::parcel::Silence;
use crate::pipeline::refusal::Refusal;

/// One host to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    /// Its name, or the address literal.
    pub(super) name: String,
    /// Lower is better; 0 without an MX record.
    pub(super) preference: u16,
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
            preference: 0,
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
            Ok(vec![Host { name: name.to_string(), preference: 0, origin: Origin::Implicit, security }])
        }
        Ok(MailHosts::Hosts(hosts)) => {
            let hosts = before_ours(hosts, ours);
            let hosts: Vec<_> = hosts
                .into_iter()
                .map(|host| Host {
                    name: host.name.to_string(),
                    preference: host.preference,
                    origin: Origin::Mx,
                    security,
                })
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

/// What is known of a host's addresses.
#[derive(Debug)]
pub(super) struct Found {
    /// IPv6 first, then IPv4.
    pub(super) addresses: Vec<IpAddr>,
    /// Whether DNSSEC vouches for the host and all of them (RFC 7672 §2.2.2).
    pub(super) security: Security,
    /// Why there may be others.
    pub(super) open: Option<DnsError>,
}

/// The host's addresses. Asked for both families at once; when one question has no answer the other's is used, and IPv6
/// that is late is not waited for where an IPv4 address will do.
pub(super) async fn addresses(
    host: &Host,
    dns: &Dns,
    will_do: impl Fn(IpAddr) -> bool,
) -> Result<Found, Failure> {
    if let Origin::Literal(ip) = host.origin {
        return Ok(Found { addresses: vec![ip], security: Security::Insecure, open: None });
    }
    let HostAddresses { ipv6: v6, ipv4: v4 } =
        dns.host_addresses(&host.name, |ip| will_do(IpAddr::V4(ip))).await;
    let v6: Result<(Vec<_>, _), _> =
        v6.map(|answer| (answer.records.into_iter().map(IpAddr::V6).collect(), answer.security));
    let v4: Result<(Vec<_>, _), _> =
        v4.map(|answer| (answer.records.into_iter().map(IpAddr::V4).collect(), answer.security));
    match (v6, v4) {
        (Ok((v6, of_v6)), Ok((v4, of_v4))) => Ok(Found {
            addresses: [v6, v4].concat(),
            security: host.security.and(of_v6).and(of_v4),
            open: None,
        }),
        (Ok((addresses, security)), Err(error)) | (Err(error), Ok((addresses, security))) => Ok(Found {
            addresses,
            security: host.security.and(security),
            open: Some(error).filter(DnsError::is_temporary),
        }),
        (Err(v6), Err(v4)) => Err(no_address(&v6, &v4)),
    }
}

/// What it means that a host has no address: once both questions were answered, that it is none. RFC 5321 §5.1 has
/// that reported as an error, and RFC 3463 §3.5 has a code for it.
fn no_address(v6: &DnsError, v4: &DnsError) -> Failure {
    match [v4, v6].into_iter().find(|error| error.is_temporary()) {
        Some(cause) => Failure::no_answer(Silence::LookUp, &cause.to_string()),
        None => Failure::unroutable(v4.to_string()),
    }
}

impl Failure {
    /// What it means that the MX question has no answer: no such domain, nothing usable, or nobody knows.
    fn of_mx(error: &DnsError) -> Self {
        match error {
            DnsError::Temporary { .. } | DnsError::System { .. } => {
                Self::no_answer(Silence::LookUp, &error.to_string())
            }
            DnsError::NoUsableMx { .. } => Self::unroutable(error.to_string()),
            DnsError::NoSuchName { .. } | DnsError::NoRecords { .. } | DnsError::NotAName { .. } => {
                Self::Ruled(Refusal::DestinationUnknown)
            }
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
