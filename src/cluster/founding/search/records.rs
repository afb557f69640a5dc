//! A world's disks as the records that the rules read.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{
    Answer, Asked, ClusterId, Disk, Heard, LogId, Members, Membership, NodeId, NodeName, Origin, Stage,
    Standing as Record, State, Table, Terms, View,
};
use super::world::{
    Cluster, ENTRIES, Entry, Ids, Kind, Log, NAMES, Set, Source, Standing, World, bit, members, name_of,
};
use super::{Laws, Mutation};

/// The records that the rules read of a world.
#[derive(Debug)]
pub(super) struct Records {
    names: [NodeName; NAMES],
    pub(super) disks: [Disk; NAMES],
    heard: BTreeMap<NodeName, Heard>,
    consents: [BTreeSet<NodeId>; NAMES],
}

/// The names `a`, `b`, `c`.
pub(super) fn names() -> [NodeName; NAMES] {
    ["a", "b", "c"].map(NodeName::from)
}

/// What the files say: one list of names for each node.
pub(super) fn terms(lists: [Set; NAMES]) -> [Terms; NAMES] {
    let all = names();
    lists.map(|list| Terms { names: members(list).map(|name| all[name].clone()).collect(), domain: [0; 32] })
}

impl Records {
    pub(super) fn of(world: &World, laws: &Laws) -> Self {
        let Laws { names, terms, .. } = laws;
        let disks = std::array::from_fn(|name| disk(world, laws, name));
        let answer = |name: usize| Answer {
            disk: Disk::clone(&disks[name]),
            terms: terms[name].clone(),
            incarnation: name as u64,
            seen: None,
        };
        let heard = (0..NAMES)
            .map(|name| (names[name].clone(), Heard { asked: Asked::Before, answer: answer(name) }))
            .collect();
        let consents = std::array::from_fn(|name| match world.nodes[name].standing {
            Standing::Founding { cluster, .. } => {
                let given = world.cluster(cluster).consented;
                (1..16).filter(|id| given & bit(*id) != 0).map(|id| NodeId(id.into())).collect()
            }
            _ => BTreeSet::new(),
        });
        Self { names: names.clone(), disks, heard, consents }
    }

    /// What a node sees that hears these, asked since. Of the others it has old answers.
    pub(super) fn view<'a>(&'a mut self, name: usize, terms: &'a Terms, heard: Set) -> View<'a> {
        for (at, answer) in self.heard.values_mut().enumerate() {
            answer.asked = if heard >> at & 1 == 1 { Asked::Since } else { Asked::Before };
        }
        View {
            name: &self.names[name],
            terms,
            disk: &self.disks[name],
            incarnation: name as u64,
            heard: &self.heard,
            consents: &self.consents[name],
        }
    }
}

fn disk(world: &World, laws: &Laws, name: usize) -> Disk {
    let names = &laws.names;
    let node = world.nodes[name];
    let number = |cluster: u8| ClusterId(cluster.into());
    let standing = match node.standing {
        Standing::Blank => Record::Blank,
        Standing::OldTable => Record::OldTable,
        Standing::Consenting { cluster } => {
            let founder = names[name_of(world.cluster(cluster).founder)].clone();
            Record::Consenting { cluster: number(cluster), founder }
        }
        Standing::Founding { cluster, list, old } => {
            let table = if old { Table::Old } else { Table::Empty };
            Record::Founding { cluster: number(cluster), list: by_name(names, list), table }
        }
        Standing::State { cluster, log } => Record::State(state(world, laws, cluster, log)),
    };
    let spent = (node.spent != 0).then(|| number(node.spent));
    Disk { id: NodeId(node.id.into()), vote: 0, spent, standing }
}

fn state(world: &World, laws: &Laws, cluster: u8, log: Log) -> State {
    let Cluster { origin, entries, .. } = world.cluster(cluster);
    let mut members = world.membership(cluster, log);
    members.is_committed |= laws.mutation == Mutation::ProposedCounts;
    let writes = (0..ENTRIES).filter(|at| log.has(*at) && entries[usize::from(*at)].kind == Kind::Write);
    State {
        cluster: ClusterId(cluster.into()),
        origin: if *origin == Source::Alone { Origin::Alone } else { Origin::Cluster },
        last: LogId { term: 1, index: log.last().into() },
        membership: membership(&laws.names, &members),
        barred: BTreeSet::new(),
        revision: writes.count() as u64,
    }
}

pub(super) fn membership(names: &[NodeName; NAMES], entry: &Entry) -> Membership {
    Membership {
        voters: by_name(names, entry.voters),
        learners: by_name(names, entry.learners),
        stage: if entry.is_committed {
            Stage::Committed
        } else {
            Stage::Proposed { over: by_name(names, entry.over) }
        },
    }
}

pub(super) fn by_name(names: &[NodeName; NAMES], ids: Ids) -> Members {
    let known = names.iter().zip(ids).filter(|(_, id)| *id != 0);
    known.map(|(name, id)| (name.clone(), NodeId(id.into()))).collect()
}

pub(super) fn ids(members: &Members) -> Ids {
    let mut ids = Ids::default();
    for (name, id) in members {
        ids[place(name)] = id.0 as u8;
    }
    ids
}

pub(super) fn place(name: &NodeName) -> usize {
    names().iter().position(|other| other == name).expect("one of the three names")
}
