//! What a node does next, and the sentences that an operator reads.

use std::collections::BTreeSet;
use std::fmt;

use super::disk::{Origin, Table};
use super::identity::{ClusterId, Members, NodeId, NodeName};

/// What a node does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// One durable write; then the question is asked again.
    Write(Write),
    /// One message, repeated while it is the answer; and what there is to say meanwhile.
    Send(Message, Reason),
    /// Nothing, until somebody answers otherwise.
    Rest(Rest),
}

/// One durable write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Draw a cluster id and found it with this list. Peers that are met hear of it only when it is durable.
    DrawFounding {
        /// Everyone that must consent, and this node.
        list: Members,
        /// What the cluster begins with.
        table: Table,
    },
    /// Put a name's new id into the list.
    Relist {
        /// Whose.
        name: NodeName,
        /// Under which it answers now.
        id: NodeId,
    },
    /// Forget the founding; before any peer hears so.
    ForgetFounding,
    /// Make the cluster's first entry: the list as voters of an empty table, or this node alone with its old one.
    Initialise {
        /// The cluster that was drawn.
        cluster: ClusterId,
        /// Its first voters.
        voters: Members,
        /// What it begins with.
        table: Table,
    },
    /// Adopt the id of a founding.
    Consent {
        /// The cluster to be.
        cluster: ClusterId,
        /// Who founds it.
        founder: NodeName,
    },
    /// Be blank again; the disk notes what the id consented to. Node id and vote are kept.
    FreeConsent,
    /// Draw a new node id in a blank folder.
    DrawIdentity,
    /// Stop the Raft of a cluster that counts as blank, and set its state aside. Node id and vote are kept.
    SetLoneStateAside,
    /// Set the table in `store/` aside.
    SetOldTableAside,
    /// Set the folder `raft/` aside, and draw a new node id in a blank one; goes on forwarding, and says so as an alarm.
    SetRaftAside,
    /// Draw a cluster id and found a cluster of one.
    FoundAlone {
        /// How it came to be.
        origin: Origin,
        /// What it begins with.
        table: Table,
    },
    /// Found a cluster of one from the table of the present one, under a new cluster id and a new node id.
    FoundAnew,
}

/// One message to peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Ask these for consent to the founding on the disk.
    AskConsent {
        /// The cluster to be.
        cluster: ClusterId,
        /// Those of the list that have not consented to this process.
        of: Members,
    },
    /// Ask to be a member.
    AskToJoin {
        /// Of which cluster.
        cluster: ClusterId,
        /// Whom to ask.
        of: NodeName,
    },
}

/// Why nothing is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rest {
    /// Raft runs, and a majority is there.
    Serve,
    /// Others must do something first.
    Wait(Reason),
    /// An operator must do something; Raft, if there is state, goes on.
    Alarm(Reason),
    /// An operator must do something, and there is no Raft here until then.
    Refuse(Reason),
}

/// A sentence for the operator: who is missing, what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The file names nobody else.
    #[error(
        "cluster.peers names no other node: name one, or found a cluster of one with `cluster bootstrap`"
    )]
    NoPeers,
    /// A silent peer may have a cluster, or a table.
    #[error("waiting for {}: a cluster is founded only when every name in cluster.peers answers", list(.0))]
    Silent(BTreeSet<NodeName>),
    /// A silent peer may have a table, as another has that founded itself.
    #[error(
        "waiting for {}, who may have a table, as {of} has: start them, or take the names out of cluster.peers; then this node \
         joins {of}",
        list(.silent)
    )]
    SilentTable {
        /// Who has one.
        of: NodeName,
        /// Who does not answer.
        silent: BTreeSet<NodeName>,
    },
    /// Another node founds.
    #[error("waiting for {0} to found the cluster")]
    Founder(NodeName),
    /// Those asked have not consented.
    #[error("waiting for the consent of {}", list(.0))]
    Consents(BTreeSet<NodeName>),
    /// Those asked cannot consent.
    #[error("{} cannot consent: make cluster.peers and service.domain the same there and here", list(.0))]
    TermsDiffer(BTreeSet<NodeName>),
    /// Consented, and nothing has come of it.
    #[error(
        "waiting for {founder}, to whose founding this node has consented: if {founder} is gone for good, start a blank \
         node under its name, or take the consent back with `cluster bootstrap --abandon-others`{}",
        and_silent(.silent)
    )]
    Founding {
        /// Who founds.
        founder: NodeName,
        /// Those without whose answer the consent stands.
        silent: BTreeSet<NodeName>,
    },
    /// Asked a member, and is not a member yet.
    #[error("asking {of} to let this node join cluster {cluster}")]
    Joining {
        /// Which cluster.
        cluster: ClusterId,
        /// The member that is asked.
        of: NodeName,
    },
    /// Belongs to a cluster that has not sent it anything yet.
    #[error("waiting for the leader of cluster {0}, of which this node is a member")]
    Leader(ClusterId),
    /// More than one old table.
    #[error(
        "{} have a table each: run `cluster bootstrap` on the node whose table shall count; the others then join it",
        list(.0)
    )]
    SeveralOldTables(BTreeSet<NodeName>),
    /// A table here, and one in a cluster that founded itself.
    #[error(
        "this node has a table, and so has the cluster of {0}, which founded itself: move store/ aside here, or move raft/ \
         aside there and run `cluster bootstrap` here"
    )]
    TwoTables(NodeName),
    /// More than one cluster to join.
    #[error(
        "{} are in different clusters: move the folder raft/ aside on those that are in the wrong one",
        list(.0)
    )]
    SeveralClusters(BTreeSet<NodeName>),
    /// Peers in another cluster than mine.
    #[error(
        "{} are in another cluster than this node: move the folder raft/ aside on the side that is wrong",
        list(.0)
    )]
    AnotherCluster(BTreeSet<NodeName>),
    /// A cloned disk.
    #[error("{0} answers under this node's id: its disk is a copy; wipe it there, and it joins")]
    IdSeenTwice(NodeName),
    /// Two machines under one name.
    #[error("another machine answers under this node's name, with the id {0}: stop one of them")]
    NameSeenTwice(NodeId),
    /// An old copy of `raft/`.
    #[error(
        "{0} has seen a later log or vote of this node: raft/ is an old copy; wipe it, and this node joins"
    )]
    RolledBack(NodeName),
    /// Removed by an operator.
    #[error(
        "this node was removed from cluster {0}: admit its name with `cluster bootstrap --admit` on a member"
    )]
    Barred(ClusterId),
    /// Too few voters answer.
    #[error("waiting for {}: without one more of the voters no write is taken", list(.0))]
    Minority(BTreeSet<NodeName>),
    /// All names answer, too few as voters.
    #[error(
        "the disks of {} are gone, and with them the majority: run `cluster bootstrap --abandon-others` on the node \
         whose table shall count",
        list(.0)
    )]
    MajorityGone(BTreeSet<NodeName>),
    /// The state of a cluster, and no section for it.
    #[error("raft/ is part of a cluster of several nodes, and the file has no [cluster]: put it back")]
    NoSection,
}

/// Names for a sentence.
pub(super) fn list(names: &BTreeSet<NodeName>) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn and_silent(silent: &BTreeSet<NodeName>) -> impl fmt::Display {
    if silent.is_empty() { String::new() } else { format!("; silent: {}", list(silent)) }
}
