//! The segments: files of frames in a folder. Their numbers only grow.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::Format;
use super::error::WalError;
use super::frame::{Draft, HEADER_OCTETS, Header, Salt};
use crate::private_files;

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Position {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

/// Where a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Location {
    pub(crate) at: Position,
    /// Its length, header included.
    pub(crate) octets: u64,
}

/// The folder of the segments.
#[derive(Debug, Clone)]
pub(crate) struct Segments {
    format: &'static Format,
    dir: PathBuf,
}

impl Segments {
    /// Creates the folder where it is missing.
    pub(crate) fn open(format: &'static Format, dir: PathBuf) -> Result<Self, WalError> {
        private_files::folder(&dir).map_err(|cause| WalError::io("create", &dir, cause))?;
        Ok(Self { format, dir })
    }

    /// The folder as it is.
    pub(crate) fn at(format: &'static Format, dir: PathBuf) -> Self {
        Self { format, dir }
    }

    pub(super) fn format(&self) -> &'static Format {
        self.format
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn path(&self, segment: u64) -> PathBuf {
        self.dir.join(format!("{segment:016}.log"))
    }

    /// The numbers of the segments, ascending. Files of other names are let be.
    pub(crate) fn list(&self) -> Result<Vec<u64>, WalError> {
        let failed = |cause| WalError::io("read", &self.dir, cause);
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
    pub(crate) fn octets(&self, segment: u64) -> Result<u64, WalError> {
        let path = self.path(segment);
        fs::metadata(&path).map(|metadata| metadata.len()).map_err(|cause| WalError::io("read", &path, cause))
    }

    /// The header of a segment's first frame; `None`: it cannot be read.
    pub(crate) fn header(&self, segment: u64) -> Result<Option<Header>, WalError> {
        let path = self.path(segment);
        let header = read_at(&path, 0, HEADER_OCTETS as u64)?;
        match Header::read(self.format, &header) {
            Some(header) if header.version > self.format.version => {
                Err(WalError::Newer { path, version: header.version })
            }
            header => Ok(header),
        }
    }

    /// The salt of a segment; `None`: its first frame cannot be read.
    pub(crate) fn salt(&self, segment: u64) -> Result<Option<Salt>, WalError> {
        Ok(self.header(segment)?.map(|header| header.salt))
    }

    /// What stands in a segment from an offset on, at most so many octets.
    pub(crate) fn read(&self, at: Position, octets: u64) -> Result<Vec<u8>, WalError> {
        read_at(&self.path(at.segment), at.offset, octets)
    }

    /// Begins a segment, durably: its file, its salt, and the octets in it.
    pub(super) fn create(&self, segment: u64) -> Result<(File, Salt, Vec<u8>), WalError> {
        let path = self.path(segment);
        let salt: Salt = rand::random();
        let mut header = Vec::with_capacity(HEADER_OCTETS);
        Draft::segment().write(self.format, salt, &mut header);
        let start = |file: File| file.write_all_at(&header, 0).and_then(|()| file.sync_all()).map(|()| file);
        let created = private_files::options().write(true).create_new(true).open(&path).and_then(start);
        let synced = created.map_err(|cause| WalError::io("create", &path, cause)).and_then(|file| {
            sync_dir(&self.dir)?;
            Ok(file)
        });
        match synced {
            Ok(file) => Ok((file, salt, header)),
            Err(error) => {
                // The next attempt makes it again; if this fails too, whoever scans the log finds no frame in it.
                let _ = fs::remove_file(&path);
                Err(error)
            }
        }
    }

    /// Removes a segment, durably: a later one may only go when this one cannot come back.
    pub(crate) fn remove(&self, segment: u64) -> Result<(), WalError> {
        let path = self.path(segment);
        fs::remove_file(&path).map_err(|cause| WalError::io("remove", &path, cause))?;
        sync_dir(&self.dir)
    }

    /// Cuts a segment off at an offset, durably.
    pub(crate) fn cut(&self, at: Position) -> Result<(), WalError> {
        let path = self.path(at.segment);
        let cut = |file: File| file.set_len(at.offset).and_then(|()| file.sync_all());
        File::options()
            .write(true)
            .open(&path)
            .and_then(cut)
            .map_err(|cause| WalError::io("cut", &path, cause))
    }
}

/// At most so many octets of a file; fewer at its end.
fn read_at(path: &Path, offset: u64, octets: u64) -> Result<Vec<u8>, WalError> {
    let read = || {
        let mut file = File::open(path)?;
        let there = file.metadata()?.len().saturating_sub(offset).min(octets);
        let mut content = Vec::with_capacity(usize::try_from(there).unwrap_or_default());
        file.seek(SeekFrom::Start(offset))?;
        file.take(there).read_to_end(&mut content)?;
        Ok(content)
    };
    read().map_err(|cause| WalError::io("read", path, cause))
}

/// Makes the names in a folder durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), WalError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|cause| WalError::io("sync", dir, cause))
}
