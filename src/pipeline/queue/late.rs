//! The reply to a dot that comes after the client's time: it settles its copy.

use tokio::sync::oneshot;

use super::Inner;
use super::attempt::target;
use super::notify::NotYet;
use crate::mail::{Address, TraceId};
use crate::pipeline::deferred::{Late, Tried};
use crate::pipeline::parcel::{Delivery, Outcome, UpstreamReply};
use crate::spool::CopyState;

impl Inner {
    /// Waits for the reply in a task of its own.
    pub(super) fn follow(&self, id: TraceId, destination: Address, reply: oneshot::Receiver<UpstreamReply>) {
        let Some(queue) = self.this.upgrade() else { return };
        let late = Late { id, destination, reply };
        self.tasks.spawn(async move { queue.settle_late(late).await });
    }

    /// Waits for a late reply and settles its copy by it; one that never comes leaves it unknown.
    pub(super) async fn settle_late(&self, late: Late) {
        let Late { id, destination, reply } = late;
        let outcome = match reply.await {
            Ok(upstream) if upstream.reply.is_positive() => Outcome::Delivered(upstream),
            Ok(upstream) => Outcome::Refused(upstream),
            Err(_) => Outcome::Unknown { host: String::new() },
        };
        let _hold = self.hands.take(id).await;
        if let Err(error) = self.settle_copy(id, &destination, outcome).await {
            tracing::error!(trace = %id, %error, "a late reply could not be written down");
        }
    }

    async fn settle_copy(&self, id: TraceId, destination: &Address, outcome: Outcome) -> Result<(), NotYet> {
        let Some((mut queued, message)) = self.load(id).await? else { return Ok(()) };
        let awaits = |copy: &crate::spool::QueuedCopy| {
            copy.state == CopyState::AwaitingReply && copy.destination == *destination
        };
        let Some(index) = queued.copies.iter().position(awaits) else { return Ok(()) };
        let copy = queued.copies.remove(index);
        let (target, reverse_path) = (target(&copy), copy.reverse_path.clone());
        let deliveries = vec![Delivery { target, reverse_path, outcome }];
        let tried = Tried { deliveries, dialogue: Vec::new() };
        Ok(self.settle(queued, &message, (vec![copy], tried)).await?)
    }
}
