//! What the network asks of the node whose it is, and what nodes tell each other of themselves.

use std::collections::BTreeMap;
use std::time::SystemTime;

use futures_util::future::BoxFuture;
use openraft::Raft;

use super::super::founding::{Answer, ClusterId, Disk, NodeId, NodeName, Request};
use super::super::types::Types;
use crate::routing::Routing;

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// What the rules of founding and joining look at. What it saw of who asks is filled in where it is sent.
    pub answer: Answer,
    /// What operators look at.
    pub report: Report,
}

/// How a node is, for `cluster status` and for alarms.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// The version of Postroad: up to 128 octets of printable ASCII.
    pub software: String,
    /// SHA-256 of settings that must be the same on every node, by key: up to 64 of them.
    pub digests: BTreeMap<String, [u8; 32]>,
    /// Messages in its queue.
    pub queue: u64,
    /// When its certificate for the cluster ends; to the second.
    pub certificate_ends: Option<SystemTime>,
    /// Its table.
    pub table: Option<TableDigest>,
    /// Whether it leads, as far as it knows.
    pub leads: bool,
    /// SMTP sessions that it has.
    pub sessions: u64,
    /// An operator has it take no new ones.
    pub drained: bool,
}

/// A table at a revision: two nodes that are at the same have the same digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableDigest {
    /// Which.
    pub revision: u64,
    /// [`Table::digest`](crate::routing::Table::digest).
    pub digest: [u8; 32],
}

/// What is answered to a node that asks to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joining {
    /// It is a member, or is about to be.
    Taken,
    /// The node of this name leads, and is to be asked.
    Ask(NodeName),
    /// Why not.
    Refused(String),
}

/// The node whose network it is.
///
/// The network holds it, and Raft holds the network: whoever stops the node shuts Raft down, and takes it out of
/// [`Self::raft`].
pub trait LocalNode: Send + Sync + 'static {
    /// What its disk says. Cheap: it is asked at every call.
    fn disk(&self) -> Disk;

    /// What it says of itself.
    fn greeting(&self) -> Greeting;

    /// What the node of this name, which asked, says of itself: no answer to a question of ours.
    fn greeted(&self, name: &NodeName, greeting: Greeting);

    /// Raft, while it runs.
    fn raft(&self) -> Option<Raft<Types>>;

    /// The table, where changes are ordered; none while there is no cluster.
    fn routing(&self) -> Option<Routing>;

    /// The first entries of a cluster are about to be taken, of which the disk holds none yet: makes it durable which
    /// cluster that is. Why that cannot be, else.
    fn adopt(&self, cluster: ClusterId) -> BoxFuture<'_, Result<(), String>>;

    /// A founder asks for consent, which is durable when this says so. Why not, else.
    fn consent(&self, request: Request) -> BoxFuture<'_, Result<(), String>>;

    /// A node of this name asks, under this id, to join the cluster that this node is in.
    fn join(&self, name: NodeName, id: NodeId) -> BoxFuture<'_, Joining>;

    /// An operator has this node take no new sessions, or take them again. How it is then.
    fn drain(&self, ordered: bool) -> Report;
}
