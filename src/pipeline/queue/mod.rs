//! The queue: what no upstream has taken yet is tried again until it is delivered, refused or too old.
//! Owns what happens to a message between its 250 and its end; its octets are [`crate::spool`]'s.
//!
//! ```text
//! settle ─Deferred─▶ take ─▶ spool            the sender's 250 waits for the disk
//!        ─Late────▶ late ─▶ settle a copy     the reply to a dot that came after the client's time
//! schedule ─▶ run ─▶ attempt ─Due─▶ deliver   by destination domain, the one that waited longest first
//!                      └─▶ judge ─▶ spool, notify ─Unsigned─▶ rewrite
//! ```
//!
//! What others rely on:
//! - A message leaves the spool only when every copy of it is delivered, or failed and its sender told where
//!   that is safe; the DSN and the copy's leaving are one record of the spool, so that a crash neither repeats nor swallows
//!   a DSN. Only what failed before the message was queued is told by a record of its own: its client has heard no 250 then,
//!   and comes again.
//! - A message whose octets the disk has lost fails like one that was refused; what is left of them is in
//!   the spool's quarantine.
//! - A message whose attempt breaks off, by a panic or a disk that fails it, waits for its next attempt like one that
//!   nobody answered for, and says nothing of its destination.
//! - One message is in one pair of hands at a time: an attempt, a late reply, an operator.
//! - A destination that hangs holds up no other: whoever waits for a permit has no message in hand.
//! - Nothing is tried again while a reply to our dot may come; after a restart it cannot come any more.
//! - After a start, and when wall and monotonic time part by over ten minutes, every message gets one attempt before it
//!   may expire, and no pause is longer than `retry_longest`: a node that was down for days does not send its whole queue
//!   back. What cannot be tried (its destination is silent or suspended) expires `give_up_after` later.
//! - Due messages are found by the spool's index; nothing here grows with the number of messages.

mod attempt;
mod backoff;
mod clocks;
mod damage;
mod expire;
mod hands;
mod history;
mod judge;
mod late;
mod notify;
mod permits;
mod poison;
mod returned;
mod run;
mod schedule;
mod suspend;
mod take;

use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use self::backoff::Backoff;
use self::clocks::{Clocks, Reading};
use self::hands::Hands;
use self::judge::Rules;
use self::permits::{Limits, Permits};
use self::poison::Notes;
use self::schedule::{Pause, Schedule};
use self::suspend::Obeyed;
use super::deferred::{Deferred, Due, Late, Suspended, Unsigned};
use super::joint::{Handoff, Stage, Turn};
use super::parcel::Nothing;
use crate::clock;
use crate::config::{AddressLog, Config};
use crate::journal::{DeliveryResult, Journal};
use crate::mail::{Address, Domain, TraceId};
use crate::routing::{Routing, RoutingError};
use crate::spool::{CopyState, Counts, Described, Queued, Spool, SpoolError};
use crate::telemetry::Metrics;

/// Messages of a list looked at at a time, each time off the event loop.
const LOOK: usize = 1000;
/// How often that is done for one page.
const MOST_LOOKS: usize = 10;

/// What of the configuration concerns the queue.
#[derive(Debug, Clone)]
pub struct Settings {
    backoff: Backoff,
    give_up_after: Duration,
    delay_notice_after: Duration,
    hostname: Domain,
    service_domain: Domain,
    postmaster_url: String,
    addresses: AddressLog,
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        let delivery = &config.delivery;
        Self {
            backoff: Backoff { first: delivery.retry_first, longest: delivery.retry_longest },
            give_up_after: delivery.give_up_after,
            delay_notice_after: delivery.delay_notice_after,
            hostname: config.node.hostname.clone(),
            service_domain: config.service.domain.clone(),
            postmaster_url: config.service.postmaster_url.clone(),
            addresses: config.log.addresses.clone(),
        }
    }
}

/// What the queue works with.
pub struct Surroundings {
    /// Messages on disk.
    pub spool: Spool,
    /// Where DSNs to domains of ours go, and which destinations are suspended.
    pub routing: Routing,
    /// What becomes of messages, for operators.
    pub journal: Journal,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// The stage that delivers.
    pub deliver: Handoff<Due>,
    /// The stage that signs.
    pub rewrite: Handoff<Unsigned>,
    /// Where the stage that delivers looks up what is suspended.
    pub suspended: Suspended,
}

/// A handle on the node's queue. Clones share it.
#[derive(Clone)]
pub struct Queue {
    inner: Arc<Inner>,
}

