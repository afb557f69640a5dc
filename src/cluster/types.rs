//! The types that the Raft engine is told to work with, and no others of ours.

use std::fmt;

use bytes::Bytes;

use super::founding::{NodeId, NodeName};
use super::snapshot::SnapshotFile;
use crate::routing::{Changed, RoutingError};

openraft::declare_raft_types!(
    /// What is agreed on, by whom.
    pub Types:
        D = Proposal,
        R = Outcomes,
        NodeId = NodeId,
        Node = Member,
        SnapshotData = SnapshotFile,
);

/// An entry of the log.
pub type Entry = openraft::Entry<Types>;
/// What an entry is named by.
pub type LogId = openraft::LogId<NodeId>;
/// Whom a node votes for.
pub type Vote = openraft::Vote<NodeId>;
/// Who is a member.
pub type Membership = openraft::Membership<NodeId, Member>;
/// A membership, and the entry that made it so.
pub type StoredMembership = openraft::StoredMembership<NodeId, Member>;
/// How the engine hears of a disk that fails.
pub type StorageError = openraft::StorageError<NodeId>;

/// Changes of the agreed state: a `postroad.cluster.v1.Proposal`, in the octets in which they were proposed, so that a
/// later version's fields survive in the logs of earlier ones.
#[derive(Clone, PartialEq, Eq)]
pub struct Proposal(pub Bytes);

/// What became of each change of a proposal, in their order; of an entry without changes, nothing.
#[derive(Debug, Clone, Default)]
pub struct Outcomes(pub Vec<Result<Changed, RoutingError>>);

/// What is known of a member besides its id. Its address stands in each node's own file, since it may change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Member {
    /// `node.name`.
    pub name: String,
}

impl From<&NodeName> for Member {
    fn from(name: &NodeName) -> Self {
        Self { name: name.to_string() }
    }
}

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proposal of {} octets", self.0.len())
    }
}
