//! One message coming in: by DATA or BDAT, into memory or into an unlinked temporary file. Every fault is remembered and
//! answered once the true end was read (see [`crate::smtp::data`]), so that the session stays in step.
//!
//! Memory is reserved before it is used, in steps as octets arrive, and nobody waits for it. A message that gets none, or
//! is past [`MEMORY_OCTETS`], goes on in its file, piece by piece; the little that every session may hold without asking
//! is [`UNRESERVED_OCTETS`]. Where the disk has no room for it either it hears 452. A client that sends nothing holds
//! nothing.
//!
//! What all later stages may rely on: every line of a message's header section is part of a field
//! ([`header::check`]), so that what we judge is what the next hop reads. A From_ line before it is left out here, and so
//! is white space before a colon.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use memchr::memchr;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::pace::Pace;
use super::temporary::{Limits, Temporary, TemporaryFile, first_octets};
use crate::mail::header::{self, HeaderFault};
use crate::mail::{Body, Message, pieces_without};
use crate::pipeline::account::{Purpose, Share};
use crate::smtp::data::{ContentCheck, DataDecoder, Fault, Progress};
use crate::smtp::reply::{self, Reply};
use crate::spool::is_no_room;

/// Octets asked of the socket at a time: what a TLS record holds at most (RFC 8446 §5.1).
pub(super) const MESSAGE_READ_OCTETS: usize = 16_384;
/// Octets of a message kept in memory at most; a larger one goes to a file.
const MEMORY_OCTETS: usize = 1_048_576;
/// Octets by which a message's share of memory grows.
const STEP_OCTETS: usize = 65_536;
/// Octets of a message that need no share: 40 MB with 10,000 sessions.
const UNRESERVED_OCTETS: usize = 4096;

/// What bounds a message.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    /// `service.max_message_octets`
    pub(super) message_octets: u64,
    /// `limits.header_octets`
    pub(super) header_octets: usize,
    /// `limits.min_free_octets`
    pub(super) floor_octets: u64,
    /// Where temporary files are made.
    pub(super) temporary: Arc<Temporary>,
}

/// Why a message is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Problem {
    TooLarge,
    HeaderTooLarge,
    Header(HeaderFault),
    Content(Fault),
    /// The disk has none for it, or memory has no room for the header section.
    NoRoom,
    /// It fails, or we do.
    Failed,
}

/// A message under way.
#[derive(Debug)]
pub(super) struct Reception {
    bounds: Bounds,
    decoder: DataDecoder,
    check: ContentCheck,
    /// What is not in the file yet: no more than its share of memory, and its capacity neither.
    buffer: Vec<u8>,
    head: Head,
    file: Option<TemporaryFile>,
    octets: u64,
    problem: Option<Problem>,
    share: Share,
    pace: Pace,
}

/// The end of the header section, looked for as octets come.
#[derive(Debug, Default)]
struct Head {
    /// Its octets so far, with the empty line behind it.
    octets: usize,
    /// Of the line under way.
    line_octets: usize,
    is_whole: bool,
}

impl Head {
    /// Looks at the next piece of the message. Line endings that are none are [`ContentCheck`]'s to find.
    fn look(&mut self, mut piece: &[u8]) {
        while !self.is_whole && !piece.is_empty() {
            let end = memchr(b'\n', piece);
            let looked = end.map_or(piece.len(), |at| at + 1);
            self.octets += looked;
            self.line_octets += looked;
            piece = piece.get(looked..).unwrap_or_default();
            if end.is_some() {
                self.is_whole = self.line_octets == 2;
                self.line_octets = 0;
            }
        }
    }
}

impl Reception {
    /// Starts with an empty message, and a share of memory that holds nothing yet.
    pub(super) fn new(bounds: Bounds, share: Share) -> Self {
        Self {
            bounds,
            decoder: DataDecoder::default(),
            check: ContentCheck::default(),
            buffer: Vec::new(),
            head: Head::default(),
            file: None,
            octets: 0,
            problem: None,
            share,
            pace: Pace::default(),
        }
    }

