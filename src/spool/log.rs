//! The segments: files of frames, appended to by one thread and read by all. Their numbers only grow.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::error::SpoolError;
use super::frame::{Draft, HEADER_OCTETS, Header, Salt, VERSION};
use crate::private_files;

/// What of a segment may be without a sync, in octets: a batch and the largest record. Memory for more than
/// that is given back.
const MAX_TAIL_OCTETS: usize = 16 << 20;
/// The unit that a disk may lose when a write of it fails, in octets; no file system that we know has larger
/// blocks, nor a processor larger pages.
const BLOCK_OCTETS: u64 = 64 << 10;

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Position {
    pub(super) segment: u64,
    pub(super) offset: u64,
}

/// Where a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Location {
    pub(super) at: Position,
    /// Its length, header included.
    pub(super) octets: u64,
}

/// The folder of the segments.
#[derive(Debug, Clone)]
pub(super) struct Segments {
    dir: PathBuf,
}

impl Segments {
    /// Creates the folder where it is missing.
    pub(super) fn open(dir: PathBuf) -> Result<Self, SpoolError> {
        private_files::folder(&dir).map_err(|cause| SpoolError::io("create", &dir, cause))?;
        Ok(Self { dir })
    }

    /// The folder as it is.
    pub(super) fn at(dir: PathBuf) -> Self {
        Self { dir }
    }

    pub(super) fn path(&self, segment: u64) -> PathBuf {
        self.dir.join(format!("{segment:016}.log"))
    }

    /// The numbers of the segments, ascending. Files of other names are let be.
    pub(super) fn list(&self) -> Result<Vec<u64>, SpoolError> {
        let failed = |cause| SpoolError::io("read", &self.dir, cause);
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".log")).filter(|n| n.len() == 16);
            numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Octets of a segment.
    pub(super) fn octets(&self, segment: u64) -> Result<u64, SpoolError> {
        let path = self.path(segment);
        fs::metadata(&path)
            .map(|metadata| metadata.len())
            .map_err(|cause| SpoolError::io("read", &path, cause))
    }

    /// The header of a segment's first frame; `None`: it cannot be read.
    pub(super) fn header(&self, segment: u64) -> Result<Option<Header>, SpoolError> {
        let path = self.path(segment);
        let header = read_at(&path, 0, HEADER_OCTETS as u64)?;
        match Header::read(&header) {
            Some(header) if header.version > VERSION => {
                Err(SpoolError::Newer { path, version: header.version })
            }
            header => Ok(header),
        }
    }

    /// The salt of a segment; `None`: its first frame cannot be read.
    pub(super) fn salt(&self, segment: u64) -> Result<Option<Salt>, SpoolError> {
        Ok(self.header(segment)?.map(|header| header.salt))
    }

    /// What stands in a segment from an offset on, at most so many octets.
    pub(super) fn read(&self, at: Position, octets: u64) -> Result<Vec<u8>, SpoolError> {
        read_at(&self.path(at.segment), at.offset, octets)
    }

    /// Removes a segment, durably: a later one may only go when this one cannot come back.
    pub(super) fn remove(&self, segment: u64) -> Result<(), SpoolError> {
        let path = self.path(segment);
        fs::remove_file(&path).map_err(|cause| SpoolError::io("remove", &path, cause))?;
        sync_dir(&self.dir)
    }

    /// Cuts a segment off at an offset, durably.
    pub(super) fn cut(&self, at: Position) -> Result<(), SpoolError> {
        let path = self.path(at.segment);
        let cut = |file: File| file.set_len(at.offset).and_then(|()| file.sync_all());
        File::options()
            .write(true)
            .open(&path)
            .and_then(cut)
            .map_err(|cause| SpoolError::io("cut", &path, cause))
    }
}

/// At most so many octets of a file; fewer at its end.
pub(super) fn read_at(path: &Path, offset: u64, octets: u64) -> Result<Vec<u8>, SpoolError> {
    use std::io::Read;
    let read = || {
        let file = File::open(path)?;
        let there = file.metadata()?.len().saturating_sub(offset).min(octets);
        let mut content = Vec::with_capacity(usize::try_from(there).unwrap_or_default());
        Positioned { file: &file, at: offset }.take(there).read_to_end(&mut content)?;
        Ok(content)
    };
    read().map_err(|cause| SpoolError::io("read", path, cause))
}

/// Reads a file from a place on, without moving a cursor that others share.
#[derive(Debug)]
pub(super) struct Positioned<'a> {
    pub(super) file: &'a File,
    pub(super) at: u64,
}

impl io::Read for Positioned<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let octets = self.file.read_at(into, self.at)?;
        self.at += octets as u64;
        Ok(octets)
    }
}

/// Makes the names in a folder durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), SpoolError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|cause| SpoolError::io("sync", dir, cause))
}

