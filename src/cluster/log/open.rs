//! Opening: what stands in the segment is replayed, and copied to a new one.

use std::path::Path;

use super::error::LogError;
use super::live::Live;
use super::record::{FORMAT, Record};
use crate::wal::{Log, Piece, Position, Scan, Segments, sync_dir};

/// Octets of records that are written at once.
const COPIED_OCTETS: usize = 4 << 20;

/// Begins a log where there is none.
///
/// # Errors
/// When there is one, or the disk fails.
pub(super) fn create(dir: &Path) -> Result<(Live, Log), LogError> {
    let segments = Segments::open(FORMAT, dir.to_owned())?;
    dir.parent().map_or(Ok(()), sync_dir)?;
    if !segments.list()?.is_empty() {
        return Err(LogError::Exists(dir.to_owned()));
    }
    Ok((Live::default(), Log::create(segments, 1, u64::MAX)?))
}

/// Opens the log that is there. What it says is written anew: how the syncs of an earlier process ended is not known, and
/// what the system has in memory may not be on the disk.
///
/// # Errors
/// When there is none, what was durable cannot be read, or the disk fails.
pub(super) fn open(dir: &Path) -> Result<(Live, Log), LogError> {
    let segments = Segments::at(FORMAT, dir.to_owned());
    let numbers = if dir.exists() { segments.list()? } else { Vec::new() };
    let Some((&number, unfinished)) = numbers.split_first() else {
        return Err(LogError::Missing(dir.to_owned()));
    };
    let live = replay(&segments, number)?;
    // Copies of the first that were not finished, or it would be gone; nothing was taken since.
    unfinished.iter().rev().try_for_each(|copy| segments.remove(*copy))?;
    let log = copy(&segments, number, &live)?;
    Ok((live, log))
}

/// Writes what the log says to the next segment, in the place of this one.
///
/// # Errors
/// When the disk fails: then this segment is the log, as if nothing had been tried.
pub(super) fn copy(segments: &Segments, number: u64, live: &Live) -> Result<Log, LogError> {
    let mut log = Log::create(segments.clone(), number + 1, u64::MAX)?;
    let (mut drafts, mut octets) = (Vec::new(), 0);
    for record in live.records() {
        let draft = record.draft()?;
        octets += draft.octets();
        drafts.push(draft);
        if octets >= COPIED_OCTETS {
            log.append(drafts.drain(..).as_slice().iter())?;
            octets = 0;
        }
    }
    log.append(drafts.iter())?;
    log.sync()?;
    log.append([Record::Synced(log.end().offset).draft()?].iter())?;
    log.sync()?;
    segments.remove(number)?;
    Ok(log)
}

/// What the records of a segment come to, up to where it was written to its end.
pub(super) fn replay(segments: &Segments, number: u64) -> Result<Live, LogError> {
    let path = segments.path(number);
    let damaged =
        |offset: usize, synced| LogError::Damaged { path: path.clone(), offset: offset as u64, synced };
    let octets = segments.read(Position { segment: number, offset: 0 }, u64::MAX)?;
    // The first frame was durable before any other was written.
    let salt = segments.salt(number)?.ok_or_else(|| damaged(0, 0))?;
    let pieces = || Scan::new(FORMAT, &octets, Some(salt));
    let synced = synced(pieces());
    let mut live = Live::default();
    for piece in pieces() {
        let (frame, range) = match piece {
            Piece::Frame(frame, range) => (frame, range),
            Piece::Damaged(range) | Piece::Torn(range) if (range.start as u64) < synced => {
                return Err(damaged(range.start, synced));
            }
            // Nobody was told that it is there, nor that anything behind it is.
            Piece::Damaged(range) | Piece::Torn(range) => {
                tracing::info!(
                    octets = octets.len() - range.start,
                    "the end of the log was not written to its end"
                );
                break;
            }
        };
        let offset = range.start as u64;
        let record = Record::read(&frame);
        let record = record.map_err(|cause| LogError::Record { path: path.clone(), offset, cause })?;
        let followed = record.map_or(Ok(()), |record| live.follow(record));
        followed.map_err(|cause| LogError::Hole { path: path.clone(), offset, cause })?;
    }
    Ok(live)
}

/// Up to where the segment is known to have been durable. Marks behind damage count too: the one that says that what is
/// damaged had been durable may stand there.
fn synced<'a>(pieces: impl Iterator<Item = Piece<'a>>) -> u64 {
    let marks = pieces.filter_map(|piece| match piece {
        Piece::Frame(frame, _) => match Record::read(&frame) {
            Ok(Some(Record::Synced(offset))) => Some(offset),
            Ok(_) | Err(_) => None,
        },
        Piece::Damaged(_) | Piece::Torn(_) => None,
    });
    marks.max().unwrap_or_default()
}
