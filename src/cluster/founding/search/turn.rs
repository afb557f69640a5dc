//! A turn of Raft, as far as the rules depend on it: a leader is elected by those who take part, appends one entry, and
//! either it reaches all of them, or only the leader's own disk, and perhaps the wire.

use std::collections::BTreeSet;

use super::super::{Allowed, Call, Change, ClusterId, Electorate, NodeId, admit_call, next_change};
use super::records::{Records, by_name, ids, membership};
use super::world::{
    ENTRIES, Entry, Ids, Kind, Late, Log, NAMES, Set, Standing, World, bit, members, name_of,
};
use super::{Laws, Mutation};

/// How far the leader's entry gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// To all who take part, and is committed.
    All,
    /// To the leader's disk.
    Nobody,
    /// To the leader's disk, and an append to this voter is under way.
    Wire(usize),
}

/// Those who elect the leader and follow it.
struct Electors {
    follow: Set,
    vote: Set,
}

impl World {
    /// The world after a turn with those who answer the leader's calls. None when it is not elected, or the entry does not
    /// get that far.
    pub(super) fn turn(&self, leader: usize, with: Set, entry: Entry, reach: Reach) -> Option<Self> {
        let (cluster, log) = self.state(leader)?;
        let now = self.membership(cluster, log);
        let electors = self.electors(leader, with, &now, &entry)?;
        let at = self.cluster(cluster).len;
        if at >= ENTRIES {
            return None;
        }
        let mut next = *self;
        let over = if entry.kind == Kind::Members { now.voters } else { Ids::default() };
        next.cluster_mut(cluster).entries[usize::from(at)] = Entry { over, ..entry };
        next.cluster_mut(cluster).len += 1;
        let longer = Log(log.0 | 1 << at);
        next.nodes[leader].standing = Standing::State { cluster, log: longer };
        match reach {
            Reach::Nobody => {}
            Reach::Wire(to) => {
                let (from, to) = (self.nodes[leader].id, now.voters[to]);
                next.late = (to != 0).then_some(Late { cluster, from, to, greeted: from, log: longer });
                next.late?;
            }
            Reach::All => {
                for name in members(electors.follow) {
                    let is_ahead = self.state(name).is_some_and(|(_, own)| own.last() > log.last());
                    if electors.vote >> name & 1 == 1 || !is_ahead {
                        next.nodes[name].standing = Standing::State { cluster, log: longer };
                    }
                }
                next.commit(leader, if entry.kind == Kind::Members { Entry { over, ..entry } } else { now })?;
            }
        }
        Some(next)
    }

    /// None when the leader is not elected by them.
    fn electors(&self, leader: usize, with: Set, now: &Entry, entry: &Entry) -> Option<Electors> {
        let (_, log) = self.state(leader)?;
        let is_voter = |name: usize| {
            let id = self.nodes[name].id;
            now.voters[name] == id || (!now.is_committed && now.over[name] == id)
        };
        let is_learner = |name: usize| {
            let id = self.nodes[name].id;
            now.learners[name] == id || entry.voters[name] == id
        };
        let (mut follow, mut vote) = (0, 0);
        for name in members(with) {
            if is_voter(name) || is_learner(name) {
                follow |= 1 << name;
            }
            if is_voter(name) && self.state(name).is_none_or(|(_, own)| own.last() <= log.last()) {
                vote |= 1 << name;
            }
        }
        let is_elected = is_voter(leader)
            && self.has_majority(&now.voters, vote)
            && (now.is_committed || now.over == Ids::default() || self.has_majority(&now.over, vote));
        is_elected.then_some(Electors { follow, vote })
    }

    fn has_majority(&self, voters: &Ids, among: Set) -> bool {
        let present = members(among).filter(|name| voters[*name] == self.nodes[*name].id);
        present.count() * 2 > voters.iter().filter(|id| **id != 0).count()
    }

    /// Commits the leader's whole log if a majority has it.
    fn commit(&mut self, leader: usize, now: Entry) -> Option<()> {
        let (cluster, log) = self.state(leader)?;
        let have = (0..NAMES)
            .filter(|name| self.state(*name) == Some((cluster, log)))
            .fold(0, |have, name| have | 1 << name);
        let is_enough = self.has_majority(&now.voters, have)
            && (now.is_committed || now.over == Ids::default() || self.has_majority(&now.over, have));
        let mut is_lost = false;
        for (at, entry) in (0..).zip(&mut self.cluster_mut(cluster).entries) {
            is_lost |= entry.is_committed && !log.has(at);
            entry.is_committed |= log.has(at);
        }
        self.has_lost_a_write |= is_lost;
        is_enough.then_some(())
    }

