//! Opening: what stands in the segment is replayed, and copied to a new one.

use std::path::Path;

use super::error::LogError;
use super::live::Live;
use super::record::{FORMAT, Record};
use crate::wal::{HEADER_OCTETS, Log, Piece, Position, Scan, Segments, WalError, sync_dir};

/// Octets of records that are written at once.
const COPIED_OCTETS: usize = 4 << 20;

/// Begins a log where there is none, or one that was begun and never written to.
///
/// # Errors
/// When there is one, or the disk fails.
pub(super) fn create(dir: &Path) -> Result<(Live, Log), LogError> {
    let segments = Segments::open(FORMAT, dir.to_owned())?;
    dir.parent().map_or(Ok(()), sync_dir)?;
    match segments.list()?[..] {
        [] => {}
        // Its first frame was not durable, so that nothing can have followed.
        [number] if segments.octets(number)? < HEADER_OCTETS as u64 => segments.remove(number)?,
        _ => return Err(LogError::Exists(dir.to_owned())),
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
    let Some((number, numbers)) = find(&segments)? else {
        return Err(LogError::Missing(dir.to_owned()));
    };
    let live = replay(&segments, number)?;
    numbers.iter().filter(|other| **other != number).try_for_each(|other| segments.remove(*other))?;
    let log = copy(&segments, number, &live)?;
    segments.remove(number)?;
    Ok((live, log))
}

/// Of several segments the one that counts: the last that says that it was copied to its end. Before it said so nothing
/// was taken in it, and after that nothing in the one before.
fn valid(segments: &Segments, numbers: &[u64]) -> Result<Option<u64>, LogError> {
    let Some((&first, copies)) = numbers.split_first() else { return Ok(None) };
    for number in copies.iter().rev() {
        let octets = segments.read(Position { segment: *number, offset: 0 }, u64::MAX)?;
        if synced(Scan::new(FORMAT, &octets, segments.salt(*number)?)) > 0 {
            return Ok(Some(*number));
        }
    }
    Ok(Some(first))
}

/// Writes what the log says to the next segment, to its end. From then on that one counts, and this one is to be removed.
///
/// # Errors
/// When the disk fails: then this segment is the log still, and the copy is to be removed ([`remove_copy`]) before
/// anything is added to it.
pub(super) fn copy(segments: &Segments, number: u64, live: &Live) -> Result<Log, LogError> {
    let mut log = Log::create(segments.clone(), number + 1, u64::MAX)?;
    let (mut drafts, mut octets) = (Vec::new(), 0);
    for record in live.records() {
        let draft = record.draft()?;
        octets += draft.octets();
        drafts.push(draft);
        if octets >= COPIED_OCTETS {
            log.append(drafts.iter())?;
            drafts.clear();
            octets = 0;
        }
    }
    log.append(drafts.iter())?;
    log.sync()?;
    log.append([Record::Synced(log.end().offset).draft()?].iter())?;
    log.sync()?;
    Ok(log)
}

/// Removes a copy of this segment that was not finished, if it was begun.
///
/// # Errors
/// When the disk fails: then nothing may be added to this segment, since the copy may count.
pub(super) fn remove_copy(segments: &Segments, number: u64) -> Result<(), LogError> {
    if segments.list()?.contains(&(number + 1)) {
        segments.remove(number + 1)?;
    }
    Ok(())
}

/// What can be read of a log, up to what cannot be and why; changes nothing.
pub(super) fn look(dir: &Path) -> (Live, Result<(), LogError>) {
    let segments = Segments::at(FORMAT, dir.to_owned());
    let mut live = Live::default();
    let looked = match find(&segments) {
        Ok(Some((number, _))) => replay_into(&segments, number, &mut live),
        Ok(None) => Err(LogError::Missing(dir.to_owned())),
        Err(error) => Err(error),
    };
    (live, looked)
}

/// The segment that counts, and all that are there.
fn find(segments: &Segments) -> Result<Option<(u64, Vec<u64>)>, LogError> {
    let dir = segments.dir();
    let there = dir.try_exists().map_err(|cause| WalError::io("look for", dir, cause))?;
    let numbers = if there { segments.list()? } else { Vec::new() };
    Ok(valid(segments, &numbers)?.map(|number| (number, numbers)))
}

/// What the records of a segment come to, up to where it was written to its end.
pub(super) fn replay(segments: &Segments, number: u64) -> Result<Live, LogError> {
    let mut live = Live::default();
    replay_into(segments, number, &mut live)?;
    Ok(live)
}

fn replay_into(segments: &Segments, number: u64, live: &mut Live) -> Result<(), LogError> {
    let path = segments.path(number);
    let damaged =
        |offset: usize, synced| LogError::Damaged { path: path.clone(), offset: offset as u64, synced };
    let octets = segments.read(Position { segment: number, offset: 0 }, u64::MAX)?;
    // The first frame was durable before any other was written.
    let salt = segments.salt(number)?.ok_or_else(|| damaged(0, 0))?;
    let pieces = || Scan::new(FORMAT, &octets, Some(salt));
    let synced = synced(pieces());
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
    Ok(())
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
