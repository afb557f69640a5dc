//! Opening: the index is brought to the end of the log, or made again from it; what was cut off in the
//! middle of a write is removed, what cannot be read is kept aside. Nothing here is fatal but the disk.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message as _;

use super::bodies::Bodies;
use super::error::SpoolError;
use super::index::{Entry, Event, Index, is_damage};
use super::log::{self, FORMAT, Kind, draft};
use super::quarantine::{Quarantine, Quarantined};
use super::record;
use crate::clock;
use crate::mail::TraceId;
use crate::proto::spool::v1;
use crate::wal::{
    Draft, Frame, HEADER_OCTETS, Location, Log, Piece, Position, Salt, Scan, Segments, sync_dir,
};

/// Operations applied to the index at once.
const BATCH_EVENTS: usize = 1000;

/// What opening the spool found and did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Messages in the queue.
    pub messages: u64,
    /// Records that were read from the log.
    pub replayed: u64,
    /// Why the index was made again from the log; `None`: it was in order.
    pub rebuilt: Option<String>,
    /// Where the index that was not in order was put.
    pub set_aside: Option<PathBuf>,
    /// What could not be read.
    pub quarantined: Vec<Quarantined>,
    /// Octets of a write that was cut off, and so never acknowledged.
    pub torn_octets: u64,
    /// Messages that awaited a reply which cannot come any more.
    pub made_unknown: u64,
    /// Messages whose body is gone with its file.
    pub without_body: Vec<TraceId>,
    /// Files that belonged to no message.
    pub files_removed: u64,
}

/// What is being opened.
#[derive(Debug)]
pub(super) struct Recovery {
    pub(super) dir: PathBuf,
    pub(super) segments: Segments,
    pub(super) bodies: Bodies,
    pub(super) quarantine: Quarantine,
    pub(super) segment_octets: u64,
    pub(super) found: Recovered,
}

impl Recovery {
    /// Brings index and log together.
    pub(super) fn run(mut self) -> Result<(Index, Log, Recovered), SpoolError> {
        let numbers = self.segments.list()?;
        let index = self.open_index(&numbers)?;
        let from = index.totals().checkpoint.unwrap_or_default();
        if self.found.rebuilt.is_none() {
            self.remove_dead(&index, &numbers)?;
        }
        let mut end = None;
        for number in numbers.iter().copied().filter(|number| *number >= from.segment) {
            let offset = if number == from.segment { from.offset } else { 0 };
            end =
                self.replay(&index, Position { segment: number, offset }, numbers.last() == Some(&number))?;
        }
        let mut log = self.open_log(end, numbers.last().copied())?;
        self.give_up_replies(&index, &mut log)?;
        self.match_bodies(&index)?;
        log.sync()?;
        index.apply(Vec::new(), log.end())?;
        index.flush(log.end())?;
        // The index may be another one now, or have been put aside.
        sync_dir(&self.dir)?;
        self.found.messages = index.counts().messages();
        self.report();
        Ok((index, log, self.found))
    }

    /// The index, empty if the one that was there does not fit the log.
    fn open_index(&mut self, numbers: &[u64]) -> Result<Index, SpoolError> {
        let path = self.dir.join("index");
        let was_there = path.join("store").exists();
        let segments = &self.segments;
        // Damage makes some of the database's code panic; nothing of it is used after that.
        let opened = catch_unwind(AssertUnwindSafe(|| open_fitting(&path, segments, numbers)));
        let wrong = match opened {
            Ok(Ok(Ok(index))) => return Ok(index),
            Ok(Ok(Err(wrong))) => wrong,
            Ok(Err(error)) if is_damage(&error) => error.to_string(),
            Ok(Err(error)) => return Err(error),
            Err(_) => "it is damaged".to_owned(),
        };
        if was_there {
            let aside = self.dir.join("index.damaged");
            set_aside(&path, &aside)?;
            self.found.set_aside = Some(aside);
        } else {
            remove_folder(&path)?;
        }
        tracing::error!(reason = wrong, "the spool's index is made again from the log");
        self.found.rebuilt = Some(wrong);
        Index::open(&path)
    }

    /// Removes segments whose removal a crash undid: the index knows that nothing in them is live.
    fn remove_dead(&self, index: &Index, numbers: &[u64]) -> Result<(), SpoolError> {
        let totals = index.totals();
        let Some(first) = totals.segments.keys().next() else { return Ok(()) };
        for number in numbers.iter().filter(|number| *number < first) {
            self.segments.remove(*number)?;
        }
        Ok(())
    }

