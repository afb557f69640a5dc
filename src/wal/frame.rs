//! Frames of a segment, and how they are found again among damage. Pure: no I/O.

use std::ops::Range;

use bytes::Bytes;
use memchr::memmem;

use super::Format;
use super::error::WalError;

/// Before the payload of every frame.
pub(crate) const HEADER_OCTETS: usize = 40;
/// The kind of a segment's first frame.
const SEGMENT: u8 = 0;
/// Magic and salt.
const MARK_OCTETS: usize = 16;

/// Eight random octets that every frame of a segment bears: a record whose content holds frames cannot have
/// them taken for records.
pub type Salt = [u8; 8];

/// A frame to be written, all but what depends on the segment it goes to.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    kind: u8,
    meta: Vec<u8>,
    head: Vec<Bytes>,
    body: Bytes,
    head_octets: usize,
    checksum: u32,
}

impl Draft {
    /// Bounds and sums up the parts. The kind is one of the format's, which begin with 1.
    pub(crate) fn new(
        format: &Format,
        kind: u8,
        meta: Vec<u8>,
        head: Vec<Bytes>,
        body: Bytes,
    ) -> Result<Self, WalError> {
        let head_octets = head.iter().map(Bytes::len).sum();
        let octets = [meta.len(), head_octets, body.len()];
        let past = octets.into_iter().zip(format.limits()).find(|(octets, limit)| octets > limit);
        if let Some((octets, limit)) = past {
            return Err(WalError::TooLarge { octets, limit });
        }
        let mut sum = crc32fast::Hasher::new();
        sum.update(&meta);
        head.iter().for_each(|slice| sum.update(slice));
        sum.update(&body);
        Ok(Self { kind, meta, head, body, head_octets, checksum: sum.finalize() })
    }

    /// The frame of a segment's start.
    pub(super) fn segment() -> Self {
        Self {
            kind: SEGMENT,
            meta: Vec::new(),
            head: Vec::new(),
            body: Bytes::new(),
            head_octets: 0,
            checksum: crc32fast::hash(&[]),
        }
    }

    /// Octets of the whole frame.
    pub(crate) fn octets(&self) -> usize {
        HEADER_OCTETS + self.meta.len() + self.head_octets + self.body.len()
    }

    /// Appends the frame.
    pub(super) fn write(&self, format: &Format, salt: Salt, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&format.magic);
        out.extend_from_slice(&salt);
        out.extend_from_slice(&[format.version, self.kind, 0, 0]);
        for octets in [self.meta.len(), self.head_octets, self.body.len()] {
            // Bounded far below by `new`.
            out.extend_from_slice(&u32::try_from(octets).unwrap_or(u32::MAX).to_be_bytes());
        }
        out.extend_from_slice(&self.checksum.to_be_bytes());
        let sum = crc32fast::hash(out.get(start..).unwrap_or_default());
        out.extend_from_slice(&sum.to_be_bytes());
        out.extend_from_slice(&self.meta);
        self.head.iter().for_each(|slice| out.extend_from_slice(slice));
        out.extend_from_slice(&self.body);
    }
}

/// The fixed part of a frame, its own checksum tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) salt: Salt,
    pub(crate) version: u8,
    kind: u8,
    meta: usize,
    head: usize,
    body: usize,
    checksum: u32,
}

impl Header {
    /// The header at the start of `octets`; `None`: that is none.
    pub(super) fn read(format: &Format, octets: &[u8]) -> Option<Self> {
        let header = octets.first_chunk::<HEADER_OCTETS>()?;
        let (covered, sum) = header.split_last_chunk::<4>()?;
        if u32::from_be_bytes(*sum) != crc32fast::hash(covered) {
            return None;
        }
        let rest = covered.strip_prefix(&format.magic)?;
        let (salt, rest) = rest.split_first_chunk::<8>()?;
        let ([version, kind, _, _], rest) = rest.split_first_chunk::<4>()?;
        let (meta, rest) = take_number(rest)?;
        let (head, rest) = take_number(rest)?;
        let (body, rest) = take_number(rest)?;
        let checksum = u32::from_be_bytes(*rest.first_chunk::<4>()?);
        Some(Self { salt: *salt, version: *version, kind: *kind, meta, head, body, checksum })
    }

    fn octets(&self) -> usize {
        HEADER_OCTETS.saturating_add(self.meta).saturating_add(self.head).saturating_add(self.body)
    }

    fn is_bounded(&self, format: &Format) -> bool {
        [self.meta, self.head, self.body].iter().zip(format.limits()).all(|(octets, limit)| *octets <= limit)
    }
}

