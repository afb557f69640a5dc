//! The reply to a dot that comes after the client's time: it settles its copy.

use tokio::sync::oneshot;

use super::Inner;
use super::attempt::{ASK_AGAIN, target};
use super::history::Standing;
use super::notify::NotYet;
use super::poison::contained;
use crate::mail::{Address, TraceId};
use crate::pipeline::deferred::{Late, Tried};
use crate::pipeline::parcel::{Delivery, Outcome, UpstreamReply};
use crate::spool::{CopyState, Queued, QueuedCopy, SpoolError};

impl Inner {
    /// Waits for the reply in a task of its own.
    pub(super) fn follow(&self, id: TraceId, destination: Address, reply: oneshot::Receiver<UpstreamReply>) {
        let Some(queue) = self.this.upgrade() else { return };
        let late = Late { id, destination, reply };
        self.tasks.spawn(async move { queue.settle_late(late).await });
    }

    /// Waits for a late reply and settles its copy by it; one that never comes leaves it unknown. That is written down
    /// whatever stands in its way, or nobody would try the copy again before the next start, which makes it unknown.
    pub(super) async fn settle_late(&self, late: Late) {
        let Late { id, destination, reply } = late;
        let reply = reply.await.ok();
        while let Err(error) = self.settle_reply(id, &destination, reply.as_ref()).await {
            tracing::error!(trace = %id, %error, "a late reply could not be written down");
            if self.spool.index_has_failed() || matches!(error, SpoolError::Stopped) {
                return;
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    async fn settle_reply(
        &self,
        id: TraceId,
        destination: &Address,
        reply: Option<&UpstreamReply>,
    ) -> Result<(), SpoolError> {
        let _hold = self.hands.take(id).await;
        match contained(self.settle_copy(id, destination, outcome(reply))).await {
            Ok(()) => Ok(()),
            Err(why) => {
                self.tell_broken(id, &why);
                self.settle_unread(id, destination, outcome(reply)).await
            }
        }
    }

    async fn settle_copy(&self, id: TraceId, destination: &Address, outcome: Outcome) -> Result<(), NotYet> {
        let Some((mut queued, message)) = self.load(id).await? else { return Ok(()) };
        let Some(copy) = take_awaiting(&mut queued, destination) else { return Ok(()) };
        let (target, reverse_path) = (target(&copy), copy.reverse_path.clone());
        let deliveries = vec![Delivery { target, reverse_path, outcome }];
        let tried = Tried { deliveries, dialogue: Vec::new() };
        Ok(self.settle(queued, &message, (vec![copy], tried)).await?)
    }

    /// Settles the copy of a message whose octets cannot be had now. Without them nobody can be told of a failure, so
    /// that none stands.
    async fn settle_unread(
        &self,
        id: TraceId,
        destination: &Address,
        outcome: Outcome,
    ) -> Result<(), SpoolError> {
        let Some(mut queued) = self.spool.get(id).await? else { return Ok(()) };
        let Some(copy) = take_awaiting(&mut queued, destination) else { return Ok(()) };
        let rules = self.rules(queued.received_at);
        let before = Standing::of(&copy);
        let judgement = rules.judge(copy, &outcome).unless_failed(rules);
        queued.copies.extend(judgement.kept().cloned());
        self.write_down(&queued).await?;
        self.record_attempt(id, before, &judgement);
        Ok(())
    }
}

/// What a reply to the dot says, late as it is; `None`: it never came.
fn outcome(reply: Option<&UpstreamReply>) -> Outcome {
    match reply.cloned() {
        Some(upstream) if upstream.reply.is_positive() => Outcome::Delivered(upstream),
        Some(upstream) => Outcome::Refused(upstream),
        None => Outcome::Unknown { host: String::new() },
    }
}

/// The copy that the reply is for, taken from the others.
fn take_awaiting(queued: &mut Queued, destination: &Address) -> Option<QueuedCopy> {
    let awaits =
        |copy: &QueuedCopy| copy.state == CopyState::AwaitingReply && copy.destination == *destination;
    let index = queued.copies.iter().position(awaits)?;
    Some(queued.copies.remove(index))
}
