//! Requests that were carried out, by the ids that their clients gave them, and what they left behind: whoever repeats one
//! gets the same answer, and nothing is done twice (AIP-155).
//!
//! An id is for one change: with another one it is refused, since the answer to the first would be none to that.
//!
//! What was refused is not remembered: it changed nothing, and may be tried anew. Of a batch it is remembered that it was
//! made, and not each thing that it made, which would be as large as the table.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::SHA256_OUTPUT_LEN;
use rpds::{HashTrieMapSync, RedBlackTreeSetSync};

use super::change::{Change, Changed};
use super::encoding::{EncodingError, change_digest, given, time, unreadable};
use super::error::RoutingError;
use super::records::{
    decode_destination, decode_domain, decode_listing, decode_rule, decode_suspension, encode_destination,
    encode_domain, encode_listing, encode_rule, encode_suspension,
};
use super::wire::to_millis;
use crate::proto::routing::v1;
use crate::proto::routing::v1::request::Left;

/// Longest [`RequestId`], in octets: a UUID has 36.
pub const MAX_REQUEST_ID_OCTETS: usize = 64;
/// Requests that are remembered; the oldest go first.
pub const MAX_REQUESTS: usize = 10_000;
/// How long one is remembered, by the times that changes are stamped with.
pub const REQUEST_REMEMBERED: Duration = Duration::from_secs(60 * 60);

/// What a client calls a request of its own, so that it can repeat it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// What a client gave.
    ///
    /// # Errors
    /// When it is not 1 to [`MAX_REQUEST_ID_OCTETS`] octets of printable ASCII.
    pub fn parse(text: &str) -> Result<Self, RoutingError> {
        let fits = (1..=MAX_REQUEST_ID_OCTETS).contains(&text.len());
        if !fits || !text.bytes().all(|octet| (b' '..=b'~').contains(&octet)) {
            return Err(RoutingError::RequestId);
        }
        Ok(Self(text.into()))
    }

    /// One for a request whose client gave none: 128 random bits.
    #[must_use]
    pub fn draw() -> Self {
        Self(format!("{:032x}", rand::random::<u128>()).into())
    }

    /// As it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A request that was carried out.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) id: RequestId,
    /// When its change was stamped.
    pub(super) at: SystemTime,
    /// SHA-256 of that.
    pub(super) change: [u8; SHA256_OUTPUT_LEN],
    /// Without what a batch made.
    pub(super) left: Changed,
}

impl Request {
    pub(super) fn new(id: RequestId, at: SystemTime, change: &Change, left: &Changed) -> Self {
        let left = if let Changed::Batch(_) = left { Changed::Batch(Vec::new()) } else { left.clone() };
        Self { id, at, change: change_digest(change), left }
    }

    fn is_over(&self, at: SystemTime) -> bool {
        is_over(self.at, at)
    }
}

fn is_over(done: SystemTime, at: SystemTime) -> bool {
    at.duration_since(done).is_ok_and(|age| age >= REQUEST_REMEMBERED)
}

/// The requests that are remembered. Cloning them is cheap.
#[derive(Clone)]
pub(super) struct Requests {
    by_id: HashTrieMapSync<RequestId, Arc<Request>>,
    by_age: RedBlackTreeSetSync<(SystemTime, RequestId)>,
}

impl Requests {
    pub(super) fn new() -> Self {
        Self { by_id: HashTrieMapSync::new_sync(), by_age: RedBlackTreeSetSync::new_sync() }
    }

    /// What a request for this change left behind, unless that is too long ago.
    ///
    /// # Errors
    /// When it was for another change.
    pub(super) fn find(
        &self,
        id: &RequestId,
        change: &Change,
        at: SystemTime,
    ) -> Result<Option<&Changed>, RoutingError> {
        let Some(request) = self.by_id.get(id).filter(|request| !request.is_over(at)) else {
            return Ok(None);
        };
        if request.change != change_digest(change) {
            return Err(RoutingError::RequestIdReused(id.clone()));
        }
        Ok(Some(&request.left))
    }

    /// All of them, the oldest first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Request>> {
        self.by_age.iter().filter_map(|(_, id)| self.by_id.get(id))
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.size()
    }

    /// Remembers a request, and forgets those that are over by then, and what is past the limit.
    pub(super) fn remember(&mut self, request: Request) {
        while let Some((at, id)) = self.by_age.first().cloned()
            && (is_over(at, request.at) || self.len() >= MAX_REQUESTS)
        {
            self.by_age.remove_mut(&(at, id.clone()));
            self.by_id.remove_mut(&id);
        }
        self.put(request);
    }

    /// Adds a request as it stood in a record, or in the place of the one with its id.
    pub(super) fn put(&mut self, request: Request) {
        if let Some(old) = self.by_id.get(&request.id) {
            self.by_age.remove_mut(&(old.at, request.id.clone()));
        }
        self.by_age.insert_mut((request.at, request.id.clone()));
        self.by_id.insert_mut(request.id.clone(), Arc::new(request));
    }
}

pub(super) fn encode_request(request: &Request) -> v1::Request {
    let left = match &request.left {
        Changed::Domain(entry) => Left::Domain(encode_domain(entry)),
        Changed::Rule(rule) => Left::Rule(encode_rule(rule)),
        Changed::Destination(entry) => Left::Destination(encode_destination(entry)),
        Changed::Suspension(entry) => Left::Suspension(encode_suspension(entry)),
        Changed::Listing(entry) => Left::Listing(encode_listing(entry)),
        Changed::Removed => Left::Removed(v1::Nothing {}),
        Changed::Whole => Left::Whole(v1::Nothing {}),
        Changed::Batch(_) => Left::Batch(v1::Nothing {}),
    };
    v1::Request {
        id: request.id.to_string(),
        at_ms: to_millis(request.at),
        left: Some(left),
        change: request.change.to_vec(),
    }
}

pub(super) fn decode_request(request: v1::Request) -> Result<Request, EncodingError> {
    let left = match given("what a request left behind", request.left)? {
        Left::Domain(entry) => Changed::Domain(Arc::new(decode_domain(&entry)?)),
        Left::Rule(rule) => Changed::Rule(Arc::new(decode_rule(rule)?)),
        Left::Destination(entry) => Changed::Destination(Arc::new(decode_destination(&entry)?)),
        Left::Suspension(entry) => Changed::Suspension(Arc::new(decode_suspension(entry)?)),
        Left::Listing(entry) => Changed::Listing(Arc::new(decode_listing(entry)?)),
        Left::Removed(v1::Nothing {}) => Changed::Removed,
        Left::Whole(v1::Nothing {}) => Changed::Whole,
        Left::Batch(v1::Nothing {}) => Changed::Batch(Vec::new()),
    };
    let id = decode_request_id("the id of a request", &request.id)?;
    let change = <[u8; SHA256_OUTPUT_LEN]>::try_from(request.change);
    let change =
        change.map_err(|octets| unreadable("the digest of a request", format!("{} octets", octets.len())))?;
    Ok(Request { id, at: time("the time of a request", request.at_ms)?, change, left })
}

pub(super) fn decode_request_id(field: &'static str, text: &str) -> Result<RequestId, EncodingError> {
    RequestId::parse(text).map_err(|cause| unreadable(field, cause.to_string()))
}

#[cfg(test)]
#[path = "requests_tests.rs"]
mod tests;
