//! What log and snapshot say alike, as messages and as the types of the Raft engine.

use std::collections::{BTreeMap, BTreeSet};

use openraft::CommittedLeaderId;

use super::founding::NodeId;
use super::types::{LogId, Member, Membership};
use crate::proto::cluster::v1;

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
