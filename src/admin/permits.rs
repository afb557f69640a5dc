//! Owns how many calls are served at once, by what they are: each kind has places of its own, so that none can take
//! those of another. What strangers may call, health, takes none of the operators'.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::access::{Access, Method, Shape};
use super::listener::Caller;
use crate::connections::{Bounds, Hold, Place, Places};

/// Calls with one answer.
pub(super) const MAX_CALLS: usize = 128;
/// Calls about the whole routing table; each may hold 64 MiB.
const MAX_DOCUMENTS: usize = 4;
/// Calls that answer for as long as the caller listens.
const MAX_STREAMS: usize = 64;
/// Health asked for once.
const MAX_CHECKS: usize = 64;
/// Health watched: by a few load balancers.
const WATCHES: Bounds = Bounds { total: 32, per_peer: 8 };

/// The places for calls over all connections. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Permits {
    calls: Arc<Semaphore>,
    documents: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    checks: Arc<Semaphore>,
    watches: Places,
}

/// A call's place; given back when dropped.
#[derive(Debug)]
pub(super) enum Permit {
    /// Of an operator, or for a short answer to anybody.
    Call {
        /// Its place.
        _place: OwnedSemaphorePermit,
    },
    /// Of who watches health; its connection stays for as long.
    Watch {
        /// Its place.
        _place: Place,
        /// Its connection's.
        _hold: Option<Hold>,
    },
}

impl Permits {
    pub(super) fn new() -> Self {
        let semaphore = |places| Arc::new(Semaphore::new(places));
        Self {
            calls: semaphore(MAX_CALLS),
            documents: semaphore(MAX_DOCUMENTS),
            streams: semaphore(MAX_STREAMS),
            checks: semaphore(MAX_CHECKS),
            watches: Places::new(WATCHES),
        }
    }

    /// A place for a call of this method, or none: as many are being served.
    pub(super) fn take(&self, method: &Method, caller: Option<&Caller>) -> Option<Permit> {
        let places = match (method.access, method.shape) {
            (Access::Public, Shape::Stream) => return self.watch(caller),
            (Access::Public, Shape::Unary | Shape::Document) => &self.checks,
            (Access::Role(_), Shape::Unary) => &self.calls,
            (Access::Role(_), Shape::Document) => &self.documents,
            (Access::Role(_), Shape::Stream) => &self.streams,
        };
        Arc::clone(places).try_acquire_owned().ok().map(|place| Permit::Call { _place: place })
    }

    fn watch(&self, caller: Option<&Caller>) -> Option<Permit> {
        // Nobody makes room for another: who watches would only come back.
        let ip = caller.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), Caller::ip);
        let place = self.watches.admit(ip)?;
        place.standing().prove();
        Some(Permit::Watch { _place: place, _hold: caller.map(Caller::hold) })
    }
}
