//! Who may be connected to a listener that is not for mail: so many in all, and so many of one peer. Owns the counts, and
//! who has to go; for mail, whether new sessions are taken at all ([`Drain`]).
//!
//! A newcomer is let in as long as it can be: where there is no place, the connection that has waited longest without
//! having shown what it is for makes room, of the peer that has most of these. So nobody can hold all places by
//! connecting and saying nothing, and whoever proves itself at once is in before its turn to go comes.

mod drain;
mod entrance;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv6Net};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use drain::Drain;
pub use entrance::{Connection, Entrance, Handshaking};

/// How many connections there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// In all.
    pub total: usize,
    /// Of one peer: an IPv4 address, or an IPv6 /64, which is what one host can have (RFC 4291 §2.5.4).
    pub per_peer: usize,
}

/// The places of a listener. Clones share them.
#[derive(Debug, Clone)]
pub struct Places(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bounds: Bounds,
    held: Mutex<Held>,
}

/// By age.
#[derive(Debug, Default)]
struct Held {
    next: u64,
    connections: BTreeMap<u64, Connected>,
}

#[derive(Debug)]
struct Connected {
    peer: IpNet,
    /// It has shown what it is for, and stays.
    is_proven: bool,
    /// What goes on over it that lets it stay all the same.
    holds: usize,
    gone: CancellationToken,
    released: Arc<Notify>,
}

impl Connected {
    fn can_go(&self) -> bool {
        !self.is_proven && self.holds == 0
    }
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub struct Place(Standing);

/// How a connection stands. Clones speak for the same one, and do not keep its place.
#[derive(Debug, Clone)]
pub struct Standing {
    places: Places,
    id: u64,
    gone: CancellationToken,
    released: Arc<Notify>,
}

/// Lets a connection stay that has not proven itself; until dropped.
#[derive(Debug)]
pub struct Hold(Standing);

impl Places {
    /// Nobody is connected yet.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self(Arc::new(Inner { bounds, held: Mutex::default() }))
    }

    /// A place for this address, or none: all are held by connections that stay.
    #[must_use]
    pub fn admit(&self, ip: IpAddr) -> Option<Place> {
        let peer = peer(ip);
        let mut held = self.0.held.lock();
        let same = held.connections.values().filter(|connected| connected.peer == peer).count();
        if same >= self.0.bounds.per_peer {
            let eldest = held.eldest(peer)?;
            held.dismiss(eldest);
        } else if held.connections.len() >= self.0.bounds.total {
            let waiting = held.waiting().map(|(id, connected)| (id, connected.peer));
            let eldest = eldest_of_most(waiting)?;
            held.dismiss(eldest);
        }
        let id = held.next;
        held.next += 1;
        let (gone, released) = (CancellationToken::new(), Arc::<Notify>::default());
        let connected =
            Connected { peer, is_proven: false, holds: 0, gone: gone.clone(), released: released.clone() };
        held.connections.insert(id, connected);
        Some(Place(Standing { places: self.clone(), id, gone, released }))
    }
}

impl Held {
    /// Those that can go, by age.
    fn waiting(&self) -> impl Iterator<Item = (u64, &Connected)> {
        let waiting = self.connections.iter().filter(|(_, connected)| connected.can_go());
        waiting.map(|(id, connected)| (*id, connected))
    }

    /// The connection of this peer that has waited longest of those that can go.
    fn eldest(&self, peer: IpNet) -> Option<u64> {
        self.waiting().find(|(_, connected)| connected.peer == peer).map(|(id, _)| id)
    }

    fn dismiss(&mut self, id: u64) {
        if let Some(connected) = self.connections.remove(&id) {
            connected.gone.cancel();
        }
    }
}

impl Place {
    /// How the connection stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.0.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.dismiss();
    }
}

impl Standing {
    /// It has shown what it is for: it stays.
    pub fn prove(&self) {
        if let Some(connected) = self.places.0.held.lock().connections.get_mut(&self.id) {
            connected.is_proven = true;
        }
    }

    /// It stays for as long as this is held.
    #[must_use]
    pub fn hold(&self) -> Hold {
        if let Some(connected) = self.places.0.held.lock().connections.get_mut(&self.id) {
            connected.holds += 1;
        }
        Hold(self.clone())
    }

    /// It goes.
    pub fn dismiss(&self) {
        self.places.0.held.lock().dismiss(self.id);
        self.gone.cancel();
    }

    /// Waits until it has to go: to make room, or because it has not proven itself within this time.
    pub async fn over(self, proof_time: Duration) {
        let overdue = async {
            tokio::time::sleep(proof_time).await;
            loop {
                let released = self.released.notified();
                match self.places.0.held.lock().connections.get(&self.id) {
                    Some(connected) if connected.is_proven => break,
                    Some(connected) if connected.holds > 0 => {}
                    Some(_) | None => return,
                }
                released.await;
            }
            std::future::pending().await
        };
        tokio::select! {
            () = self.gone.cancelled() => {}
            () = overdue => self.dismiss(),
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(connected) = self.0.places.0.held.lock().connections.get_mut(&self.0.id) {
            connected.holds = connected.holds.saturating_sub(1);
            connected.released.notify_one();
        }
    }
}

/// Of numbered things, the eldest first, each of a peer: the eldest of the peer that has most, and of peers that have as
/// many, the eldest of all.
pub fn eldest_of_most(by_age: impl Iterator<Item = (u64, IpNet)>) -> Option<u64> {
    let mut peers: HashMap<IpNet, (usize, Reverse<u64>)> = HashMap::new();
    for (number, peer) in by_age {
        peers.entry(peer).or_insert((0, Reverse(number))).0 += 1;
    }
    peers.into_values().max().map(|(_, Reverse(eldest))| eldest)
}

/// Whom an address counts as.
#[must_use]
pub fn peer(ip: IpAddr) -> IpNet {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpNet::from(IpAddr::V4(ip)),
        IpAddr::V6(ip) => Ipv6Net::new_assert(ip, 64).trunc().into(),
    }
}

#[cfg(test)]
mod tests;
