//! What operators see of the cluster from this member, and what they order here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tonic::body::Body;
use tonic::codegen::http;

use super::super::founding::{Disk, NodeId, NodeName, State};
use super::super::network::{Answer, Greeting, LocalNode as _, Report};
use super::super::operate::{Bootstrap, OperateError};
use super::super::status::{Heard, NodeStatus, Role, Said, Status};
use super::Handle;
use super::hearing::COUNTS_FOR;
use super::local::Order;
use crate::clock;
use crate::config::{DifferenceKind, SharedDigests};

/// How long it is waited for what a peer says of itself.
const LOOKS_WITHIN: Duration = Duration::from_secs(1);

/// What each node says of itself, this one among them, and how long ago.
type Greetings = BTreeMap<NodeName, (Greeting, Duration)>;

impl Handle {
    /// How the cluster is: every peer is asked before.
    pub async fn status_now(&self) -> Status {
        self.hearing.look(&self.peers, LOOKS_WITHIN).await;
        self.status()
    }

    /// How the cluster is, as far as this node knows.
    #[must_use]
    pub fn status(&self) -> Status {
        let own = self.local.name();
        let greetings = self.greetings();
        let disk = self.local.disk();
        let state = latest(&disk, &greetings);
        let leader = self.leader(&greetings, state.as_ref());
        let leader_last = leader.as_ref().and_then(|name| last(&greetings, name));
        let names = self.names(state.as_ref());
        let node = |name: &NodeName| {
            let (heard, mut said) = match greetings.get(name) {
                Some((greeting, ago)) => (Some(heard(*ago)), self.said(&own, name, greeting)),
                None => (None, Said::default()),
            };
            said.lag = leader_last.zip(last(&greetings, name)).map(|(leads, has)| leads.saturating_sub(has));
            NodeStatus {
                name: name.clone(),
                id: answers_as(name, &greetings).or_else(|| member_as(name, state.as_ref())),
                role: role(name, &greetings, state.as_ref()),
                leads: leader.as_ref() == Some(name),
                heard,
                said,
            }
        };
        let nodes: Vec<NodeStatus> = names.iter().map(node).collect();
        let hindrance = self.hindrance(leader.is_some() && is_decided(&greetings, state.as_ref()));
        Status {
            cluster: state.map(|state| state.cluster),
            takes_changes: hindrance.is_none(),
            detail: hindrance.unwrap_or_else(|| taken(&nodes, self.reason.borrow().as_deref())),
            told_by: own,
            nodes,
        }
    }

    /// Founds a cluster of one here.
    ///
    /// # Errors
    /// With the rule that forbids it, or when the disk refuses.
    pub async fn bootstrap(&self, extent: Bootstrap) -> Result<(), OperateError> {
        let founded = self.local.order(|answer| Order::Bootstrap(extent, answer)).await;
        founded.unwrap_or(Err(OperateError::Stopping))
    }

    /// Whether a node may be removed: it is known, and those who stay can decide without it.
    ///
    /// # Errors
    /// With why not.
    pub fn may_remove(&self, name: &str) -> Result<(), OperateError> {
        let greetings = self.greetings();
        let state = latest(&self.local.disk(), &greetings);
        let names = self.names(state.as_ref());
        let Some(removed) = names.iter().find(|known| known.to_string() == name) else {
            return Err(OperateError::UnknownNode {
                name: name.to_owned(),
                known: names.into_iter().collect(),
            });
        };
        let voters = state.map(|state| state.membership.voters).unwrap_or_default();
        if !voters.contains_key(removed) {
            return Ok(());
        }
        let is_there = |name: &NodeName, id: NodeId| {
            let found = greetings.get(name).filter(|(_, ago)| *ago < COUNTS_FOR);
            found.is_some_and(|(greeting, _)| greeting.answer.disk.id == id)
        };
        let left: Vec<_> = voters.iter().filter(|(name, _)| *name != removed).collect();
        if left.is_empty() {
            return Err(OperateError::OnlyVoter(removed.clone()));
        }
        let missing = left.iter().filter(|(name, id)| !is_there(name, **id));
        let silent: Vec<NodeName> = missing.map(|(name, _)| (*name).clone()).collect();
        if (left.len() - silent.len()) * 2 > left.len() {
            return Ok(());
        }
        Err(OperateError::NoMajorityLeft { removed: removed.clone(), silent })
    }

