//! Whether an SPF record passes an address: enough of RFC 7208 for the record of a forwarding service, which
//! is a list of networks. Mail is judged elsewhere, by the whole of it.
//!
//! Done: `ip4`, `ip6`, `a`, `include`, `redirect`, `all`, ten look-ups (§4.6.4), one record a name (§4.5). Not
//! done: macros, `mx`, `ptr`, `exists`: a record with them says [`Coverage::Unknown`].

use std::net::IpAddr;
use std::pin::Pin;

use ipnet::IpNet;

use crate::dns::{Dns, DnsError};

/// RFC 7208 §4.6.4.
const MAX_LOOKUPS: usize = 10;

/// What a record says of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Coverage {
    /// A `pass`.
    Covered,
    /// Anything else.
    NotCovered,
    /// This term is not understood here.
    Unknown(String),
    /// The record is an error (§2.6.6, §2.6.7), or cannot be had.
    Broken(String),
}

/// One term of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Term {
    /// `ip4:` and `ip6:`.
    Network(IpNet),
    /// `a`, with the prefix lengths.
    Host(Option<String>, u8, u8),
    /// `include:`.
    Include(String),
    /// `redirect=`.
    Redirect(String),
    /// `all`.
    All,
    /// `exp=` and unknown modifiers (§6).
    Nothing,
    /// Not understood here.
    Other,
}

/// The walk through a record and what it includes.
pub(super) struct Walk<'a> {
    dns: &'a Dns,
    address: IpAddr,
    lookups: usize,
}

impl<'a> Walk<'a> {
    /// Starts for an address.
    pub(super) fn new(dns: &'a Dns, address: IpAddr) -> Self {
        Self { dns, address, lookups: 0 }
    }

    /// What the record of the name says. Boxed, because records include each other.
    pub(super) fn covers<'b>(
        &'b mut self,
        name: &'b str,
    ) -> Pin<Box<dyn Future<Output = Coverage> + Send + 'b>> {
        Box::pin(async move {
            let record = match self.record(name).await {
                Ok(record) => record,
                Err(cause) => return Coverage::Broken(cause),
            };
            let mut redirect = None;
            for text in record.split_ascii_whitespace().skip(1) {
                let (passes, term) = read(text);
                let matched = match term {
                    Term::Nothing => Ok(false),
                    Term::Redirect(name) => {
                        redirect = Some(name);
                        Ok(false)
                    }
                    Term::Other => Err(Coverage::Unknown(text.to_owned())),
                    term @ (Term::Network(_) | Term::Host(..) | Term::Include(_) | Term::All) => {
                        self.matches(term, name).await
                    }
                };
                match matched {
                    Ok(true) if passes => return Coverage::Covered,
                    Ok(true) => return Coverage::NotCovered,
                    Ok(false) => {}
                    Err(coverage) => return coverage,
                }
            }
            match redirect {
                Some(name) => match self.count() {
                    Ok(()) => self.covers(&name).await,
                    Err(coverage) => coverage,
                },
                None => Coverage::NotCovered,
            }
        })
    }

    async fn matches(&mut self, term: Term, name: &str) -> Result<bool, Coverage> {
        match term {
            Term::Network(net) => Ok(net.contains(&self.address)),
            Term::All => Ok(true),
            Term::Host(host, v4, v6) => {
                self.count()?;
                self.host(host.as_deref().unwrap_or(name), v4, v6).await
            }
            Term::Include(name) => {
                self.count()?;
                match self.covers(&name).await {
                    Coverage::Covered => Ok(true),
                    Coverage::NotCovered => Ok(false),
                    other @ (Coverage::Unknown(_) | Coverage::Broken(_)) => Err(other),
                }
            }
            Term::Redirect(_) | Term::Nothing | Term::Other => Ok(false),
        }
    }

    async fn host(&self, name: &str, v4: u8, v6: u8) -> Result<bool, Coverage> {
        let found = match self.address {
            IpAddr::V4(_) => {
                self.dns.ipv4(name).await.map(|a| a.records.into_iter().map(IpAddr::V4).collect())
            }
            IpAddr::V6(_) => {
                self.dns.ipv6(name).await.map(|a| a.records.into_iter().map(IpAddr::V6).collect())
            }
        };
        let addresses: Vec<IpAddr> = match found {
            Ok(addresses) => addresses,
            Err(cause) if cause.is_temporary() => return Err(Coverage::Broken(cause.to_string())),
            Err(_) => Vec::new(),
        };
        let prefix = if self.address.is_ipv4() { v4 } else { v6 };
        let nets = addresses.into_iter().filter_map(|address| IpNet::new(address, prefix).ok());
        Ok(nets.into_iter().any(|net| net.contains(&self.address)))
    }

    fn count(&mut self) -> Result<(), Coverage> {
        self.lookups += 1;
        if self.lookups > MAX_LOOKUPS {
            return Err(Coverage::Broken(format!("more than {MAX_LOOKUPS} look-ups (RFC 7208 §4.6.4)")));
        }
        Ok(())
    }

    /// The one record that begins `v=spf1` (§4.5).
    async fn record(&self, name: &str) -> Result<String, String> {
        let answer = self.dns.txt(name).await.map_err(|cause: DnsError| cause.to_string())?;
        let mut records = answer
            .records
            .iter()
            .map(|record| String::from_utf8_lossy(record).to_ascii_lowercase())
            .filter(|record| record == "v=spf1" || record.starts_with("v=spf1 "));
        match (records.next(), records.next()) {
            (Some(record), None) => Ok(record),
            (None, _) => Err(format!("{name} having no SPF record")),
            (Some(_), Some(_)) => Err(format!("{name} having several SPF records (RFC 7208 §4.5)")),
        }
    }
}

/// A term in lower case, and whether a match of it is a pass.
pub(super) fn read(text: &str) -> (bool, Term) {
    let (passes, term) = match text.strip_prefix(['-', '~', '?']) {
        Some(term) => (false, term),
        None => (true, text.strip_prefix('+').unwrap_or(text)),
    };
    (passes, mechanism(term))
}

fn mechanism(term: &str) -> Term {
    if term.contains('%') {
        return Term::Other;
    }
    let network = |net: &str| net.parse().or_else(|_| net.parse::<IpAddr>().map(IpNet::from)).ok();
    if let Some((name, value)) = term.split_once('=').filter(|(name, _)| !name.contains(':')) {
        return if name == "redirect" { Term::Redirect(value.to_owned()) } else { Term::Nothing };
    }
    match term.split_once(':') {
        Some(("ip4" | "ip6", net)) => network(net).map_or(Term::Other, Term::Network),
        Some(("include", name)) => Term::Include(name.to_owned()),
        Some(("a", rest)) => host(Some(rest)),
        None if term == "all" => Term::All,
        None if term == "a" => host(None),
        Some(_) | None => Term::Other,
    }
}

/// `HOST`, `HOST/24`, `HOST//64`, `HOST/24//64` (§5.3, §5.6).
fn host(rest: Option<&str>) -> Term {
    let Some(rest) = rest else { return Term::Host(None, 32, 128) };
    let (rest, v6) = rest.split_once("//").unwrap_or((rest, "128"));
    let (name, v4) = rest.split_once('/').unwrap_or((rest, "32"));
    match (v4.parse(), v6.parse()) {
        (Ok(v4), Ok(v6)) => Term::Host(Some(name.to_owned()), v4, v6),
        _ => Term::Other,
    }
}

#[cfg(test)]
#[path = "spf_tests.rs"]
mod tests;