fn take_number(octets: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = octets.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_be_bytes(*number)).ok()?, rest))
}

/// A frame that was read, its checksums tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it is: 0 for the first of a segment, else one of the format's kinds.
    pub kind: u8,
    /// The first part.
    pub meta: &'a [u8],
    /// The second part.
    pub head: &'a [u8],
    /// The third part.
    pub body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame at the start of `octets`, and its length; `None`: that is none, or is damaged, or is of
    /// another segment.
    #[must_use]
    pub fn read(format: &Format, octets: &'a [u8], salt: Option<Salt>) -> Option<(Self, usize)> {
        let header = Header::read(format, octets)?;
        let payload = octets.get(HEADER_OCTETS..header.octets())?;
        let is_whole = header.is_bounded(format) && crc32fast::hash(payload) == header.checksum;
        if is_whole { Self::read_damaged(format, octets, salt) } else { None }
    }

    /// The frame at the start of `octets` whose header is in order, whatever its parts are like: they are not
    /// tested, and the last of them may be short. And its length, as far as it is there.
    pub(crate) fn read_damaged(
        format: &Format,
        octets: &'a [u8],
        salt: Option<Salt>,
    ) -> Option<(Self, usize)> {
        let header = Header::read(format, octets)?;
        let is_known = (1..=format.version).contains(&header.version)
            && header.kind <= format.last_kind
            && header.is_bounded(format);
        if !is_known || salt.is_some_and(|salt| salt != header.salt) {
            return None;
        }
        let end = header.octets().min(octets.len());
        let (meta, rest) = octets.get(HEADER_OCTETS..end)?.split_at_checked(header.meta)?;
        let (head, body) = rest.split_at_checked(header.head).unwrap_or((rest, &[]));
        Some((Self { kind: header.kind, meta, head, body }, end))
    }
}

/// A part of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A frame and where it stands.
    Frame(Frame<'a>, Range<usize>),
    /// Octets that are no frame.
    Damaged(Range<usize>),
    /// The start of a frame that was never written to its end.
    Torn(Range<usize>),
}

/// Takes a segment, or what follows a frame of it, apart: every octet is in one of the pieces.
#[derive(Debug, Clone)]
pub struct Scan<'a> {
    format: &'static Format,
    octets: &'a [u8],
    at: usize,
    salt: Option<Salt>,
}

impl<'a> Scan<'a> {
    /// Without a salt, that of the first readable frame is taken.
    #[must_use]
    pub fn new(format: &'static Format, octets: &'a [u8], salt: Option<Salt>) -> Self {
        Self { format, octets, at: 0, salt }
    }

    fn rest(&self, at: usize) -> &'a [u8] {
        self.octets.get(at..).unwrap_or_default()
    }

    /// How a frame starts, as far as that is known.
    fn mark(&self) -> Vec<u8> {
        self.format.magic.into_iter().chain(self.salt.into_iter().flatten()).collect()
    }

    /// Where the next readable frame starts, behind `at`.
    fn next_frame(&self, at: usize) -> Option<usize> {
        let mark = self.mark();
        let mut starts = memmem::find_iter(self.rest(at + 1), &mark).map(|found| at + 1 + found);
        starts.find(|start| Frame::read(self.format, self.rest(*start), self.salt).is_some())
    }

    /// Whether these octets, the last of a segment, are what a write leaves that did not come to its end.
    fn is_torn(&self, octets: &[u8]) -> bool {
        if octets.iter().all(|octet| *octet == 0) {
            return true;
        }
        if let Some(header) = Header::read(self.format, octets) {
            return octets.len() < header.octets() && header.is_bounded(self.format);
        }
        let mark = self.mark();
        let common = mark.len().min(octets.len());
        octets.len() < HEADER_OCTETS && octets.get(..common) == mark.get(..common)
    }
}

impl<'a> Iterator for Scan<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let rest = self.rest(self.at);
        if rest.is_empty() {
            return None;
        }
        let start = self.at;
        if let Some((frame, octets)) = Frame::read(self.format, rest, self.salt) {
            let mark: Option<[u8; MARK_OCTETS]> = rest.first_chunk().copied();
            self.salt = self.salt.or_else(|| mark.and_then(|mark| mark.last_chunk().copied()));
            self.at = start + octets;
            return Some(Piece::Frame(frame, start..self.at));
        }
        let next = self.next_frame(start);
        self.at = next.unwrap_or(self.octets.len());
        let range = start..self.at;
        let torn = next.is_none() && self.is_torn(rest);
        Some(if torn { Piece::Torn(range) } else { Piece::Damaged(range) })
    }
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
