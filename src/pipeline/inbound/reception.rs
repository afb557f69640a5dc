//! One message coming in: by DATA or BDAT, into memory or, past what its permit covers, into an unlinked
//! temporary file, once its header section is there: that stays in memory, and has a bound of its own. Every fault is remembered and answered once the true end was read (see
//! [`crate::smtp::data`]), so that the session stays in step.
//!
//! What all later stages may rely on: every line of a message's header section is part of a field
//! ([`header::check`]), so that what we judge is what the next hop reads. A From_ line before it is left out here.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use memchr::memmem;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::spawn_blocking;

use crate::mail::header::{self, HeaderFault};
use crate::mail::{Body, Message};
use crate::smtp::data::{ContentCheck, DataDecoder, Fault, Progress};
use crate::smtp::reply::{self, Reply};
use crate::spool::is_no_room;

/// Octets asked of the socket at a time.
pub(super) const MESSAGE_READ_OCTETS: usize = 65_536;
/// Octets of a message kept in memory at most; a larger one goes to a file.
pub(super) const MEMORY_OCTETS: usize = 1_048_576;

/// What bounds a message.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    /// `service.max_message_octets`
    pub(super) message_octets: u64,
    /// `limits.header_octets`
    pub(super) header_octets: usize,
    /// Where temporary files are made.
    pub(super) directory: PathBuf,
}

/// Why a message is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Problem {
    TooLarge,
    HeaderTooLarge,
    Header(HeaderFault),
    Content(Fault),
    /// The disk is full.
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
    /// What is not in the file yet.
    buffer: Vec<u8>,
    /// The header section, once its end is known; or what of the buffer was searched for it.
    head: Head,
    file: Option<File>,
    octets: u64,
    problem: Option<Problem>,
    permit: OwnedSemaphorePermit,
}

#[derive(Debug)]
enum Head {
    Searched(usize),
    /// Its octets, copied when the message went to a file.
    Found(usize, Option<Bytes>),
}

impl Reception {
    /// Starts with an empty message. The permit covers what of it is kept in memory.
    pub(super) fn new(bounds: Bounds, permit: OwnedSemaphorePermit) -> Self {
        Self {
            bounds,
            decoder: DataDecoder::default(),
            check: ContentCheck::default(),
            buffer: Vec::new(),
            head: Head::Searched(0),
            file: None,
            octets: 0,
            problem: None,
            permit,
        }
    }

    /// Takes octets that followed 354.
    pub(super) async fn data(&mut self, input: &[u8]) -> Progress {
        let start = self.buffer.len();
        let progress = self.decoder.decode(input, &mut self.buffer);
        self.digest(start).await;
        progress
    }

