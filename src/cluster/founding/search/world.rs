//! The world of the search: three disks, the logs of the clusters, and what is under way. Small enough to be compared,
//! turned into the records that the rules read.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{
    Answer, Asked, ClusterId, Disk, Heard, LogId, Members, Membership, NodeId, NodeName, Origin, Stage,
    Standing as Record, State, Table, Terms, View, Write,
};
use super::{Laws, Mutation};

/// Nodes.
pub(super) const NAMES: usize = 3;
/// Ids that a name may draw.
const IDS: u8 = 5;
/// Clusters that a run may draw; the first place is not used.
const CLUSTERS: usize = 5;
/// Entries of a cluster's log.
pub(super) const ENTRIES: u8 = 14;

/// One id for each name, 0 where there is none.
pub(super) type Ids = [u8; NAMES];
/// A set of names, by bits.
pub(super) type Set = u8;

/// Everything that decides what may happen next. Whoever is down or cut off takes no step, so neither is noted; what is
/// only in memory or on the wire may be used at any time, or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) nodes: [Node; NAMES],
    pub(super) clusters: [Cluster; CLUSTERS],
    pub(super) drawn_clusters: u8,
    drawn_ids: [u8; NAMES],
    pub(super) left: Left,
    pub(super) late: Option<Late>,
    /// A disk that was taken out, and whose it is.
    pub(super) out: Option<(u8, Node)>,
    pub(super) has_lost_a_write: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub(super) id: u8,
    pub(super) spent: u8,
    pub(super) standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Standing {
    Blank,
    OldTable,
    Consenting { cluster: u8 },
    Founding { cluster: u8, list: Ids, old: bool },
    State { cluster: u8, log: Log },
}

/// A log: which of the cluster's entries. A leader appends to what was appended last anywhere, as by a later term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Log(pub(super) u16);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Cluster {
    pub(super) origin: Source,
    pub(super) founder: u8,
    /// Ids that were asked for consent, gave it to the founder's process, asked to join.
    pub(super) asked: u16,
    pub(super) consented: u16,
    pub(super) joining: u16,
    pub(super) entries: [Entry; ENTRIES as usize],
    pub(super) len: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Source {
    #[default]
    Founded,
    Ordered,
    Alone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) voters: Ids,
    pub(super) over: Ids,
    pub(super) learners: Ids,
    pub(super) is_committed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Kind {
    #[default]
    Empty,
    Write,
    Members,
}

/// What may still go wrong, or be ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Left {
    pub(super) wipes: u8,
    pub(super) bootstraps: u8,
    pub(super) abandons: u8,
    pub(super) writes: u8,
    /// Entries that a leader appends to its own disk only.
    pub(super) lone_entries: u8,
    pub(super) disks_out: u8,
    pub(super) swaps: u8,
}

/// An append under way, of a leader that may be gone when it arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Late {
    pub(super) cluster: u8,
    pub(super) from: u8,
    pub(super) to: u8,
    /// The id under which the sender's name said Hello to the receiver last.
    pub(super) greeted: u8,
    pub(super) log: Log,
}

pub(super) fn name_of(id: u8) -> usize {
    usize::from((id - 1) / IDS)
}

pub(super) fn bit(id: u8) -> u16 {
    1 << id
}

pub(super) fn members(set: Set) -> impl Iterator<Item = usize> + Clone {
    (0..NAMES).filter(move |name| set >> name & 1 == 1)
}

impl Log {
    /// The place of its last entry, from 1; 0 if it has none.
    pub(super) fn last(self) -> u8 {
        (u16::BITS - self.0.leading_zeros()) as u8
    }

    pub(super) fn has(self, entry: u8) -> bool {
        self.0 >> entry & 1 == 1
    }
}

