//! Taking a message into the queue: on the disk before the sender hears 250.

use super::Inner;
use super::notify::{Action, NotYet};
use crate::clock;
use crate::mail::TraceId;
use crate::pipeline::deferred::{Deferred, NotQueued};
use crate::spool::SpoolError;

impl Inner {
    /// Makes durable what is to be kept and what the sender must be told, and answers.
    pub(super) async fn take(&self, deferred: Deferred) {
        let Deferred { mut queued, message, failed, relayed, answer } = deferred;
        let pause = self.rules(queued.received_at);
        for copy in &mut queued.copies {
            copy.due = clock::now() + pause.backoff.pause(copy.attempts, pause.chance);
        }
        let taken = async {
            if !queued.copies.is_empty() {
                // Nobody is told of a message that its client will then bring again: it is admitted here, and once.
                self.spool.has_place(&queued)?;
                self.spool.admit()?;
            }
            self.notify(&queued, &message, &failed, Action::Failed).await?;
            self.notify(&queued, &message, &relayed, Action::Relayed).await?;
            if !queued.copies.is_empty() {
                self.spool.put_notice(queued.clone(), &message, None).await?;
            }
            Ok(())
        };
        let taken = taken.await.map_err(|error| why_not(&error, queued.id));
        if taken.is_ok() {
            self.note(&queued);
        }
        // A transaction whose settlement is gone has told its client nothing but 451: what is queued is
        // delivered all the same, and doubled by the client's retry rather than lost.
        let _settlement_gone = answer.send(taken);
    }
}

fn why_not(error: &NotYet, id: TraceId) -> NotQueued {
    if let NotYet::Spool(SpoolError::Crowded(crowd)) = error {
        tracing::warn!(trace = %id, %crowd, "the message is not queued: the queue has as many as it takes");
        return NotQueued::NoRoom;
    }
    tracing::error!(trace = %id, %error, "the message cannot be queued");
    if matches!(error, NotYet::Spool(SpoolError::NoRoom)) { NotQueued::NoRoom } else { NotQueued::Failed }
}
