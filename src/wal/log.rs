//! The end of the log, appended to by one thread.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::error::WalError;
use super::frame::{Draft, HEADER_OCTETS, Salt};
use super::segments::{Location, Position, Segments};

/// What of a segment may be without a sync, in octets: more is synced before anything is added. Memory for more than
/// that is given back.
const MAX_TAIL_OCTETS: usize = 16 << 20;
/// The unit that a disk may lose when a write of it fails, in octets; no file system that we know has larger
/// blocks, nor a processor larger pages.
const BLOCK_OCTETS: u64 = 64 << 10;

/// The end of the log, where frames are added.
///
/// A sync that fails leaves pages that the kernel calls clean and may have thrown away; asking again says
/// "done" of them. What no sync has covered is therefore in memory too, back to the start of the block that
/// the last one ended in, and is written again before the next.
#[derive(Debug)]
pub(crate) struct Log {
    segments: Segments,
    segment_octets: u64,
    /// Where it is full: past its bound when the next could not be started there.
    full_at: u64,
    file: File,
    salt: Salt,
    end: Position,
    /// The segment from the start of a block to its end.
    tail: Vec<u8>,
    state: State,
}

/// How far the file is what the log says that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is.
    Sound,
    /// A write failed: octets of it may stand behind the end.
    Torn,
    /// A sync failed: octets of the tail may not be there.
    Doubtful,
}

impl Log {
    /// Starts a segment.
    pub(crate) fn create(segments: Segments, number: u64, segment_octets: u64) -> Result<Self, WalError> {
        let (file, salt, tail) = segments.create(number)?;
        let end = Position { segment: number, offset: HEADER_OCTETS as u64 };
        let state = State::Sound;
        Ok(Self { segments, segment_octets, full_at: segment_octets, file, salt, end, tail, state })
    }

    /// Goes on at the end of the last segment. Its last block is written again: how the syncs of an earlier
    /// process ended is not known.
    pub(crate) fn resume(
        segments: Segments,
        end: Position,
        salt: Salt,
        segment_octets: u64,
    ) -> Result<Self, WalError> {
        let path = segments.path(end.segment);
        let file =
            File::options().write(true).open(&path).map_err(|cause| WalError::io("open", &path, cause))?;
        let octets = end.offset % BLOCK_OCTETS;
        let tail = segments.read(Position { offset: end.offset - octets, ..end }, octets)?;
        let state = State::Doubtful;
        Ok(Self { segments, segment_octets, full_at: segment_octets, file, salt, end, tail, state })
    }

    /// The end of what was written.
    pub(crate) fn end(&self) -> Position {
        self.end
    }

    /// The folder of the segments.
    pub(crate) fn dir(&self) -> &Path {
        self.segments.dir()
    }

    /// Whether the segment is to be sealed before anything is added.
    pub(crate) fn is_full(&self) -> bool {
        self.end.offset >= self.full_at
    }

    /// Adds frames with one write. They are in the system's hands when this returns, on the disk after the next
    /// [`Log::sync`].
    ///
    /// # Errors
    /// When there is no room, or the disk fails: then the log is as it was, and can be added to.
    pub(crate) fn append<'a>(
        &mut self,
        drafts: impl Iterator<Item = &'a Draft>,
    ) -> Result<Vec<Location>, WalError> {
        if self.tail.len() > MAX_TAIL_OCTETS {
            self.sync()?;
        }
        self.mend()?;
        let known = self.tail.len();
        let mut locations = Vec::new();
        for draft in drafts {
            let at = Position { offset: self.end.offset + (self.tail.len() - known) as u64, ..self.end };
            draft.write(self.segments.format(), self.salt, &mut self.tail);
            locations.push(Location { at, octets: draft.octets() as u64 });
        }
        let added = self.tail.get(known..).unwrap_or_default();
        if let Err(cause) = self.file.write_all_at(added, self.end.offset) {
            self.tail.truncate(known);
            self.state = State::Torn;
            // That it cannot be now is told by the next write.
            let _ = self.mend();
            return Err(self.failed("write", cause));
        }
        self.end.offset += added.len() as u64;
        Ok(locations)
    }

    /// Makes what was added durable.
    ///
    /// # Errors
    /// When it may not be on the disk; the next sync, if it succeeds, makes it so.
    pub(crate) fn sync(&mut self) -> Result<(), WalError> {
        self.mend()?;
        if let Err(cause) = self.file.sync_data() {
            self.state = State::Doubtful;
            return Err(self.failed("sync", cause));
        }
        let kept = usize::try_from(self.end.offset % BLOCK_OCTETS).unwrap_or_default();
        self.tail.drain(..self.tail.len().saturating_sub(kept));
        self.tail.shrink_to(MAX_TAIL_OCTETS);
        Ok(())
    }

    /// Takes back what was added from a place on, which is in this segment and behind the last sync.
    pub(crate) fn cut_back(&mut self, to: Position) {
        let octets = usize::try_from(self.end.offset - to.offset).unwrap_or_default();
        self.tail.truncate(self.tail.len().saturating_sub(octets));
        self.end = to;
        self.state = State::Doubtful;
        // That it cannot be now is told by the next write.
        let _ = self.mend();
    }

    /// Makes the file what the log says that it is.
    fn mend(&mut self) -> Result<(), WalError> {
        let written = match self.state {
            State::Sound => return Ok(()),
            State::Torn => Ok(()),
            State::Doubtful => self.file.write_all_at(&self.tail, self.end.offset - self.tail.len() as u64),
        };
        let mended = written.and_then(|()| self.file.set_len(self.end.offset));
        mended.map_err(|cause| self.failed("mend", cause))?;
        self.state = State::Sound;
        Ok(())
    }

    /// Seals the segment and starts the next. What a sealed segment holds is durable.
    ///
    /// # Errors
    /// When the disk fails: the log goes on in its segment then, which is full again a little later.
    pub(crate) fn seal(&mut self) -> Result<(), WalError> {
        let number = self.end.segment + 1;
        let started = self.sync().and_then(|()| self.segments.create(number));
        self.full_at = match started {
            Ok(_) => self.segment_octets,
            Err(_) => self.end.offset + self.segment_octets / 16,
        };
        let (file, salt, header) = started?;
        self.end = Position { segment: number, offset: header.len() as u64 };
        (self.file, self.salt, self.tail) = (file, salt, header);
        Ok(())
    }

    /// The same over another file: how a user's tests have a disk fail.
    #[cfg(test)]
    pub(crate) fn over(self, file: File) -> Self {
        Self { file, ..self }
    }

    fn failed(&self, doing: &'static str, cause: io::Error) -> WalError {
        WalError::io(doing, &self.segments.path(self.end.segment), cause)
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
