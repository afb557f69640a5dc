//! Each durable write of the rules ([`Write`]), as what becomes of the identity and of the folder that it names.

use super::super::disk::{Adopted, Bound, Identity};
use super::super::founding::{ClusterId, Members, NodeName, Origin, Table, Write};

/// What a write comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Writing {
    /// Another identity, over the same folder: Raft goes on.
    Identity(Identity),
    /// The same, and then Raft makes the cluster's first entry.
    First(Identity, Members),
    /// A new folder, and the identity that names it: Raft stops before, and begins anew with it.
    Folder(Identity, Inheritance),
    /// The table in the store counts no more.
    OldTableAside,
}

/// What the new folder begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Inheritance {
    /// Whether the vote is kept: the node id is.
    pub(super) vote: Kept,
    /// Which table; none: no entry.
    pub(super) table: Option<Source>,
}

/// Whether something goes along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    Yes,
    No,
}

/// Where a table comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Empty,
    /// The store.
    Old,
    /// What this node has.
    Present,
}

/// What a write comes to on this disk.
pub(super) fn writing(write: Write, was: &Identity, name: &NodeName) -> Writing {
    let bound = |bound| Writing::Identity(Identity { bound, ..was.clone() });
    let free = || Identity { bound: Bound::Free, adopted: None, was_shown: false, ..was.clone() };
    let drawn = || Identity::draw(name.clone());
    let nothing = |vote| Inheritance { vote, table: None };
    match write {
        Write::DrawFounding { list, table } => {
            bound(Bound::Founding { cluster: ClusterId(rand::random()), list, table })
        }
        Write::Relist { name, id } => relisted(was, name, id),
        Write::ForgetFounding => bound(Bound::Free),
        Write::Consent { cluster, founder } => bound(Bound::Consent { cluster, founder }),
        Write::FreeConsent => {
            let spent = match &was.bound {
                Bound::Consent { cluster, .. } => Some(*cluster),
                Bound::Free | Bound::Founding { .. } => was.spent,
            };
            Writing::Identity(Identity { spent, bound: Bound::Free, ..was.clone() })
        }
        Write::Initialise { cluster, voters, table: Table::Empty } => {
            let adopted = Some(Adopted { cluster, origin: Origin::Cluster });
            Writing::First(Identity { adopted, ..was.clone() }, voters)
        }
        Write::Initialise { cluster, table: Table::Old, .. } => {
            founded(free(), cluster, Origin::Cluster, Source::Old)
        }
        // A lone state goes with its id: the engine makes no first entry under one that has voted.
        Write::SetLoneStateAside | Write::DrawIdentity | Write::SetRaftAside => {
            Writing::Folder(drawn(), nothing(Kept::No))
        }
        Write::SetOldTableAside => Writing::OldTableAside,
        Write::FoundAlone { origin, table } => {
            let source = if table == Table::Old { Source::Old } else { Source::Empty };
            founded(free(), ClusterId(rand::random()), origin, source)
        }
        Write::FoundAnew => {
            let adopted = Some(Adopted { cluster: ClusterId(rand::random()), origin: Origin::Cluster });
            let inheritance = Inheritance { vote: Kept::No, table: Some(Source::Present) };
            Writing::Folder(Identity { adopted, ..drawn() }, inheritance)
        }
    }
}

fn founded(identity: Identity, cluster: ClusterId, origin: Origin, source: Source) -> Writing {
    let identity = Identity { adopted: Some(Adopted { cluster, origin }), ..identity };
    Writing::Folder(identity, Inheritance { vote: Kept::Yes, table: Some(source) })
}

fn relisted(was: &Identity, name: NodeName, id: super::super::founding::NodeId) -> Writing {
    let mut identity = was.clone();
    if let Bound::Founding { list, .. } = &mut identity.bound {
        list.insert(name, id);
    }
    Writing::Identity(identity)
}
