//! Who said Hello under which id last, and in which version, and the most that was seen of each id.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::super::founding::{self, ClusterId, NodeId, NodeName, Seen};
use super::super::types::LogId;

/// Ids of which it is remembered what was seen: those of which nothing was seen for longest go first.
const MAX_IDS: usize = 256;

/// What this process knows of its peers by having talked to them.
#[derive(Debug, Default)]
pub(super) struct Acquaintances(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    greeted: BTreeMap<NodeName, NodeId>,
    speaks: BTreeMap<NodeName, u32>,
    seen: BTreeMap<NodeId, Sighted>,
    sightings: u64,
}

#[derive(Debug)]
struct Sighted {
    seen: Seen,
    /// Which sighting was the last.
    at: u64,
}

impl Acquaintances {
    /// A node of a configured name said Hello, or answered to it, under this id.
    pub(super) fn greet(&self, name: &NodeName, id: NodeId) {
        self.0.lock().greeted.insert(name.clone(), id);
    }

    /// Under which id that name said so last, to this process.
    pub(super) fn greeted(&self, name: &NodeName) -> Option<NodeId> {
        self.0.lock().greeted.get(name).copied()
    }

    /// The last version of the protocol that the node of a configured name speaks, as it says in each Hello of its own.
    pub(super) fn speaks(&self, name: &NodeName, version: u32) {
        self.0.lock().speaks.insert(name.clone(), version);
    }

    /// Which that is; `None`: it has not said Hello to this process.
    pub(super) fn spoken(&self, name: &NodeName) -> Option<u32> {
        self.0.lock().speaks.get(name).copied()
    }

    /// The node has this term as its vote's, and this entry, which is agreed on.
    ///
    /// What is not agreed on does not count: a log gives it up again when another leads, and a crash may come before the
    /// entries that take its place.
    pub(super) fn see(&self, id: NodeId, cluster: ClusterId, vote: u64, agreed: Option<LogId>) {
        let last = agreed.map(|agreed| place(&agreed)).unwrap_or(founding::LogId { term: 0, index: 0 });
        let mut known = self.0.lock();
        known.sightings += 1;
        let at = known.sightings;
        if known.seen.len() >= MAX_IDS && !known.seen.contains_key(&id) {
            let eldest = known.seen.iter().min_by_key(|(_, sighted)| sighted.at).map(|(id, _)| *id);
            eldest.map(|eldest| known.seen.remove(&eldest));
        }
        let seen = Seen { cluster, last, vote };
        let sighted = known.seen.entry(id).or_insert(Sighted { seen, at });
        sighted.at = at;
        if sighted.seen.cluster == cluster {
            sighted.seen.last = sighted.seen.last.max(last);
            sighted.seen.vote = sighted.seen.vote.max(vote);
        } else {
            sighted.seen = seen;
        }
    }

    /// The most that was seen of it.
    pub(super) fn seen(&self, id: NodeId) -> Option<Seen> {
        self.0.lock().seen.get(&id).map(|sighted| sighted.seen)
    }
}

/// The place of an entry in the order of logs.
fn place(id: &LogId) -> founding::LogId {
    founding::LogId { term: id.leader_id.term, index: id.index }
}
