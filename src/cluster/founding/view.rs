//! What a node knows when it decides: its file, its disk, and what was heard of each peer.

use std::collections::{BTreeMap, BTreeSet};

use super::disk::{Disk, LogId, State};
use super::identity::{ClusterId, Members, NodeId, NodeName};

/// What a decision is made of.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// `node.name`.
    pub name: &'a NodeName,
    /// What the file says.
    pub terms: &'a Terms,
    /// What the disk says.
    pub disk: &'a Disk,
    /// Drawn by each process.
    pub incarnation: u64,
    /// By name; a name that is left out is silent. The node's own name may be among them: it is dialled like the others.
    pub heard: &'a BTreeMap<NodeName, Heard>,
    /// The ids that consented to the founding on the disk, **to this process**: after a start it asks again. Without
    /// that, a founder's disk that was taken out while its name founded anew would initialise when it is put back.
    pub consents: &'a BTreeSet<NodeId>,
}

/// What the founder and all who consent must have alike in their files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Every node's name: `cluster.peers` and my own.
    pub names: BTreeSet<NodeName>,
    /// SHA-256 of `service.domain`.
    pub domain: [u8; 32],
}

/// An answer of a peer, and when its question was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// When the question was sent.
    pub asked: Asked,
    /// What it said.
    pub answer: Answer,
}

/// When a question was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Before my last durable write.
    Before,
    /// After it.
    Since,
}

/// What a node says of itself to one that asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What its disk says.
    pub disk: Disk,
    /// What its file says.
    pub terms: Terms,
    /// Its process.
    pub incarnation: u64,
    /// The most that it saw of the asking id.
    pub seen: Option<Seen>,
}

/// The most that a peer saw of a node id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// In which cluster.
    pub cluster: ClusterId,
    /// The end of its log.
    pub last: LogId,
    /// The term of its vote.
    pub vote: u64,
}

impl<'a> View<'a> {
    /// The other names of the file.
    pub(super) fn peers(&self) -> impl Iterator<Item = &'a NodeName> {
        self.terms.names.iter().filter(|name| *name != self.name)
    }

    /// The answers of peers that were asked since.
    pub(super) fn answers(&self) -> impl Iterator<Item = (&'a NodeName, &'a Answer)> {
        self.peers().filter_map(|name| Some((name, self.answer(name)?)))
    }

    /// What a peer answered, asked since.
    pub(super) fn answer(&self, name: &NodeName) -> Option<&'a Answer> {
        self.heard.get(name).filter(|heard| heard.asked == Asked::Since).map(|heard| &heard.answer)
    }

    /// The peers that did not answer, asked since.
    pub(super) fn silent(&self) -> BTreeSet<NodeName> {
        self.peers().filter(|name| self.answer(name).is_none()).cloned().collect()
    }

    /// The peers that have the state of a cluster, with their state.
    pub(super) fn settled_peers(&self) -> impl Iterator<Item = (&'a NodeName, &'a State)> {
        self.answers().filter_map(|(name, answer)| Some((name, answer.disk.settled()?)))
    }

    /// Every name of the file that answers, with its id, and this node.
    pub(super) fn present(&self) -> Members {
        let others = self.answers().map(|(name, answer)| (name.clone(), answer.disk.id));
        others.chain([(self.name.clone(), self.disk.id)]).collect()
    }

    /// The ids that answer, and mine.
    pub(super) fn present_ids(&self) -> BTreeSet<NodeId> {
        self.present().into_values().collect()
    }
}
