//! Three nodes named `a`, `b`, `c`, as the tests of this module make them up.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Answer, Asked, ClusterId, Disk, Heard, LogId, Members, Membership, NodeId, NodeName, Origin, Rest, Stage,
    Standing, State, Step, Table, Terms, View, next_step,
};

pub(super) const CLUSTER: ClusterId = ClusterId(1);
pub(super) const OTHER: ClusterId = ClusterId(2);

pub(super) fn terms() -> Terms {
    Terms { names: ["a", "b", "c"].map(NodeName::from).into(), domain: [0; 32] }
}

pub(super) fn members(ids: &[(&str, u64)]) -> Members {
    ids.iter().map(|(name, id)| (NodeName::from(*name), NodeId(*id))).collect()
}

pub(super) fn names(names: &[&str]) -> BTreeSet<NodeName> {
    names.iter().map(|name| NodeName::from(*name)).collect()
}

pub(super) fn membership(voters: &[(&str, u64)], learners: &[(&str, u64)]) -> Membership {
    Membership { voters: members(voters), learners: members(learners), stage: Stage::Committed }
}

/// A state of these voters, at log index 5, with a table.
pub(super) fn state(cluster: ClusterId, voters: &[(&str, u64)]) -> State {
    State {
        cluster,
        origin: Origin::Cluster,
        last: LogId { term: 1, index: 5 },
        membership: membership(voters, &[]),
        barred: BTreeSet::new(),
        revision: 1,
    }
}

/// What counts as blank: founded itself, never written.
pub(super) fn lone(id: u64, name: &str) -> State {
    State { origin: Origin::Alone, revision: 0, ..state(OTHER, &[(name, id)]) }
}

pub(super) fn disk(id: u64, standing: Standing) -> Disk {
    Disk { id: NodeId(id), vote: 0, spent: None, standing }
}

pub(super) fn consenting(founder: &str) -> Standing {
    Standing::Consenting { cluster: CLUSTER, founder: founder.into() }
}

pub(super) fn founding(list: &[(&str, u64)]) -> Standing {
    Standing::Founding { cluster: CLUSTER, list: members(list), table: Table::Empty }
}

/// What one node knows.
pub(super) struct Node {
    pub(super) name: NodeName,
    pub(super) terms: Terms,
    pub(super) disk: Disk,
    pub(super) heard: BTreeMap<NodeName, Heard>,
}

impl Node {
    /// A node that has heard nothing.
    pub(super) fn new(name: &str, disk: Disk) -> Self {
        Self { name: name.into(), terms: terms(), disk, heard: BTreeMap::new() }
    }

    /// And has heard this, asked since.
    pub(super) fn hears(mut self, peer: &str, disk: Disk) -> Self {
        let answer = Answer { disk, terms: terms(), incarnation: 1, seen: None };
        self.heard.insert(peer.into(), Heard { asked: Asked::Since, answer });
        self
    }

    /// Looks at what was heard of a peer otherwise.
    pub(super) fn with(mut self, peer: &str, change: impl FnOnce(&mut Heard)) -> Self {
        change(self.heard.get_mut(&NodeName::from(peer)).expect("heard before"));
        self
    }

    pub(super) fn view<T>(&self, look: impl FnOnce(&View<'_>) -> T) -> T {
        look(&View {
            name: &self.name,
            terms: &self.terms,
            disk: &self.disk,
            incarnation: 0,
            heard: &self.heard,
            consents: &BTreeSet::new(),
        })
    }

    pub(super) fn next(&self) -> Step {
        self.view(next_step).step
    }

    /// The sentence with which the node rests.
    pub(super) fn says(&self) -> String {
        match self.next() {
            Step::Rest(Rest::Serve) => "serves".to_owned(),
            Step::Rest(Rest::Wait(reason)) | Step::Send(_, reason) => reason.to_string(),
            Step::Rest(Rest::Alarm(reason)) => format!("alarm: {reason}"),
            Step::Rest(Rest::Refuse(reason)) => format!("refuses: {reason}"),
            Step::Write(write) => format!("{write:?}"),
        }
    }
}
