//! Requests that were carried out, by the ids that their clients gave them, and what they left behind: whoever repeats one
//! gets the same answer, and nothing is done twice (AIP-155).
//!
//! An id is for one request: with another one it is refused, since the answer to the first would be none to that. A repeat is
//! known by what its client asked, where that is told ([`RequestId::of`]), and else by its change: of the same request another
//! time, or another table, makes another change.
//!
//! What was refused, or changed nothing, is not remembered: it may be tried anew, and fills no history. Of a batch it is
//! remembered that it was made, and not each thing that it made, which would be as large as the table.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::SHA256_OUTPUT_LEN;
use data_encoding::HEXLOWER;
use rpds::{HashTrieMapSync, RedBlackTreeSetSync};

use super::change::{Change, Changed};
use super::encoding::{EncodingError, change_digest, given, sha256, time, unreadable};
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

type Digest = [u8; SHA256_OUTPUT_LEN];

/// What a client calls a request of its own, so that it can repeat it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId {
    text: Arc<str>,
    /// SHA-256 of what the client asked, if it is not known by the change.
    asked: Option<Digest>,
}

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
        Ok(Self { text: text.into(), asked: None })
    }

    /// One for a request whose client gave none: 128 random bits.
    #[must_use]
    pub fn draw() -> Self {
        Self { text: format!("{:032x}", rand::random::<u128>()).into(), asked: None }
    }

    /// The id of what was asked in these octets: a repeat is known by them, whatever change they make by then.
    #[must_use]
    pub fn of(self, asked: &[u8]) -> Self {
        Self { asked: Some(sha256(asked)), ..self }
    }

    /// The id of a step of the request, each of which has its own: `ID/2`, or a digest of that where it would be too long.
    #[must_use]
    pub fn step(&self, number: usize) -> Self {
        let text = format!("{}/{number}", self.text);
        let text =
            if text.len() > MAX_REQUEST_ID_OCTETS { HEXLOWER.encode(&sha256(text.as_bytes())) } else { text };
        Self { text: text.into(), asked: self.asked }
    }

    /// For the wire: the id, and the digest of what was asked, or nothing.
    pub(crate) fn tell(&self) -> (String, Vec<u8>) {
        (self.to_string(), self.asked.map(|asked| asked.to_vec()).unwrap_or_default())
    }

    /// What [`Self::tell`] gave.
    ///
    /// # Errors
    /// When it is not of that form.
    pub(crate) fn told(text: &str, asked: &[u8]) -> Result<Self, RoutingError> {
        let known = match asked {
            [] => None,
            asked => Some(Digest::try_from(asked).map_err(|_| RoutingError::RequestId)?),
        };
        Ok(Self { asked: known, ..Self::parse(text)? })
    }

    /// What a request for this change is known by.
    fn mark(&self, change: &Change) -> Digest {
        self.asked.unwrap_or_else(|| change_digest(change))
    }

    /// As it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A request that was carried out.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) id: Arc<str>,
    /// When its change was stamped.
    pub(super) at: SystemTime,
    /// SHA-256 of what was asked, or of the change.
    mark: Digest,
    /// Without what a batch made.
    pub(super) left: Changed,
}

impl Request {
    pub(super) fn new(id: &RequestId, at: SystemTime, change: &Change, left: &Changed) -> Self {
        let left = if let Changed::Batch(_) = left { Changed::Batch(Vec::new()) } else { left.clone() };
        Self { id: id.text.clone(), at, mark: id.mark(change), left }
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
    by_id: HashTrieMapSync<Arc<str>, Arc<Request>>,
    by_age: RedBlackTreeSetSync<(SystemTime, Arc<str>)>,
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
        self.find_marked(id, || id.mark(change), at)
    }

    /// As [`Self::find`] by what was asked alone, before there is a change; nothing where that is not told.
    pub(super) fn find_asked(
        &self,
        id: &RequestId,
        at: SystemTime,
    ) -> Result<Option<&Changed>, RoutingError> {
        id.asked.map_or(Ok(None), |asked| self.find_marked(id, || asked, at))
    }

    fn find_marked(
        &self,
        id: &RequestId,
        mark: impl FnOnce() -> Digest,
        at: SystemTime,
    ) -> Result<Option<&Changed>, RoutingError> {
        let Some(request) = self.by_id.get(&id.text).filter(|request| !request.is_over(at)) else {
            return Ok(None);
        };
        if request.mark != mark() {
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
        change: request.mark.to_vec(),
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
    let id = decode_request_id("the id of a request", &request.id, &[])?.text;
    let mark = Digest::try_from(request.change);
    let mark =
        mark.map_err(|octets| unreadable("the digest of a request", format!("{} octets", octets.len())))?;
    Ok(Request { id, at: time("the time of a request", request.at_ms)?, mark, left })
}

pub(super) fn decode_request_id(
    field: &'static str,
    text: &str,
    asked: &[u8],
) -> Result<RequestId, EncodingError> {
    RequestId::told(text, asked).map_err(|cause| unreadable(field, cause.to_string()))
}

#[cfg(test)]
#[path = "requests_tests.rs"]
mod tests;
