//! What a node answers to one that founds.

use super::disk::{Disk, Standing};
use super::identity::{ClusterId, NodeId, NodeName};
use super::step::Write;
use super::view::Terms;

/// A founder's question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The cluster to be.
    pub cluster: ClusterId,
    /// Who founds it.
    pub founder: NodeName,
    /// Who is asked.
    pub to: NodeId,
    /// What the founder's file says.
    pub terms: Terms,
}

/// What is done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The consent is durable: say so.
    Consented,
    /// One durable write first; then the request is looked at again.
    First(Write),
    /// No.
    Unwilling(Unwilling),
}

/// Why a node does not consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unwilling {
    /// Another disk is meant.
    #[error("node {0} is asked, which is not here")]
    NotHere(NodeId),
    /// Joins are asked for here, not consents.
    #[error("this node is in cluster {0}")]
    HasState(ClusterId),
    /// Its own table would be lost.
    #[error("this node has a table of its own")]
    OldTable,
    /// One founder at a time.
    #[error("this node founds cluster {0}")]
    Founding(ClusterId),
    /// One founder at a time.
    #[error("this node has consented to cluster {0}")]
    OtherConsent(ClusterId),
    /// The files differ.
    #[error("cluster.peers or service.domain differ")]
    TermsDiffer,
}

/// Whether to consent to a founding.
///
/// An id consents once. A consent that was freed may still be in the hands of a founder whose disk was taken out, and is put
/// back: with the id's second consent it and the second founder would both have everyone's.
#[must_use]
pub fn answer_founder(disk: &Disk, terms: &Terms, request: &Request) -> Reply {
    if request.to != disk.id {
        return Reply::Unwilling(Unwilling::NotHere(request.to));
    }
    match &disk.standing {
        Standing::OldTable => return Reply::Unwilling(Unwilling::OldTable),
        Standing::Founding { cluster, .. } => return Reply::Unwilling(Unwilling::Founding(*cluster)),
        Standing::Consenting { cluster, .. } if *cluster == request.cluster => return Reply::Consented,
        Standing::Consenting { cluster, .. } => return Reply::Unwilling(Unwilling::OtherConsent(*cluster)),
        Standing::State(state) if !disk.is_blank() => {
            return Reply::Unwilling(Unwilling::HasState(state.cluster));
        }
        Standing::Blank | Standing::State(_) => {}
    }
    if *terms != request.terms {
        return Reply::Unwilling(Unwilling::TermsDiffer);
    }
    let is_lone = matches!(disk.standing, Standing::State(_));
    let is_spent = disk.spent.is_some_and(|spent| spent != request.cluster);
    Reply::First(match (is_lone, is_spent) {
        // Nobody would miss it; but its Raft must be gone before another's begins.
        (true, _) => Write::SetLoneStateAside,
        (false, true) => Write::DrawIdentity,
        (false, false) => Write::Consent { cluster: request.cluster, founder: request.founder.clone() },
    })
}
