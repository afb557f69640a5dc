//! One term of a record: a directive or a modifier (RFC 7208 §4.6.1, §5, §6).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::{MacroString, SyntaxError, excerpt};

/// Longest prefix of an IPv4 address.
const IPV4_BITS: u8 = 32;
/// Longest prefix of an IPv6 address.
const IPV6_BITS: u8 = 128;

/// A mechanism and what its match means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// The result of a match; `+` where there is none.
    pub qualifier: Qualifier,
    /// What is compared.
    pub mechanism: Mechanism,
}

/// What a match means (RFC 7208 §4.6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qualifier {
    /// `+`
    Pass,
    /// `-`
    Fail,
    /// `~`
    SoftFail,
    /// `?`
    Neutral,
}

/// What is compared with the client (RFC 7208 §5). Where a domain may be left out, `None` is the one whose record
/// this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mechanism {
    /// `all` (§5.1).
    All,
    /// `include` (§5.2).
    Include(MacroString),
    /// `a` (§5.3).
    A(Option<MacroString>, PrefixLengths),
    /// `mx` (§5.4).
    Mx(Option<MacroString>, PrefixLengths),
    /// `ptr` (§5.5).
    Ptr(Option<MacroString>),
    /// `ip4` and `ip6` (§5.6).
    Network(IpNet),
    /// `exists` (§5.7).
    Exists(MacroString),
}

/// `dual-cidr-length` (RFC 7208 §5.3): how many leading bits of an address count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrefixLengths {
    /// Of an IPv4 address, 0 to 32.
    pub ipv4: u8,
    /// Of an IPv6 address, 0 to 128.
    pub ipv6: u8,
}

impl PrefixLengths {
    /// Whether two addresses of one family agree in these bits.
    #[must_use]
    pub fn agree(self, a: IpAddr, b: IpAddr) -> bool {
        let bits = if a.is_ipv4() { self.ipv4 } else { self.ipv6 };
        IpNet::new(a, bits).is_ok_and(|net| net.contains(&b))
    }
}

/// A term of either kind.
pub(super) enum Term {
    Directive(Directive),
    Modifier(Modifier),
}

/// RFC 7208 §6.
pub(super) enum Modifier {
    Redirect(MacroString),
    Explanation(MacroString),
    /// "Unrecognized modifiers MUST be ignored", once their syntax is right.
    Unknown,
}

impl Term {
    pub(super) fn parse(term: &[u8]) -> Result<Self, SyntaxError> {
        match modifier_name(term) {
            Some((name, value)) => modifier(name, value, term).map(Self::Modifier),
            None => directive(term).map(Self::Directive),
        }
    }
}

/// The name and the value of a modifier: `name "="`, name = ALPHA *( ALPHA / DIGIT / "-" / "_" / "." ).
fn modifier_name(term: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = term.iter().position(|b| !(b.is_ascii_alphanumeric() || b"-_.".contains(b)))?;
    let (name, rest) = term.split_at(end);
    let value = rest.strip_prefix(b"=")?;
    name.first()?.is_ascii_alphabetic().then_some((name, value))
}

fn modifier(name: &[u8], value: &[u8], term: &[u8]) -> Result<Modifier, SyntaxError> {
    if name.eq_ignore_ascii_case(b"redirect") {
        MacroString::domain(value, term).map(Modifier::Redirect)
    } else if name.eq_ignore_ascii_case(b"exp") {
        MacroString::domain(value, term).map(Modifier::Explanation)
    } else {
        MacroString::any(value, term).map(|_| Modifier::Unknown)
    }
}

fn directive(term: &[u8]) -> Result<Directive, SyntaxError> {
    let qualifier = match term.first() {
        Some(b'+') => Some(Qualifier::Pass),
        Some(b'-') => Some(Qualifier::Fail),
        Some(b'~') => Some(Qualifier::SoftFail),
        Some(b'?') => Some(Qualifier::Neutral),
        Some(_) | None => None,
    };
    let rest = if qualifier.is_some() { term.get(1..).unwrap_or_default() } else { term };
    Ok(Directive { qualifier: qualifier.unwrap_or(Qualifier::Pass), mechanism: mechanism(rest, term)? })
}

