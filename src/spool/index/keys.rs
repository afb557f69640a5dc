//! The keys of the index. One tree, so that a batch of the log is one batch here.
//!
//! ```text
//! m KEY NUMBER(u16)    a part of a page (`pages`) of messages; their keys are their ids
//! d KEY NUMBER(u16)    a part of a page of due times, with nothing under their keys
//! a ID                 a copy of it awaits a reply
//! b ID                 its body is in a file
//! s SEGMENT(u64)       octets of the segment: of live records, of all
//! t                    the totals: format, checkpoint, counts
//!
//! the key of a due time:
//! DOMAIN 00 DUE(u64) ID    a copy for this domain is due then, in milliseconds since 1970
//! ```

use crate::mail::TraceId;

/// Octets of an id.
pub(super) const ID_OCTETS: usize = 16;
/// Pages of messages.
pub(super) const MESSAGES: u8 = b'm';
/// Pages of the times when copies are due.
pub(super) const DUE: u8 = b'd';
/// Messages that await a reply.
pub(super) const AWAITING: u8 = b'a';
/// Messages with a file.
pub(super) const IN_FILE: u8 = b'b';
/// Segments.
pub(super) const SEGMENT: u8 = b's';
/// The totals.
pub(super) const TOTALS: [u8; 1] = *b"t";

/// A part of a page.
pub(super) fn part(kind: u8, page: &[u8], number: u16) -> Vec<u8> {
    [&[kind], page, &number.to_be_bytes()].concat()
}

/// What the key of a part says: page, number.
pub(super) fn read_part(key: &[u8]) -> Option<(&[u8], u16)> {
    let (page, number) = key.get(1..)?.split_last_chunk()?;
    Some((page, u16::from_be_bytes(*number)))
}

/// An id under a kind.
pub(super) fn under(kind: u8, id: TraceId) -> Vec<u8> {
    [&[kind][..], &id.to_bytes()].concat()
}

/// A due time.
pub(super) fn due(domain: &str, millis: u64, id: TraceId) -> Vec<u8> {
    [domain.as_bytes(), &[0], &millis.to_be_bytes(), &id.to_bytes()].concat()
}

/// Before all due times of a domain.
pub(super) fn first_due(domain: &str) -> Vec<u8> {
    due(domain, 0, TraceId::from_bytes([0; ID_OCTETS]))
}

/// Behind all due times of a domain up to a millisecond.
pub(super) fn last_due(domain: &str, millis: u64) -> Vec<u8> {
    due(domain, millis, TraceId::from_bytes([0xff; ID_OCTETS]))
}

/// What a due time says: domain, milliseconds, id.
pub(super) fn read_due(key: &[u8]) -> Option<(&str, u64, TraceId)> {
    let (rest, id) = key.split_last_chunk::<ID_OCTETS>()?;
    let (rest, millis) = rest.split_last_chunk::<8>()?;
    let domain = rest.strip_suffix(&[0])?;
    Some((std::str::from_utf8(domain).ok()?, u64::from_be_bytes(*millis), TraceId::from_bytes(*id)))
}

/// The id at a key's end.
pub(super) fn trailing_id(key: &[u8]) -> Option<TraceId> {
    key.last_chunk::<ID_OCTETS>().copied().map(TraceId::from_bytes)
}

/// A segment.
pub(super) fn segment(number: u64) -> Vec<u8> {
    [&[SEGMENT][..], &number.to_be_bytes()].concat()
}
