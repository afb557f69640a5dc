//! How many connections to upstreams may be open at a time, in all and to one address. Nobody waits for a place: who
//! gets none has no answer, and the message's next try may.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::connections::{eldest_of_most, peer};
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
    /// Those that owe a late reply, by age.
    late: BTreeMap<u64, Owing>,
    /// The number of the next of these.
    next: u64,
}

/// A connection that owes a late reply.
#[derive(Debug)]
struct Owing {
    peer: IpNet,
    /// Dropped: it has to go.
    _stays: oneshot::Sender<Infallible>,
}

/// One connection's place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    ip: IpAddr,
}

/// The place of a connection that owes a late reply, beside its own, until it is dropped.
#[derive(Debug)]
pub(crate) struct LatePlace {
    places: Arc<Places>,
    number: u64,
    gone: oneshot::Receiver<Infallible>,
}

/// How many of the connections wait for a message.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Idling {
    pub(crate) in_all: usize,
    /// Those to one address.
    pub(crate) at_address: usize,
}

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
        taken.has_room(ip, options.connections_per_address, options.connections, Idling::default())?;
        *taken.by_address.entry(ip).or_default() += 1;
        taken.count += 1;
        Ok(Place { places: self.clone(), ip })
    }

    /// Whether fewer than half of the places are in use, in all and at this address: what is asked ahead of a message, and
    /// may be held by a client that never sends one, has only that half, so that messages that are here find a place. Idle
    /// connections are not in use: they make room.
    pub(crate) fn are_plenty(&self, ip: IpAddr, options: &Options, idle: Idling) -> Result<(), Full> {
        let half = |places: usize| places.div_ceil(2);
        let (at_address, in_all) = (half(options.connections_per_address), half(options.connections));
        self.taken.lock().has_room(ip, at_address, in_all, idle)
    }

    /// A place to wait for a late reply: half of all are for that, so that upstreams that never answer leave room for
    /// messages to others, and half of an address's. Where there is none left, the eldest of whoever has most makes room:
    /// hosts that never answer cost others' replies nothing, for a reply that nobody waits for is a message twice.
    pub(crate) fn take_late(self: &Arc<Self>, ip: IpAddr, options: &Options) -> Option<LatePlace> {
        let (peer, mut taken) = (peer(ip), self.taken.lock());
        if taken.late_of(peer) >= options.connections_per_address.div_ceil(2) {
            return None;
        }
        if taken.late.len() >= options.connections.div_ceil(2) {
            let late = taken.late.iter().map(|(number, owing)| (*number, owing.peer));
            let eldest = eldest_of_most(late)?;
            taken.late.remove(&eldest);
        }
        let (stays, gone) = oneshot::channel();
        let number = taken.next;
        taken.next += 1;
        taken.late.insert(number, Owing { peer, _stays: stays });
        Some(LatePlace { places: self.clone(), number, gone })
    }
}

impl Taken {
    /// Whether fewer than so many connections are open, those that are idle not counted.
    fn has_room(&self, ip: IpAddr, at_address: usize, in_all: usize, idle: Idling) -> Result<(), Full> {
        let open = self.by_address.get(&ip).copied().unwrap_or_default();
        if open.saturating_sub(idle.at_address) >= at_address {
            return Err(Full::Address);
        }
        if self.count.saturating_sub(idle.in_all) >= in_all { Err(Full::All) } else { Ok(()) }
    }

    fn late_of(&self, peer: IpNet) -> usize {
        self.late.values().filter(|owing| owing.peer == peer).count()
    }
}

impl LatePlace {
    /// Ends when the place is another's.
    pub(crate) async fn is_gone(&mut self) {
        let Err(_dropped) = (&mut self.gone).await;
    }
}

impl Drop for LatePlace {
    fn drop(&mut self) {
        self.places.taken.lock().late.remove(&self.number);
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
