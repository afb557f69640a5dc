//! What log, snapshot and peers say alike, as messages and as the types of the Raft engine.

use std::collections::{BTreeMap, BTreeSet};

use openraft::{CommittedLeaderId, EntryPayload};

use super::founding::NodeId;
use super::proposal::Proposal;
use super::types::{Entry, LogId, Member, Membership, SnapshotMeta, Vote};
use crate::proto::cluster::v1;
use crate::proto::cluster::v1::entry::Content;

pub(super) fn encode_log_id(id: &LogId) -> v1::LogId {
    v1::LogId { term: id.leader_id.term, node: id.leader_id.node_id.0, index: id.index }
}

pub(super) fn decode_log_id(id: &v1::LogId) -> LogId {
    LogId::new(CommittedLeaderId::new(id.term, NodeId(id.node)), id.index)
}

pub(super) fn encode_membership(membership: &Membership) -> v1::Membership {
    let voters = membership.get_joint_config().iter();
    let voters = voters.map(|set| v1::Voters { nodes: set.iter().map(|id| id.0).collect() });
    let members = membership.nodes().map(|(id, member)| v1::Member { node: id.0, name: member.name.clone() });
    v1::Membership { voters: voters.collect(), members: members.collect() }
}

pub(super) fn decode_membership(membership: v1::Membership) -> Membership {
    let voters = membership.voters.into_iter();
    let voters: Vec<BTreeSet<NodeId>> =
        voters.map(|set| set.nodes.into_iter().map(NodeId).collect()).collect();
    let members = membership.members.into_iter();
    let members: BTreeMap<NodeId, Member> =
        members.map(|member| (NodeId(member.node), Member { name: member.name })).collect();
    Membership::new(voters, members)
}

pub(super) fn encode_vote(vote: &Vote) -> v1::Vote {
    v1::Vote { term: vote.leader_id.term, node: vote.leader_id.node_id.0, committed: vote.committed }
}

pub(super) fn decode_vote(vote: &v1::Vote) -> Vote {
    let node = NodeId(vote.node);
    if vote.committed { Vote::new_committed(vote.term, node) } else { Vote::new(vote.term, node) }
}

pub(super) fn encode_entry(entry: &Entry) -> v1::Entry {
    let content = match &entry.payload {
        EntryPayload::Blank => Content::Blank(v1::Blank {}),
        EntryPayload::Normal(Proposal(octets)) => Content::Proposal(octets.to_vec()),
        EntryPayload::Membership(membership) => Content::Membership(encode_membership(membership)),
    };
    v1::Entry { id: Some(encode_log_id(&entry.log_id)), content: Some(content) }
}

pub(super) fn encode_meta(meta: &SnapshotMeta) -> v1::SnapshotMeta {
    let membership = v1::StoredMembership {
        id: meta.last_membership.log_id().as_ref().map(encode_log_id),
        membership: Some(encode_membership(meta.last_membership.membership())),
    };
    v1::SnapshotMeta {
        last: meta.last_log_id.as_ref().map(encode_log_id),
        membership: Some(membership),
        snapshot_id: meta.snapshot_id.clone(),
    }
}
