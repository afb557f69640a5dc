//! Resource names (AIP-122), and finding what they name in a snapshot of the routing table. An id may stand
//! wherever a name does.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use tonic::Status;
use ulid::Ulid;

use super::status::{self, Kind};
use crate::mail::{Address, Domain};
use crate::routing::{Destination, DomainEntry, Rule, Table};

/// Longest resource name, in octets: a quoted address, or a domain and an id.
const MAX_NAME_OCTETS: usize = 1024;

/// The domain of `domains/NAME` or `domains/ID`.
pub(super) fn domain(table: &Table, field: &str, name: &str) -> Result<Arc<DomainEntry>, Status> {
    let rest = domain_part(field, name)?;
    find_domain(table, field, rest, name)
}

/// The name in `domains/NAME`, for a domain that does not exist yet.
pub(super) fn new_domain(field: &str, name: &str) -> Result<Domain, Status> {
    Domain::parse(domain_part(field, name)?).map_err(|error| status::invalid(field, error))
}

/// The rule of `domains/NAME/rules/ID`; the domain may be `-`.
pub(super) fn rule(table: &Table, field: &str, name: &str) -> Result<Arc<Rule>, Status> {
    let (of, id) = bounded(field, name)?
        .strip_prefix("domains/")
        .and_then(|rest| rest.split_once("/rules/"))
        .and_then(|(of, id)| Some((of, Ulid::from_string(id).ok()?)))
        .ok_or_else(|| malformed(field, name, "domains/DOMAIN/rules/ID"))?;
    let not_found = || status::not_found(Kind::Rule, name);
    let rule = table.rule(&id).ok_or_else(not_found)?;
    if of != "-" && find_domain(table, field, of, name)?.name != rule.domain {
        return Err(not_found());
    }
    Ok(Arc::clone(rule))
}

/// The destination of `destinations/ADDRESS` or `destinations/ID`.
pub(super) fn destination(table: &Table, field: &str, name: &str) -> Result<Arc<Destination>, Status> {
    let rest = bounded(field, name)?
        .strip_prefix("destinations/")
        .filter(|rest| !rest.is_empty())
        .ok_or_else(|| malformed(field, name, "destinations/ADDRESS"))?;
    let found = match Ulid::from_string(rest) {
        Ok(id) => table.destinations().find(|destination| destination.id == id),
        Err(_) => table.destination(&Address::parse(rest).map_err(|error| status::invalid(field, error))?),
    };
    found.cloned().ok_or_else(|| status::not_found(Kind::Destination, name))
}

/// The network of `listings/192.0.2.0-24`; it may stand there as people write it, too.
pub(super) fn listing(field: &str, name: &str) -> Result<IpNet, Status> {
    let form = || malformed(field, name, "listings/NETWORK");
    let rest = bounded(field, name)?.strip_prefix("listings/").ok_or_else(form)?;
    // The last hyphen stands before the length, and any other for a colon.
    let of_name = || {
        let (address, length) = rest.rsplit_once('-')?;
        format!("{}/{length}", address.replace('-', ":")).parse().ok()
    };
    parse_network(rest).or_else(of_name).ok_or_else(form)
}

/// A network of clients, or one address as a network.
pub(super) fn network(field: &str, text: &str) -> Result<IpNet, Status> {
    if text.is_empty() {
        return Err(status::invalid(field, "is required, such as 192.0.2.7 or 192.0.2.0/24"));
    }
    parse_network(bounded(field, text)?).ok_or_else(|| {
        let text = format!("\"{text}\" is neither an IP address nor a network such as 192.0.2.0/24");
        status::invalid(field, text)
    })
}

fn parse_network(text: &str) -> Option<IpNet> {
    match text.parse::<IpAddr>() {
        Ok(ip) => Some(IpNet::from(ip.to_canonical())),
        Err(_) => text.parse().ok(),
    }
}

fn find_domain(table: &Table, field: &str, text: &str, name: &str) -> Result<Arc<DomainEntry>, Status> {
    let parsed = Domain::parse(text);
    let by_name = parsed.as_ref().ok().and_then(|parsed| table.domain(parsed));
    // An id is a valid host name too, so the name goes first.
    let by_id = || {
        let id = Ulid::from_string(text).ok()?;
        table.domains().find(|domain| domain.id == id)
    };
    match by_name.or_else(by_id) {
        Some(found) => Ok(Arc::clone(found)),
        None => Err(match parsed {
            Ok(_) => status::not_found(Kind::Domain, name),
            Err(error) => status::invalid(field, error),
        }),
    }
}

fn domain_part<'n>(field: &str, name: &'n str) -> Result<&'n str, Status> {
    bounded(field, name)?
        .strip_prefix("domains/")
        .filter(|rest| !rest.is_empty() && !rest.contains('/'))
        .ok_or_else(|| malformed(field, name, "domains/DOMAIN"))
}

fn bounded<'n>(field: &str, name: &'n str) -> Result<&'n str, Status> {
    if name.len() > MAX_NAME_OCTETS {
        return Err(status::invalid(field, format!("is longer than {MAX_NAME_OCTETS} octets")));
    }
    Ok(name)
}

fn malformed(field: &str, name: &str, form: &str) -> Status {
    if name.is_empty() {
        return status::invalid(field, format!("is required, of the form {form}"));
    }
    status::invalid(field, format!("\"{name}\" is not of the form {form}"))
}
