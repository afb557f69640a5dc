//! Connections that wait for the next message to the same host. A connection is looked for by host,
//! address, source, what was demanded of it, and TLS state; where nothing was demanded one of either state
//! serves, encrypted ones first. It is parked only when its last transaction is over and nothing is left to be read.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::address_error::Peer;
use super::connection::{Connection, Phase, Security};
use super::places::{Full, Idling, LatePlace, Place, Places};
use crate::pipeline::deliver::options::{Options, Timing};

/// Idle connections kept for one key: each session that sends to one host uses one from RCPT to its reply,
/// and this many of them may be between two messages at a time.
const MAX_IDLE_PER_KEY: usize = 50;
/// Idle connections kept in all; each is a file descriptor and up to 40 KiB of TLS state.
const MAX_IDLE: usize = 1000;

type Key = (Peer, Security);

/// The idle connections of a node.
#[derive(Default)]
pub(crate) struct Pool {
    shelves: Mutex<Shelves>,
    places: Arc<Places>,
}

#[derive(Default)]
struct Shelves {
    idle: HashMap<Key, Vec<Idle>>,
    count: usize,
    drained: bool,
}

struct Idle {
    connection: Connection,
    until: Instant,
    quit: Duration,
}

impl Pool {
    /// An idle connection to the peer that still seems to be open; the most recently used one.
    pub(crate) fn take(&self, peer: &Peer) -> Option<Connection> {
        [Security::Encrypted, Security::Plain].into_iter().find_map(|security| {
            let key = (peer.clone(), security);
            loop {
                // A closed or talkative one is dropped here, outside the lock.
                let mut idle = self.shelves.lock().pop(&key)?;
                if idle.until > Instant::now() && idle.connection.is_quiet() {
                    return Some(idle.connection);
                }
            }
        })
    }

    /// A place for another connection to this address. The connection that has been idle for longest makes room where
    /// there is none; nobody waits.
    pub(crate) fn place(&self, ip: IpAddr, options: &Options) -> Result<Place, Full> {
        let full = match self.places.take(ip, options) {
            Ok(place) => return Ok(place),
            Err(full) => full,
        };
        let in_the_way = |peer: &Peer| full == Full::All || peer.address.ip() == ip;
        let oldest = self.shelves.lock().pop_oldest(in_the_way);
        oldest.ok_or(full)?.connection.part();
        self.places.take(ip, options)
    }

    /// Whether a connection to this address may be used, an idle one or another, for what is asked ahead of a message.
    pub(crate) fn has_plenty(&self, ip: IpAddr, options: &Options) -> Result<(), Full> {
        self.places.are_plenty(ip, options, Idling::default()).or_else(|_| {
            let idle = self.shelves.lock().idling(ip);
            self.places.are_plenty(ip, options, idle)
        })
    }

    /// A place for a connection to this address that owes a late reply.
    pub(crate) fn late_place(&self, ip: IpAddr, options: &Options) -> Option<LatePlace> {
        self.places.take_late(ip, options)
    }

    /// Gives a connection back after a message: it is parked, reset and parked, or ended. Nothing waits.
    pub(crate) fn release(self: &Arc<Self>, mut connection: Connection, timing: Timing) {
        connection.dialogue = None;
        if !connection.is_reusable() {
            retire(connection, timing);
        } else if connection.phase == Phase::Clean {
            self.park(connection, timing);
        } else {
            let pool = self.clone();
            tokio::spawn(async move {
                if connection.reset(Instant::now() + timing.quit).await {
                    pool.park(connection, timing);
                }
            });
        }
    }

    fn park(&self, connection: Connection, timing: Timing) {
        let key = (connection.peer.clone(), connection.security());
        let idle = Idle { connection, until: Instant::now() + timing.idle, quit: timing.quit };
        let surplus = self.shelves.lock().push(key, idle);
        if let Some(idle) = surplus {
            retire(idle.connection, timing);
        }
    }

    /// Ends the connections that have been idle for their time.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        let ended = self.shelves.lock().remove_if(|idle| idle.until <= now);
        for idle in ended {
            tokio::spawn(idle.connection.quit(idle.quit));
        }
    }

    /// Ends all of them and parks no more.
    pub(crate) async fn drain(&self) {
        let ended = {
            let mut shelves = self.shelves.lock();
            shelves.drained = true;
            shelves.remove_if(|_| true)
        };
        join_all(ended.into_iter().map(|idle| idle.connection.quit(idle.quit))).await;
    }
}

/// Ends a connection in the background.
pub(crate) fn retire(connection: Connection, timing: Timing) {
    tokio::spawn(connection.quit(timing.quit));
}

impl Shelves {
    fn pop(&mut self, key: &Key) -> Option<Idle> {
        let shelf = self.idle.get_mut(key)?;
        let idle = shelf.pop();
        if shelf.is_empty() {
            self.idle.remove(key);
        }
        self.count -= usize::from(idle.is_some());
        idle
    }

    /// How many there are, and how many of them to this address.
    fn idling(&self, ip: IpAddr) -> Idling {
        let to_it = self.idle.iter().filter(|((peer, _), _)| peer.address.ip() == ip);
        Idling { in_all: self.count, at_address: to_it.map(|(_, shelf)| shelf.len()).sum() }
    }

    /// The one that has been idle for longest, of those that are wanted.
    fn pop_oldest(&mut self, wanted: impl Fn(&Peer) -> bool) -> Option<Idle> {
        let shelves = self.idle.iter().filter(|((peer, _), _)| wanted(peer));
        let firsts = shelves.filter_map(|(key, shelf)| Some((key, shelf.first()?.until)));
        let (key, _) = firsts.min_by_key(|(_, until)| *until)?;
        let key = key.clone();
        let shelf = self.idle.get_mut(&key)?;
        let oldest = (!shelf.is_empty()).then(|| shelf.remove(0));
        if shelf.is_empty() {
            self.idle.remove(&key);
        }
        self.count -= usize::from(oldest.is_some());
        oldest
    }

    /// Takes one in, unless there are enough: then it comes back.
    fn push(&mut self, key: Key, idle: Idle) -> Option<Idle> {
        let waiting = self.idle.get(&key).map_or(0, Vec::len);
        if self.drained || self.count >= MAX_IDLE || waiting >= MAX_IDLE_PER_KEY {
            return Some(idle);
        }
        self.idle.entry(key).or_default().push(idle);
        self.count += 1;
        None
    }

    fn remove_if(&mut self, unwanted: impl Fn(&Idle) -> bool) -> Vec<Idle> {
        let mut removed = Vec::new();
        self.idle.retain(|_, shelf| {
            removed.extend(shelf.extract_if(.., |idle| unwanted(idle)));
            !shelf.is_empty()
        });
        self.count -= removed.len();
        removed
    }
}
