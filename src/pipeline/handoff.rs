//! How a parcel gets from one stage to the next: the one place, with the stage actors, that knows actix.

use actix::dev::SendError;
use actix::prelude::*;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

/// The next stage's mailbox for one type of parcel.
pub struct Handoff<P>
where
    P: Message<Result = ()> + Send,
{
    recipient: Recipient<P>,
    broken: CancellationToken,
}

/// The stage is gone: its actor stopped. The node drains and ends when it sees this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the next stage's actor is gone")]
pub struct Gone;

impl<P> Handoff<P>
where
    P: Message<Result = ()> + Send + 'static,
{
    /// Hands on to this actor.
    #[must_use]
    pub fn new(recipient: Recipient<P>) -> Self {
        Self { recipient, broken: CancellationToken::new() }
    }

    /// Cancels this token when the stage is found gone, so that the node ends.
    #[must_use]
    pub fn reporting_to(self, broken: CancellationToken) -> Self {
        Self { broken, ..self }
    }

    /// Hands a parcel on, waiting while the mailbox is full. Where it is not, nothing is waited for: to hear that the
    /// actor took the parcel would wake this task once more, a hop and message.
    ///
    /// # Errors
    /// When the stage's actor is gone; the parcel, and with it its answer, is dropped.
    pub async fn pass(&self, parcel: P) -> Result<(), Gone> {
        let passed = match self.recipient.try_send(parcel) {
            Ok(()) => Ok(()),
            Err(SendError::Full(parcel)) => self.recipient.send(parcel).await.map_err(|_| Gone),
            Err(SendError::Closed(_)) => Err(Gone),
        };
        if passed.is_err() {
            self.broken.cancel();
        }
        passed
    }
}

impl<P> Clone for Handoff<P>
where
    P: Message<Result = ()> + Send,
{
    fn clone(&self) -> Self {
        Self { recipient: self.recipient.clone(), broken: self.broken.clone() }
    }
}
