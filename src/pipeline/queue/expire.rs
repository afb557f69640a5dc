//! Messages that grow too old without an attempt of their own (their destination is silent or suspended),
//! and the notice of delay. Both are found by age: ids sort by time.

use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use super::notify::{Action, NotYet};
use super::{Inner, Queue};
use crate::clock;
use crate::journal::DeliveryResult;
use crate::mail::{Message, TraceId};
use crate::spool::{Queued, QueuedCopy};

/// How often ages are looked at, at most.
const LONGEST_TICK: Duration = Duration::from_secs(60);
/// Messages looked at in one go.
const PAGE: usize = 100;

impl Queue {
    /// Gives up what is too old and tells of delays, until told to stop.
    pub async fn watch_ages(self, stop: CancellationToken) {
        let inner = self.inner;
        let delay = inner.settings.load().delay_notice_after;
        // What was that old already was told before the node started, or is told after its next attempt.
        let mut told_up_to = id_of(clock::now().checked_sub(delay));
        loop {
            let tick = inner.settings.load().backoff.first.min(LONGEST_TICK);
            if stop.run_until_cancelled(tokio::time::sleep(tick)).await.is_none() {
                return;
            }
            let looked = async {
                inner.give_up().await?;
                inner.tell_delays(&mut told_up_to).await
            };
            if let Err(error) = looked.await {
                tracing::error!(%error, "the ages of queued messages cannot be looked at");
            }
        }
    }
}

impl Inner {
    /// Gives up the messages that are too old: the oldest come first.
    async fn give_up(&self) -> Result<(), NotYet> {
        let mut after = None;
        loop {
            let page = self.spool.list(after, PAGE).await?;
            for queued in &page {
                if !self.rules(queued.received_at).is_over() {
                    return Ok(());
                }
                self.give_up_one(queued.id).await?;
            }
            match page.last() {
                Some(last) => after = Some(last.id),
                None => return Ok(()),
            }
        }
    }

    async fn give_up_one(&self, id: TraceId) -> Result<(), NotYet> {
        let Some(_hold) = self.hands.try_take(id) else { return Ok(()) };
        let Some((mut queued, message)) = self.load(id).await? else { return Ok(()) };
        let rules = self.rules(queued.received_at);
        let scheduled = |copy: &QueuedCopy| copy.state.is_scheduled();
        let (over, rest): (Vec<_>, Vec<_>) = queued.copies.into_iter().partition(scheduled);
        queued.copies = rest;
        if over.is_empty() {
            return Ok(());
        }
        tracing::warn!(trace = %id, copies = over.len(), "queued message given up: too old");
        let over: Vec<_> = over.into_iter().map(|copy| rules.expired(copy)).collect();
        self.end(&queued, &message, &over).await
    }

    /// Ends copies without an attempt. They leave once their sender is told, and the journal hears of it once
    /// they have left.
    pub(super) async fn end(
        &self,
        left: &Queued,
        message: &Message,
        ended: &[QueuedCopy],
    ) -> Result<(), NotYet> {
        self.notify(left, message, ended, Action::Failed).await?;
        self.write(left).await?;
        self.record_all(left.id, ended, DeliveryResult::Failed);
        Ok(())
    }

    /// Tells senders whose messages have come of an age since the last look.
    async fn tell_delays(&self, told_up_to: &mut Option<TraceId>) -> Result<(), NotYet> {
        let delay = self.settings.load().delay_notice_after;
        if delay.is_zero() {
            *told_up_to = id_of(Some(clock::now()));
            return Ok(());
        }
        loop {
            let page = self.spool.list(*told_up_to, PAGE).await?;
            if page.is_empty() {
                return Ok(());
            }
            for queued in page {
                let age = clock::now().duration_since(queued.received_at).unwrap_or_default();
                if age < delay {
                    return Ok(());
                }
                *told_up_to = Some(queued.id);
                self.tell_delay(queued.id).await?;
            }
        }
    }

    async fn tell_delay(&self, id: TraceId) -> Result<(), NotYet> {
        let _hold = self.hands.take(id).await;
        let Some((mut queued, message)) = self.load(id).await? else { return Ok(()) };
        let told = mark_delays(&mut queued);
        if told.is_empty() {
            return Ok(());
        }
        self.notify(&queued, &message, &told, Action::Delayed).await?;
        Ok(self.write(&queued).await?)
    }
}

/// The copies whose delay is to be told, marked as told.
fn mark_delays(queued: &mut Queued) -> Vec<QueuedCopy> {
    let untold = |copy: &&mut QueuedCopy| {
        !copy.delay_told && copy.state.is_scheduled() && copy.request.notify.wants_delay()
    };
    let mark = |copy: &mut QueuedCopy| {
        copy.delay_told = true;
        copy.clone()
    };
    queued.copies.iter_mut().filter(untold).map(mark).collect()
}

/// The least id of a time.
fn id_of(time: Option<SystemTime>) -> Option<TraceId> {
    time.map(|time| TraceId::new(time, 0))
}
