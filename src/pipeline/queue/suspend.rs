//! How the queue obeys the suspensions of the routing table. The table says which destinations are suspended; here is what
//! of it is obeyed now, the task that follows its changes, by whatever node they were ordered, and the one that ends
//! suspensions whose time is over.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Inner, Queue, QueueError};
use crate::clock;
use crate::mail::Domain;
use crate::pipeline::deferred::Suspended;
use crate::routing::{Asker, Change, Changed, ErrorKind, RoutingError, Suspension};

/// The longest time between two looks for suspensions that are over: wall time may be set, and one that could not be
/// taken out of the table is tried again.
const LONGEST_LOOK: Duration = Duration::from_secs(10);

/// The destinations to which nothing is sent now.
#[derive(Debug)]
pub(super) struct Obeyed {
    /// What deliver sees of them.
    told: Suspended,
    domains: Mutex<HashSet<Domain>>,
}

impl Obeyed {
    pub(super) fn new(told: Suspended) -> Self {
        Self { told, domains: Mutex::default() }
    }
}

impl Queue {
    /// Stops deliveries to a destination domain, in-session ones too; those under way finish. Its messages
    /// still grow too old, though not before the node has run for that time itself. Says what stands now.
    ///
    /// # Errors
    /// With why the routing table was not changed.
    pub async fn suspend(
        &self,
        asker: Asker,
        domain: Domain,
        until: Option<SystemTime>,
        reason: String,
    ) -> Result<Changed, QueueError> {
        let order = Change::Suspend { domain: domain.clone(), until, reason };
        let changed = self.inner.routing.asked_by(asker).change(order).await?;
        self.inner.follow_suspensions();
        tracing::info!(%domain, "deliveries suspended by an operator");
        Ok(changed)
    }

    /// Takes deliveries to a destination domain up again, at once: a revision of the routing table that says so.
    ///
    /// # Errors
    /// When they are not suspended, or with why the routing table was not changed.
    pub async fn resume(&self, asker: Asker, domain: &Domain) -> Result<u64, QueueError> {
        let order = Change::Resume { domain: domain.clone(), etag: None };
        match self.inner.routing.asked_by(asker).change(order).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(QueueError::NotSuspended(domain.clone()));
            }
            changed => changed?,
        };
        self.inner.follow_suspensions();
        tracing::info!(%domain, "deliveries resumed by an operator");
        Ok(self.inner.routing.snapshot().revision())
    }

    /// The destinations that are suspended, by domain; one whose time is over goes within seconds.
    #[must_use]
    pub fn suspensions(&self) -> Vec<Arc<Suspension>> {
        self.inner.routing.snapshot().suspensions().cloned().collect()
    }

    /// Obeys every change of the suspensions at once, and their ends, until told to stop.
    pub async fn watch_suspensions(self, stop: CancellationToken) {
        let inner = self.inner;
        let mut changes = inner.routing.suspension_changes();
        let follow = async {
            loop {
                inner.follow_suspensions();
                // Either way it is time to look.
                let _changed_or_not = timeout(inner.next_look(clock::now()), changes.changed()).await;
            }
        };
        // It ends by being told to.
        let _stopped: Option<()> = stop.run_until_cancelled(follow).await;
    }

    /// Takes the suspensions whose time is over out of the table, until told to stop. Nobody waits for it: they are not
    /// obeyed any more.
    pub async fn end_suspensions(self, stop: CancellationToken) {
        let inner = self.inner;
        let mut changes = inner.routing.suspension_changes();
        let end = async {
            loop {
                match inner.end_what_is_over(clock::now()).await {
                    // When some have gone, that is a change, and there may be more.
                    Ok(()) => drop(timeout(inner.next_look(clock::now()), changes.changed()).await),
                    Err(error) => {
                        tracing::error!(%error, "suspensions that are over stay in the routing table");
                        sleep(LONGEST_LOOK).await;
                    }
                }
            }
        };
        // It ends by being told to.
        let _stopped: Option<()> = stop.run_until_cancelled(end).await;
    }
}

impl Inner {
    /// Has deliver and the schedule obey the suspensions that stand. They are looked at under the lock: whoever comes
    /// last obeys what stands last.
    pub(super) fn follow_suspensions(&self) {
        let mut obeyed = self.obeyed.domains.lock();
        let (table, now) = (self.routing.snapshot(), clock::now());
        let standing = table.suspensions().filter(|suspension| !suspension.is_over(now));
        let standing: HashSet<Domain> = standing.map(|suspension| suspension.domain.clone()).collect();
        if standing == *obeyed {
            return;
        }
        self.obeyed.told.set(standing.clone());
        let mut schedule = self.schedule.lock();
        standing.difference(&obeyed).for_each(|domain| schedule.suspend(domain, true));
        for domain in obeyed.difference(&standing) {
            schedule.suspend(domain, false);
            schedule.open(domain, now);
        }
        self.changed.notify_one();
        *obeyed = standing;
    }

    /// Has the suspensions ended that are over, if any is: by the time of whoever stamps the change, so that no clock but that
    /// one ends a suspension early.
    pub(super) async fn end_what_is_over(&self, now: SystemTime) -> Result<(), RoutingError> {
        let table = self.routing.snapshot();
        if table.suspensions().any(|suspension| suspension.is_over(now)) {
            self.routing.change(Change::EndSuspensions).await?;
        }
        Ok(())
    }

    /// Until the next suspension is over.
    fn next_look(&self, now: SystemTime) -> Duration {
        let table = self.routing.snapshot();
        let ends = table.suspensions().filter_map(|suspension| suspension.until);
        let left = ends.filter_map(|until| until.duration_since(now).ok()).filter(|left| !left.is_zero());
        left.fold(LONGEST_LOOK, Duration::min)
    }
}
