//! How a cluster is, as one of its nodes knows it: what `cluster status` shows.

use std::time::Duration;

use super::founding::{ClusterId, NodeId, NodeName};
use super::network::Report;
use crate::connections::Drain;

/// What a node shows of itself, but for its part in the cluster.
pub struct Shown {
    /// How it is.
    pub report: Box<dyn Fn() -> Report + Send + Sync>,
    /// Whether an operator has it take no new sessions.
    pub drain: Drain,
}

impl Shown {
    /// How it is, its part in the cluster too.
    #[must_use]
    pub fn report(&self, leads: bool) -> Report {
        Report { leads, drained: self.drain.is_ordered(), ..(self.report)() }
    }
}

/// A cluster, as one of its nodes knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// None before it is founded, or joined.
    pub cluster: Option<ClusterId>,
    /// Whether a change that is ordered on this node is taken.
    pub takes_changes: bool,
    /// A sentence: what keeps it from that, and what to do.
    pub detail: String,
    /// Which node says so.
    pub told_by: NodeName,
    /// By name.
    pub nodes: Vec<NodeStatus>,
}

/// A node, as another knows it, or it itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    /// `node.name`.
    pub name: NodeName,
    /// None: it was not heard, and is no member.
    pub id: Option<NodeId>,
    /// Its part.
    pub role: Role,
    /// Whether it leads.
    pub leads: bool,
    /// When it was heard of last; none: not since this process began.
    pub heard: Option<Heard>,
    /// What it said then, and what is wrong with it.
    pub said: Said,
}

/// When a node was heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It answers.
    Now,
    /// So long ago: it is silent.
    Ago(Duration),
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    /// The revision of its table.
    pub revision: u64,
    /// How many entries it is behind the leader, where both are known.
    pub lag: Option<u64>,
    /// How it is.
    pub report: Report,
    /// A sentence each.
    pub problems: Vec<String>,
}

/// What part a node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Its vote counts.
    Voter,
    /// It follows, and serves mail alike.
    Learner,
    /// The file names it, and it is no member.
    Outside,
    /// An operator removed it, and did not admit it again.
    Removed,
}