impl World {
    pub(super) fn blank(left: Left) -> Self {
        let node = |name: u8| Node { id: name * IDS + 1, spent: 0, standing: Standing::Blank };
        Self {
            nodes: [node(0), node(1), node(2)],
            clusters: [Cluster::default(); CLUSTERS],
            drawn_clusters: 0,
            drawn_ids: [1; NAMES],
            left,
            late: None,
            out: None,
            has_lost_a_write: false,
        }
    }

    /// The same, when nothing goes wrong any more.
    pub(super) fn without_faults(&self) -> Self {
        Self { left: Left::default(), late: None, out: None, ..*self }
    }

    /// The next id of a name. None when the world has no more.
    pub(super) fn draw_id(&mut self, name: usize) -> Option<u8> {
        self.drawn_ids[name] += 1;
        (self.drawn_ids[name] <= IDS).then(|| name as u8 * IDS + self.drawn_ids[name])
    }

    fn draw_cluster(&mut self, origin: Source, founder: u8) -> Option<u8> {
        self.drawn_clusters += 1;
        let cluster = self.clusters.get_mut(usize::from(self.drawn_clusters))?;
        *cluster = Cluster { origin, founder, ..Cluster::default() };
        Some(self.drawn_clusters)
    }

    /// Whether the world has run out of ids, clusters or entries, so that what does not happen says nothing.
    pub(super) fn is_used_up(&self) -> bool {
        usize::from(self.drawn_clusters) >= CLUSTERS - 1
            || self.drawn_ids.iter().any(|drawn| *drawn >= IDS)
            || self.clusters.iter().any(|cluster| cluster.len >= ENTRIES - 1)
    }

    pub(super) fn state(&self, name: usize) -> Option<(u8, Log)> {
        match self.nodes[name].standing {
            Standing::State { cluster, log } => Some((cluster, log)),
            _ => None,
        }
    }

    pub(super) fn cluster(&self, cluster: u8) -> &Cluster {
        &self.clusters[usize::from(cluster)]
    }

    pub(super) fn cluster_mut(&mut self, cluster: u8) -> &mut Cluster {
        &mut self.clusters[usize::from(cluster)]
    }

    /// The membership in effect by a log.
    pub(super) fn membership(&self, cluster: u8, log: Log) -> Entry {
        let entries = &self.cluster(cluster).entries;
        let last = (0..ENTRIES).rev().find(|at| log.has(*at) && entries[usize::from(*at)].kind == Kind::Members);
        entries[usize::from(last.expect("a log begins with a membership"))]
    }

    /// Makes a cluster of one, whose first entries are committed as they are written.
    pub(super) fn found_alone(&mut self, name: usize, cluster: u8, table: Table) {
        let mut voters = Ids::default();
        voters[name] = self.nodes[name].id;
        let len = if table == Table::Old { 2 } else { 1 };
        let founded = self.cluster_mut(cluster);
        founded.entries[0] = Entry { kind: Kind::Members, voters, is_committed: true, ..Entry::default() };
        if table == Table::Old {
            founded.entries[1] = Entry { kind: Kind::Write, is_committed: true, ..Entry::default() };
        }
        founded.len = len;
        self.nodes[name].standing = Standing::State { cluster, log: Log((1 << len) - 1) };
    }

    /// A cluster of these as it is after a while; a lone one as it is at once.
    pub(super) fn settle(&mut self, nodes: &[usize], origin: Source) {
        let founder = self.nodes[nodes[0]].id;
        let cluster = self.draw_cluster(origin, founder).expect("few clusters to begin with");
        let table = if origin == Source::Alone { Table::Empty } else { Table::Old };
        self.found_alone(nodes[0], cluster, table);
        let mut voters = Ids::default();
        nodes.iter().for_each(|name| voters[*name] = self.nodes[*name].id);
        self.cluster_mut(cluster).entries[0].voters = voters;
        nodes.iter().for_each(|name| self.nodes[*name].standing = self.nodes[nodes[0]].standing);
    }

