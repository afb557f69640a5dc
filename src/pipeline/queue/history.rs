//! What becomes of queued copies, told to the journal: every end, and an attempt that came to something else
//! than the one before. So what stays as it is costs the journal nothing, however often it is tried.

use super::Inner;
use super::judge::Judgement;
use crate::clock;
use crate::journal::{Delivery, DeliveryResult};
use crate::mail::{Address, TraceId};
use crate::spool::{CopyState, QueuedCopy};

/// How a copy stood after its last attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    state: CopyState,
    code: Option<u16>,
}

impl Standing {
    pub(super) fn of(copy: &QueuedCopy) -> Self {
        Self { state: copy.state, code: copy.last.as_ref().map(|last| last.code) }
    }
}

impl Inner {
    /// Tells what came of an attempt, if it is news.
    pub(super) fn record_attempt(&self, id: TraceId, before: Standing, judgement: &Judgement) {
        match judgement {
            Judgement::Delivered(copy) => self.record(id, copy, DeliveryResult::Delivered),
            Judgement::Failed(copy) => self.record(id, copy, DeliveryResult::Failed),
            Judgement::Kept(copy) if Standing::of(copy) == before => {}
            Judgement::Kept(copy) => match copy.state {
                CopyState::Waiting => self.record(id, copy, DeliveryResult::Deferred),
                CopyState::Unknown | CopyState::AwaitingReply => {
                    self.record(id, copy, DeliveryResult::Unknown);
                }
            },
        }
    }

    /// Tells how these copies ended without an attempt.
    pub(super) fn record_all(&self, id: TraceId, copies: &[QueuedCopy], result: DeliveryResult) {
        copies.iter().for_each(|copy| self.record(id, copy, result));
    }

    fn record(&self, id: TraceId, copy: &QueuedCopy, result: DeliveryResult) {
        let last = copy.last.as_ref();
        self.journal.record_delivery(
            id,
            Delivery {
                at: clock::now(),
                result,
                recipient: copy.alias.to_string(),
                destination: copy.destination.to_string(),
                attempts: copy.attempts,
                host: last.map(|last| last.host.clone()).unwrap_or_default(),
                code: last.map_or(0, |last| last.code),
                text: last.map(|last| last.lines.join("\n")).unwrap_or_default(),
            },
        );
    }

    /// Tells that a notification was sent about a message.
    pub(super) fn record_told(&self, id: TraceId, sender: &Address, text: String) {
        self.journal.record_delivery(
            id,
            Delivery {
                at: clock::now(),
                result: DeliveryResult::Told,
                recipient: sender.to_string(),
                destination: String::new(),
                attempts: 0,
                host: String::new(),
                code: 0,
                text,
            },
        );
    }
}
