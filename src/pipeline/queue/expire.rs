//! Messages that grow too old without an attempt of their own (their destination is silent or suspended),
//! and the notice of delay. Both are found by age: ids sort by time. What was not tried since the start, or since a clock
//! was set, is as old as that here (`clocks`).

use std::collections::BTreeSet;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::judge::Rules;
use super::notify::{Action, MAX_RECIPIENTS, NotYet};
use super::poison::{BrokeOff, contained};
use super::{Inner, Queue};
use crate::clock;
use crate::journal::DeliveryResult;
use crate::mail::{Message, TraceId};
use crate::spool::{Queued, QueuedCopy};

/// How often ages are looked at, at most.
const LONGEST_TICK: Duration = Duration::from_secs(60);
/// Messages looked at in one go.
pub(super) const PAGE: usize = 100;
/// Messages whose delay is to be told and could not be, at most; no further ones are looked at then.
const MOST_AGAIN: usize = 1000;

/// Whose delay is told.
#[derive(Debug, Default)]
struct Told {
    /// All up to this one have been looked at. Nothing at a start: who was told before is written with the message.
    up_to: Option<TraceId>,
    /// But for these, which somebody had in hand, or which could not be told.
    again: BTreeSet<TraceId>,
}

/// What came of a look at one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// There is nothing left to do.
    Done,
    /// It is to be looked at again.
    Again,
}

impl Queue {
    /// Gives up what is too old and tells of delays, until told to stop.
    pub async fn watch_ages(self, stop: CancellationToken) {
        let inner = self.inner;
        let (mut told, mut cut) = (Told::default(), None);
        loop {
            let tick = inner.settings.load().backoff.first.min(LONGEST_TICK);
            if stop.run_until_cancelled(tokio::time::sleep(tick)).await.is_none() {
                return;
            }
            let looked = [
                inner.cut_pauses(&mut cut, &stop).await.map_err(NotYet::from),
                inner.give_up(&stop).await,
                inner.tell_delays(&mut told, &stop).await,
            ];
            for error in looked.into_iter().filter_map(Result::err) {
                tracing::error!(%error, "the ages of queued messages cannot be looked at");
            }
        }
    }
}

impl Inner {
    /// Gives up the messages that are too old: the oldest come first.
    pub(super) async fn give_up(&self, stop: &CancellationToken) -> Result<(), NotYet> {
        let mut after = None;
        loop {
            let page = self.spool.list(after, PAGE).await?;
            for queued in &page {
                let rules = self.rules(queued.received_at);
                if stop.is_cancelled() || !rules.is_old() {
                    return Ok(());
                }
                if queued.copies.iter().any(|copy| is_given_up(rules, copy)) {
                    self.look(queued.id, self.give_up_one(queued.id)).await?;
                }
            }
            match page.last() {
                Some(last) => after = Some(last.id),
                None => return Ok(()),
            }
        }
    }

    /// Looks at one message. Its failure is its own, but when nobody can be told of anything.
    async fn look(
        &self,
        id: TraceId,
        look: impl Future<Output = Result<Look, NotYet>>,
    ) -> Result<Look, NotYet> {
        match contained(look).await {
            Ok(look) => Ok(look),
            Err(BrokeOff::NotYet(NotYet::RoutingLost)) => Err(NotYet::RoutingLost),
            Err(why) => {
                self.tell_broken(id, &why);
                Ok(Look::Again)
            }
        }
    }

    async fn give_up_one(&self, id: TraceId) -> Result<Look, NotYet> {
        let Some(_hold) = self.hands.try_take(id) else { return Ok(Look::Again) };
        let Some((mut queued, message)) = self.load(id).await? else { return Ok(Look::Done) };
        let rules = self.rules(queued.received_at);
        let (over, rest): (Vec<_>, Vec<_>) =
            queued.copies.into_iter().partition(|copy| is_given_up(rules, copy));
        queued.copies = rest;
        if over.is_empty() {
            return Ok(Look::Done);
        }
        tracing::warn!(trace = %id, copies = over.len(), "queued message given up: too old");
        self.end(&queued, &message, &over).await?;
        Ok(Look::Done)
    }

    /// Ends copies without an attempt. They leave as their sender is told, and the journal hears of it once
    /// they have left.
    pub(super) async fn end(
        &self,
        left: &Queued,
        message: &Message,
        ended: &[QueuedCopy],
    ) -> Result<(), NotYet> {
        let mut leaving = ended.to_vec();
        let parted = self.part(left, message, &mut leaving, Action::Failed).await;
        let (gone, _) = ended.split_at(ended.len() - leaving.len());
        self.record_all(left.id, gone, DeliveryResult::Failed);
        parted
    }

    /// Tells senders whose messages have come of an age since the last look, and those who could not be told then.
    async fn tell_delays(&self, told: &mut Told, stop: &CancellationToken) -> Result<(), NotYet> {
        let delay = self.settings.load().delay_notice_after;
        if delay.is_zero() {
            *told = Told::default();
            return Ok(());
        }
        for id in told.again.clone() {
            if stop.is_cancelled() {
                return Ok(());
            }
            if self.look(id, self.tell_delay(id)).await? == Look::Done {
                told.again.remove(&id);
            }
        }
        loop {
            let page = self.spool.list(told.up_to, PAGE).await?;
            if page.is_empty() {
                return Ok(());
            }
            for queued in page {
                let age = clock::now().duration_since(queued.received_at).unwrap_or_default();
                if age < delay || told.again.len() >= MOST_AGAIN || stop.is_cancelled() {
                    return Ok(());
                }
                let is_to_be_told = queued.copies.iter().any(is_untold);
                if is_to_be_told && self.look(queued.id, self.tell_delay(queued.id)).await? == Look::Again {
                    told.again.insert(queued.id);
                }
                told.up_to = Some(queued.id);
            }
        }
    }

    async fn tell_delay(&self, id: TraceId) -> Result<Look, NotYet> {
        let Some(_hold) = self.hands.try_take(id) else { return Ok(Look::Again) };
        let Some((mut queued, message)) = self.load(id).await? else { return Ok(Look::Done) };
        loop {
            let told = mark_delays(&mut queued);
            if told.is_empty() {
                return Ok(Look::Done);
            }
            self.write_told(&queued, &message, &told, Action::Delayed).await?;
        }
    }
}

fn is_given_up(rules: Rules, copy: &QueuedCopy) -> bool {
    copy.state.is_scheduled() && rules.is_over(copy)
}

/// Copies whose delay is to be told, as many as a notification tells of, marked as told.
fn mark_delays(queued: &mut Queued) -> Vec<QueuedCopy> {
    let mark = |copy: &mut QueuedCopy| {
        copy.delay_told = true;
        copy.clone()
    };
    queued.copies.iter_mut().filter(|copy| is_untold(copy)).take(MAX_RECIPIENTS).map(mark).collect()
}

fn is_untold(copy: &QueuedCopy) -> bool {
    !copy.delay_told && copy.state.is_scheduled() && copy.request.notify.wants_delay()
}
