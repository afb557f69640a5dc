//! What operators see of a node of its own.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::super::disk::Identity;
use super::super::founding::NodeName;
use super::super::network::Report;
use super::super::operate::OperateError;
use super::super::status::{Heard, NodeStatus, Role, Said, Shown, Status};
#[cfg(test)]
use crate::connections::Drain;
use crate::routing::{Table, View};
use crate::telemetry::Metrics;

/// What operators see of it.
#[derive(Clone)]
pub struct Handle {
    pub(super) name: NodeName,
    pub(super) known: Arc<ArcSwapOption<Identity>>,
    pub(super) view: View,
    pub(super) metrics: Arc<Metrics>,
    pub(super) shown: Arc<Shown>,
}

impl Handle {
    /// How it is.
    #[must_use]
    pub fn status(&self) -> Status {
        let takes_changes = self.metrics.cluster_stopped.get() == 0;
        let detail = if takes_changes {
            "changes are taken: this node is a cluster of its own"
        } else {
            "this node takes no changes, and forwards by what it has of the routing table: its log says why"
        };
        let identity = self.known.load_full();
        let revision = self.view.latest(Table::revision);
        Status {
            cluster: identity.as_ref().and_then(|identity| identity.adopted).map(|adopted| adopted.cluster),
            takes_changes,
            detail: detail.to_owned(),
            told_by: self.name.clone(),
            nodes: vec![NodeStatus {
                name: self.name.clone(),
                id: identity.map(|identity| identity.node),
                role: Role::Voter,
                leads: takes_changes,
                heard: Some(Heard::Now),
                said: Said { revision, lag: Some(0), report: self.report(), problems: Vec::new() },
            }],
        }
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> NodeName {
        self.name.clone()
    }

    /// There is no other.
    pub(in super::super) fn unknown(&self, name: &str) -> OperateError {
        OperateError::UnknownNode { name: name.to_owned(), known: vec![self.name.clone()] }
    }

    /// Has it take no new sessions, or take them again. How it is then.
    ///
    /// # Errors
    /// When the name is another's.
    pub fn drain(&self, name: &str, ordered: bool) -> Result<Report, OperateError> {
        if self.name.to_string() != name {
            return Err(self.unknown(name));
        }
        self.shown.drain.order(ordered);
        Ok(self.report())
    }

    /// That of a node that has not founded itself.
    #[cfg(test)]
    pub(crate) fn of_nobody(options: crate::routing::RoutingOptions, metrics: Arc<Metrics>) -> Self {
        let shown = Arc::new(Shown { report: Box::new(Report::default), drain: Drain::default() });
        Self { name: "solo".into(), known: Arc::default(), view: View::empty(options), metrics, shown }
    }

    fn report(&self) -> Report {
        self.shown.report(self.metrics.cluster_stopped.get() == 0)
    }
}
