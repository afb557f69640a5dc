//! What an operator orders of a member, as the steward carries it out.

use super::super::founding::{
    ClusterId, Inadmissible, NodeName, View as Rules, Write, abandon_others, bootstrap,
};
use super::super::network::LocalNode as _;
use super::super::operate::{Bootstrap, OperateError};
use super::seat::Running;
use super::steward::Steward;

impl Steward {
    /// Founds a cluster of one, write by write, as far as the rules let an operator.
    pub(super) async fn bootstrap(&mut self, extent: Bootstrap) -> Result<(), OperateError> {
        // Whoever answers now is there, whatever was heard before.
        self.hearing.ask_anew(&self.peers.names()).await;
        if extent == Bootstrap::Found
            && let Some((name, cluster)) = self.joinable()
        {
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

    /// A peer in a cluster, if there is one.
    fn joinable(&self) -> Option<(NodeName, ClusterId)> {
        let heard = self.hearing.heard();
        let others = heard.iter().filter(|(name, _)| **name != self.name);
        others
            .filter_map(|(name, heard)| Some((name.clone(), heard.answer.disk.settled()?.cluster)))
            .find(|(_, cluster)| self.local.disk().settled().is_none_or(|state| state.cluster != *cluster))
    }

    fn write_wanted(&self, extent: Bootstrap) -> Result<Write, Inadmissible> {
        let (disk, heard, terms) = (self.local.disk(), self.hearing.heard(), self.local.terms.load_full());
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

    /// While an operator has the node take no new sessions, it leaves it to others to lead: those who vote and answer decide
    /// without it. Where they cannot, it leads on.
    pub(super) fn stand_back(&self) {
        let Running::Part { part, .. } = &self.running else { return };
        let stands_back = self.local.is_drained() && self.others_decide();
        let engine = part.raft.runtime_config();
        engine.elect(!stands_back);
        engine.heartbeat(!stands_back);
    }

    fn others_decide(&self) -> bool {
        let disk = self.local.disk();
        let heard = self.hearing.heard();
        let others = heard
            .iter()
            .filter(|(name, _)| **name != self.name)
            .map(|(_, heard)| heard.answer.disk.id)
            .collect();
        disk.settled().is_some_and(|state| state.membership.is_led_by(&others))
    }
}
