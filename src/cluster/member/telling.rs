//! What is wrong with the other nodes, as far as this one sees it: said in the log once, when it changes.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use super::Handle;
use crate::cluster::founding::NodeName;
use crate::cluster::status::Heard;

/// How often it is looked at.
const LOOKS_EVERY: Duration = Duration::from_secs(5);

impl Handle {
    /// Tells of it until told to stop.
    pub(super) async fn tell_problems(self, stop: CancellationToken) {
        let mut told: BTreeMap<NodeName, Vec<String>> = BTreeMap::new();
        let mut ticks = interval(LOOKS_EVERY);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let heard = self.status().nodes.into_iter().filter(|node| node.heard == Some(Heard::Now));
            for node in heard {
                let before = told.insert(node.name.clone(), node.said.problems.clone()).unwrap_or_default();
                for problem in node.said.problems.iter().filter(|problem| !before.contains(problem)) {
                    tracing::error!(peer = %node.name, problem, "something is wrong with a node of the cluster");
                }
            }
        }
    }
}