struct Inner {
    spool: Spool,
    obeyed: Obeyed,
    routing: Routing,
    journal: Journal,
    metrics: Arc<Metrics>,
    deliver: Handoff<Due>,
    rewrite: Handoff<Unsigned>,
    settings: ArcSwap<Settings>,
    schedule: Mutex<Schedule>,
    changed: Notify,
    hands: Arc<Hands>,
    notes: Notes,
    permits: Permits,
    clocks: Clocks,
    tasks: TaskTracker,
    /// For tasks that outlive the call that starts them.
    this: Weak<Self>,
}

/// Why an operator's order is not carried out.
#[derive(Debug, Error)]
pub enum QueueError {
    /// No such message.
    #[error("no message {0} in the queue")]
    Unknown(TraceId),
    /// Somebody has it in hand.
    #[error("message {0} is being delivered right now, try again")]
    Busy(TraceId),
    /// The disk failed.
    #[error("the spool: {0}")]
    Spool(#[from] SpoolError),
    /// The routing table takes no such order.
    #[error("the routing table: {0}")]
    Routing(#[from] RoutingError),
    /// Nothing to resume.
    #[error("deliveries to {0} are not suspended")]
    NotSuspended(Domain),
}

/// One page of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The oldest first.
    pub found: Vec<Described>,
    /// What the next page begins behind; `None`: there is none.
    pub next: Option<TraceId>,
}

/// The queue as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Messages by state.
    pub counts: Counts,
    /// When the oldest was received.
    pub oldest: Option<SystemTime>,
    /// Records that could not be read, kept for the operator.
    pub quarantined: u64,
}

/// Which messages are wanted: all that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// An alias or a destination is in this domain.
    pub domain: Option<Domain>,
    /// A copy is in this state.
    pub state: Option<CopyState>,
    /// The sender.
    pub sender: Option<Address>,
}

impl Filter {
    fn wants(&self, queued: &Queued) -> bool {
        let in_domain = |domain: &Domain| {
            let mut copies = queued.copies.iter();
            copies.any(|copy| copy.alias.domain() == domain || copy.destination.domain() == domain)
        };
        self.domain.as_ref().is_none_or(in_domain)
            && self.state.is_none_or(|state| queued.copies.iter().any(|copy| copy.state == state))
            && self.sender.as_ref().is_none_or(|sender| {
                queued.reverse_path.mailbox().is_some_and(|mailbox| mailbox.folded() == sender.folded())
            })
    }
}

impl Queue {
    /// Sets up the queue, which obeys the suspensions that stand; nothing is tried before [`Self::run`], and no change of
    /// these is followed before [`Self::watch_suspensions`].
    #[must_use]
    pub fn new(around: Surroundings, settings: Settings) -> Self {
        Self::with(around, settings, Limits::default())
    }

    fn with(around: Surroundings, settings: Settings, limits: Limits) -> Self {
        let Surroundings { spool, routing, journal, metrics, deliver, rewrite, suspended } = around;
        let inner = Arc::new_cyclic(|this| Inner {
            spool,
            obeyed: Obeyed::new(suspended),
            routing,
            journal,
            metrics,
            deliver,
            rewrite,
            settings: ArcSwap::from_pointee(settings),
            schedule: Mutex::default(),
            changed: Notify::new(),
            hands: Arc::default(),
            notes: Notes::default(),
            permits: Permits::new(limits),
            clocks: Clocks::start(Reading::now()),
            tasks: TaskTracker::new(),
            this: this.clone(),
        });
        inner.follow_suspensions();
        Self { inner }
    }

    /// Takes a new configuration.
    pub fn reconfigure(&self, settings: Settings) {
        self.inner.settings.store(Arc::new(settings));
    }

