//! A message's octets: received once, never re-encoded.
//!
//! A [`Message`] is the header section (always in memory, its size is bounded at reception), the rest of
//! the octets (in memory, or in an unlinked temporary file when large), and two short lists: ranges of
//! the header section that are left out, and fields put before it. Verification reads the original;
//! signing and sending read the emitted view: `prepended`, then the header section less `omitted`, then
//! the body.

use std::any::Any;
use std::fs::File;
use std::ops::{Deref, Range};
use std::sync::Arc;

use bytes::Bytes;

/// Where the octets after the header section are.
#[derive(Debug, Clone)]
pub enum Body {
    /// In memory.
    Memory(Bytes),
    /// In a file, from `offset` to its end.
    File {
        /// The file, already unlinked; read it with positioned reads only.
        file: Arc<BodyFile>,
        /// Where the body starts in the file; the header section stands before it.
        offset: u64,
        /// Octets from `offset` to the end.
        octets: u64,
    },
}

/// A file with octets of a message, and what is given back once nobody has it open.
#[derive(Debug)]
pub struct BodyFile {
    file: File,
    _held: Option<Box<dyn Any + Send + Sync>>,
}

impl BodyFile {
    /// A file that takes room which is counted, until this is dropped.
    #[must_use]
    pub fn counted(file: File, held: impl Any + Send + Sync) -> Self {
        Self { file, _held: Some(Box::new(held)) }
    }
}

impl From<File> for BodyFile {
    fn from(file: File) -> Self {
        Self { file, _held: None }
    }
}

impl Deref for BodyFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

/// One message: original octets and what we change about them.
#[derive(Debug, Clone)]
pub struct Message {
    head: Bytes,
    body: Body,
    omitted: Vec<Range<usize>>,
    prepended: Bytes,
}

impl Message {
    /// Wraps received octets: `head` is the header section up to and with the empty line (all of the
    /// message, if it has none), `body` what follows.
    #[must_use]
    pub fn new(head: Bytes, body: Body) -> Self {
        Self { head, body, omitted: Vec::new(), prepended: Bytes::new() }
    }

    /// Wraps a message that is wholly in memory, finding the end of its header section.
    #[must_use]
    pub fn from_octets(octets: Bytes) -> Self {
        let end = super::header::section_end(&octets).unwrap_or(octets.len());
        let head = octets.slice(..end);
        Self::new(head, Body::Memory(octets.slice(end..)))
    }

    /// The original header section with its empty line.
    #[must_use]
    pub fn head(&self) -> &Bytes {
        &self.head
    }

    /// The octets after the header section.
    #[must_use]
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// Size as received, in octets.
    #[must_use]
    pub fn original_octets(&self) -> u64 {
        self.head.len() as u64
            + match &self.body {
                Body::Memory(body) => body.len() as u64,
                Body::File { octets, .. } => *octets,
            }
    }

    /// Size as sent on, in octets.
    #[must_use]
    pub fn emitted_octets(&self) -> u64 {
        let omitted: usize = self.omitted.iter().map(ExactSizeIterator::len).sum();
        self.original_octets() + self.prepended.len() as u64 - omitted as u64
    }

    /// Leaves out ranges of the header section: whole fields, sorted, not overlapping.
    pub fn omit(&mut self, ranges: Vec<Range<usize>>) {
        self.omitted = ranges;
    }

    /// Puts whole header fields, each ending in CRLF, before all others and before earlier prepended ones.
    pub fn prepend(&mut self, fields: &[u8]) {
        self.prepended = [fields, &self.prepended].concat().into();
    }

    /// The header section as sent on, in order: the prepended fields, then the original less what is omitted.
    #[must_use]
    pub fn emitted_head(&self) -> Vec<Bytes> {
        let mut slices = Vec::with_capacity(2 + self.omitted.len());
        slices.push(self.prepended.clone());
        slices.extend(pieces_without(&self.head, &self.omitted));
        slices.retain(|slice| !slice.is_empty());
        slices
    }
}

/// The pieces of octets that are left without these ranges, which are sorted and do not overlap.
pub fn pieces_without<'a>(
    octets: &'a Bytes,
    ranges: &'a [Range<usize>],
) -> impl Iterator<Item = Bytes> + use<'a> {
    let starts = std::iter::once(0).chain(ranges.iter().map(|range| range.end));
    let ends = ranges.iter().map(|range| range.start).chain([octets.len()]);
    starts.zip(ends).map(|(start, end)| octets.slice(start..end))
}
