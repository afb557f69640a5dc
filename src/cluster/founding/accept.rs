//! Which of Raft's calls a node answers.

use super::disk::{Disk, Standing};
use super::identity::{ClusterId, NodeId};

/// What every call of Raft carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Of which cluster.
    pub cluster: ClusterId,
    /// Who calls.
    pub from: NodeId,
    /// Who is meant.
    pub to: NodeId,
}

/// Why a call is refused: the caller's fault, and the same call will not do better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unaccepted {
    /// An earlier disk of this name.
    #[error("the call is for node {0}, which is not here")]
    NotHere(NodeId),
    /// An earlier disk of the caller's name, whose next one said Hello.
    #[error("the call is from node {0}, whose name answers under another id now")]
    Outdated(NodeId),
    /// Another cluster than mine.
    #[error("this node is in cluster {0}")]
    OtherCluster(ClusterId),
    /// Another cluster than the one that I consented to.
    #[error("this node has consented to cluster {0}")]
    OtherConsent(ClusterId),
    /// About to found.
    #[error("this node founds cluster {0}")]
    Founding(ClusterId),
    /// Has a table that would be lost.
    #[error("this node has a table of its own")]
    OldTable,
}

/// Whether a call of Raft is answered. `greeted` is the id under which the caller's name said Hello last, on whatever
/// connection: an append of an earlier disk that comes late would bring its cluster to life beside the next one.
///
/// # Errors
/// [`Unaccepted`]: why not.
pub fn admit_call(disk: &Disk, greeted: NodeId, call: Call) -> Result<(), Unaccepted> {
    if call.to != disk.id {
        return Err(Unaccepted::NotHere(call.to));
    }
    if call.from != greeted {
        return Err(Unaccepted::Outdated(call.from));
    }
    match &disk.standing {
        Standing::State(state) if state.cluster != call.cluster => {
            Err(Unaccepted::OtherCluster(state.cluster))
        }
        Standing::Consenting { cluster, .. } if *cluster != call.cluster => {
            Err(Unaccepted::OtherConsent(*cluster))
        }
        Standing::Founding { cluster, .. } => Err(Unaccepted::Founding(*cluster)),
        Standing::OldTable => Err(Unaccepted::OldTable),
        // A blank node's id stands in a membership because it consented or asked to join.
        Standing::Blank | Standing::Consenting { .. } | Standing::State(_) => Ok(()),
    }
}
