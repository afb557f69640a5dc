//! What an entry of the log says of the agreed state: changes, or a part of one that is too large for an entry.

use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use prost::Message as _;
use thiserror::Error;

use crate::proto::cluster::v1;
use crate::proto::cluster::v1::proposal::Kind;
use crate::routing::{EncodingError, RequestId, RoutingError, Stamped};

/// Largest proposal, in octets: peers append an entry within a heartbeat.
pub const MAX_PROPOSAL_OCTETS: usize = 256 << 10;
/// Octets of a large change in one part; the rest of the proposal is its name, and less than 100.
pub const MAX_PART_OCTETS: usize = MAX_PROPOSAL_OCTETS - (1 << 10);
/// What a change in a proposal takes beside its own octets, at most: tag and length, and those of the list around it.
pub const CHANGE_OVERHEAD_OCTETS: usize = 12;

/// What is proposed: a `postroad.cluster.v1.Proposal`, in the octets in which it was, so that a later version's fields
/// survive in the logs of earlier ones.
#[derive(Clone, PartialEq, Eq)]
pub struct Proposal(pub Bytes);

/// What a proposal says.
#[derive(Debug)]
pub enum Content {
    /// Changes that stand or fall each by itself, in their order.
    Changes(Vec<Stamped>),
    /// A part of a large change.
    Part(Part),
    /// All parts of a large change are there: it is to be made.
    Finish(Finish),
}

/// Octets of an encoded change, under the request that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Which request.
    pub request_id: RequestId,
    /// When it was proposed.
    pub at: SystemTime,
    /// How many octets of it stand before these.
    pub offset: usize,
    /// At most [`MAX_PART_OCTETS`].
    pub octets: Bytes,
}

/// The end of a large change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finish {
    /// Which request.
    pub request_id: RequestId,
    /// When it was proposed.
    pub at: SystemTime,
    /// How many octets its parts have.
    pub octets: usize,
}

/// Why octets are no proposal: a later version made it, or it is damaged.
#[derive(Debug, Error)]
pub enum ProposalError {
    /// Not its form.
    #[error("a proposal cannot be decoded: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// A later version's.
    #[error("a proposal is of a kind that this version does not know")]
    UnknownKind,
    /// One of its changes is none.
    #[error("change {index} of a proposal: {cause}")]
    Change {
        /// Which, from 0 on.
        index: usize,
        /// Why.
        cause: EncodingError,
    },
    /// What parts made up is no change.
    #[error("a change in parts: {0}")]
    InParts(EncodingError),
    /// A part, or the end of parts, is of no request.
    #[error("the request of a proposal: {0}")]
    Request(RoutingError),
    /// A number in it is past what there is.
    #[error("{0} of a proposal cannot be")]
    Field(&'static str),
}

impl Proposal {
    /// Changes, each as [`Stamped::encode`] has it.
    #[must_use]
    pub fn changes(stamped: Vec<Vec<u8>>) -> Self {
        Self::of(Kind::Changes(v1::Changes { stamped }))
    }

    /// A part of a change.
    #[must_use]
    pub fn part(part: &Part) -> Self {
        Self::of(Kind::Part(part.encode()))
    }

    /// The end of a change in parts.
    #[must_use]
    pub fn finish(finish: &Finish) -> Self {
        let Finish { request_id, at, octets } = finish;
        let request_id = request_id.to_string();
        Self::of(Kind::Finish(v1::Finish { request_id, at_ms: to_millis(*at), octets: *octets as u64 }))
    }

    fn of(kind: Kind) -> Self {
        Self(v1::Proposal { kind: Some(kind) }.encode_to_vec().into())
    }

    /// What it says.
    ///
    /// # Errors
    /// When any of it cannot be read: then it is not known what it says.
    pub fn content(&self) -> Result<Content, ProposalError> {
        let kind = v1::Proposal::decode(self.0.clone())?.kind.ok_or(ProposalError::UnknownKind)?;
        Ok(match kind {
            Kind::Changes(v1::Changes { stamped }) => Content::Changes(decode_changes(&stamped)?),
            Kind::Part(part) => Content::Part(Part::decode(part)?),
            Kind::Finish(v1::Finish { request_id, at_ms, octets }) => Content::Finish(Finish {
                request_id: RequestId::parse(&request_id).map_err(ProposalError::Request)?,
                at: from_millis(at_ms)?,
                octets: usize::try_from(octets).map_err(|_| ProposalError::Field("the size"))?,
            }),
        })
    }
}

impl Part {
    pub(super) fn encode(&self) -> v1::Part {
        v1::Part {
            request_id: self.request_id.to_string(),
            at_ms: to_millis(self.at),
            offset: self.offset as u64,
            octets: self.octets.to_vec(),
        }
    }

    pub(super) fn decode(part: v1::Part) -> Result<Self, ProposalError> {
        Ok(Self {
            request_id: RequestId::parse(&part.request_id).map_err(ProposalError::Request)?,
            at: from_millis(part.at_ms)?,
            offset: usize::try_from(part.offset).map_err(|_| ProposalError::Field("the offset"))?,
            octets: part.octets.into(),
        })
    }
}

fn decode_changes(stamped: &[Vec<u8>]) -> Result<Vec<Stamped>, ProposalError> {
    let changes = stamped.iter().enumerate().map(|(index, octets)| {
        Stamped::decode(octets).map_err(|cause| ProposalError::Change { index, cause })
    });
    changes.collect()
}

fn to_millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn from_millis(millis: u64) -> Result<SystemTime, ProposalError> {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis));
    time.ok_or(ProposalError::Field("the time"))
}

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proposal of {} octets", self.0.len())
    }
}

#[cfg(test)]
#[path = "proposal_tests.rs"]
mod tests;