    /// Has a node take no new sessions, or take them again. How it is then.
    ///
    /// # Errors
    /// When there is no such node, or it does not answer.
    pub async fn drain(&self, name: &str, ordered: bool) -> Result<Report, OperateError> {
        let own = self.local.name();
        if own.to_string() == name {
            return Ok(self.local.drain(ordered));
        }
        Ok(self.peers.drain(&self.peer(name)?, ordered).await?)
    }

    /// What this node is called.
    #[must_use]
    pub fn name(&self) -> NodeName {
        self.local.name()
    }

    /// Passes a call of an operator's on to another node; its answer, of which the rest may be arriving still.
    ///
    /// # Errors
    /// When there is no such node, or it does not answer.
    pub async fn pass(
        &self,
        name: &str,
        request: http::Request<Body>,
    ) -> Result<http::Response<Body>, OperateError> {
        Ok(self.peers.pass_call(&self.peer(name)?, request).await?)
    }

    /// Has calls that other nodes pass on to this one answered from now on.
    pub fn answer_passed(&self, answer: Answer) {
        self.passed.answer_with(answer);
    }

    /// The other node of this name.
    fn peer(&self, name: &str) -> Result<NodeName, OperateError> {
        let known = self.peers.names();
        let found = known.iter().find(|peer| peer.to_string() == name).cloned();
        found.ok_or_else(|| {
            let known = known.into_iter().chain([self.local.name()]).collect::<BTreeSet<_>>();
            OperateError::UnknownNode { name: name.to_owned(), known: known.into_iter().collect() }
        })
    }

    fn greetings(&self) -> Greetings {
        let mut greetings = self.hearing.greetings();
        greetings.insert(self.local.name(), (self.local.greeting(), Duration::ZERO));
        greetings
    }

    /// Every name there is: of the file, of the membership, of those removed.
    fn names(&self, state: Option<&State>) -> BTreeSet<NodeName> {
        let mut names = self.local.terms.load().names.clone();
        if let Some(State { membership, barred, .. }) = state {
            names.extend(membership.voters.keys().chain(membership.learners.keys()).cloned());
            names.extend(barred.iter().cloned());
        }
        names
    }

    /// Who leads: as Raft here knows it, else as those say of themselves who know the latest term.
    fn leader(&self, greetings: &Greetings, state: Option<&State>) -> Option<NodeName> {
        if let Some(raft) = self.local.raft() {
            let metrics = raft.metrics().borrow().clone();
            let leader = metrics.current_leader?;
            if leader == metrics.id && metrics.replication.is_none() {
                return None;
            }
            let is_named = |name: &&NodeName| {
                member_as(name, state) == Some(leader) || answers_as(name, greetings) == Some(leader)
            };
            return self.names(state).iter().find(is_named).cloned();
        }
        let leads =
            greetings.iter().filter(|(_, (greeting, ago))| greeting.report.leads && *ago < COUNTS_FOR);
        leads.max_by_key(|(_, (greeting, _))| greeting.answer.disk.vote).map(|(name, _)| name.clone())
    }

    fn said(&self, own: &NodeName, name: &NodeName, greeting: &Greeting) -> Said {
        let Greeting { answer, report } = greeting;
        let revision = answer.disk.settled().map_or(0, |state| state.revision);
        let mut problems = if name == own { Vec::new() } else { self.differing(report) };
        if report.certificate_ends.is_some_and(|ends| ends <= clock::now()) {
            problems.push("its certificate for the cluster is over".to_owned());
        }
        Said { revision, lag: None, report: report.clone(), problems }
    }

