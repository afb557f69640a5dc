//! What an operator may order: a cluster of one, the end of a consent or of a lost majority, a name admitted again; and
//! the node without `[cluster]`, which is ordered to be alone.

use std::collections::BTreeSet;

use super::disk::{Disk, LogId, Origin, Standing, Table};
use super::identity::{ClusterId, NodeName};
use super::step::{Reason, Rest, Step, Write, list};
use super::view::View;

/// Why an order is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Inadmissible {
    /// There is a cluster here.
    #[error("this node is in cluster {0}")]
    HasState(ClusterId),
    /// The founder may initialise with it at any time.
    #[error("this node has consented to the founding of {0}; if {0} is gone for good, add --abandon-others")]
    Consenting(NodeName),
    /// The cluster is alive.
    #[error("{} answer, which is a majority of the voters", list(.0))]
    MajorityAnswers(BTreeSet<NodeName>),
    /// Another node has more of the table.
    #[error("{0} has a later table: run this there")]
    LaterTable(NodeName),
    /// Admission is a write of the cluster.
    #[error("this node is in no cluster")]
    NoState,
    /// Nobody to admit.
    #[error("{0} was not removed")]
    NotBarred(NodeName),
}

/// `cluster bootstrap`: the next write on the way to a cluster of one. The order is done when it is
/// [`Write::FoundAlone`]; until then it is asked again after each.
///
/// # Errors
/// [`Inadmissible`]: why not.
pub fn bootstrap(disk: &Disk) -> Result<Write, Inadmissible> {
    let found = |table| Write::FoundAlone { origin: Origin::Cluster, table };
    match &disk.standing {
        Standing::Blank => Ok(found(Table::Empty)),
        Standing::OldTable => Ok(found(Table::Old)),
        // Peers that consented must be able to see that it came to nothing.
        Standing::Founding { .. } => Ok(Write::ForgetFounding),
        Standing::Consenting { founder, .. } => Err(Inadmissible::Consenting(founder.clone())),
        Standing::State(_) if disk.is_blank() => Ok(Write::SetLoneStateAside),
        Standing::State(state) => Err(Inadmissible::HasState(state.cluster)),
    }
}

/// `cluster bootstrap --abandon-others`: the next write on the way to a cluster of one without those who are gone for
/// good; with state, from its table and under new ids, so that they are strangers if they come back.
///
/// # Errors
/// [`Inadmissible`]: why not.
pub fn abandon_others(view: &View<'_>) -> Result<Write, Inadmissible> {
    if matches!(view.disk.standing, Standing::Consenting { .. }) {
        return Ok(Write::FreeConsent);
    }
    let Some(mine) = view.disk.settled() else { return bootstrap(view.disk) };
    let ids = view.present_ids();
    if mine.membership.is_led_by(&ids) {
        let voters = mine.membership.voters.iter().filter(|(_, id)| ids.contains(id));
        return Err(Inadmissible::MajorityAnswers(voters.map(|(name, _)| name.clone()).collect()));
    }
    let is_later = |cluster: ClusterId, last: LogId| cluster == mine.cluster && last > mine.last;
    let later = view.settled_peers().find(|(_, state)| is_later(state.cluster, state.last));
    later.map_or(Ok(Write::FoundAnew), |(name, _)| Err(Inadmissible::LaterTable(name.clone())))
}

/// `cluster bootstrap --admit NAME`: whether this node may propose that the name is barred no more.
///
/// # Errors
/// [`Inadmissible`]: why not.
pub fn admit(disk: &Disk, name: &NodeName) -> Result<(), Inadmissible> {
    let state = disk.settled().ok_or(Inadmissible::NoState)?;
    if state.barred.contains(name) { Ok(()) } else { Err(Inadmissible::NotBarred(name.clone())) }
}

/// What a node does whose file has no `[cluster]`: it founds itself, and is a cluster of one by the same code. Whatever
/// ties it to others is not for it to drop.
#[must_use]
pub fn start_alone(disk: &Disk) -> Step {
    let found = |table| Step::Write(Write::FoundAlone { origin: Origin::Alone, table });
    match &disk.standing {
        Standing::Blank => found(Table::Empty),
        Standing::OldTable => found(Table::Old),
        Standing::State(state) if state.membership.is_only(disk.id) => Step::Rest(Rest::Serve),
        Standing::State(_) | Standing::Consenting { .. } | Standing::Founding { .. } => {
            Step::Rest(Rest::Refuse(Reason::NoSection))
        }
    }
}