    /// Takes octets of a BDAT chunk.
    pub(super) async fn chunk(&mut self, input: &[u8]) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(input);
        self.digest(start).await;
    }

    /// Octets of the message so far.
    pub(super) fn octets(&self) -> u64 {
        self.octets
    }

    /// Looks at what was put in the buffer behind `start`.
    async fn digest(&mut self, start: usize) {
        let fresh = self.buffer.get(start..).unwrap_or_default();
        self.octets += fresh.len() as u64;
        self.check.check(fresh);
        self.problem = self.problem.or_else(|| self.found_fault());
        if self.problem.is_some() {
            self.buffer = Vec::new();
            self.file = None;
        } else if matches!(self.head, Head::Found(..))
            && self.buffer.len() + MESSAGE_READ_OCTETS > self.permit.num_permits()
        {
            self.spill().await;
        }
    }

    fn found_fault(&mut self) -> Option<Problem> {
        if self.octets > self.bounds.message_octets {
            return Some(Problem::TooLarge);
        }
        let Head::Searched(searched) = self.head else { return None };
        let end = self.head_end(searched);
        let head_octets = end.unwrap_or_else(|| self.buffer.len().saturating_sub(3));
        self.head = end.map_or(Head::Searched(head_octets), |end| Head::Found(end, None));
        if head_octets > self.bounds.header_octets {
            return Some(Problem::HeaderTooLarge);
        }
        self.header_fault(end?)
    }

    /// What is wrong with a header section that ends there.
    fn header_fault(&self, end: usize) -> Option<Problem> {
        let section = self.buffer.get(..end).unwrap_or_default();
        let section = section.get(header::from_line_octets(section)..).unwrap_or_default();
        header::check(section).err().map(Problem::Header)
    }

    /// Where the body starts; what comes before `searched` was looked at already.
    fn head_end(&self, searched: usize) -> Option<usize> {
        if self.buffer.starts_with(b"\r\n") {
            return Some(2);
        }
        let rest = self.buffer.get(searched..)?;
        memmem::find(rest, b"\r\n\r\n").map(|at| searched + at + 4)
    }

    /// Moves the buffer to the file.
    async fn spill(&mut self) {
        if let Head::Found(end, copy @ None) = &mut self.head {
            *copy = Some(Bytes::copy_from_slice(self.buffer.get(..*end).unwrap_or_default()));
        }
        let (file, buffer) = (self.file.take(), std::mem::take(&mut self.buffer));
        let directory = self.bounds.directory.clone();
        match spawn_blocking(move || append(file, &buffer, &directory)).await {
            Ok(Ok(file)) => self.file = Some(file),
            Ok(Err(error)) => {
                tracing::error!(%error, directory = %self.bounds.directory.display(), "a message cannot be written");
                self.problem = Some(if is_no_room(&error) { Problem::NoRoom } else { Problem::Failed });
            }
            Err(_) => self.problem = Some(Problem::Failed),
        }
    }

    /// The whole message and the permit for what of it is in memory.
    ///
    /// # Errors
    /// The reply that refuses it; `refer` turns a row and its argument into one.
    pub(super) async fn finish(
        mut self,
        refer: impl Fn(&'static reply::Row, &str) -> Reply,
    ) -> Result<(Message, OwnedSemaphorePermit), Reply> {
        self.problem = self.last_word();
        if self.problem.is_none() && self.file.is_some() {
            self.spill().await;
        }
        if let Some(problem) = self.problem {
            return Err(self.refusal(problem, refer));
        }
        let Self { file, buffer, head, octets, mut permit, .. } = self;
        let in_memory = if file.is_some() { 0 } else { buffer.len() };
        drop(permit.split(permit.num_permits().saturating_sub(in_memory)));
        let message = match (file, head) {
            (Some(file), Head::Found(end, Some(head))) => {
                let offset = end as u64;
                Message::new(
                    without_from_line(head),
                    Body::File { file: Arc::new(file), offset, octets: octets - offset },
                )
            }
            (_, Head::Found(end, _)) => {
                let octets = Bytes::from(buffer);
                Message::new(without_from_line(octets.slice(..end)), Body::Memory(octets.slice(end..)))
            }
            (_, Head::Searched(_)) => {
                Message::new(without_from_line(Bytes::from(buffer)), Body::Memory(Bytes::new()))
            }
        };
        Ok((message, permit))
    }

    /// What is wrong in the end. A bare CR or LF explains a line that is no field, and comes before it.
    fn last_word(&self) -> Option<Problem> {
        let content = self.check.finish().map(Problem::Content);
        match (self.problem, &self.head) {
            (Some(Problem::Header(_)), _) => content.or(self.problem),
            (Some(problem), _) => Some(problem),
            // No empty line: all of it is header section.
            (None, Head::Searched(_)) => content.or_else(|| self.header_fault(self.buffer.len())),
            (None, Head::Found(..)) => content,
        }
    }

    fn refusal(&self, problem: Problem, refer: impl Fn(&'static reply::Row, &str) -> Reply) -> Reply {
        match problem {
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
        }
    }
}

fn without_from_line(head: Bytes) -> Bytes {
    head.slice(header::from_line_octets(&head)..)
}

/// Appends to the file, making an unlinked one where there is none yet.
fn append(file: Option<File>, octets: &[u8], directory: &Path) -> std::io::Result<File> {
    let mut file = match file {
        Some(file) => file,
        None => tempfile::tempfile_in(directory)?,
    };
    file.write_all(octets)?;
    Ok(file)
}

#[cfg(test)]
#[path = "reception_tests.rs"]
mod tests;