    /// Applies what stands in a segment from a place on. Returns the end of the last one, if more can be
    /// written there.
    fn replay(&mut self, index: &Index, from: Position, last: bool) -> Result<Option<Position>, SpoolError> {
        let salt = self.segments.salt(from.segment)?;
        let content = self.segments.read(from, u64::MAX)?;
        let mut events = Vec::new();
        let mut end = Position { offset: from.offset + content.len() as u64, ..from };
        let mut cut = None;
        for piece in Scan::new(FORMAT, &content, salt) {
            match piece {
                Piece::Frame(frame, range) => {
                    let at = Position { offset: from.offset + range.start as u64, ..from };
                    let location = Location { at, octets: range.len() as u64 };
                    self.found.replayed += 1;
                    match told(&frame, location) {
                        Ok(told) => events.extend(told),
                        Err(reason) => {
                            self.keep(at, content.get(range.clone()).unwrap_or_default(), &reason)?
                        }
                    }
                    if events.len() >= BATCH_EVENTS {
                        let end = Position { offset: from.offset + range.end as u64, ..from };
                        index.apply(std::mem::take(&mut events), end)?;
                    }
                }
                Piece::Torn(range) if last => {
                    self.found.torn_octets += range.len() as u64;
                    cut = Some(Position { offset: from.offset + range.start as u64, ..from });
                }
                Piece::Torn(range) | Piece::Damaged(range) => {
                    let at = Position { offset: from.offset + range.start as u64, ..from };
                    let octets = content.get(range.clone()).unwrap_or_default();
                    self.keep(at, octets, "its checksum is wrong")?;
                    // What ends the log was perhaps never acknowledged.
                    cut = (last && range.end == content.len()).then_some(at);
                    if cut.is_none() {
                        events.extend(salvage(octets, at, salt));
                    }
                }
            }
        }
        if let Some(at) = cut {
            self.segments.cut(at)?;
            end = at;
        }
        index.apply(events, end)?;
        Ok((salt.is_some() && end.offset >= HEADER_OCTETS as u64).then_some(end))
    }

    fn keep(&mut self, at: Position, octets: &[u8], reason: &str) -> Result<(), SpoolError> {
        let kept = self.quarantine.keep(at, octets, reason)?;
        self.found.quarantined.push(kept);
        Ok(())
    }

    /// The end of the log: that of the last segment, or a new one where there is none to go on with. What an older
    /// version began is sealed: it would take our records for damage, and the first of a segment tells it that they are
    /// none.
    fn open_log(&self, end: Option<Position>, last: Option<u64>) -> Result<Log, SpoolError> {
        if let Some(end) = end
            && let Some(header) = self.segments.header(end.segment)?
        {
            let mut log = Log::resume(self.segments.clone(), end, header.salt, self.segment_octets)?;
            if header.version < FORMAT.version {
                log.seal()?;
            }
            return Ok(log);
        }
        Ok(Log::create(self.segments.clone(), last.map_or(1, |last| last + 1), self.segment_octets)?)
    }

    /// Nobody listens for the replies that were awaited: their outcome is unknown, and they are due.
    fn give_up_replies(&mut self, index: &Index, log: &mut Log) -> Result<(), SpoolError> {
        let now = record::millis(clock::now());
        for ids in index.awaiting()?.chunks(BATCH_EVENTS) {
            let mut drafts = Vec::with_capacity(ids.len());
            let mut events = Vec::with_capacity(ids.len());
            for id in ids {
                let Some(Entry { mut message, .. }) = index.entry(*id)? else { continue };
                for copy in message.copies.iter_mut().filter(|copy| copy.state == record::AWAITING_REPLY) {
                    (copy.state, copy.due_ms) = (record::UNKNOWN, now);
                }
                drafts.push(draft(Kind::State, message.encode_to_vec(), Vec::new(), Bytes::new())?);
                events.push(Event::State(message));
            }
            self.found.made_unknown += events.len() as u64;
            log::append(log, drafts.iter())?;
            index.apply(events, log.end())?;
        }
        Ok(())
    }

    /// Removes files of no message, and tells of messages whose file is gone. These leave when they are
    /// loaded, like all others whose octets cannot be read: their senders are to be told.
    fn match_bodies(&mut self, index: &Index) -> Result<(), SpoolError> {
        let (there, known) = (self.bodies.sweep()?, index.in_files()?);
        for id in there.iter().filter(|id| known.binary_search(id).is_err()) {
            self.bodies.remove(*id);
            self.found.files_removed += 1;
        }
        for id in known.iter().filter(|id| there.binary_search(id).is_err()) {
            tracing::error!(trace = %id, "the file with the body of a queued message is gone");
            self.found.without_body.push(*id);
        }
        Ok(())
    }

    fn report(&self) {
        let found = &self.found;
        tracing::info!(
            messages = found.messages,
            replayed = found.replayed,
            rebuilt = found.rebuilt.is_some(),
            quarantined = found.quarantined.len(),
            torn_octets = found.torn_octets,
            made_unknown = found.made_unknown,
            "spool open"
        );
    }
}

