//! The world of the search: three disks, the logs of the clusters, and what is under way; small enough to be compared.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};

use super::super::{Origin, Table, Write};
use super::records::{ids, place};

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
    pub(super) held: Option<Held>,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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

/// Without the entries that are not there: most of the search's time is spent here.
impl Hash for Cluster {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { origin, founder, asked, consented, joining, entries, len } = self;
        (origin, founder, asked, consented, joining).hash(state);
        entries[..usize::from(*len)].hash(state);
    }
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
    /// Answers that are read later than they were given.
    pub(super) held: u8,
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

/// An answer under way: asked since, and yet of a disk that may be another when it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Held {
    pub(super) from: u8,
    pub(super) to: u8,
    pub(super) node: Node,
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
            held: None,
            out: None,
            has_lost_a_write: false,
        }
    }

    /// The same, when nothing goes wrong any more.
    pub(super) fn without_faults(&self) -> Self {
        Self { left: Left::default(), late: None, held: None, out: None, ..*self }
    }

    /// The same, with what a held answer says in the place of what is.
    pub(super) fn as_held(&self, held: &Held) -> Self {
        let mut then = *self;
        then.nodes[usize::from(held.from)] = held.node;
        then
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
        let last =
            (0..ENTRIES).rev().find(|at| log.has(*at) && entries[usize::from(*at)].kind == Kind::Members);
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

    /// A founding of `a` to which the others have consented. Its disk was taken out, with the first entry or before it.
    pub(super) fn take_founder_out(&mut self, has_entry: bool) {
        let list = self.nodes.map(|node| node.id);
        let cluster = self.draw_cluster(Source::Founded, list[0]).expect("few clusters to begin with");
        let founded = self.cluster_mut(cluster);
        founded.asked = bit(list[1]) | bit(list[2]);
        founded.consented = founded.asked;
        founded.entries[0] = Entry { kind: Kind::Members, voters: list, ..Entry::default() };
        founded.len = has_entry.into();
        let standing = if has_entry {
            Standing::State { cluster, log: Log(1) }
        } else {
            Standing::Founding { cluster, list, old: false }
        };
        self.out = Some((0, Node { standing, ..self.nodes[0] }));
        self.wipe(0).expect("few ids to begin with");
        self.nodes[1].standing = Standing::Consenting { cluster };
        self.nodes[2].standing = Standing::Consenting { cluster };
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

    /// Whether two clusters live that no operator ordered. Those whose voters' disks are gone for the most part do not
    /// live: what is left of them, when it is put back, is told to move aside.
    pub(super) fn has_two_clusters(&self) -> bool {
        let founded = (0..NAMES).filter_map(|name| {
            let (cluster, log) = self.state(name)?;
            let has_decided = self.cluster(cluster).entries.iter().any(|entry| entry.is_committed);
            let is_ordered = self.cluster(cluster).origin == Source::Ordered;
            let lives = has_decided && !is_ordered && self.may_decide(cluster, log);
            (lives && !self.counts_as_blank(name)).then_some(cluster)
        });
        founded.collect::<BTreeSet<_>>().len() > 1
    }

    /// Whether most voters' disks exist, in a machine or taken out.
    fn may_decide(&self, cluster: u8, log: Log) -> bool {
        let out = self.out.map(|(_, node)| node.id);
        let voters = self.membership(cluster, log).voters.into_iter().filter(|id| *id != 0);
        let exists = |id: &u8| self.nodes.iter().any(|node| node.id == *id) || out == Some(*id);
        voters.clone().filter(exists).count() * 2 > voters.count()
    }

    /// The search's own reading, so that a rule that is too generous is found.
    fn counts_as_blank(&self, name: usize) -> bool {
        self.state(name).is_some_and(|(cluster, log)| {
            let Cluster { origin, entries, .. } = self.cluster(cluster);
            let mut only_me = Ids::default();
            only_me[name] = self.nodes[name].id;
            let is_written =
                (0..ENTRIES).any(|at| log.has(at) && entries[usize::from(at)].kind == Kind::Write);
            let members = self.membership(cluster, log);
            *origin == Source::Alone
                && !is_written
                && members.voters == only_me
                && members.learners == Ids::default()
        })
    }
}
