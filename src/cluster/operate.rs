//! What operators see of a cluster and order of it, on a node of either kind.

use thiserror::Error;
use tonic::body::Body;
use tonic::codegen::http;

use super::alone;
pub use super::founding::NodeName;
use super::founding::{ClusterId, Inadmissible};
use super::member;
pub use super::network::Answer;
use super::network::{CallError, Report};
use super::status::Status;

/// How far `cluster bootstrap` goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bootstrap {
    /// Founds a cluster of one where there is none.
    Found,
    /// Founds one from the table of a cluster whose majority is gone for good.
    AbandonOthers,
}

/// Why an order is not carried out. [`OperateError::reason`] is the word for machines.
#[derive(Debug, Error)]
pub enum OperateError {
    /// A node of its own.
    #[error(
        "this node takes no part in a cluster of several: its file has no [cluster], or its log says why"
    )]
    NoSection,
    /// What the rules say.
    #[error(transparent)]
    Inadmissible(#[from] Inadmissible),
    /// A name that nobody has.
    #[error("there is no node \"{name}\": the cluster and cluster.peers have {}", list(known))]
    UnknownNode {
        /// What was given.
        name: String,
        /// What could have been.
        known: Vec<NodeName>,
    },
    /// Nobody would be left.
    #[error("{0} is the only voter: another is to be one first")]
    OnlyVoter(NodeName),
    /// Those left would have no majority.
    #[error(
        "without {removed} the cluster would take no changes, for {} cannot be reached: have it answer first, or remove it \
         instead",
        list(silent)
    )]
    NoMajorityLeft {
        /// Who was to go.
        removed: NodeName,
        /// Who does not answer of those who would stay.
        silent: Vec<NodeName>,
    },
    /// Another node was to do it.
    #[error(transparent)]
    Call(#[from] CallError),
    /// There is one to join.
    #[error(
        "{name} is in cluster {cluster}, which a blank node joins by itself: take {name} out of cluster.peers first"
    )]
    ClusterThere {
        /// A member.
        name: NodeName,
        /// Which.
        cluster: ClusterId,
    },
    /// The disk refuses.
    #[error("what this node is to be cannot be written: its log says why")]
    DiskFailed,
    /// It is too late.
    #[error("this node stops")]
    Stopping,
}

impl OperateError {
    /// The word for a node that does not answer.
    pub const UNREACHABLE: &str = "NODE_UNREACHABLE";

    /// The word of `google.rpc.ErrorInfo`.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoSection => "NO_CLUSTER_SECTION",
            Self::Inadmissible(inadmissible) => match inadmissible {
                Inadmissible::HasState(_) => "CLUSTER_EXISTS",
                Inadmissible::Consenting(_) => "CONSENT_GIVEN",
                Inadmissible::MajorityAnswers(_) => "MAJORITY_ANSWERS",
                Inadmissible::LaterTable(_) => "LATER_TABLE",
                Inadmissible::NoState => "NO_CLUSTER",
                Inadmissible::NotBarred(_) => "NODE_NOT_REMOVED",
            },
            Self::UnknownNode { .. } => "NODE_NOT_FOUND",
            Self::OnlyVoter(_) => "ONLY_VOTER",
            Self::NoMajorityLeft { .. } => "NO_MAJORITY_LEFT",
            Self::Call(_) => Self::UNREACHABLE,
            Self::ClusterThere { .. } => "CLUSTER_EXISTS",
            Self::DiskFailed => "DISK_FAILED",
            Self::Stopping => "UNAVAILABLE",
        }
    }

    /// Whether another node was asked, and may have done what it was asked for.
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        matches!(self, Self::Call(CallError::Lost { .. } | CallError::Malformed { .. }))
    }
}

/// What an operator deals with.
#[derive(Clone)]
pub enum Office {
    /// A node of its own.
    Alone(alone::Handle),
    /// One of several.
    Member(member::Handle),
}

impl Office {
    /// What this node is called.
    #[must_use]
    pub fn name(&self) -> NodeName {
        match self {
            Self::Alone(node) => node.name(),
            Self::Member(member) => member.name(),
        }
    }

    /// Passes a call of an operator's on to another node; its answer, of which the rest may be arriving still.
    ///
    /// # Errors
    /// When there is no such node, or it does not answer.
    pub async fn pass(
        &self,
        name: &str,
        request: http::Request<Body>,
    ) -> Result<http::Response<Body>, OperateError> {
        match self {
            Self::Alone(node) => Err(node.unknown(name)),
            Self::Member(member) => member.pass(name, request).await,
        }
    }

    /// Has calls that other nodes pass on to this one answered from now on.
    pub fn answer_passed(&self, answer: Answer) {
        match self {
            // Nobody passes anything on to it.
            Self::Alone(_) => {}
            Self::Member(member) => member.answer_passed(answer),
        }
    }

    /// How the cluster is, now.
    pub async fn status(&self) -> Status {
        match self {
            Self::Alone(node) => node.status(),
            Self::Member(member) => member.status_now().await,
        }
    }

    /// Founds a cluster of one here, as far as the rules let an operator.
    ///
    /// # Errors
    /// With the rule that forbids it, or when the disk refuses.
    pub async fn bootstrap(&self, extent: Bootstrap) -> Result<(), OperateError> {
        match self {
            Self::Alone(_) => Err(OperateError::NoSection),
            Self::Member(member) => member.bootstrap(extent).await,
        }
    }

    /// Whether a node may be removed from the cluster: it is known, and the others can decide without it.
    ///
    /// # Errors
    /// With why not.
    pub fn may_remove(&self, name: &str) -> Result<(), OperateError> {
        match self {
            Self::Alone(_) => Err(OperateError::NoSection),
            Self::Member(member) => member.may_remove(name),
        }
    }

    /// Has a node take no new sessions, or take them again. How it is then.
    ///
    /// # Errors
    /// When there is no such node, or it does not answer.
    pub async fn drain(&self, name: &str, ordered: bool) -> Result<Report, OperateError> {
        match self {
            Self::Alone(node) => node.drain(name, ordered),
            Self::Member(member) => member.drain(name, ordered).await,
        }
    }
}

fn list(names: &[NodeName]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