    /// Takes octets that followed 354.
    pub(super) async fn data(&mut self, input: &[u8]) -> Progress {
        let mut taken = 0;
        for piece in input.chunks(MESSAGE_READ_OCTETS) {
            // The decoder may have held one back.
            self.make_room(piece.len() + 1).await;
            let start = self.buffer.len();
            let progress = self.decoder.decode(piece, &mut self.buffer);
            self.digest(start).await;
            match progress {
                Progress::More => taken += piece.len(),
                Progress::End(octets) => return Progress::End(taken + octets),
            }
        }
        Progress::More
    }

    /// Takes octets of a BDAT chunk.
    pub(super) async fn chunk(&mut self, input: &[u8]) {
        for piece in input.chunks(MESSAGE_READ_OCTETS) {
            self.make_room(piece.len()).await;
            let start = self.buffer.len();
            self.buffer.extend_from_slice(piece);
            self.digest(start).await;
        }
    }

    /// Octets of the message so far.
    pub(super) fn octets(&self) -> u64 {
        self.octets
    }

    /// Its client was waited for.
    pub(super) fn waited(&mut self, time: Duration) {
        self.pace.waited(time);
    }

    /// Resolves when the message holds memory, or room on the disk, that others need and has come too slowly, if nothing
    /// more of it comes.
    pub(super) fn is_too_slow(&self) -> impl Future<Output = ()> + use<> {
        let of_disk = self.file.as_ref().map(TemporaryFile::share);
        let held = [Some(&self.share), of_disk].map(|share| share.filter(|share| share.octets() > 0));
        let late = held.iter().any(Option::is_some).then(|| sleep(self.pace.left(self.octets)));
        let [of_memory, of_disk] = held.map(|share| shortage(share.map(Share::shortage)));
        async move {
            let Some(late) = late else { return pending().await };
            late.await;
            tokio::select! {
                () = of_memory => {}
                () = of_disk => {}
            }
        }
    }

    /// Sees to it that so many octets fit in the buffer: in memory, or because what was there is in the file now.
    async fn make_room(&mut self, octets: usize) {
        if !self.reserve(self.buffer.len() + octets) && !self.buffer.is_empty() {
            self.spill().await;
            self.reserve(octets);
        }
        let needed = self.buffer.len() + octets;
        if needed > self.buffer.capacity() {
            // Vec would double by itself, and past what is reserved.
            let doubled = self.buffer.capacity().saturating_mul(2).min(self.share.octets());
            self.buffer.reserve_exact(needed.max(doubled) - self.buffer.len());
        }
    }

    /// Whether the buffer may hold this many octets.
    fn reserve(&mut self, octets: usize) -> bool {
        let most = if self.file.is_some() { STEP_OCTETS } else { MEMORY_OCTETS };
        let steps = octets.next_multiple_of(STEP_OCTETS);
        octets <= UNRESERVED_OCTETS.max(self.share.octets())
            || (steps <= most && self.share.grow(steps, Purpose::Content))
    }

    /// Looks at what was put in the buffer behind `start`.
    async fn digest(&mut self, start: usize) {
        let fresh = self.buffer.get(start..).unwrap_or_default();
        self.octets += fresh.len() as u64;
        self.check.check(fresh);
        self.head.look(fresh);
        self.problem = self.problem.or_else(|| self.found_fault());
        if self.problem.is_some() {
            self.give_up();
        } else if self.buffer.len() > UNRESERVED_OCTETS.max(self.share.octets()) {
            self.spill().await;
        }
    }

    fn found_fault(&self) -> Option<Problem> {
        if self.octets > self.bounds.message_octets {
            return Some(Problem::TooLarge);
        }
        (self.head.octets > self.bounds.header_octets).then_some(Problem::HeaderTooLarge)
    }

    /// Holds nothing of the message any more: it is read to its end only.
    fn give_up(&mut self) {
        self.buffer = Vec::new();
        self.file = None;
        self.share.shrink(0);
    }