fn mechanism(text: &[u8], term: &[u8]) -> Result<Mechanism, SyntaxError> {
    let end = text.iter().position(|b| b":/".contains(b)).unwrap_or(text.len());
    let (name, argument) = text.split_at(end);
    match name.to_ascii_lowercase().as_slice() {
        b"all" if argument.is_empty() => Ok(Mechanism::All),
        b"all" => Err(SyntaxError::Argument(excerpt(term))),
        b"include" => required(argument, term).map(Mechanism::Include),
        b"exists" => required(argument, term).map(Mechanism::Exists),
        b"ptr" => optional(argument, term).map(Mechanism::Ptr),
        b"a" => hosts(argument, term).map(|(domain, lengths)| Mechanism::A(domain, lengths)),
        b"mx" => hosts(argument, term).map(|(domain, lengths)| Mechanism::Mx(domain, lengths)),
        b"ip4" => network(argument, IPV4_BITS, term).map(Mechanism::Network),
        b"ip6" => network(argument, IPV6_BITS, term).map(Mechanism::Network),
        _ => Err(SyntaxError::Mechanism(excerpt(term))),
    }
}

/// `":" domain-spec`
fn required(argument: &[u8], term: &[u8]) -> Result<MacroString, SyntaxError> {
    let domain = argument.strip_prefix(b":").ok_or_else(|| SyntaxError::Argument(excerpt(term)))?;
    MacroString::domain(domain, term)
}

/// `[ ":" domain-spec ]`
fn optional(argument: &[u8], term: &[u8]) -> Result<Option<MacroString>, SyntaxError> {
    if argument.is_empty() { Ok(None) } else { required(argument, term).map(Some) }
}

/// `[ ":" domain-spec ] [ dual-cidr-length ]`. A domain may hold slashes, but not end in a slash and digits, so that
/// what does is a length.
fn hosts(argument: &[u8], term: &[u8]) -> Result<(Option<MacroString>, PrefixLengths), SyntaxError> {
    let (rest, ipv6) = suffix(argument, b"//");
    let (rest, ipv4) = suffix(rest, b"/");
    let lengths = PrefixLengths {
        ipv4: ipv4.map_or(Ok(IPV4_BITS), |digits| length(digits, IPV4_BITS, term))?,
        ipv6: ipv6.map_or(Ok(IPV6_BITS), |digits| length(digits, IPV6_BITS, term))?,
    };
    Ok((optional(rest, term)?, lengths))
}

/// The text before a mark that only digits follow, and the digits.
fn suffix<'a>(text: &'a [u8], mark: &[u8]) -> (&'a [u8], Option<&'a [u8]>) {
    let digits = text.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let (before, digits) = text.split_at(text.len() - digits);
    match before.strip_suffix(mark) {
        Some(before) if !digits.is_empty() => (before, Some(digits)),
        Some(_) | None => (text, None),
    }
}

/// `"0" / %x31-39 *DIGIT`, at most as many bits as an address has.
fn length(digits: &[u8], most: u8, term: &[u8]) -> Result<u8, SyntaxError> {
    let canonical = digits == b"0" || digits.first().is_some_and(|first| (b'1'..=b'9').contains(first));
    let value = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    value.filter(|value| canonical && *value <= most).ok_or_else(|| SyntaxError::PrefixLength(excerpt(term)))
}

/// `":" ip4-network [ ip4-cidr-length ]`, and the same for IPv6 (RFC 7208 §5.6). What parses the addresses takes
/// neither leading zeros nor fewer parts than an address has.
fn network(argument: &[u8], most: u8, term: &[u8]) -> Result<IpNet, SyntaxError> {
    let text = argument.strip_prefix(b":").ok_or_else(|| SyntaxError::Argument(excerpt(term)))?;
    let slash = text.iter().position(|b| *b == b'/');
    let (address, digits) = match slash.and_then(|at| text.split_at_checked(at)) {
        Some((address, digits)) => (address, digits.get(1..)),
        None => (text, None),
    };
    let bits = digits.map_or(Ok(most), |digits| length(digits, most, term))?;
    let address = std::str::from_utf8(address).unwrap_or_default();
    let address = if most == IPV4_BITS {
        address.parse::<Ipv4Addr>().map(IpAddr::V4)
    } else {
        address.parse::<Ipv6Addr>().map(IpAddr::V6)
    };
    let net = address.ok().and_then(|address| IpNet::new(address, bits).ok());
    net.ok_or_else(|| SyntaxError::Address(excerpt(term)))
}
