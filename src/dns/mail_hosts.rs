//! From a set of MX records to the hosts to try, in order (RFC 5321 §5.1, RFC 7505). Pure.

use std::collections::HashSet;
use std::net::IpAddr;

use hickory_resolver::proto::rr::RData;
use rand::Rng;
use rand::seq::SliceRandom;

use super::{DnsError, relative_text};
use crate::mail::Domain;

/// Hosts kept of an MX set. RFC 5321 §5.1 leaves the limit to us but wants two addresses tried at least;
/// real domains have fewer than ten.
pub const MAX_MAIL_HOSTS: usize = 20;

/// Where mail for a domain goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailHosts {
    /// The domain takes no mail at all (null MX, RFC 7505 §3).
    Null,
    /// There is no MX record: the domain itself is the host (RFC 5321 §5.1), if it has an address.
    Implicit(Domain),
    /// At least one host, at most [`MAX_MAIL_HOSTS`]: best preference first, equals in random order.
    Hosts(Vec<MailHost>),
}

/// One host of an MX set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailHost {
    /// Its name.
    pub name: Domain,
    /// Lower is better.
    pub preference: u16,
}

/// An MX record as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Exchange {
    preference: u16,
    /// Lower case, without trailing dot; empty: the root.
    name: String,
}

/// Reads an MX record.
pub(super) fn exchange(data: &RData) -> Option<Exchange> {
    if let RData::MX(mx) = data {
        Some(Exchange { preference: mx.preference, name: relative_text(&mx.exchange) })
    } else {
        None
    }
}

/// Orders and filters an MX set that is not empty.
pub(super) fn select(
    domain: &Domain,
    mut records: Vec<Exchange>,
    rng: &mut impl Rng,
) -> Result<MailHosts, DnsError> {
    // RFC 7505 §3: the null MX stands alone; a "." in company is a mistake, and no host.
    if let [only] = records.as_slice()
        && only.name.is_empty()
    {
        return Ok(MailHosts::Null);
    }
    // RFC 5321 §5.1: equal preferences are to be taken in random order; the sort is stable.
    records.shuffle(rng);
    records.sort_by_key(|record| record.preference);
    let mut seen = HashSet::new();
    let hosts: Vec<MailHost> = records
        .iter()
        .filter_map(|record| Some(MailHost { name: host(&record.name)?, preference: record.preference }))
        .filter(|host| seen.insert(host.name.clone()))
        .take(MAX_MAIL_HOSTS)
        .collect();
    if hosts.is_empty() {
        return Err(DnsError::NoUsableMx { name: domain.as_str().to_owned() });
    }
    Ok(MailHosts::Hosts(hosts))
}

/// The host that an exchange names: not the root, nor an address written as if it were a name, which
/// RFC 5321 §5.1 and RFC 1035 §3.3.9 have no room for.
fn host(name: &str) -> Option<Domain> {
    if name.parse::<IpAddr>().is_ok() {
        return None;
    }
    Domain::parse(name).ok().filter(|domain| !domain.is_literal())
}

#[cfg(test)]
#[path = "mail_hosts_tests.rs"]
mod tests;
