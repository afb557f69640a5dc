//! Messages whose processing breaks off by a fault of ours, of which a panic is one: each is counted and logged, and
//! put off until its next attempt, so that it stands before no other.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::time::SystemTime;

use futures_util::FutureExt;
use parking_lot::Mutex;
use thiserror::Error;

use super::Inner;
use super::attempt::is_due;
use super::notify::NotYet;
use super::schedule::Ended;
use crate::clock;
use crate::mail::{Domain, TraceId};
use crate::spool::SpoolError;
use crate::telemetry::labels::Contained;

/// Messages that are put off in memory at a time; an id and a time each.
const MOST_NOTES: usize = 1000;

/// Why the processing of a message broke off.
#[derive(Debug, Error)]
pub(super) enum BrokeOff {
    /// The node ends.
    #[error("the stage that delivers is gone")]
    Gone,
    /// Here, or in the stage that delivers, which drops its answer then.
    #[error("its processing panicked")]
    Panicked,
    /// The disk, or the routing table.
    #[error(transparent)]
    NotYet(#[from] NotYet),
}

/// What is done for one message: a panic in it ends nothing else.
pub(super) async fn contained<T, E: Into<BrokeOff>>(
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, BrokeOff> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(done) => done.map_err(Into::into),
        Err(_panic) => Err(BrokeOff::Panicked),
    }
}

/// Messages that are due by the index, which could not be told otherwise, and are left alone until then.
#[derive(Debug, Default)]
pub(super) struct Notes {
    until: Mutex<HashMap<TraceId, SystemTime>>,
}

impl Notes {
    /// Whether there was room for it.
    pub(super) fn put(&self, id: TraceId, until: SystemTime, now: SystemTime) -> bool {
        let mut notes = self.until.lock();
        notes.retain(|_, until| *until > now);
        let has_room = notes.len() < MOST_NOTES || notes.contains_key(&id);
        if has_room {
            notes.insert(id, until);
        }
        has_room
    }

    /// Until when the message is left alone.
    pub(super) fn until(&self, id: TraceId, now: SystemTime) -> Option<SystemTime> {
        self.until.lock().get(&id).copied().filter(|until| *until > now)
    }

    /// Nothing is left alone for longer than this.
    pub(super) fn cut(&self, latest: SystemTime) {
        self.until.lock().values_mut().for_each(|until| *until = latest.min(*until));
    }

    /// An operator wants it tried.
    pub(super) fn forget(&self, id: TraceId) {
        self.until.lock().remove(&id);
    }

    pub(super) fn len(&self) -> usize {
        self.until.lock().len()
    }
}

impl Inner {
    /// Logs that a message's processing broke off, and counts it where the message may be to blame.
    pub(super) fn tell_broken(&self, id: TraceId, why: &BrokeOff) {
        if matches!(why, BrokeOff::Panicked) {
            self.metrics.poisoned_messages_total.of(Contained::Queue).inc();
        }
        tracing::error!(trace = %id, %why, "what is done for a queued message broke off: done again later");
    }

    /// Puts off a message whose attempt broke off; it must still be in hand. What that says of the destination is
    /// nothing, but where the disk takes nothing of too many messages: their lanes are closed for a while then.
    pub(super) async fn put_off(&self, id: TraceId, domain: &Domain, why: &BrokeOff) -> Option<Ended> {
        let now = clock::now();
        let Err(error) = self.write_off(id, domain, now, why).await else { return None };
        tracing::error!(trace = %id, %error, "that a message is put off cannot be written down");
        let rules = self.rules(now);
        let until = now + rules.backoff.pause(1, rules.chance);
        if self.notes.put(id, until, now) { None } else { Some(Ended::Silent) }
    }

    /// Writes down that the attempt was one, and when the next is. One that the disk did not let begin is none by which a
    /// message grows too old.
    async fn write_off(
        &self,
        id: TraceId,
        domain: &Domain,
        now: SystemTime,
        why: &BrokeOff,
    ) -> Result<(), SpoolError> {
        let Some(mut queued) = self.spool.get(id).await? else { return Ok(()) };
        let rules = self.rules(queued.received_at);
        for copy in queued.copies.iter_mut().filter(|copy| is_due(copy, domain, now)) {
            copy.attempts = copy.attempts.saturating_add(1);
            copy.due = now + rules.backoff.pause(copy.attempts, rules.chance);
            if let Some(last) = copy.last.as_mut().filter(|_| matches!(why, BrokeOff::Panicked)) {
                last.at = now;
            }
        }
        self.write(&queued).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn no_more_messages_are_put_off_in_memory_than_fit_and_those_whose_time_came_make_room() {
        let (notes, now) = (Notes::default(), SystemTime::UNIX_EPOCH);
        let (id, until) = (|number| TraceId::new(now, number), now + Duration::from_secs(1));
        assert!((0..MOST_NOTES as u128).all(|number| notes.put(id(number), until, now)));
        assert!(!notes.put(id(5000), until, now));
        assert_eq!((notes.until(id(0), now), notes.until(id(5000), now)), (Some(until), None));
        assert_eq!(notes.until(id(0), until), None);
        assert!(notes.put(id(5000), until + Duration::from_secs(1), until));
        assert_eq!(notes.len(), 1);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_of_its_message() {
        let broken = contained(async { if true { panic!("poison") } else { Ok::<(), NotYet>(()) } }).await;
        assert!(matches!(broken, Err(BrokeOff::Panicked)), "{broken:?}");
    }
}