    /// One durable write of a node. None when the world has run out of ids or clusters.
    pub(super) fn write(&mut self, name: usize, write: &Write) -> Option<()> {
        let Node { id, standing, .. } = self.nodes[name];
        match write {
            Write::DrawFounding { list, table } => {
                let cluster = self.draw_cluster(Source::Founded, id)?;
                let old = *table == Table::Old;
                self.nodes[name].standing = Standing::Founding { cluster, list: ids(list), old };
            }
            Write::Relist { name: other, id } => {
                let Standing::Founding { list, .. } = &mut self.nodes[name].standing else { unreachable!() };
                list[place(other)] = id.0 as u8;
            }
            Write::ForgetFounding => {
                let was_old = matches!(standing, Standing::Founding { old: true, .. });
                self.nodes[name].standing = if was_old { Standing::OldTable } else { Standing::Blank };
            }
            Write::Initialise { cluster, table: Table::Old, .. } => {
                self.found_alone(name, cluster.0 as u8, Table::Old);
            }
            Write::Initialise { cluster, voters, table: Table::Empty } => {
                let cluster = cluster.0 as u8;
                let voters = ids(voters);
                let founded = self.cluster_mut(cluster);
                founded.entries[0] = Entry { kind: Kind::Members, voters, ..Entry::default() };
                founded.len = 1;
                self.nodes[name].standing = Standing::State { cluster, log: Log(1) };
            }
            Write::Consent { cluster, .. } => {
                self.nodes[name].standing = Standing::Consenting { cluster: cluster.0 as u8 };
            }
            Write::FreeConsent => {
                let Standing::Consenting { cluster } = standing else { unreachable!() };
                self.nodes[name] = Node { id, spent: cluster, standing: Standing::Blank };
            }
            Write::SetLoneStateAside | Write::SetOldTableAside => {
                self.nodes[name].standing = Standing::Blank;
            }
            Write::DrawIdentity | Write::SetRaftAside => self.wipe(name)?,
            Write::FoundAlone { origin, table } => {
                let origin = if *origin == Origin::Alone { Source::Alone } else { Source::Ordered };
                let cluster = self.draw_cluster(origin, id)?;
                self.found_alone(name, cluster, *table);
            }
            Write::FoundAnew => {
                self.wipe(name)?;
                let cluster = self.draw_cluster(Source::Ordered, self.nodes[name].id)?;
                self.found_alone(name, cluster, Table::Old);
            }
        }
        Some(())
    }

    /// A blank disk under a new id.
    pub(super) fn wipe(&mut self, name: usize) -> Option<()> {
        let id = self.draw_id(name)?;
        self.nodes[name] = Node { id, spent: 0, standing: Standing::Blank };
        Some(())
    }

    /// Whether two clusters were founded, by no order of an operator, and both have decided something.
    pub(super) fn has_two_clusters(&self) -> bool {
        let founded = (0..NAMES).filter_map(|name| {
            let (cluster, _) = self.state(name)?;
            let is_alive = self.cluster(cluster).entries.iter().any(|entry| entry.is_committed);
            let is_ordered = self.cluster(cluster).origin == Source::Ordered;
            (is_alive && !is_ordered && !self.counts_as_blank(name)).then_some(cluster)
        });
        founded.collect::<BTreeSet<_>>().len() > 1
    }

    /// The search's own reading, so that a rule that is too generous is found.
    fn counts_as_blank(&self, name: usize) -> bool {
        self.state(name).is_some_and(|(cluster, log)| {
            let Cluster { origin, entries, .. } = self.cluster(cluster);
            let mut only_me = Ids::default();
            only_me[name] = self.nodes[name].id;
            let is_written = (0..ENTRIES).any(|at| log.has(at) && entries[usize::from(at)].kind == Kind::Write);
            let members = self.membership(cluster, log);
            *origin == Source::Alone
                && !is_written
                && members.voters == only_me
                && members.learners == Ids::default()
        })
    }
}

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

fn place(name: &NodeName) -> usize {
    names().iter().position(|other| other == name).expect("one of the three names")
}
