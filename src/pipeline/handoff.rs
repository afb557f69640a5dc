//! How a parcel gets from one stage to the next: the one place, with the stage actors, that knows actix.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::prelude::*;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

/// The next stage's mailbox for one type of parcel.
pub struct Handoff<P>
where
    P: Message<Result = ()> + Send,
{
    recipients: Arc<[Recipient<P>]>,
    next: Arc<AtomicUsize>,
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
    /// Hands on to these actors in turn: one an arbiter.
    #[must_use]
    pub fn new(recipients: Vec<Recipient<P>>) -> Self {
        Self { recipients: recipients.into(), next: Arc::default(), broken: CancellationToken::new() }
    }

    /// Cancels this token when a stage is found gone, so that the node ends.
    #[must_use]
    pub fn reporting_to(self, broken: CancellationToken) -> Self {
        Self { broken, ..self }
    }

    /// Hands a parcel on, waiting while the mailbox is full.
    ///
    /// # Errors
    /// When the stage's actor is gone; the parcel, and with it its answer, is dropped.
    pub async fn pass(&self, parcel: P) -> Result<(), Gone> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let recipient = self.recipients.get(turn % self.recipients.len().max(1)).ok_or(Gone)?;
        recipient.send(parcel).await.map_err(|_| {
            self.broken.cancel();
            Gone
        })
    }
}

impl<P> Clone for Handoff<P>
where
    P: Message<Result = ()> + Send,
{
    fn clone(&self) -> Self {
        Self { recipients: self.recipients.clone(), next: self.next.clone(), broken: self.broken.clone() }
    }
}
