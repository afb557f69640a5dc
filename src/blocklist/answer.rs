//! The questions and answers of a zone (RFC 5782 §2). Pure.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::Ipv4Net;

/// Octets that an IPv6 address takes in a question, the dot before the zone included.
pub(super) const REVERSED_OCTETS: usize = 64;

/// Every listing is in this network (RFC 5782 §2.1 and §2.3).
pub(super) const LISTINGS: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
/// How zones tell a resolver that it may not ask; Spamhaus' return codes .252, .254 and .255 are known.
const REFUSALS: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(127, 255, 255, 0), 24);

/// An address family, each of which a zone may or may not cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Ipv4,
    Ipv6,
}

/// What a zone says of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Listed,
    NotListed,
    /// The answer is one that no zone gives of an address.
    Nonsense,
}

impl Family {
    pub(super) fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }

    /// The label `ip_family`.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }

    /// The test entries of RFC 5782 §5: what a working zone lists, and what it does not.
    pub(super) fn test_points(self) -> (IpAddr, IpAddr) {
        let (listed, not_listed) = (Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::LOCALHOST);
        match self {
            Self::Ipv4 => (listed.into(), not_listed.into()),
            Self::Ipv6 => (listed.to_ipv6_mapped().into(), not_listed.to_ipv6_mapped().into()),
        }
    }
}

impl Verdict {
    /// Reads the A records of an answer, in which only these networks mean a listing.
    pub(super) fn read(records: &[Ipv4Addr], listed: &[Ipv4Net]) -> Self {
        let fit = |address: &&Ipv4Addr| {
            **address != Ipv4Addr::LOCALHOST && !REFUSALS.contains(*address) && LISTINGS.contains(*address)
        };
        if records.iter().filter(fit).any(|address| listed.iter().any(|net| net.contains(address))) {
            Self::Listed
        } else if records.iter().all(|address| fit(&address)) {
            Self::NotListed
        } else {
            Self::Nonsense
        }
    }
}

/// The address as it stands before a zone's name, with a trailing dot: IPv4 by octets (RFC 5782 §2.1),
/// IPv6 by nibbles (§2.4), least significant first. A mapped address is an IPv6 address here.
pub(super) fn reversed(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.")
        }
        IpAddr::V6(ip) => nibbles(ip),
    }
}

fn nibbles(ip: Ipv6Addr) -> String {
    let mut text = String::with_capacity(REVERSED_OCTETS);
    for octet in ip.octets().iter().rev() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{:x}.{:x}.", octet & 0xf, octet >> 4);
    }
    text
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
