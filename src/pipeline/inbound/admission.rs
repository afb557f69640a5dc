//! Who may come in: sessions counted over all and by client network, unless an operator has the node take none, and the
//! clients known to wait for our greeting.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use moka::sync::Cache;
use parking_lot::Mutex;

use crate::config::Limits;
use crate::connections::Drain;
use crate::networks::{Counts, Multiples, Networks};
use crate::smtp::reply::{self, Row};
use crate::telemetry::labels;

/// Sessions of a wider network in multiples of `limits.sessions_per_network`: 200 of a site's /48 and 800 of a provider's
/// /32. A large provider has more customers than that, and so these bounds hold only past half of `limits.sessions`: what
/// no one else asks for is anybody's, and the half that is left takes half a dozen providers to hold.
const SESSION_MULTIPLES: Multiples = [1, 4, 16];
/// For how long a client that waited for its greeting is taken to do so again.
const PATIENT_FOR: Duration = Duration::from_secs(3_600);
/// Clients remembered as patient.
const MAX_REMEMBERED: u64 = 100_000;

/// Who is let in. Clones share the counts.
#[derive(Clone)]
pub struct Admission {
    inner: Arc<Inner>,
}

struct Inner {
    total: AtomicUsize,
    by_network: Mutex<Counts>,
    patient: Cache<IpAddr, ()>,
    drain: Drain,
}

/// A session's place; given back when dropped.
pub(super) struct Place {
    admission: Admission,
    networks: Networks,
}

/// Why a client gets no place: as it is counted, and what it is told.
pub(super) struct SentAway(pub(super) labels::Admission, pub(super) &'static Row);

impl Admission {
    /// Nobody is in.
    #[must_use]
    pub fn new(drain: Drain) -> Self {
        let patient = Cache::builder().max_capacity(MAX_REMEMBERED).time_to_live(PATIENT_FOR).build();
        let inner = Inner { total: AtomicUsize::new(0), by_network: Mutex::default(), patient, drain };
        Self { inner: Arc::new(inner) }
    }

    /// How many sessions there are.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.inner.total.load(Ordering::Relaxed)
    }

    /// Gives a place to a client's session.
    ///
    /// # Errors
    /// When it gets none.
    pub(super) fn admit(&self, ip: IpAddr, limits: &Limits) -> Result<Place, SentAway> {
        if self.inner.drain.is_ordered() {
            return Err(SentAway(labels::Admission::Drain, reply::DRAINED));
        }
        let mut by_network = self.inner.by_network.lock();
        let total = self.inner.total.load(Ordering::Relaxed);
        if total >= limits.sessions {
            return Err(SentAway(labels::Admission::Sessions, reply::TOO_MANY_SESSIONS));
        }
        let networks = Networks::of(ip);
        let bounded = if total > limits.sessions / 2 { SESSION_MULTIPLES.len() } else { 1 };
        let bounded = networks.bounded(limits.sessions_per_network, SESSION_MULTIPLES).take(bounded);
        if !by_network.have_room(1, bounded) {
            let row = reply::TOO_MANY_SESSIONS_FROM_NETWORK;
            return Err(SentAway(labels::Admission::NetworkSessions, row));
        }
        by_network.add(&networks, 1);
        self.inner.total.fetch_add(1, Ordering::Relaxed);
        Ok(Place { admission: self.clone(), networks })
    }

    /// Whether this client is known to wait for its greeting.
    pub(super) fn is_patient(&self, ip: IpAddr) -> bool {
        self.inner.patient.contains_key(&ip)
    }

    /// Remembers that it did.
    pub(super) fn was_patient(&self, ip: IpAddr) {
        self.inner.patient.insert(ip, ());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_network = self.admission.inner.by_network.lock();
        self.admission.inner.total.fetch_sub(1, Ordering::Relaxed);
        by_network.subtract(&self.networks, 1);
    }
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
