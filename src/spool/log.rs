//! The form of the queue's log, and adding to it: all else of it is [`crate::wal`].

use bytes::Bytes;

use super::error::SpoolError;
use crate::wal::{Draft, Format, Location, Log};

/// Most octets of a body within its record; a larger one has a file of its own.
pub(super) const MAX_BODY_OCTETS: usize = 256 << 10;

/// What the frames of the queue are.
pub const FORMAT: &Format = &Format {
    magic: [0x8f, b'P', b'R', b'S', b'\r', b'\n', 0x1a, b'\n'],
    version: 2,
    last_kind: Kind::Done as u8,
    // Twice what thousands of copies take, see `record::encode`.
    max_meta_octets: 8 << 20,
    // Reception bounds it far below.
    max_head_octets: 16 << 20,
    max_body_octets: MAX_BODY_OCTETS,
};

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// A message: `Put`, header section, body.
    Put = 1,
    /// The new state of its copies: `Message`.
    State = 2,
    /// It has left the queue: `Done`.
    Done = 3,
}

impl Kind {
    /// `None`: no record, but the first frame of a segment.
    pub(super) fn of(number: u8) -> Option<Self> {
        [Self::Put, Self::State, Self::Done].into_iter().find(|kind| *kind as u8 == number)
    }
}

/// A record to be added.
///
/// # Errors
/// When a part of it is past its bound.
pub(super) fn draft(kind: Kind, meta: Vec<u8>, head: Vec<Bytes>, body: Bytes) -> Result<Draft, SpoolError> {
    Ok(Draft::new(FORMAT, kind as u8, meta, head, body)?)
}

/// Adds records, to a new segment if this one is full. While the next cannot be begun, it grows past its bound.
///
/// # Errors
/// As [`Log::append`].
pub(super) fn append<'a>(
    log: &mut Log,
    drafts: impl Iterator<Item = &'a Draft>,
) -> Result<Vec<Location>, SpoolError> {
    if log.is_full()
        && let Err(error) = log.seal().map_err(SpoolError::from)
    {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the spool's log goes on in its segment: the next cannot be started"
        );
    }
    Ok(log.append(drafts)?)
}
