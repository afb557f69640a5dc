//! How many connections to upstreams may be open at a time, in all and to one address. Nobody waits for a place: who
//! gets none has no answer, and the message's next try may.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::pipeline::deliver::options::Options;

/// The places of a node.
#[derive(Debug, Default)]
pub(crate) struct Places {
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    by_address: HashMap<IpAddr, usize>,
    count: usize,
    /// Of them those that owe a late reply.
    late: usize,
}

/// One connection's place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    ip: IpAddr,
}

/// The place of a connection that owes a late reply, beside its own, until it is dropped.
#[derive(Debug)]
pub(crate) struct LatePlace(Arc<Places>);

/// What has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// Nothing.
    All,
    /// This address.
    Address,
}

impl Places {
    /// A place for a connection to this address.
    pub(crate) fn take(self: &Arc<Self>, ip: IpAddr, options: &Options) -> Result<Place, Full> {
        let mut taken = self.taken.lock();
        if taken.by_address.get(&ip).is_some_and(|count| *count >= options.connections_per_address) {
            return Err(Full::Address);
        }
        if taken.count >= options.connections {
            return Err(Full::All);
        }
        *taken.by_address.entry(ip).or_default() += 1;
        taken.count += 1;
        Ok(Place { places: self.clone(), ip })
    }

    /// Whether over half of the places are free, in all and at this address: what is asked ahead of a message, and may be
    /// held by a client that never sends one, has only that half, so that messages that are here find a place.
    pub(crate) fn are_plenty(&self, ip: IpAddr, options: &Options) -> Result<(), Full> {
        let taken = self.taken.lock();
        if taken
            .by_address
            .get(&ip)
            .is_some_and(|count| *count >= options.connections_per_address.div_ceil(2))
        {
            return Err(Full::Address);
        }
        if taken.count >= options.connections.div_ceil(2) { Err(Full::All) } else { Ok(()) }
    }

    /// A place to wait for a late reply: half of all are for that, so that upstreams that never answer leave room for
    /// messages to others.
    pub(crate) fn take_late(self: &Arc<Self>, options: &Options) -> Option<LatePlace> {
        let mut taken = self.taken.lock();
        if taken.late >= options.connections.div_ceil(2) {
            return None;
        }
        taken.late += 1;
        Some(LatePlace(self.clone()))
    }
}

impl Drop for LatePlace {
    fn drop(&mut self) {
        self.0.taken.lock().late -= 1;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        taken.count -= 1;
        let left = taken.by_address.get_mut(&self.ip).map_or(0, |count| {
            *count -= 1;
            *count
        });
        if left == 0 {
            taken.by_address.remove(&self.ip);
        }
    }
}

#[cfg(test)]
#[path = "places_tests.rs"]
mod tests;