/// The end of the log, where frames are added.
///
/// A sync that fails leaves pages that the kernel calls clean and may have thrown away; asking again says
/// "done" of them. What no sync has covered is therefore in memory too, back to the start of the block that
/// the last one ended in, and is written again before the next.
#[derive(Debug)]
pub(super) struct Log {
    segments: Segments,
    segment_octets: u64,
    /// Where the next attempt to start a segment is made.
    roll_at: u64,
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
    pub(super) fn create(segments: Segments, number: u64, segment_octets: u64) -> Result<Self, SpoolError> {
        let (file, salt, tail) = create(&segments, number)?;
        let end = Position { segment: number, offset: HEADER_OCTETS as u64 };
        let state = State::Sound;
        Ok(Self { segments, segment_octets, roll_at: segment_octets, file, salt, end, tail, state })
    }

    /// Goes on at the end of the last segment. Its last block is written again: how the syncs of an earlier
    /// process ended is not known.
    pub(super) fn resume(
        segments: Segments,
        end: Position,
        salt: Salt,
        segment_octets: u64,
    ) -> Result<Self, SpoolError> {
        let path = segments.path(end.segment);
        let file =
            File::options().write(true).open(&path).map_err(|cause| SpoolError::io("open", &path, cause))?;
        let octets = end.offset % BLOCK_OCTETS;
        let tail = segments.read(Position { offset: end.offset - octets, ..end }, octets)?;
        let state = State::Doubtful;
        Ok(Self { segments, segment_octets, roll_at: segment_octets, file, salt, end, tail, state })
    }

    /// The end of what was written.
    pub(super) fn end(&self) -> Position {
        self.end
    }

    /// The folder of the segments.
    pub(super) fn dir(&self) -> &Path {
        &self.segments.dir
    }

    /// Adds frames with one write, in a segment of their own if this one is full. They are in the system's
    /// hands when this returns, on the disk after the next [`Log::sync`].
    ///
    /// # Errors
    /// When there is no room, or the disk fails: then the log is as it was, and can be added to.
    pub(super) fn append<'a>(
        &mut self,
        drafts: impl Iterator<Item = &'a Draft>,
    ) -> Result<Vec<Location>, SpoolError> {
        if self.end.offset >= self.roll_at {
            self.roll();
        }
        if self.tail.len() > MAX_TAIL_OCTETS {
            self.sync()?;
        }
        self.mend()?;
        let known = self.tail.len();
        let mut locations = Vec::new();
        for draft in drafts {
            let at = Position { offset: self.end.offset + (self.tail.len() - known) as u64, ..self.end };
            draft.write(self.salt, &mut self.tail);
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
    pub(super) fn sync(&mut self) -> Result<(), SpoolError> {
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

    /// Takes back what was added from a place on, which is behind the last sync.
    pub(super) fn cut_back(&mut self, to: Position) {
        let octets = usize::try_from(self.end.offset - to.offset).unwrap_or_default();
        self.tail.truncate(self.tail.len().saturating_sub(octets));
        self.end = to;
        self.state = State::Doubtful;
        // That it cannot be now is told by the next write.
        let _ = self.mend();
    }

    /// Makes the file what the log says that it is.
    fn mend(&mut self) -> Result<(), SpoolError> {
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
    /// When the disk fails: the log goes on in its segment then.
    pub(super) fn seal(&mut self) -> Result<(), SpoolError> {
        let number = self.end.segment + 1;
        self.sync()?;
        let (file, salt, header) = create(&self.segments, number)?;
        self.end = Position { segment: number, offset: header.len() as u64 };
        (self.file, self.salt, self.tail) = (file, salt, header);
        self.roll_at = self.segment_octets;
        Ok(())
    }

    /// Seals the segment. While that cannot be done, it grows past its bound.
    fn roll(&mut self) {
        if let Err(error) = self.seal() {
            self.roll_at = self.end.offset + self.segment_octets / 16;
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the spool's log goes on in its segment: the next cannot be started"
            );
        }
    }

    fn failed(&self, doing: &'static str, cause: io::Error) -> SpoolError {
        SpoolError::io(doing, &self.segments.path(self.end.segment), cause)
    }
}

/// A segment, its salt, and the octets in it.
fn create(segments: &Segments, number: u64) -> Result<(File, Salt, Vec<u8>), SpoolError> {
    let path = segments.path(number);
    let salt: Salt = rand::random();
    let mut header = Vec::with_capacity(HEADER_OCTETS);
    Draft::segment().write(salt, &mut header);
    let start = |file: File| file.write_all_at(&header, 0).and_then(|()| file.sync_all()).map(|()| file);
    let created = private_files::options().write(true).create_new(true).open(&path).and_then(start);
    let synced = created.map_err(|cause| SpoolError::io("create", &path, cause)).and_then(|file| {
        sync_dir(&segments.dir)?;
        Ok(file)
    });
    match synced {
        Ok(file) => Ok((file, salt, header)),
        Err(error) => {
            // The next attempt makes it again; if this fails too, opening the spool copes with it.
            let _ = fs::remove_file(&path);
            Err(error)
        }
    }
}
