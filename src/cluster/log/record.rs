//! What the frames of the log say, as octets and as the types of the Raft engine.

use bytes::Bytes;
use openraft::EntryPayload;
use prost::Message as _;
use thiserror::Error;

use super::super::encoding::{
    decode_log_id, decode_membership, decode_vote, encode_entry, encode_log_id, encode_vote,
};
use super::super::proposal::Proposal;
use super::super::types::{Entry, LogId, Vote};
use crate::proto::cluster::v1;
use crate::proto::cluster::v1::entry::Content;
use crate::wal::{Draft, Format, Frame, WalError};

/// Largest part of a frame, in octets: an entry has 256 KiB of changes at most, or a membership.
const MAX_RECORD_OCTETS: usize = 1 << 20;

/// What the frames of the log are.
pub(super) const FORMAT: &Format = &Format {
    magic: [0x8f, b'P', b'R', b'R', b'\r', b'\n', 0x1a, b'\n'],
    version: 1,
    last_kind: Kind::Synced as u8,
    max_meta_octets: MAX_RECORD_OCTETS,
    max_head_octets: 0,
    max_body_octets: 0,
};

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Vote = 1,
    Entry = 2,
    Truncate = 3,
    Purge = 4,
    Committed = 5,
    Synced = 6,
}

impl Kind {
    fn of(number: u8) -> Option<Self> {
        [Self::Vote, Self::Entry, Self::Truncate, Self::Purge, Self::Committed, Self::Synced]
            .into_iter()
            .find(|kind| *kind as u8 == number)
    }
}

/// One step of the log. Replayed in their order they are its state.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Record {
    /// Whom this node votes for.
    Vote(Vote),
    /// The next entry.
    Entry(Entry),
    /// Entries from this index on are none.
    Truncate(u64),
    /// Entries up to this one are in the snapshot.
    Purge(LogId),
    /// Entries up to this one are agreed on.
    Committed(LogId),
    /// The segment is on the disk up to this offset.
    Synced(u64),
}

/// Why a frame whose sum is right is no record: a later version wrote it, or something that is not ours.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecordError {
    /// Not its form.
    #[error("a record cannot be decoded: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// Not one that this version knows.
    #[error("a record is of a kind that this version does not know")]
    UnknownKind,
    /// It names nothing.
    #[error("a record lacks {0}")]
    Missing(&'static str),
}

impl Record {
    /// The frame.
    ///
    /// # Errors
    /// When it is past its bound.
    pub(super) fn draft(&self) -> Result<Draft, WalError> {
        let (kind, octets) = match self {
            Self::Vote(vote) => (Kind::Vote, encode_vote(vote).encode_to_vec()),
            Self::Entry(entry) => (Kind::Entry, encode_entry(entry).encode_to_vec()),
            Self::Truncate(from) => (Kind::Truncate, v1::Truncate { from: *from }.encode_to_vec()),
            Self::Purge(id) => (Kind::Purge, v1::Purge { up_to: Some(encode_log_id(id)) }.encode_to_vec()),
            Self::Committed(id) => {
                (Kind::Committed, v1::Committed { up_to: Some(encode_log_id(id)) }.encode_to_vec())
            }
            Self::Synced(offset) => (Kind::Synced, v1::Synced { offset: *offset }.encode_to_vec()),
        };
        Draft::new(FORMAT, kind as u8, octets, Vec::new(), Bytes::new())
    }

    /// What a frame says; `None`: it is the first of a segment.
    ///
    /// # Errors
    /// When it is of no kind that this version knows, or not of its form.
    pub(super) fn read(frame: &Frame<'_>) -> Result<Option<Self>, RecordError> {
        if frame.kind == 0 {
            return Ok(None);
        }
        let octets = frame.meta;
        let record = match Kind::of(frame.kind).ok_or(RecordError::UnknownKind)? {
            Kind::Vote => Self::Vote(decode_vote(&v1::Vote::decode(octets)?)),
            Kind::Entry => Self::Entry(decode_entry(v1::Entry::decode(octets)?)?),
            Kind::Truncate => Self::Truncate(v1::Truncate::decode(octets)?.from),
            Kind::Purge => Self::Purge(named(v1::Purge::decode(octets)?.up_to)?),
            Kind::Committed => Self::Committed(named(v1::Committed::decode(octets)?.up_to)?),
            Kind::Synced => Self::Synced(v1::Synced::decode(octets)?.offset),
        };
        Ok(Some(record))
    }
}

fn named(id: Option<v1::LogId>) -> Result<LogId, RecordError> {
    let id = id.ok_or(RecordError::Missing("the id of an entry"))?;
    Ok(decode_log_id(&id))
}

fn decode_entry(entry: v1::Entry) -> Result<Entry, RecordError> {
    let payload = match entry.content.ok_or(RecordError::UnknownKind)? {
        Content::Blank(v1::Blank {}) => EntryPayload::Blank,
        Content::Proposal(octets) => EntryPayload::Normal(Proposal(octets.into())),
        Content::Membership(membership) => EntryPayload::Membership(decode_membership(membership)),
    };
    Ok(Entry { log_id: named(entry.id)?, payload })
}
