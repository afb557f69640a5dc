//! `[cluster]`: the nodes of this node's cluster, and how they reach each other. Reads the section and holds it to its
//! rules; whether certificate, key and authorities fit each other is seen by who owns TLS.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::path::PathBuf;

use rustls_pki_types::DnsName;

use crate::config::error::Problem;
use crate::config::read::{FromText, Section};
use crate::config::schema::{self as keys, Key};
use crate::config::{KeyPairFiles, Node, files};
use crate::mail::Domain;

/// The most entries of `cluster.peers`: every node keeps a link to every other, which is 36 of nine, every change of the
/// routing table goes to all, and a cluster is founded with the consent of all.
pub const MAX_PEERS: usize = 9;
/// The longest label of a host name, in octets (RFC 1123 §2.1, RFC 1035 §2.3.4).
const MAX_LABEL_OCTETS: usize = 63;

/// `[cluster]`: the nodes of this node's cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// The one address to listen on for the other nodes.
    pub listen: SocketAddr,
    /// What this node shows to the others, whoever dials: the certificate names it.
    pub tls: KeyPairFiles,
    /// The authorities that must have signed the others' certificates.
    pub ca_file: PathBuf,
    /// All nodes, or all others; at least one, at most [`MAX_PEERS`].
    pub peers: Vec<Peer>,
    /// How many nodes vote at most: 3 or 5.
    pub voters: u8,
    /// How long heartbeats and elections take.
    pub timing: Timing,
}

/// One entry of `cluster.peers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its `node.name`, which its certificate bears: one label in lower case.
    pub name: String,
    /// Where it is reached.
    pub address: PeerAddress,
}

/// A host and its port, in the one form that the system's resolver takes: `amir.internal:50052`, `192.0.2.1:50052` or
/// `[2001:db8::1]:50052`. A name is resolved by who dials, at every dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAddress(String);

/// How long heartbeats and elections take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// For nodes in one place.
    Lan,
    /// For nodes far apart.
    Wan,
}

impl PeerAddress {
    /// `HOST:PORT`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a node of a cluster can have this name: a host name's label (RFC 1123 §2.1), since certificates bear it as
/// a DNS name. That leaves out what TLS takes for a number, and upper case, which DNS does not tell from lower case, but
/// a list of nodes does.
#[must_use]
pub fn is_node_label(name: &str) -> bool {
    (1..=MAX_LABEL_OCTETS).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && DnsName::try_from(name).is_ok()
}

/// What a name of a node in a cluster must be.
pub const NODE_LABEL: &str =
    "1 to 63 lower-case letters, digits and hyphens, no hyphen first or last, and no number";

/// The section, when it is there; the outer `None` is an error. It asks more of `node.name` than a node of its own does.
pub(super) fn cluster(section: &Section<'_>, node: (&Section<'_>, Option<&Node>)) -> Option<Option<Cluster>> {
    if !section.is_there() {
        return Some(None);
    }
    if let (at, Some(Node { name, .. })) = node
        && !is_node_label(name)
    {
        at.invalid(keys::NODE_NAME, format!("\"{name}\" is, in a cluster, not {NODE_LABEL}"));
    }
    let listen = section.one(keys::CLUSTER_LISTEN);
    let certificate = section.file(keys::CLUSTER_CERTIFICATE_FILE, files::certificates);
    let private_key = section.file(keys::CLUSTER_PRIVATE_KEY_FILE, files::private_key);
    let ca = section.file(keys::CLUSTER_CA_FILE, files::certificates);
    let peers = peers(section);
    let voters = section.choice(keys::CLUSTER_VOTERS);
    let timing = section.word(keys::CLUSTER_TIMING, &[("lan", Timing::Lan), ("wan", Timing::Wan)]);
    let ((certificate_file, _), (private_key_file, _)) = (certificate?, private_key?);
    Some(Some(Cluster {
        listen: listen?,
        tls: KeyPairFiles { certificate_file, private_key_file },
        ca_file: ca?.0,
        peers: peers?,
        voters: voters?,
        timing: timing?,
    }))
}

fn peers(section: &Section<'_>) -> Option<Vec<Peer>> {
    let key = keys::CLUSTER_PEERS;
    if !section.has(key) {
        section.missing(key);
        return None;
    }
    let tables = section.tables(key);
    if section.is_empty_array(key) {
        section.invalid(key, "names no node; without the section a node is a cluster of its own");
    }
    if tables.len() > MAX_PEERS {
        let reason =
            format!("{} nodes are more than {MAX_PEERS}: each keeps a link to all others", tables.len());
        section.invalid(key, reason);
    }
    let peers: Vec<Option<Peer>> = tables.iter().map(peer).collect();
    let peers: Vec<Peer> = peers.into_iter().collect::<Option<_>>()?;
    // Both are noted: two entries of one machine under two names would count as two nodes.
    twice(section, key, peers.iter().map(|peer| ("name", peer.name.as_str())));
    twice(section, key, peers.iter().map(|peer| ("address", peer.address.as_str())));
    Some(peers)
}

fn peer(section: &Section<'_>) -> Option<Peer> {
    let name: Option<String> = section.one(keys::PEER_NAME);
    let address = section.one(keys::PEER_ADDRESS);
    let name = name?;
    if !is_node_label(&name) {
        section.invalid(keys::PEER_NAME, format!("\"{name}\" is not {NODE_LABEL}"));
        return None;
    }
    Some(Peer { name, address: address? })
}

/// Notes each value that is there a second time.
fn twice<'a>(section: &Section<'_>, key: &Key, values: impl Iterator<Item = (&'static str, &'a str)>) {
    let mut seen = BTreeSet::new();
    for (what, value) in values {
        if !seen.insert(value) {
            section.wrong(key, Problem::Invalid(format!("the {what} {value} is there twice")));
        }
    }
}

impl FromText for PeerAddress {
    fn from_text(text: &str) -> Result<Self, String> {
        parse_address(text).map(Self).ok_or_else(|| {
            format!("\"{text}\" is not HOST:PORT, such as amir.internal:50052, 192.0.2.1:50052 or [2001:db8::1]:50052")
        })
    }
}

fn parse_address(text: &str) -> Option<String> {
    if text.starts_with('[') {
        let address: SocketAddrV6 = text.parse().ok()?;
        return (address.port() != 0 && can_be_dialled(IpAddr::V6(*address.ip())))
            .then(|| address.to_string());
    }
    let (host, port) = text.rsplit_once(':')?;
    let port =
        port.parse::<u16>().ok().filter(|number| *number != 0 && port.bytes().all(|b| b.is_ascii_digit()))?;
    if let Ok(ip) = host.parse() {
        return can_be_dialled(IpAddr::V4(ip)).then(|| format!("{ip}:{port}"));
    }
    let name = Domain::parse(host).ok().filter(|name| DnsName::try_from(name.as_str()).is_ok())?;
    // A name that ends in a dot is absolute, which the resolver's search list does not lengthen.
    let end = if host.ends_with('.') { "." } else { "" };
    Some(format!("{name}{end}:{port}"))
}

fn can_be_dialled(ip: IpAddr) -> bool {
    !ip.is_unspecified() && !ip.is_multicast()
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
