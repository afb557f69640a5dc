//! A log of frames, in segments: added to at its end, made durable by a sync, and taken apart again when it is opened.
//! What the frames say is their user's; this module owns how they stand on the disk, and how a disk is asked.
//!
//! # Frames
//!
//! Numbers are big-endian.
//!
//! ```text
//!  0   8  magic: the user's
//!  8   8  salt: random, the same in all frames of a segment
//! 16   1  version of the format: the user's
//! 17   1  kind: 0 the first frame of a segment, from 1 on the user's
//! 18   2  0
//! 20   4  octets of the first part   (meta)
//! 24   4  octets of the second part  (head)
//! 28   4  octets of the third part   (body)
//! 32   4  CRC-32 (IEEE 802.3) of these three parts
//! 36   4  CRC-32 of octets 0 to 35
//! 40      the three parts
//! ```
//!
//! CRC-32 finds every burst of up to 32 bits, and is what the processors that we run on sum up at many
//! gigabytes a second. The header has a sum of its own, so that a length is believed before that much is read.
//!
//! The salt is there because a part may hold anything, frames too: without it the content of a frame that is
//! damaged could be taken for frames when the next one is looked for. With the first frame of a segment
//! unreadable, the salt of the first readable one counts.
//!
//! # Segments
//!
//! `NUMBER.log`, 16 digits: files of frames in a folder. Their numbers only grow, and the last is written. The first
//! frame has no parts: it says version and salt. A segment holds frames of one version: a program that meets a newer
//! one says so and leaves it as it is. To go on after an older one is its user's to do: it seals that segment.
//!
//! Each user has a magic of its own ([`Format`]): a segment in the wrong folder is damage to its last octet, and no
//! frame of it is taken for one of the other user.
//!
//! # What is durable when
//!
//! - What was added is in the system's hands: a kill takes nothing. After the next sync it is on the disk.
//! - A segment is durable to its end before the next is begun, and the name of the next before anything is added to it:
//!   only the last can lose anything to a power cut.
//! - A segment that was removed, or cut off, is so durably.
//! - After a failed write the log is cut back to where it was.
//! - After a failed sync nothing is known of what the disk holds, and the next may say "done" of pages that the kernel
//!   has thrown away. All that was not synced is written again from memory, so that the next sync is about all of it;
//!   or its user takes it back ([`Log::cut_back`]).
//!
//! # What damage is told apart
//!
//! - Octets at the end that are the beginning of a frame, or zeros, are [`Piece::Torn`]: a write that was cut off.
//! - All else that cannot be read is [`Piece::Damaged`], up to the next frame that can; every octet is in one piece.
//!
//! Of what was not synced a power cut may take earlier pages and leave later ones, so that damage stands before frames
//! that can be read. Whether any of it had been synced does not show: a user who must know writes it down.
//!
//! # What it does not do
//!
//! - A frame is there as a whole or not; frames that were added together are not: of these a crash may leave the first.
//! - It does not know how the syncs of an earlier process ended: on opening it writes the last block again, and no more.
//! - It neither cuts nor removes anything, nor seals a full segment, unless told; nor does it miss a segment that is gone.
//! - It has no thread, no timer and no lock on its folder: one writer is its user's to grant.
//! - It says nothing to the operator.

mod error;
mod frame;
mod log;
mod segments;

pub use error::WalError;
pub use frame::{Frame, Piece, Salt, Scan};

pub(crate) use frame::{Draft, HEADER_OCTETS};
pub(crate) use log::Log;
pub(crate) use segments::{Location, Position, Segments, sync_dir};

/// What is its user's in the form of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// Before every frame; no other user's. Best not text, changed by every conversion of line endings, and in no UTF-8.
    pub magic: [u8; 8],
    /// What is written; those from 1 on are read.
    pub version: u8,
    /// The greatest of its kinds; a frame of a greater one is damage.
    pub last_kind: u8,
    /// Most octets of a frame's first part.
    pub max_meta_octets: usize,
    /// Most octets of the second.
    pub max_head_octets: usize,
    /// Most octets of the third.
    pub max_body_octets: usize,
}

impl Format {
    /// Most octets of each part.
    fn limits(&self) -> [usize; 3] {
        [self.max_meta_octets, self.max_head_octets, self.max_body_octets]
    }
}