    /// The settings that must be the same on every node, and are not here and there.
    fn differing(&self, report: &Report) -> Vec<String> {
        let (ours, theirs) = (self.local.report().digests, report.digests.clone());
        let differences = SharedDigests::from(ours).differences(&SharedDigests::from(theirs));
        let differs = differences.into_iter().filter(|found| found.kind == DifferenceKind::Differs);
        differs.map(|found| format!("{} differs from that of this node", found.key)).collect()
    }

    /// What keeps a change that is ordered here from being taken.
    fn hindrance(&self, is_led: bool) -> Option<String> {
        if self.metrics.cluster_stopped.get() != 0 {
            let said =
                "this node has stopped taking part in the cluster, and takes no changes: its log says why";
            return Some(said.to_owned());
        }
        if is_led && !self.local.is_held() {
            return None;
        }
        let reason = self.reason.borrow().clone();
        Some(match reason {
            Some(reason) => format!("no change is taken here: {reason}"),
            None => "no change is taken: nobody leads, and an election is under way".to_owned(),
        })
    }
}

/// Whether a majority of the voters answers.
fn is_decided(greetings: &Greetings, state: Option<&State>) -> bool {
    let heard = greetings.values().filter(|(_, ago)| *ago < COUNTS_FOR);
    let ids = heard.map(|(greeting, _)| greeting.answer.disk.id).collect();
    state.is_some_and(|state| state.membership.is_led_by(&ids))
}

/// What there is to say where changes are taken.
fn taken(nodes: &[NodeStatus], reason: Option<&str>) -> String {
    if let Some(reason) = reason {
        return format!("changes are taken; {reason}");
    }
    let voters: Vec<&NodeStatus> = nodes.iter().filter(|node| node.role == Role::Voter).collect();
    let silent: Vec<String> = nodes
        .iter()
        .filter(|node| node.role != Role::Removed && node.heard != Some(Heard::Now))
        .map(|node| node.name.to_string())
        .collect();
    if silent.is_empty() {
        return "changes are taken".to_owned();
    }
    let answering = voters.iter().filter(|node| node.heard == Some(Heard::Now)).count();
    let is_last = answering.saturating_sub(1) * 2 <= voters.len();
    let warning = if is_last { "; once another voter is lost, none will be" } else { "" };
    format!("changes are taken; {} cannot be reached{warning}", silent.join(", "))
}

fn heard(ago: Duration) -> Heard {
    if ago < COUNTS_FOR { Heard::Now } else { Heard::Ago(ago) }
}

/// The state of this node's cluster, as whoever has the longest log knows it; without one here, that of the others.
fn latest(disk: &Disk, greetings: &Greetings) -> Option<State> {
    let mine = disk.settled().map(|state| state.cluster);
    let heard = greetings.values().filter(|(_, ago)| *ago < COUNTS_FOR);
    let states = heard.filter_map(|(greeting, _)| greeting.answer.disk.settled());
    let of_mine = states.filter(|state| mine.is_none_or(|cluster| state.cluster == cluster));
    of_mine.max_by_key(|state| state.last).cloned()
}

fn last(greetings: &Greetings, name: &NodeName) -> Option<u64> {
    greetings.get(name)?.0.answer.disk.settled().map(|state| state.last.index)
}

/// The id under which a name was heard.
fn answers_as(name: &NodeName, greetings: &Greetings) -> Option<NodeId> {
    greetings.get(name).map(|(greeting, _)| greeting.answer.disk.id)
}

/// The id under which a name is a member.
fn member_as(name: &NodeName, state: Option<&State>) -> Option<NodeId> {
    let membership = &state?.membership;
    membership.voters.get(name).or_else(|| membership.learners.get(name)).copied()
}

fn role(name: &NodeName, greetings: &Greetings, state: Option<&State>) -> Role {
    let Some(State { membership, barred, .. }) = state else { return Role::Outside };
    let is = |id: &NodeId| answers_as(name, greetings).is_none_or(|answers| answers == *id);
    if membership.voters.get(name).is_some_and(is) {
        Role::Voter
    } else if membership.learners.get(name).is_some_and(is) {
        Role::Learner
    } else if barred.contains(name) {
        Role::Removed
    } else {
        Role::Outside
    }
}
