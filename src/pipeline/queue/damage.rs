//! Messages whose octets the disk has lost: their senders are told, and they leave.

use bytes::Bytes;

use super::Inner;
use super::notify::NotYet;
use crate::clock;
use crate::mail::{Body, Enhanced, Message, Return, TraceId};
use crate::spool::{LastAttempt, Queued, QueuedCopy, SpoolError};

/// RFC 3463 §3.4: other or undefined mail system status. The fault is ours, and the class says that it is
/// not tried again: what would be tried is gone.
const LOST: Enhanced = Enhanced(5, 3, 0);
/// What is told of it.
const WORDS: &str = "the message was damaged on a disk of ours while it waited to be delivered";

impl Inner {
    /// A message with its octets. One that cannot be read any more leaves, its sender told.
    pub(super) async fn load(&self, id: TraceId) -> Result<Option<(Queued, Message)>, NotYet> {
        match self.spool.load(id).await {
            Err(SpoolError::Damaged { queued, head, reason, kept }) => {
                tracing::error!(trace = %id, reason, kept = %kept.display(), "a queued message is lost");
                self.give_up_lost(*queued, head).await?;
                Ok(None)
            }
            loaded => Ok(loaded?),
        }
    }

    async fn give_up_lost(&self, mut queued: Queued, head: Bytes) -> Result<(), NotYet> {
        let lost: Vec<_> = std::mem::take(&mut queued.copies).into_iter().map(lost).collect();
        // What is left is not the message that RET=FULL asks for.
        queued.request.ret = Some(Return::Headers);
        let remains = Message::new(head, Body::Memory(Bytes::new()));
        self.end(&queued, &remains, &lost).await
    }
}

/// The copy as it failed: no upstream is to blame.
fn lost(mut copy: QueuedCopy) -> QueuedCopy {
    copy.last = Some(LastAttempt {
        at: clock::now(),
        host: String::new(),
        code: 0,
        enhanced: Some(LOST),
        lines: vec![WORDS.to_owned()],
        dialogue: Vec::new(),
    });
    copy
}
