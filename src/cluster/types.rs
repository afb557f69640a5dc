//! The types that the Raft engine is told to work with, and no others of ours.

use std::fmt;

use bytes::Bytes;
use prost::Message as _;
use thiserror::Error;

use super::founding::{NodeId, NodeName};
use super::snapshot::SnapshotFile;
use crate::proto::cluster::v1;
use crate::routing::{Changed, EncodingError, RoutingError, Stamped};

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

/// Changes of the agreed state: a `postroad.cluster.v1.Proposal`, in the octets in which they were proposed, so that a
/// later version's fields survive in the logs of earlier ones.
#[derive(Clone, PartialEq, Eq)]
pub struct Proposal(pub Bytes);

/// Why octets are no proposal: a later version made it, or it is damaged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProposalError {
    /// Not its form.
    #[error("a proposal cannot be decoded: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// One of its changes is none.
    #[error("change {index} of a proposal: {cause}")]
    Change {
        /// Which, from 0 on.
        index: usize,
        /// Why.
        cause: EncodingError,
    },
}

impl Proposal {
    /// Changes that stand or fall each by itself, in their order.
    ///
    /// # Errors
    /// When one of them is too long to be read again.
    pub fn of(changes: &[Stamped]) -> Result<Self, EncodingError> {
        let stamped = changes.iter().map(Stamped::encode).collect::<Result<_, _>>()?;
        Ok(Self(v1::Proposal { stamped }.encode_to_vec().into()))
    }

    /// The changes.
    ///
    /// # Errors
    /// When one of them cannot be read: then it is not known what the proposal says.
    pub fn changes(&self) -> Result<Vec<Stamped>, ProposalError> {
        let v1::Proposal { stamped } = v1::Proposal::decode(self.0.clone())?;
        let changes = stamped.iter().enumerate().map(|(index, octets)| {
            Stamped::decode(octets).map_err(|cause| ProposalError::Change { index, cause })
        });
        changes.collect()
    }
}

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
