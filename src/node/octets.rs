//! The memory for messages, in a size that follows the configuration.

use std::convert::Infallible;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use crate::config::{Config, Live};
use crate::pipeline::account::Account;

/// The share of `limits.octets_in_flight` that is for bodies read back from files, as a divisor; at least
/// one message of the largest size fits.
const CONTIGUOUS_SHARE: u64 = 4;

/// The memory for messages.
pub(super) struct Memory {
    /// What sessions receive into.
    pub(super) in_flight: Account,
    /// Bodies read back from files, each in one piece.
    pub(super) contiguous: Octets,
}

impl Memory {
    pub(super) fn new(config: &Config) -> Self {
        let (in_flight, contiguous) = shares(config);
        Self { in_flight: Account::new(in_flight), contiguous: Octets::new(contiguous) }
    }
}

impl Live for Memory {
    type Prepared = (u64, u64);
    type Error = Infallible;

    fn prepare(&self, next: &Arc<Config>) -> Result<(u64, u64), Infallible> {
        Ok(shares(next))
    }

    fn swap(&self, (in_flight, contiguous): (u64, u64)) {
        self.in_flight.resize(in_flight);
        self.contiguous.resize(contiguous);
    }
}

fn shares(config: &Config) -> (u64, u64) {
    let in_flight = config.limits.octets_in_flight;
    (in_flight, (in_flight / CONTIGUOUS_SHARE).max(config.service.max_message_octets))
}

/// A number of permits that can change while some are in use. Clones share it.
///
/// More are there at once. Fewer: those that are free go at once, those in use as they come back, and until then
/// nobody gets a new one, so that the bound holds as soon as it can without taking memory away from a message.
#[derive(Clone)]
pub(super) struct Octets {
    permits: Arc<Semaphore>,
    state: Arc<Mutex<State>>,
}

struct State {
    /// Permits that exist, in use or free.
    existing: usize,
    /// Waits for permits to come back that are too many.
    shrinking: Option<AbortHandle>,
    /// Counts the changes: who waits for an earlier one is too late.
    change: u64,
}

impl Octets {
    /// As many permits as octets.
    pub(super) fn new(octets: u64) -> Self {
        let existing = permits(octets);
        Self {
            permits: Arc::new(Semaphore::new(existing)),
            state: Arc::new(Mutex::new(State { existing, shrinking: None, change: 0 })),
        }
    }

    /// The permits, a permit an octet.
    pub(super) fn permits(&self) -> Arc<Semaphore> {
        self.permits.clone()
    }

    /// From now on there are this many. Called within the runtime.
    pub(super) fn resize(&self, octets: u64) {
        let wanted = permits(octets);
        let mut state = self.state.lock();
        state.change += 1;
        if let Some(earlier) = state.shrinking.take() {
            earlier.abort();
        }
        if state.existing < wanted {
            self.permits.add_permits(wanted - state.existing);
            state.existing = wanted;
            return;
        }
        state.existing -= self.permits.forget_permits(state.existing - wanted);
        if state.existing > wanted {
            let waiting = self.clone().shrink(wanted, state.change);
            state.shrinking = Some(tokio::spawn(waiting).abort_handle());
        }
    }

    /// Takes permits out of use as they come back, before anybody else gets them.
    async fn shrink(self, wanted: usize, change: u64) {
        loop {
            let surplus = self.state.lock().existing.saturating_sub(wanted);
            let Some(step) =
                u32::try_from(surplus).map_or(Some(u32::MAX), |surplus| (surplus > 0).then_some(surplus))
            else {
                return;
            };
            // The semaphore is never closed.
            let Ok(permit) = self.permits.acquire_many(step).await else { return };
            let mut state = self.state.lock();
            if state.change != change {
                return;
            }
            permit.forget();
            state.existing = state.existing.saturating_sub(step as usize);
        }
    }
}

fn permits(octets: u64) -> usize {
    usize::try_from(octets).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
}

#[cfg(test)]
#[path = "octets_tests.rs"]
mod tests;
