//! A change that is too large for an entry, while its parts arrive: beside the table, and a part of the agreed state like
//! it. Pure: what becomes of it depends on the entries and the times in them alone.
//!
//! - One at a time. It is gone [`STAGED_FOR`] after its first part, so that one whose client or leader has gone stands in
//!   nobody's way for longer.
//! - The parts follow each other without a gap; the first begins anew what the same request had begun before.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::proposal::{Finish, Part};
use crate::routing::{MAX_STAMPED_OCTETS, RequestId, RoutingError};

/// How long parts are kept, by the times in the entries.
pub const STAGED_FOR: Duration = Duration::from_secs(10 * 60);

/// The parts that are there. Cloning them copies none of their octets.
#[derive(Debug, Clone, Default)]
pub struct Staging(Option<Staged>);

#[derive(Debug, Clone)]
struct Staged {
    request_id: RequestId,
    /// The time of the first part.
    since: SystemTime,
    parts: Vec<Bytes>,
    octets: usize,
}

impl Staging {
    /// Lets go of what is over by this time.
    pub fn pass(&mut self, at: SystemTime) {
        let is_over =
            |staged: &mut Staged| at.duration_since(staged.since).is_ok_and(|age| age >= STAGED_FOR);
        self.0.take_if(is_over);
    }

    /// Takes a part.
    ///
    /// # Errors
    /// When another change is on its way: that one stays. When the part does not follow the one before, or would make the
    /// change too large: then its parts are gone.
    pub fn add(&mut self, part: Part) -> Result<(), RoutingError> {
        self.pass(part.at);
        let Part { request_id, at, offset, octets } = part;
        if let Some(staged) = &self.0
            && staged.request_id != request_id
        {
            return Err(RoutingError::LargeChangeUnderWay(staged.request_id.clone()));
        }
        let mut staged = match self.0.take() {
            _ if offset == 0 => Staged { request_id, since: at, parts: Vec::new(), octets: 0 },
            Some(staged) if staged.octets == offset => staged,
            Some(_) | None => return Err(RoutingError::PartsGone),
        };
        staged.octets = staged.octets.saturating_add(octets.len());
        if staged.octets > MAX_STAMPED_OCTETS {
            return Err(RoutingError::TooLarge);
        }
        staged.parts.push(octets);
        self.0 = Some(staged);
        Ok(())
    }

    /// The change, whose parts are gone from here.
    ///
    /// # Errors
    /// When they are not all there.
    pub fn finish(&mut self, finish: &Finish) -> Result<Vec<u8>, RoutingError> {
        self.pass(finish.at);
        let staged = self.0.take_if(|staged| staged.request_id == finish.request_id);
        let whole = staged.filter(|staged| staged.octets == finish.octets);
        whole.map(|staged| staged.parts.concat()).ok_or(RoutingError::PartsGone)
    }

    /// The parts, in their order: whoever adds them to another has the same.
    pub fn parts(&self) -> impl Iterator<Item = Part> {
        self.0.iter().flat_map(|staged| {
            let mut offset = 0;
            staged.parts.iter().map(move |octets| {
                let (request_id, octets) = (staged.request_id.clone(), octets.clone());
                let part = Part { request_id, at: staged.since, offset, octets };
                offset += part.octets.len();
                part
            })
        })
    }
}

#[cfg(test)]
#[path = "staging_tests.rs"]
mod tests;