    /// The next messages behind `after`, in the order in which they came, at most `limit` of those wanted. It
    /// looks at 10,000 messages at most: a page can be short, or empty, and still have a next one.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn list(
        &self,
        filter: &Filter,
        after: Option<TraceId>,
        limit: usize,
    ) -> Result<Page, QueueError> {
        let mut page = Page { found: Vec::new(), next: after };
        for _ in 0..MOST_LOOKS {
            let entries = self.inner.spool.describe_all(page.next, LOOK).await?;
            if entries.is_empty() {
                return Ok(Page { next: None, ..page });
            }
            for entry in entries {
                if page.found.len() == limit {
                    return Ok(page);
                }
                page.next = Some(entry.queued.id);
                page.found.extend(Some(entry).filter(|entry| filter.wants(&entry.queued)));
            }
        }
        Ok(page)
    }

    /// One message, all but its octets.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn show(&self, id: TraceId) -> Result<Option<Described>, QueueError> {
        Ok(self.inner.spool.describe(id).await?)
    }

    /// How much is in the queue.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn status(&self) -> Result<Status, QueueError> {
        let spool = &self.inner.spool;
        let (oldest, quarantined) = (spool.oldest().await?, spool.quarantined().await?);
        Ok(Status { counts: spool.counts(), oldest, quarantined })
    }

    /// Tries all copies of a message at once, whatever their back-off; those whose upstream owes an answer
    /// are left alone.
    ///
    /// # Errors
    /// When there is no such message, or the disk fails.
    pub async fn retry(&self, id: TraceId) -> Result<(), QueueError> {
        let Some(_hold) = self.inner.hands.try_take(id) else { return Err(QueueError::Busy(id)) };
        let mut queued = self.inner.spool.get(id).await?.ok_or(QueueError::Unknown(id))?;
        let now = clock::now();
        let scheduled = |copy: &&mut crate::spool::QueuedCopy| copy.state.is_scheduled();
        queued.copies.iter_mut().filter(scheduled).for_each(|copy| copy.due = now);
        let domains: Vec<Domain> =
            queued.copies.iter().map(|copy| copy.destination.domain().clone()).collect();
        self.inner.spool.update(queued).await?;
        self.inner.notes.forget(id);
        let mut schedule = self.inner.schedule.lock();
        domains.iter().for_each(|domain| schedule.open(domain, now));
        self.inner.changed.notify_one();
        Ok(())
    }

    /// Tries all messages at once; those that are being delivered are left alone.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn retry_all(&self) -> Result<(), QueueError> {
        let mut after = None;
        loop {
            let page = self.list(&Filter::default(), after, LOOK).await?;
            for found in &page.found {
                match self.retry(found.queued.id).await {
                    Ok(()) | Err(QueueError::Busy(_) | QueueError::Unknown(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Throws a message away; nobody is told.
    ///
    /// # Errors
    /// When there is no such message, it is being delivered, or the disk fails.
    pub async fn cancel(&self, id: TraceId) -> Result<(), QueueError> {
        let Some(_hold) = self.inner.hands.try_take(id) else { return Err(QueueError::Busy(id)) };
        let queued = self.inner.spool.get(id).await?.ok_or(QueueError::Unknown(id))?;
        self.inner.spool.remove(id).await?;
        self.inner.record_all(id, &queued.copies, DeliveryResult::Cancelled);
        tracing::info!(trace = %id, "message cancelled by an operator");
        Ok(())
    }
}

impl Inner {
    /// Lets the scheduler know of the copies that have their time.
    fn note(&self, queued: &Queued) {
        let mut schedule = self.schedule.lock();
        for copy in queued.copies.iter().filter(|copy| copy.state.is_scheduled()) {
            schedule.note(copy.destination.domain(), copy.due);
        }
        self.changed.notify_one();
    }

    /// What applies to a message now.
    fn rules(&self, received_at: SystemTime) -> Rules {
        let settings = self.settings.load();
        let now = Reading::now();
        Rules {
            now: now.wall,
            received_at,
            since: self.clocks.since(now),
            give_up_after: settings.give_up_after,
            backoff: settings.backoff,
            chance: rand::random(),
        }
    }

    fn pause(&self) -> Pause {
        Pause { backoff: self.settings.load().backoff, chance: rand::random() }
    }
}

/// Takes what no upstream has.
pub struct Enqueue(pub Queue);

impl Stage for Enqueue {
    type Parcel = Deferred;
    type Next = Nothing;
    const NAME: &'static str = "enqueue";

    async fn run(&self, deferred: Deferred) -> Turn<Nothing> {
        self.0.inner.take(deferred).await;
        Turn::Answered
    }
}

/// Waits for the reply that an upstream still owes.
pub struct AwaitReply(pub Queue);

impl Stage for AwaitReply {
    type Parcel = Late;
    type Next = Nothing;
    const NAME: &'static str = "await_reply";

    async fn run(&self, late: Late) -> Turn<Nothing> {
        let inner = &self.0.inner;
        let _under_way = inner.tasks.token();
        inner.settle_late(late).await;
        Turn::Answered
    }
}

#[cfg(test)]
mod tests;
