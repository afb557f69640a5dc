//! The segments: files of frames, appended to by one thread and read by all. Their numbers only grow.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::error::SpoolError;
use super::frame::{Draft, HEADER_OCTETS, Header, Salt, VERSION};

/// Past it the buffer of a batch is given back, in octets: a batch and the largest record.
const KEPT_BUFFER_OCTETS: usize = 16 << 20;

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
        fs::create_dir_all(&dir).map_err(|cause| SpoolError::io("create", &dir, cause))?;
        Ok(Self { dir })
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

    /// The salt of a segment; `None`: its first frame cannot be read.
    pub(super) fn salt(&self, segment: u64) -> Result<Option<Salt>, SpoolError> {
        let path = self.path(segment);
        let header = read_at(&path, 0, HEADER_OCTETS as u64)?;
        match Header::read(&header) {
            Some(header) if header.version > VERSION => {
                Err(SpoolError::Newer { path, version: header.version })
            }
            header => Ok(header.map(|header| header.salt)),
        }
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
#[derive(Debug)]
pub(super) struct Log {
    segments: Segments,
    segment_octets: u64,
    file: File,
    salt: Salt,
    end: Position,
    buffer: Vec<u8>,
}

impl Log {
    /// Starts a segment.
    pub(super) fn create(segments: Segments, number: u64, segment_octets: u64) -> Result<Self, SpoolError> {
        let (file, salt) = create(&segments, number)?;
        let end = Position { segment: number, offset: HEADER_OCTETS as u64 };
        Ok(Self { segments, segment_octets, file, salt, end, buffer: Vec::new() })
    }

    /// Goes on at the end of the last segment.
    pub(super) fn resume(
        segments: Segments,
        end: Position,
        salt: Salt,
        segment_octets: u64,
    ) -> Result<Self, SpoolError> {
        let path = segments.path(end.segment);
        let file =
            File::options().write(true).open(&path).map_err(|cause| SpoolError::io("open", &path, cause))?;
        Ok(Self { segments, segment_octets, file, salt, end, buffer: Vec::new() })
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
    /// When there is no room, or the disk fails: then the log is as it was, and can be added to. With
    /// [`SpoolError::Failed`] it cannot.
    pub(super) fn append<'a>(
        &mut self,
        drafts: impl Iterator<Item = &'a Draft>,
    ) -> Result<Vec<Location>, SpoolError> {
        if self.end.offset >= self.segment_octets {
            self.roll()?;
        }
        self.buffer.clear();
        let mut locations = Vec::new();
        for draft in drafts {
            let at = Position { offset: self.end.offset + self.buffer.len() as u64, ..self.end };
            draft.write(self.salt, &mut self.buffer);
            locations.push(Location { at, octets: draft.octets() as u64 });
        }
        let written = self.file.write_all_at(&self.buffer, self.end.offset);
        let octets = self.buffer.len() as u64;
        if self.buffer.capacity() > KEPT_BUFFER_OCTETS {
            self.buffer = Vec::new();
        }
        if let Err(cause) = written {
            self.file.set_len(self.end.offset).map_err(|_| SpoolError::Failed)?;
            return Err(SpoolError::io("write", &self.segments.path(self.end.segment), cause));
        }
        self.end.offset += octets;
        Ok(locations)
    }

    /// Makes what was added durable.
    pub(super) fn sync(&self) -> Result<(), SpoolError> {
        let path = || self.segments.path(self.end.segment);
        self.file.sync_data().map_err(|cause| SpoolError::io("sync", &path(), cause))
    }

    /// Seals the segment and starts the next. What a sealed segment holds is durable.
    fn roll(&mut self) -> Result<(), SpoolError> {
        self.sync().map_err(|error| {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a segment of the spool cannot be sealed"
            );
            SpoolError::Failed
        })?;
        let number = self.end.segment + 1;
        (self.file, self.salt) = create(&self.segments, number)?;
        self.end = Position { segment: number, offset: HEADER_OCTETS as u64 };
        Ok(())
    }
}

fn create(segments: &Segments, number: u64) -> Result<(File, Salt), SpoolError> {
    let path = segments.path(number);
    let salt: Salt = rand::random();
    let mut header = Vec::with_capacity(HEADER_OCTETS);
    Draft::segment().write(salt, &mut header);
    let start = |file: File| file.write_all_at(&header, 0).and_then(|()| file.sync_all()).map(|()| file);
    let created = File::options().write(true).create_new(true).open(&path).and_then(start);
    let synced = created.map_err(|cause| SpoolError::io("create", &path, cause)).and_then(|file| {
        sync_dir(&segments.dir)?;
        Ok(file)
    });
    match synced {
        Ok(file) => Ok((file, salt)),
        Err(error) => {
            // The next attempt makes it again; if this fails too, opening the spool copes with it.
            let _ = fs::remove_file(&path);
            Err(error)
        }
    }
}
