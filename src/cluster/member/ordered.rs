//! What an operator orders of a member, as the steward carries it out.

use std::time::Duration;

use tokio::time::Instant;

use super::super::founding::{
    Asked, ClusterId, Inadmissible, NodeName, View as Rules, Write, abandon_others, bootstrap,
};
use super::super::network::LocalNode as _;
use super::super::operate::{Bootstrap, OperateError};
use super::hearing::COUNTS_FOR;
use super::seat::Running;
use super::steward::Steward;

/// How long a peer has to show that it is there, before a cluster is founded without it.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
/// How long ago a voter was heard who may give its vote, at least: it says Hello every half a second.
const HEARD_LATELY: Duration = Duration::from_secs(1);
/// How long others have to lead in the place of a node that stands back: several elections.
const OTHERS_LEAD_WITHIN: Duration = Duration::from_secs(10);

/// Whether this node leaves it to others to lead.
#[derive(Debug, Clone, Copy)]
pub(super) enum StandingBack {
    No,
    /// It was led by another then, or began to wait for that.
    Since(Instant),
    /// None of them did.
    InVain,
}

impl Steward {
    /// Founds a cluster of one, write by write, as far as the rules let an operator.
    pub(super) async fn bootstrap(&mut self, extent: Bootstrap) -> Result<(), OperateError> {
        // Whoever answers now is there, whatever was heard before.
        self.hearing.look(&self.peers, ANSWERED_WITHIN).await;
        if let Some((name, cluster)) = self.joinable() {
            return Err(OperateError::ClusterThere { name, cluster });
        }
        loop {
            let write = self.write_wanted(extent)?;
            let is_last = matches!(write, Write::FoundAlone { .. } | Write::FoundAnew);
            tracing::warn!(?write, "an operator has this node found a cluster of one");
            if !self.write(write).await {
                return Err(OperateError::DiskFailed);
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// A peer in another cluster than this node, if there is one.
    fn joinable(&self) -> Option<(NodeName, ClusterId)> {
        let heard = self.hearing.heard();
        let others = heard.iter().filter(|(name, _)| **name != self.name);
        others
            .filter_map(|(name, heard)| Some((name.clone(), heard.answer.disk.settled()?.cluster)))
            .find(|(_, cluster)| self.local.disk().settled().is_none_or(|state| state.cluster != *cluster))
    }

    fn write_wanted(&self, extent: Bootstrap) -> Result<Write, Inadmissible> {
        let (disk, terms) = (self.local.disk(), self.local.terms.load_full());
        // What is heard can only forbid it: an answer to an earlier question does as well.
        let mut heard = self.hearing.heard();
        heard.values_mut().for_each(|heard| heard.asked = Asked::Since);
        match extent {
            Bootstrap::Found => bootstrap(&disk),
            Bootstrap::AbandonOthers => abandon_others(&Rules {
                name: &self.name,
                terms: &terms,
                disk: &disk,
                incarnation: self.local.incarnation(),
                heard: &heard,
                consents: &self.consents,
            }),
        }
    }

    /// While an operator has the node take no new sessions, it leaves it to others to lead, if they can. If none of them does
    /// in time, it leads on: somebody must.
    pub(super) fn stand_back(&mut self) {
        let Running::Part { part, .. } = &self.running else { return };
        let metrics = part.raft.metrics().borrow().clone();
        let is_led = metrics.current_leader.is_some_and(|leader| leader != metrics.id);
        let wanted = self.local.is_drained() && self.others_decide();
        self.standing_back = match self.standing_back {
            _ if !wanted => StandingBack::No,
            StandingBack::No => StandingBack::Since(Instant::now()),
            StandingBack::Since(at) if at.elapsed() >= OTHERS_LEAD_WITHIN && !is_led => StandingBack::InVain,
            StandingBack::Since(_) if is_led => StandingBack::Since(Instant::now()),
            kept @ (StandingBack::Since(_) | StandingBack::InVain) => kept,
        };
        let leads = !matches!(self.standing_back, StandingBack::Since(_));
        let engine = part.raft.runtime_config();
        // Who hears no majority gets no vote of one: its terms would only depose who leads when it is back.
        engine.elect(leads && self.hears_majority());
        engine.heartbeat(leads);
    }

    fn hears_majority(&self) -> bool {
        let greetings = self.hearing.greetings().into_values();
        // Nobody asks for votes sooner than this after it was led last.
        let within = HEARD_LATELY.max(Duration::from_millis(2 * self.timing.election.0));
        let lately = greetings.filter(|(_, ago)| *ago < within);
        let ids = lately.map(|(greeting, _)| greeting.answer.disk.id).chain([self.identity.node]).collect();
        // Who votes is not known before the log is read.
        self.local
            .disk()
            .settled()
            .is_none_or(|state| state.membership.voters.is_empty() || state.membership.is_led_by(&ids))
    }

    /// Whether those of the voters who answer, and are not drained themselves, are a majority without this node.
    fn others_decide(&self) -> bool {
        let disk = self.local.disk();
        let greetings = self.hearing.greetings().into_iter();
        let others = greetings
            .filter(|(name, (greeting, ago))| {
                *name != self.name && *ago < COUNTS_FOR && !greeting.report.drained
            })
            .map(|(_, (greeting, _))| greeting.answer.disk.id)
            .collect();
        disk.settled().is_some_and(|state| state.membership.is_led_by(&others))
    }
}
