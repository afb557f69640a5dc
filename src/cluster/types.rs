//! The types that the Raft engine is told to work with, and no others of ours.

use super::founding::{NodeId, NodeName};
use super::proposal::Proposal;
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
/// What a snapshot is named by, and what of it is not in the table.
pub type SnapshotMeta = openraft::SnapshotMeta<NodeId, Member>;
/// A snapshot as it is passed on.
pub type Snapshot = openraft::Snapshot<Types>;
/// How the engine hears of a disk that fails.
pub type StorageError = openraft::StorageError<NodeId>;

/// What became of each change of a proposal, in their order, or of the change that was in parts. Of an entry without
/// changes, and of a part that was taken, nothing; of a part that was not, why.
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