/// The record that ends a message.
pub(super) fn done(id: TraceId) -> Result<Draft, SpoolError> {
    let meta = v1::Done { id: id.to_bytes().to_vec() }.encode_to_vec();
    draft(Kind::Done, meta, Vec::new(), Bytes::new())
}

/// The index in a folder, or what of it does not fit the log.
fn open_fitting(
    path: &Path,
    segments: &Segments,
    numbers: &[u64],
) -> Result<Result<Index, String>, SpoolError> {
    let index = Index::open(path)?;
    let totals = index.totals();
    let Some(checkpoint) = totals.checkpoint else {
        return Ok(if numbers.is_empty() { Ok(index) } else { Err("it is missing".to_owned()) });
    };
    if !numbers.contains(&checkpoint.segment) {
        return Ok(Err(format!("segment {} that it ends in is missing", checkpoint.segment)));
    }
    if !is_sound(segments, totals.durable, checkpoint)? {
        return Ok(Err("it is ahead of the log".to_owned()));
    }
    let live = totals.segments.iter().filter(|(_, usage)| usage.live > 0).map(|(number, _)| number);
    if let Some(missing) = live.into_iter().find(|number| !numbers.contains(number)) {
        return Ok(Err(format!("segment {missing} with messages in it is missing")));
    }
    Ok(if index.count()? { Ok(index) } else { Err("it has lost entries".to_owned()) })
}

/// Whether the log has every record between two places. Only the newest segment may have lost some of them, since a
/// segment is durable before the next is begun.
fn is_sound(segments: &Segments, from: Position, to: Position) -> Result<bool, SpoolError> {
    if segments.octets(to.segment)? < to.offset {
        return Ok(false);
    }
    let offset = if from.segment == to.segment { from.offset } else { 0 };
    let part = segments.read(Position { offset, ..to }, to.offset.saturating_sub(offset))?;
    let mut pieces = Scan::new(FORMAT, &part, segments.salt(to.segment)?);
    Ok(pieces.all(|piece| matches!(piece, Piece::Frame(..))))
}

/// The messages of damaged records whose envelopes are whole. They are in the queue until their octets are
/// asked for, and their senders told that these cannot be read.
fn salvage(mut octets: &[u8], mut at: Position, salt: Option<Salt>) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some((frame, length)) = salt.and_then(|salt| Frame::read_damaged(FORMAT, octets, Some(salt))) {
        let location = Location { at, octets: length as u64 };
        let is_whole = Kind::of(frame.kind) == Some(Kind::Put)
            && v1::Put::decode(frame.meta).is_ok_and(|put| record::is_whole(&put));
        if is_whole && let Ok(told) = told(&frame, location) {
            events.extend(told);
        }
        octets = octets.get(length..).unwrap_or_default();
        at.offset += length as u64;
    }
    events
}

/// What a record tells the index; the frame of a segment's start tells it nothing.
fn told(frame: &Frame<'_>, location: Location) -> Result<Vec<Event>, String> {
    let unreadable = |error: prost::DecodeError| error.to_string();
    match Kind::of(frame.kind) {
        None => Ok(Vec::new()),
        Some(Kind::Put) => {
            let put = v1::Put::decode(frame.meta).map_err(unreadable)?;
            let message = put.message.ok_or_else(|| "it names no message".to_owned())?;
            record::decode(&message)?;
            let body_octets = put.body.as_ref().map_or(frame.body.len() as u64, |body| body.octets);
            let message_octets = frame.head.len() as u64 + body_octets;
            let entry = Entry { location, message_octets, in_file: put.body.is_some(), message };
            let mut events = vec![Event::Put(Box::new(entry))];
            if let Some(cause) = put.cause {
                record::decode(&cause)?;
                events.push(Event::change(cause)?);
            }
            Ok(events)
        }
        Some(Kind::State) => {
            let message = v1::Message::decode(frame.meta).map_err(unreadable)?;
            record::decode(&message)?;
            Ok(vec![Event::State(message)])
        }
        Some(Kind::Done) => {
            let done = v1::Done::decode(frame.meta).map_err(unreadable)?;
            record::id(&done.id).map(|id| vec![Event::Done(id)])
        }
    }
}

/// Keeps one index for the operator to look at: the newest that was not in order.
fn set_aside(path: &Path, aside: &Path) -> Result<(), SpoolError> {
    remove_folder(aside)?;
    fs::rename(path, aside).map_err(|cause| SpoolError::io("move aside", path, cause))
}

fn remove_folder(path: &Path) -> Result<(), SpoolError> {
    match fs::remove_dir_all(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(SpoolError::io("remove", path, cause)),
        Ok(()) | Err(_) => Ok(()),
    }
}