    /// Whether the leader's last entry is not committed, or one of these lags behind.
    pub(super) fn lags(&self, leader: usize, with: Set) -> bool {
        let Some((cluster, log)) = self.state(leader) else { return false };
        let now = self.membership(cluster, log);
        let is_behind = |name: usize| {
            let id = self.nodes[name].id;
            (now.voters[name] == id || now.learners[name] == id)
                && self.state(name).is_none_or(|(_, own)| own.last() < log.last())
        };
        !now.is_committed || members(with).any(is_behind)
    }

    /// The change that the leader wants while it hears these.
    pub(super) fn change(&self, leader: usize, with: Set, laws: &Laws) -> Option<Entry> {
        let (cluster, log) = self.state(leader)?;
        let now = self.membership(cluster, log);
        let joining = self.cluster(cluster).joining;
        let mut present = Ids::default();
        members(with).for_each(|name| present[name] = self.nodes[name].id);
        if laws.mutation == Mutation::AbsentJoiners {
            (1..16).filter(|id| joining & bit(*id) != 0).for_each(|id| present[name_of(id)] = id);
        }
        let id = |id: u8| NodeId(id.into());
        let change = next_change(&Electorate {
            membership: &membership(&laws.names, &now),
            barred: &BTreeSet::new(),
            present: &by_name(&laws.names, present),
            caught_up: &members(with)
                .filter(|name| self.state(*name) == Some((cluster, log)))
                .map(|name| id(self.nodes[name].id))
                .collect(),
            joining: &(1..16).filter(|id| joining & bit(*id) != 0).map(id).collect(),
            names: laws.terms[leader].names.len(),
            allowed: Allowed::Three,
        })?;
        let mut entry = Entry { kind: Kind::Members, is_committed: false, ..now };
        match change {
            Change::AddLearner { name, id } => {
                let place = laws.names.iter().position(|other| *other == name)?;
                entry.learners[place] = id.0 as u8;
            }
            // No operator removes a name here.
            Change::RemoveLearner { .. } => return None,
            Change::SetVoters(voters) => {
                entry.voters = ids(&voters);
                for (learner, voter) in entry.learners.iter_mut().zip(entry.voters) {
                    if *learner == voter {
                        *learner = 0;
                    }
                }
            }
        }
        Some(entry)
    }

    /// The world after the append that is under way has arrived. None when it is refused, or is nothing new.
    pub(super) fn arrive(&self, records: &Records) -> Option<Self> {
        let Late { cluster, from, to, greeted, log } = self.late?;
        let name = name_of(to);
        let call = call(cluster, from, to);
        admit_call(&records.disks[name], NodeId(greeted.into()), call).ok()?;
        if self.state(name).is_some_and(|(_, own)| own.last() >= log.last()) {
            return None;
        }
        let mut next = *self;
        next.nodes[name].standing = Standing::State { cluster, log };
        next.late = None;
        Some(next)
    }

    /// A node and those that it hears have said Hello to each other.
    pub(super) fn greet(&mut self, name: usize, heard: Set) {
        let Some(late) = &mut self.late else { return };
        let (from, to) = (name_of(late.from), name_of(late.to));
        let have_met = |one: usize, other: usize| name == one && heard >> other & 1 == 1;
        if have_met(from, to) || have_met(to, from) {
            late.greeted = self.nodes[from].id;
        }
    }
}

/// Those who answer a leader's calls.
pub(super) fn followers(world: &World, records: &Records, leader: usize) -> Set {
    let Some((cluster, _)) = world.state(leader) else { return 0 };
    let from = world.nodes[leader].id;
    let follows = |name: &usize| {
        let call = call(cluster, from, world.nodes[*name].id);
        admit_call(&records.disks[*name], NodeId(from.into()), call).is_ok()
    };
    (0..NAMES).filter(follows).fold(0, |set, name| set | 1 << name)
}

fn call(cluster: u8, from: u8, to: u8) -> Call {
    Call { cluster: ClusterId(cluster.into()), from: NodeId(from.into()), to: NodeId(to.into()) }
}
