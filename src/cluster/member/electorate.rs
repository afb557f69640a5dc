//! What a leader changes in the membership.

use std::collections::BTreeSet;
use std::time::Duration;

use openraft::{ChangeMembers, Raft};
use tokio::time::timeout;

use super::super::founding::{Change, NodeId, NodeName};
use super::super::types::{Member, Types};

/// How long a change may take: an entry or two.
const CHANGED_WITHIN: Duration = Duration::from_secs(30);
/// How many entries behind the leader a learner may be that has caught up.
const CAUGHT_UP: u64 = 16;

/// Who leads, and what follows from its metrics.
pub(super) struct Leading {
    raft: Raft<Types>,
    metrics: openraft::RaftMetrics<NodeId, Member>,
}

impl Leading {
    /// None where this node does not lead.
    pub(super) fn of(raft: &Raft<Types>) -> Option<Self> {
        let metrics = raft.metrics().borrow().clone();
        let leads = metrics.running_state.is_ok() && metrics.current_leader == Some(metrics.id);
        (leads && metrics.replication.is_some()).then(|| Self { raft: raft.clone(), metrics })
    }

    /// The ids that have all that this node has, this one among them.
    pub(super) fn caught_up(&self) -> BTreeSet<NodeId> {
        let last = self.metrics.last_log_index.unwrap_or_default();
        let matched = self.metrics.replication.iter().flatten();
        let has_all = |matched: &Option<openraft::LogId<NodeId>>| {
            matched.is_some_and(|matched| matched.index + CAUGHT_UP >= last)
        };
        let others = matched.filter(|(_, matched)| has_all(matched)).map(|(id, _)| *id);
        others.chain([self.metrics.id]).collect()
    }

    /// The voters of a membership that was left between two, if it was and that is agreed on.
    pub(super) fn unfinished(&self) -> Option<BTreeSet<NodeId>> {
        let stored = &self.metrics.membership_config;
        let applied = self.metrics.last_applied.map_or(0, |id| id.index);
        let is_committed = stored.log_id().is_some_and(|id| id.index <= applied);
        match stored.membership().get_joint_config().as_slice() {
            [_, after] if is_committed => Some(after.clone()),
            _ => None,
        }
    }

    /// Makes a change.
    pub(super) async fn change(self, change: Change) {
        let said = format!("{change:?}");
        let changed = match change {
            Change::AddLearner { name, id } => timeout(CHANGED_WITHIN, self.add(name, id)).await,
            Change::SetVoters(voters) => {
                timeout(CHANGED_WITHIN, self.set(voters.into_values().collect())).await
            }
            Change::RemoveLearner { id, .. } => timeout(CHANGED_WITHIN, self.remove([id].into())).await,
        };
        match changed {
            Ok(Ok(())) => tracing::info!(change = said, "the membership of the cluster has changed"),
            Ok(Err(error)) => {
                tracing::warn!(change = said, error, "the membership of the cluster is not changed")
            }
            Err(_) => tracing::warn!(change = said, "a change of the membership is not confirmed"),
        }
    }

    /// In the place of an earlier learner of the name.
    async fn add(&self, name: NodeName, id: NodeId) -> Result<(), String> {
        let membership = self.metrics.membership_config.membership();
        let is_earlier = |(other, member): &(&NodeId, &Member)| {
            **other != id
                && member.name == *name.to_string()
                && !membership.voter_ids().any(|voter| voter == **other)
        };
        let earlier: BTreeSet<NodeId> =
            membership.nodes().filter(is_earlier).map(|(other, _)| *other).collect();
        if !earlier.is_empty() {
            self.remove(earlier).await?;
        }
        let added = self.raft.add_learner(id, Member::from(&name), false).await;
        added.map(drop).map_err(|error| error.to_string())
    }

    async fn remove(&self, learners: BTreeSet<NodeId>) -> Result<(), String> {
        let removed = self.raft.change_membership(ChangeMembers::RemoveNodes(learners), false).await;
        removed.map(drop).map_err(|error| error.to_string())
    }

    /// Lets these vote, and nobody else.
    pub(super) async fn set(&self, voters: BTreeSet<NodeId>) -> Result<(), String> {
        let changed = self.raft.change_membership(ChangeMembers::ReplaceAllVoters(voters), false).await;
        changed.map(drop).map_err(|error| error.to_string())
    }
}
