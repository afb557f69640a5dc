//! What an operator, or a peer, orders of a member, as the steward carries it out.

use std::time::Duration;

use tokio::sync::oneshot;

use super::super::disk::{Adopted, Identity};
use super::super::founding::{
    Asked, ClusterId, Inadmissible, NodeName, Origin, Reply, Request, Standing, View as Rules, Write,
    abandon_others, answer_founder, bootstrap,
};
use super::super::network::LocalNode as _;
use super::super::operate::{Bootstrap, OperateError};
use super::local::Order;
use super::steward::Steward;

/// How long a peer has to show that it is there, before a cluster is founded without it.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

impl Steward {
    /// Does what is to be done by the steward alone.
    pub(super) async fn obey(&mut self, order: Order) {
        match order {
            Order::Adopt(cluster, answer) => self.adopt(cluster, answer).await,
            Order::Consent(request, answer) => self.consent(&request, answer).await,
            Order::Bootstrap(extent, answer) => {
                // Whoever ordered it has gone, and does not wait for it any more.
                if !answer.is_closed() {
                    let founded = self.bootstrap(extent).await;
                    let _gone = answer.send(founded);
                }
            }
        }
    }

    async fn adopt(&mut self, cluster: ClusterId, answer: oneshot::Sender<Result<(), String>>) {
        if self.identity.adopted.is_some_and(|adopted| adopted.cluster == cluster) {
            let _gone = answer.send(Ok(()));
            return;
        }
        let of_another = match self.local.disk().standing {
            Standing::State(state) => state.cluster != cluster,
            Standing::Consenting { cluster: other, .. } => other != cluster,
            Standing::Founding { .. } | Standing::OldTable => true,
            Standing::Blank => false,
        };
        if of_another {
            let _gone = answer.send(Err("this node belongs to another cluster by now".to_owned()));
            return;
        }
        let origin = self.hearing.heard().values().find_map(|heard| {
            let state = heard.answer.disk.settled()?;
            (state.cluster == cluster).then_some(state.origin)
        });
        let adopted = Some(Adopted { cluster, origin: origin.unwrap_or(Origin::Cluster) });
        let adopted = self.become_this(Identity { adopted, ..self.identity.clone() }).await;
        self.hearing.wrote();
        let _gone = answer.send(adopted.map_err(|error| error.to_string()));
    }

    async fn consent(&mut self, request: &Request, answer: oneshot::Sender<Result<(), String>>) {
        let said = loop {
            let terms = self.local.terms.load_full();
            match answer_founder(&self.local.disk(), &terms, request) {
                Reply::Consented => break Ok(()),
                Reply::Unwilling(why) => break Err(why.to_string()),
                Reply::First(write) => {
                    if !self.write(write).await {
                        break Err("the disk of this node refuses".to_owned());
                    }
                }
            }
        };
        let _gone = answer.send(said);
    }

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
}