    /// Moves the buffer to the file, and with it what is in memory.
    async fn spill(&mut self) {
        let Bounds { temporary, floor_octets, message_octets: largest_octets, .. } = self.bounds.clone();
        let file = self.file.take().unwrap_or_else(|| temporary.file(&self.share));
        let buffer = std::mem::take(&mut self.buffer);
        let written = spawn_blocking(move || {
            let written = temporary.append(file, &buffer, Limits { floor_octets, largest_octets });
            written.inspect_err(|error| temporary.tell(error))
        });
        match written.await {
            Ok(Ok(file)) => {
                self.file = Some(file);
                self.share.shrink(STEP_OCTETS);
                return;
            }
            Ok(Err(error)) if is_no_room(&error) => self.problem = Some(Problem::NoRoom),
            Ok(Err(_)) | Err(_) => self.problem = Some(Problem::Failed),
        }
        self.give_up();
    }

    /// The whole message and the share for what of it is in memory.
    ///
    /// # Errors
    /// The reply that refuses it; `refer` turns a row and its argument into one.
    pub(super) async fn finish(
        mut self,
        refer: impl Fn(&'static reply::Row, &str) -> Reply,
    ) -> Result<(Message, Share), Reply> {
        self.problem = self.problem.or_else(|| self.check.finish().map(Problem::Content));
        let whole = match self.problem {
            Some(problem) => Err(problem),
            None => self.whole().await,
        };
        let message = whole.map_err(|problem| match problem {
            Problem::TooLarge => refer(reply::TOO_LARGE, &self.bounds.message_octets.to_string()),
            Problem::HeaderTooLarge => refer(reply::HEADER_TOO_LARGE, &self.bounds.header_octets.to_string()),
            Problem::Header(HeaderFault::NoField) => refer(reply::NO_FIELD, ""),
            Problem::Header(HeaderFault::TooManyFields) => {
                refer(reply::TOO_MANY_FIELDS, &header::MAX_FIELDS.to_string())
            }
            Problem::Content(Fault::BareLineEnding) => refer(reply::BARE_LINE_ENDING, ""),
            Problem::Content(Fault::LineTooLong) => refer(reply::MESSAGE_LINE_TOO_LONG, ""),
            Problem::NoRoom => reply::NO_STORAGE.reply(),
            Problem::Failed => reply::INTERNAL.reply(),
        })?;
        Ok((message, self.share))
    }

    /// The message as it goes on.
    async fn whole(&mut self) -> Result<Message, Problem> {
        if self.file.is_some() && !self.buffer.is_empty() {
            self.spill().await;
        }
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        let head_octets = self.head.octets;
        let Some(file) = self.file.take().and_then(TemporaryFile::finish).map(Arc::new) else {
            self.share.shrink(self.buffer.capacity());
            let octets = Bytes::from(std::mem::take(&mut self.buffer));
            let head = checked(octets.slice(..head_octets))?;
            return Ok(Message::new(head, Body::Memory(octets.slice(head_octets..))));
        };
        self.share.shrink(0);
        if !self.share.grow(head_octets, Purpose::Header) {
            return Err(Problem::NoRoom);
        }
        let source = file.clone();
        let head = match spawn_blocking(move || first_octets(&source, head_octets)).await {
            Ok(Ok(head)) => head,
            Ok(Err(error)) => {
                self.bounds.temporary.tell(&error);
                return Err(Problem::Failed);
            }
            Err(_panic) => return Err(Problem::Failed),
        };
        let offset = head_octets as u64;
        Ok(Message::new(checked(head)?, Body::File { file, offset, octets: self.octets - offset }))
    }
}

/// Waits for a shortage of what is held; of what is not held there is none.
async fn shortage(of_held: Option<impl Future<Output = ()>>) {
    match of_held {
        Some(shortage) => shortage.await,
        None => pending().await,
    }
}

/// A header section without the From_ line before it and the white space before its colons, once each of its other lines
/// is part of a field.
fn checked(head: Bytes) -> Result<Bytes, Problem> {
    let head = head.slice(header::from_line_octets(&head)..);
    let blanks = header::check(&head).map_err(Problem::Header)?;
    Ok(if blanks.is_empty() { head } else { pieces_without(&head, &blanks).flatten().collect() })
}

#[cfg(test)]
#[path = "reception_tests.rs"]
mod tests;
