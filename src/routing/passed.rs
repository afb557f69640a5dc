//! What a node tells the one that passed a change on: what the change left behind, or why there is none.

use std::sync::Arc;

use prost::Message as _;

use super::change::Changed;
use super::encoding::{EncodingError, MAX_STAMPED_OCTETS, check_length};
use super::error::{ErrorKind, RoutingError};
use super::records::{
    decode_destination, decode_domain, decode_listing, decode_rule, decode_suspension, encode_destination,
    encode_domain, encode_listing, encode_rule, encode_suspension,
};
use crate::proto::routing::v1;
use crate::proto::routing::v1::changed::Kind;

/// Longest text of an error that another node tells, in octets: a circle of rules has ten addresses.
pub const MAX_TOLD_OCTETS: usize = 8 << 10;

/// What errors call it.
const CHANGED: &str = "what a change left behind";

/// An error as another node tells it: all that a client hears of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What [`RoutingError::kind`] says.
    pub(super) kind: ErrorKind,
    /// What [`RoutingError::reason`] says.
    pub(super) reason: &'static str,
    /// As it reads, in [`MAX_TOLD_OCTETS`].
    pub(super) text: String,
}

impl Told {
    /// What another node told. A reason that this version does not know is `REFUSED_ELSEWHERE`.
    #[must_use]
    pub fn new(kind: ErrorKind, reason: &str, mut text: String) -> Self {
        let known = REASONS.iter().copied().find(|known| *known == reason);
        text.truncate(text.floor_char_boundary(MAX_TOLD_OCTETS));
        Self { kind, reason: known.unwrap_or(UNKNOWN), text }
    }
}

impl From<Told> for RoutingError {
    fn from(told: Told) -> Self {
        Self::Told(told)
    }
}

/// The reason of an error whose reason is a later version's.
const UNKNOWN: &str = "REFUSED_ELSEWHERE";

/// Every reason of [`RoutingError::reason`].
const REASONS: &[&str] = &[
    "DOMAIN_EXISTS",
    "DOMAIN_NOT_FOUND",
    "DOMAIN_NOT_EMPTY",
    "DOMAIN_IS_LITERAL",
    "DOMAIN_IS_OURS",
    "RULE_NOT_FOUND",
    "LOCAL_PART_INVALID",
    "LOCAL_PART_IS_ADDRESS",
    "LOCAL_PART_RESERVED",
    "NO_DESTINATION",
    "TOO_MANY_DESTINATIONS_IN_RULE",
    "REJECT_TEXT_INVALID",
    "NAME_INVALID",
    "DESTINATION_EXISTS",
    "DESTINATION_NOT_FOUND",
    "DESTINATION_IN_USE",
    "DESTINATION_IS_OURS",
    "DESTINATION_IS_SRS",
    "SUSPENSION_NOT_FOUND",
    "LISTING_NOT_FOUND",
    "NETWORK_INVALID",
    "NODE_NOT_REMOVED",
    "TOO_MANY_REMOVED_NODES",
    "REASON_INVALID",
    "RULE_CYCLE",
    "RULES_TOO_DEEP",
    "TOO_MANY_FINAL_DESTINATIONS",
    "ETAG_MISMATCH",
    "TOO_MANY_DOMAINS",
    "TOO_MANY_RULES",
    "TOO_MANY_DESTINATIONS",
    "TOO_MANY_SUSPENSIONS",
    "TOO_MANY_LISTINGS",
    "TOO_MANY_CHANGES",
    "NESTED_BATCH",
    "REVISION_TOO_OLD",
    "REVISION_NOT_FOUND",
    "HISTORY_UNREADABLE",
    "TABLE_DAMAGED",
    "TABLE_LOST",
    "NO_FORM",
    "STORE_FAILED",
    "WRITER_STOPPED",
    "REQUEST_ID_INVALID",
    "REQUEST_ID_REUSED",
    "CHANGE_TOO_LARGE",
    "NO_LEADER",
    "NO_MAJORITY",
    "NOT_LEADER",
    "OVERTAKEN",
    "UNCONFIRMED",
    "CLUSTER_STOPPED",
    "LARGE_CHANGE_UNDER_WAY",
    "PARTS_GONE",
    "VERSIONS_DIFFER",
];

impl Changed {
    /// The form in which a node tells it.
    ///
    /// # Errors
    /// When it is too long to be decoded.
    pub fn encode(&self) -> Result<Vec<u8>, EncodingError> {
        let changed = encode_changed(self);
        check_length(CHANGED, changed.encoded_len(), MAX_STAMPED_OCTETS)?;
        Ok(changed.encode_to_vec())
    }

    /// What [`Self::encode`] wrote.
    ///
    /// # Errors
    /// When it is too long, or is not of that form.
    pub fn decode(octets: &[u8]) -> Result<Self, EncodingError> {
        check_length(CHANGED, octets.len(), MAX_STAMPED_OCTETS)?;
        let changed =
            v1::Changed::decode(octets).map_err(|cause| EncodingError::Malformed { what: CHANGED, cause })?;
        decode_changed(changed)
    }
}

fn encode_changed(changed: &Changed) -> v1::Changed {
    let kind = match changed {
        Changed::Domain(entry) => Kind::Domain(encode_domain(entry)),
        Changed::Rule(rule) => Kind::Rule(encode_rule(rule)),
        Changed::Destination(entry) => Kind::Destination(encode_destination(entry)),
        Changed::Suspension(entry) => Kind::Suspension(encode_suspension(entry)),
        Changed::Listing(entry) => Kind::Listing(encode_listing(entry)),
        Changed::Removed => Kind::Removed(v1::Nothing {}),
        Changed::Whole => Kind::Whole(v1::Nothing {}),
        Changed::Batch(changes) => {
            Kind::Batch(v1::ChangedBatch { changes: changes.iter().map(encode_changed).collect() })
        }
    };
    v1::Changed { kind: Some(kind) }
}

fn decode_changed(changed: v1::Changed) -> Result<Changed, EncodingError> {
    Ok(match changed.kind.ok_or(EncodingError::UnknownKind(CHANGED))? {
        Kind::Domain(entry) => Changed::Domain(Arc::new(decode_domain(&entry)?)),
        Kind::Rule(rule) => Changed::Rule(Arc::new(decode_rule(rule)?)),
        Kind::Destination(entry) => Changed::Destination(Arc::new(decode_destination(&entry)?)),
        Kind::Suspension(entry) => Changed::Suspension(Arc::new(decode_suspension(entry)?)),
        Kind::Listing(entry) => Changed::Listing(Arc::new(decode_listing(entry)?)),
        Kind::Removed(v1::Nothing {}) => Changed::Removed,
        Kind::Whole(v1::Nothing {}) => Changed::Whole,
        Kind::Batch(v1::ChangedBatch { changes }) => {
            Changed::Batch(changes.into_iter().map(decode_changed).collect::<Result<_, _>>()?)
        }
    })
}

#[cfg(test)]
#[path = "passed_tests.rs"]
mod tests;
