//! Reading messages back. What cannot be read is kept aside before anyone hears of it.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;

use super::bodies::Bodies;
use super::error::{SpoolError, is_loss};
use super::index::{Entry, Index};
use super::log::{FORMAT, Kind, draft};
use super::model::Queued;
use super::quarantine::Quarantine;
use super::record;
use super::threads::Parts;
use crate::mail::{Body, Message, TraceId};
use crate::proto::spool::v1;
use crate::wal::{Draft, Frame, Location, Segments};

/// What reading a message came to.
#[derive(Debug)]
pub(super) enum Loaded {
    /// It is as it was put.
    Whole(Box<Queued>, Message),
    /// It is not in the queue.
    Gone,
    /// It is not as it was put.
    Damaged(SpoolError),
}

/// Why a message was not read.
#[derive(Debug)]
pub(super) enum Unread {
    /// Its octets are not there any more, or not as they were put.
    Damaged(String),
    /// They cannot be had now.
    Failed(SpoolError),
}

impl From<SpoolError> for Unread {
    /// What a failure to read a file means.
    fn from(error: SpoolError) -> Self {
        if let SpoolError::Io { cause, .. } = &error
            && is_loss(cause)
        {
            return Self::Damaged(error.to_string());
        }
        Self::Failed(error)
    }
}

/// What reading needs. Its calls block.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    pub(super) index: Arc<Index>,
    pub(super) segments: Segments,
    bodies: Bodies,
    pub(super) quarantine: Quarantine,
}

impl Reader {
    pub(super) fn new(parts: &Parts, quarantine: Quarantine) -> Self {
        let Parts { index, segments, bodies, .. } = parts;
        Self { index: index.clone(), segments: segments.clone(), bodies: bodies.clone(), quarantine }
    }

    /// A message with its octets.
    pub(super) fn load(&self, id: TraceId) -> Result<Loaded, SpoolError> {
        let Some(entry) = self.index.entry(id)? else { return Ok(Loaded::Gone) };
        match self.read(id, &entry) {
            Ok(message) => Ok(Loaded::Whole(Box::new(entry.queued()?), message)),
            Err(unread) => match self.index.entry(id)? {
                // It left, or was moved to another segment, while it was read.
                None => Ok(Loaded::Gone),
                Some(now) if now.location != entry.location => match self.read(id, &now) {
                    Ok(message) => Ok(Loaded::Whole(Box::new(now.queued()?), message)),
                    Err(unread) => self.give_up(id, &now, unread),
                },
                Some(now) => self.give_up(id, &now, unread),
            },
        }
    }

    fn read(&self, id: TraceId, entry: &Entry) -> Result<Message, Unread> {
        let octets = Bytes::from(self.octets(entry)?);
        let damaged = |reason: &str| Unread::Damaged(reason.to_owned());
        let (frame, _) =
            Frame::read(FORMAT, &octets, None).ok_or_else(|| damaged("its record is damaged"))?;
        let put = v1::Put::decode(frame.meta).map_err(|error| damaged(&error.to_string()))?;
        if Kind::of(frame.kind) != Some(Kind::Put) || !names(&put, id) {
            return Err(damaged("another record stands in its place"));
        }
        if put.quarantined.is_some() {
            return Err(damaged("its record was damaged"));
        }
        let head = octets.slice_ref(frame.head);
        let body = match &put.body {
            Some(file) => self.bodies.read(id, file)?,
            None => Body::Memory(octets.slice_ref(frame.body)),
        };
        Ok(Message::new(head, body))
    }

    fn octets(&self, entry: &Entry) -> Result<Vec<u8>, Unread> {
        let Location { at, octets } = entry.location;
        Ok(self.segments.read(at, octets).map_err(SpoolError::from)?)
    }

    /// Keeps what there is of a message's octets, if they are lost.
    fn give_up(&self, id: TraceId, entry: &Entry, unread: Unread) -> Result<Loaded, SpoolError> {
        let reason = match unread {
            Unread::Failed(error) => return Err(error),
            Unread::Damaged(reason) => reason,
        };
        let octets = self.octets(entry).unwrap_or_default();
        let (head, quarantined) = self.remains(id, &octets);
        let kept = match quarantined {
            Some(name) => self.quarantine.named(&name),
            None => self.quarantine.keep(entry.location.at, &octets, &reason)?.kept,
        };
        if entry.in_file {
            let body = kept.with_extension("body");
            self.bodies.move_to(id, &body).map_err(|cause| SpoolError::io("move", &body, cause))?;
        }
        let queued = Box::new(entry.queued()?);
        Ok(Loaded::Damaged(SpoolError::Damaged { queued, head, reason, kept }))
    }

    /// What is left in a message's record: its header section, and the file that the rest is in already.
    /// Nothing, if the record is not known to be the message's.
    fn remains(&self, id: TraceId, octets: &[u8]) -> (Bytes, Option<String>) {
        let frame = Frame::read_damaged(FORMAT, octets, None)
            .filter(|(frame, _)| Kind::of(frame.kind) == Some(Kind::Put));
        let put = frame.and_then(|(frame, _)| Some((frame.head, v1::Put::decode(frame.meta).ok()?)));
        match put.filter(|(_, put)| names(put, id)) {
            Some((head, put)) => (Bytes::copy_from_slice(head), put.quarantined),
            None => (Bytes::new(), None),
        }
    }

    /// The record that stands for a damaged one from now on: what is known of the message, and what is left
    /// of its header section. The octets are kept aside.
    pub(super) fn stub(&self, entry: &Entry, octets: &[u8]) -> Result<Draft, SpoolError> {
        let kept = self.quarantine.keep(entry.location.at, octets, "its record is damaged")?.kept;
        let name = kept.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let id = record::id(&entry.message.id).map_err(SpoolError::Entry)?;
        let (head, _) = self.remains(id, octets);
        let body = entry.in_file.then(v1::BodyFile::default);
        let put = v1::Put { quarantined: Some(name), ..record::put(entry.message.clone(), body) };
        draft(Kind::Put, put.encode_to_vec(), vec![head], Bytes::new())
    }
}

fn names(put: &v1::Put, id: TraceId) -> bool {
    put.message.as_ref().is_some_and(|message| message.id == id.to_bytes())
}
