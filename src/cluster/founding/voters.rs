//! Who votes: what the leader changes next in the membership.

use std::collections::BTreeSet;

use super::disk::{Membership, Stage};
use super::identity::{Members, NodeId, NodeName};

/// What the leader knows.
#[derive(Debug, Clone, Copy)]
pub struct Electorate<'a> {
    /// The membership in effect.
    pub membership: &'a Membership,
    /// Names that may not be members.
    pub barred: &'a BTreeSet<NodeName>,
    /// The names that answer now, each with the id under which it does, this node among them.
    pub present: &'a Members,
    /// The ids that have all that the leader has.
    pub caught_up: &'a BTreeSet<NodeId>,
    /// The ids that asked to join.
    pub joining: &'a BTreeSet<NodeId>,
    /// How many nodes the file names, this one among them.
    pub names: usize,
    /// `cluster.voters`.
    pub allowed: Allowed,
}

/// `cluster.voters`: how many may vote. Further members are learners, and serve mail alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// Survives the loss of one.
    Three,
    /// Survives the loss of two.
    Five,
}

/// One change of the membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Let a node follow, in the place of an earlier learner of its name.
    AddLearner {
        /// Its name.
        name: NodeName,
        /// The id that asked to join.
        id: NodeId,
    },
    /// Let these vote, and nobody else; a voter who is not among them is no member any more.
    SetVoters(Members),
    /// Let a learner follow no more.
    RemoveLearner {
        /// Its name.
        name: NodeName,
        /// Its id.
        id: NodeId,
    },
}

/// The next change: one at a time, since a membership over one that may yet be lost is what Raft's proofs exclude.
/// Whoever does not answer now under its id is not taken in: a wiped disk's id would be a voter that never votes.
#[must_use]
pub fn next_change(electorate: &Electorate<'_>) -> Option<Change> {
    if electorate.membership.stage != Stage::Committed {
        return None;
    }
    let changes = [remove_barred, replace_voter, grow, add_learner];
    changes.into_iter().find_map(|change| change(electorate))
}

/// A name that an operator removed. Not where too few of the others answer to decide without it: the change would stand
/// between two memberships until they do.
fn remove_barred(electorate: &Electorate<'_>) -> Option<Change> {
    let Electorate { membership, barred, present, .. } = *electorate;
    let is_barred = |(name, _): &(&NodeName, &NodeId)| barred.contains(*name);
    if let Some((name, id)) = membership.learners.iter().find(is_barred) {
        return Some(Change::RemoveLearner { name: name.clone(), id: *id });
    }
    let (name, _) = membership.voters.iter().find(is_barred)?;
    let mut left = membership.voters.clone();
    left.remove(name);
    let answering = left.iter().filter(|(name, id)| present.get(*name) == Some(id)).count();
    (answering * 2 > left.len()).then_some(Change::SetVoters(left))
}

/// A learner that has caught up, in the place of the voter of its name, whose disk is gone.
fn replace_voter(electorate: &Electorate<'_>) -> Option<Change> {
    let mut voters = electorate.membership.voters.clone();
    let (name, id) = ready(electorate).find(|(name, _)| voters.contains_key(name))?;
    voters.insert(name.clone(), id);
    Some(Change::SetVoters(voters))
}

/// To the next odd count; with two nodes in the file, to two. An even count survives no more losses than the odd one below
/// it, and one wipe more stops it.
fn grow(electorate: &Electorate<'_>) -> Option<Change> {
    let mut voters = electorate.membership.voters.clone();
    let wanted = match (voters.len(), electorate.names, electorate.allowed) {
        (1, 2, _) => 2,
        (1 | 2, 3.., _) => 3,
        (3 | 4, 5.., Allowed::Five) => 5,
        _ => return None,
    };
    let missing = wanted - voters.len();
    let new: Members = ready(electorate)
        .filter(|(name, _)| !voters.contains_key(name))
        .take(missing)
        .map(|(name, id)| (name.clone(), id))
        .collect();
    let is_enough = new.len() == missing;
    voters.extend(new);
    is_enough.then_some(Change::SetVoters(voters))
}

fn add_learner(electorate: &Electorate<'_>) -> Option<Change> {
    let wants = |name: &NodeName, id: &NodeId| {
        electorate.joining.contains(id)
            && !electorate.membership.has(*id)
            && !electorate.barred.contains(name)
    };
    let (name, id) = electorate.present.iter().find(|(name, id)| wants(name, id))?;
    Some(Change::AddLearner { name: name.clone(), id: *id })
}

/// The learners that answer under their id and have caught up.
fn ready<'a>(electorate: &Electorate<'a>) -> impl Iterator<Item = (&'a NodeName, NodeId)> {
    let Electorate { membership, present, caught_up, .. } = *electorate;
    membership
        .learners
        .iter()
        .map(|(name, id)| (name, *id))
        .filter(|(name, id)| present.get(*name) == Some(id) && caught_up.contains(id))
}

#[cfg(test)]
#[path = "voters_tests.rs"]
mod tests;
