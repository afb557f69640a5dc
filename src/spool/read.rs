//! Reading messages back. What cannot be read is kept aside before anyone hears of it.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;

use super::bodies::Bodies;
use super::error::SpoolError;
use super::frame::{Frame, Kind};
use super::index::{Entry, Index};
use super::log::Segments;
use super::model::Queued;
use super::quarantine::Quarantine;
use super::threads::Parts;
use crate::mail::{Body, Message, TraceId};
use crate::proto::spool::v1;

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

/// What reading needs. Its calls block.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    pub(super) index: Arc<Index>,
    pub(super) segments: Segments,
    bodies: Bodies,
    quarantine: Quarantine,
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
            Err(reason) => match self.index.entry(id)? {
                // It left, or was moved to another segment, while it was read.
                None => Ok(Loaded::Gone),
                Some(now) if now.location != entry.location => match self.read(id, &now) {
                    Ok(message) => Ok(Loaded::Whole(Box::new(now.queued()?), message)),
                    Err(reason) => self.give_up(id, &now, reason),
                },
                Some(now) => self.give_up(id, &now, reason),
            },
        }
    }

    fn read(&self, id: TraceId, entry: &Entry) -> Result<Message, String> {
        let at = entry.location.at;
        let octets = self.segments.read(at, entry.location.octets).map_err(|error| error.to_string())?;
        let octets = Bytes::from(octets);
        let (frame, _) = Frame::read(&octets, None).ok_or("its record is damaged")?;
        let put = v1::Put::decode(frame.meta).map_err(|error| error.to_string())?;
        let named = put.message.as_ref().is_some_and(|message| message.id == id.to_bytes());
        if frame.kind != Kind::Put || !named {
            return Err("another record stands in its place".to_owned());
        }
        let head = octets.slice_ref(frame.head);
        let body = match &put.body {
            Some(file) => self.bodies.read(id, file)?,
            None => Body::Memory(octets.slice_ref(frame.body)),
        };
        Ok(Message::new(head, body))
    }

    /// Keeps what there is of a message's octets.
    fn give_up(&self, id: TraceId, entry: &Entry, reason: String) -> Result<Loaded, SpoolError> {
        let at = entry.location.at;
        let octets = self.segments.read(at, entry.location.octets).unwrap_or_default();
        let kept = self.quarantine.keep(at, &octets, &reason)?.kept;
        if entry.in_file {
            let body = kept.with_extension("body");
            self.bodies.move_to(id, &body).map_err(|cause| SpoolError::io("move", &body, cause))?;
        }
        let queued = Box::new(entry.queued()?);
        Ok(Loaded::Damaged(SpoolError::Damaged { queued, reason, kept }))
    }
}
