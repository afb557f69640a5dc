//! What a node's disk says, as far as the rules look at it; the same summary is what a node answers its peers.

use std::collections::BTreeSet;

use super::identity::{ClusterId, Members, NodeId, NodeName};

/// The durable record of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Drawn with the folder `raft/`, before the first Hello.
    pub id: NodeId,
    /// The term of the last vote, 0 if none was given.
    pub vote: u64,
    /// The founding to which this id consented before the consent was freed: it consents to no other.
    pub spent: Option<ClusterId>,
    /// What the node is.
    pub standing: Standing,
}

/// What a node is. Each change is one durable write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// No state, and bound to nobody: takes votes and appends of any cluster that has its id.
    Blank,
    /// A table of the time before Raft, in `store/`.
    OldTable,
    /// Adopted the id of a founding, and waits for its first entry.
    Consenting {
        /// The cluster to be.
        cluster: ClusterId,
        /// Who founds it.
        founder: NodeName,
    },
    /// Founds a cluster, and waits for the consents.
    Founding {
        /// The cluster to be.
        cluster: ClusterId,
        /// Everyone asked, this node among them.
        list: Members,
        /// What the cluster begins with.
        table: Table,
    },
    /// Holds entries of a cluster.
    State(State),
}

/// What a cluster begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// An empty table.
    Empty,
    /// The table in `store/`.
    Old,
}

/// A summary of the Raft state of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Which cluster's.
    pub cluster: ClusterId,
    /// How that cluster came to be.
    pub origin: Origin,
    /// The last entry of the log.
    pub last: LogId,
    /// The membership in effect here: the last in the log.
    pub membership: Membership,
    /// Names that an operator removed and did not admit again.
    pub barred: BTreeSet<NodeName>,
    /// The table's revision.
    pub revision: u64,
}

/// How a cluster came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A node founded itself, because its file has no `[cluster]`.
    Alone,
    /// Founded with consents, or by the operator.
    Cluster,
}

/// The place of an entry, ordered as Raft orders logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogId {
    /// The leader's term.
    pub term: u64,
    /// From 1.
    pub index: u64,
}

/// Who belongs to a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Those whose majority decides.
    pub voters: Members,
    /// Those who follow, and may be made voters.
    pub learners: Members,
    /// Whether it stands for good.
    pub stage: Stage,
}

/// Whether a membership stands for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// No later leader can be without it.
    Committed,
    /// It may yet be lost.
    Proposed {
        /// The voters before it, whose majority it needs as well; nobody for a founder's first entry.
        over: Members,
    },
}

impl Disk {
    /// Whether the node has nothing that would be lost, and no cluster.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        match &self.standing {
            Standing::Blank | Standing::Consenting { .. } => true,
            Standing::OldTable => false,
            Standing::Founding { table, .. } => *table == Table::Empty,
            Standing::State(state) => state.counts_as_blank(self.id),
        }
    }

    /// Whether a table of the time before Raft is here.
    #[must_use]
    pub fn has_old_table(&self) -> bool {
        matches!(&self.standing, Standing::OldTable | Standing::Founding { table: Table::Old, .. })
    }

    /// The state, unless it counts as blank.
    #[must_use]
    pub fn settled(&self) -> Option<&State> {
        self.state().filter(|state| !state.counts_as_blank(self.id))
    }

    /// Whether the disk has an entry of that cluster.
    #[must_use]
    pub fn holds(&self, cluster: ClusterId) -> bool {
        self.state().is_some_and(|state| state.cluster == cluster)
    }

    /// Whether the node founds that cluster, and has not yet initialised it.
    #[must_use]
    pub fn founds(&self, wanted: ClusterId) -> bool {
        matches!(&self.standing, Standing::Founding { cluster, .. } if *cluster == wanted)
    }

    fn state(&self) -> Option<&State> {
        if let Standing::State(state) = &self.standing { Some(state) } else { None }
    }
}

impl State {
    /// Whether nobody would miss it: a cluster of one that founded itself without being asked, that nobody joined, and
    /// whose table was never written. One that an operator bootstrapped is never blank: it was wanted.
    #[must_use]
    pub fn counts_as_blank(&self, me: NodeId) -> bool {
        self.origin == Origin::Alone && self.revision == 0 && self.membership.is_only(me)
    }
}

impl Membership {
    /// The voters, and those before a change that may yet be lost.
    pub(super) fn all_voters(&self) -> impl Iterator<Item = (&NodeName, &NodeId)> {
        let over = match &self.stage {
            Stage::Committed => None,
            Stage::Proposed { over } => Some(over),
        };
        self.voters.iter().chain(over.into_iter().flatten())
    }

    /// How many members there are.
    pub(super) fn members(&self) -> usize {
        self.voters.len() + self.learners.len()
    }

    /// Whether the id is its only member.
    #[must_use]
    pub fn is_only(&self, me: NodeId) -> bool {
        self.voters.len() == 1 && self.voters.values().all(|id| *id == me) && self.learners.is_empty()
    }

    /// Whether the id belongs to it, or did before a change that may yet be lost.
    #[must_use]
    pub fn has(&self, id: NodeId) -> bool {
        self.all_voters().chain(&self.learners).any(|(_, member)| *member == id)
    }

    /// Whether enough voters are among these ids for the cluster to decide: also of those before a change that is not
    /// committed.
    #[must_use]
    pub fn is_led_by(&self, ids: &BTreeSet<NodeId>) -> bool {
        let majority =
            |voters: &Members| voters.values().filter(|id| ids.contains(id)).count() * 2 > voters.len();
        match &self.stage {
            Stage::Committed => majority(&self.voters),
            Stage::Proposed { over } => majority(&self.voters) && (over.is_empty() || majority(over)),
        }
    }
}
