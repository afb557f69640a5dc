//! What nodes say to each other, as messages and as the types that the node works with. Nothing of a message is believed
//! before it is within its bounds.

pub(super) mod change;
pub(super) mod greeting;
pub(super) mod raft;

use super::super::founding::{ClusterId, Members, NodeId, NodeName};
use crate::proto::cluster::v1;

/// Longest name of a node, in octets: what `node.name` may have.
const MAX_NAME_OCTETS: usize = 63;
/// Names, or members, in one list.
pub(super) const MAX_NAMES: usize = 64;

/// A message that is none: the peer's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} of a message cannot be")]
pub(super) struct Malformed(pub(super) &'static str);

/// What every call begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// The versions of the protocol that the caller speaks, from the first to the last.
    pub(super) versions: (u32, u32),
    pub(super) cluster: Option<ClusterId>,
    pub(super) from: NodeId,
    pub(super) name: NodeName,
    pub(super) to: Option<NodeId>,
}

impl Header {
    pub(super) fn encode(&self) -> v1::Header {
        v1::Header {
            first_version: self.versions.0,
            last_version: self.versions.1,
            cluster: self.cluster.map(encode_cluster).unwrap_or_default(),
            from: self.from.0,
            name: self.name.to_string(),
            to: self.to.map(|NodeId(id)| id),
        }
    }

    pub(super) fn decode(header: Option<v1::Header>) -> Result<Self, Malformed> {
        let header = header.ok_or(Malformed("the header"))?;
        Ok(Self {
            versions: (header.first_version, header.last_version),
            cluster: decode_optional_cluster(&header.cluster)?,
            from: NodeId(header.from),
            name: decode_name(&header.name)?,
            to: header.to.map(NodeId),
        })
    }
}

fn encode_cluster(ClusterId(id): ClusterId) -> Vec<u8> {
    id.to_be_bytes().to_vec()
}

fn decode_cluster(octets: &[u8]) -> Result<ClusterId, Malformed> {
    let octets = octets.try_into().map_err(|_| Malformed("the id of a cluster"))?;
    Ok(ClusterId(u128::from_be_bytes(octets)))
}

fn decode_optional_cluster(octets: &[u8]) -> Result<Option<ClusterId>, Malformed> {
    if octets.is_empty() { Ok(None) } else { decode_cluster(octets).map(Some) }
}

/// A name as `node.name` may be.
pub(super) fn decode_name(text: &str) -> Result<NodeName, Malformed> {
    let is_one = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-' | b'_');
    if !(1..=MAX_NAME_OCTETS).contains(&text.len()) || !text.bytes().all(is_one) {
        return Err(Malformed("the name of a node"));
    }
    Ok(text.into())
}

fn encode_members(members: &Members) -> Vec<v1::Member> {
    members.iter().map(|(name, id)| v1::Member { node: id.0, name: name.to_string() }).collect()
}

fn decode_members(listed: &[v1::Member]) -> Result<Members, Malformed> {
    let bounded = bounded(listed, "a list of members")?;
    let members = bounded.iter().map(|member| Ok((decode_name(&member.name)?, NodeId(member.node))));
    let members = members.collect::<Result<Members, Malformed>>()?;
    if members.len() != listed.len() {
        return Err(Malformed("a list of members"));
    }
    Ok(members)
}

/// A list that is not too long.
fn bounded<'a, T>(list: &'a [T], what: &'static str) -> Result<&'a [T], Malformed> {
    if list.len() > MAX_NAMES { Err(Malformed(what)) } else { Ok(list) }
}

/// SHA-256.
fn decode_digest(octets: &[u8]) -> Result<[u8; 32], Malformed> {
    octets.try_into().map_err(|_| Malformed("a digest"))
}

#[cfg(test)]
#[path = "../wire_tests.rs"]
mod tests;
