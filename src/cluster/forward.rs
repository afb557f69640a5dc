//! Changes that are ordered on a node that does not lead: passed on to the one that does, each by itself.
//!
//! - Each goes under a request id, one that is drawn where its client gave none: whoever has to repeat it does nothing
//!   twice.
//! - Where nothing was done, because the other did not lead or could not be reached, it is looked again who leads, a few
//!   times, within the time that a change may wait. Where that is this node by now, the order comes back to it.
//! - Where it is not known whether it was done, because the one that led is cut off, it is repeated under its request id with
//!   the one that leads then, and nothing is done twice.
//! - A change that who leads would not know is not passed on: an earlier version reads what it knows of it, and makes that.
//! - When a client hears that its change was made, this node's own table has it.

use std::sync::Arc;
use std::time::Duration;

use openraft::{Raft, RaftMetrics};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::founding::{NodeId, NodeName};
use super::network::{Outcome, PassedOn, Peers, Unpassed};
use super::proposal::MAX_PROPOSAL_OCTETS;
use super::propose::CONFIRMED_WITHIN;
use super::types::{Member, Types};
use crate::routing::{Answer, Change, Order, RequestId, RoutingError, View};

/// How often a change is passed on at most.
const MAX_TRIES: usize = 3;
/// How long it is waited for another to lead, once the one that did does not.
const LOOKED_AGAIN_WITHIN: Duration = Duration::from_secs(3);
/// Changes too large for an entry that are passed on at once: a leader makes one at a time.
const MAX_LARGE: usize = 1;
/// The reason of another node that does not know whether it was done.
const UNCONFIRMED: &str = "UNCONFIRMED";
/// The reasons of another node for which it is looked again who leads: nothing was done.
const DOES_NOT_LEAD: &[&str] = &["NOT_LEADER", "NO_LEADER", "CLUSTER_STOPPED"];

/// Passes changes on. Clones share its bounds.
#[derive(Clone)]
pub(super) struct Forwarder {
    peers: Peers,
    raft: Raft<Types>,
    view: View,
    large: Arc<Semaphore>,
}

/// What became of a try.
enum Tried {
    /// The client is to hear this.
    Told(Outcome),
    /// Nothing was done, for this reason.
    Nothing(RoutingError),
    /// It may have been done: under its request id it can be repeated.
    Doubtful,
}

impl Forwarder {
    pub(super) fn new(peers: Peers, raft: Raft<Types>, view: View) -> Self {
        Self { peers, raft, view, large: Arc::new(Semaphore::new(MAX_LARGE)) }
    }

    /// The other members that are not known to know changes of this version.
    pub(super) fn behind(&self, version: u32) -> Vec<String> {
        let now = self.raft.metrics();
        let now = now.borrow();
        let others = now.membership_config.nodes().filter(|(id, _)| **id != now.id);
        let names = others.map(|(_, member)| member.name.as_str());
        names.filter(|name| !self.peers.knows(&NodeName::from(*name), version)).map(str::to_owned).collect()
    }

    /// Passes an order on, and answers it; back comes one that this node is to carry out.
    pub(super) async fn forward(self, order: Order) -> Option<Order> {
        let Order { change, request_id, author, since, reach, answer } = order;
        let id = request_id.clone().unwrap_or_else(RequestId::draw);
        let encoded = spawn_blocking(move || {
            let encoded = change.encode();
            (change, encoded)
        });
        // After a panic those who wait hear of it by what it dropped.
        let (change, encoded) = encoded.await.ok()?;
        let Ok(octets) = encoded else {
            answer.give(Err(RoutingError::TooLarge));
            return None;
        };
        let left = CONFIRMED_WITHIN.saturating_sub(since.elapsed());
        // What a rollback restores is looked up where it is carried out.
        let is_large = octets.len() > MAX_PROPOSAL_OCTETS || matches!(change, Change::RollBack(_));
        let _large = if is_large {
            let Ok(Ok(place)) = timeout(left, self.large.acquire()).await else {
                answer.give(Err(RoutingError::Overtaken));
                return None;
            };
            Some(place)
        } else {
            None
        };
        let passed = PassedOn { request_id: id, author, octets: octets.into(), is_large };
        let (mut tried, mut refused, mut answer) = (None, RoutingError::Overtaken, answer);
        for _ in 0..MAX_TRIES {
            let left = CONFIRMED_WITHIN.saturating_sub(since.elapsed());
            if answer.is_in_vain() || left.is_zero() {
                break;
            }
            let (leader, name) = match self.leader(tried, left).await {
                Leader::Here => {
                    let PassedOn { request_id: id, author, .. } = passed;
                    return Some(Order { change, request_id: Some(id), author, since, reach, answer });
                }
                Leader::There(_, name) if !self.peers.knows(&name, change.version()) => {
                    refused = RoutingError::VersionsDiffer { nodes: vec![name.to_string()] };
                    break;
                }
                Leader::There(leader, name) => (leader, name),
                Leader::Nobody => break,
            };
            match self.pass(leader, &name, &passed).await {
                Tried::Told(outcome) => {
                    self.tell(outcome, request_id, answer).await;
                    return None;
                }
                Tried::Nothing(error) => (tried, refused) = (Some(leader), error),
                Tried::Doubtful => (tried, answer) = (Some(leader), answer.in_doubt(request_id.clone())),
            }
        }
        answer.give(Err(refused));
        None
    }

    async fn pass(&self, leader: NodeId, name: &NodeName, change: &PassedOn) -> Tried {
        let mut metrics = self.raft.metrics();
        let another_leads = metrics.wait_for(|now| now.current_leader.is_some_and(|now| now != leader));
        let passed = tokio::select! {
            passed = self.peers.change((name, leader), change) => passed,
            // The one that did may be cut off, and what waits for it waits long.
            Ok(_) = another_leads => return Tried::Doubtful,
        };
        match passed {
            Ok(outcome) => match outcome.changed {
                Err(error) if DOES_NOT_LEAD.contains(&error.reason()) => Tried::Nothing(error),
                changed => Tried::Told(Outcome { changed, ..outcome }),
            },
            Err(Unpassed::Refused(error)) => {
                tracing::info!(leader = %name, %error, "a change was not passed on");
                Tried::Nothing(if error.is_busy() {
                    RoutingError::Overtaken
                } else {
                    RoutingError::NotLeader { leader: leader.0 }
                })
            }
            Err(Unpassed::Unknown(error)) => {
                tracing::warn!(leader = %name, %error, "a change that was passed on was not confirmed");
                Tried::Doubtful
            }
        }
    }

    /// Who leads, other than the one that was tried, if that can be waited for.
    async fn leader(&self, tried: Option<NodeId>, left: Duration) -> Leader {
        let mut metrics = self.raft.metrics();
        let is_another = |now: &RaftMetrics<NodeId, Member>| {
            now.running_state.is_err() || (now.current_leader.is_some() && now.current_leader != tried)
        };
        // The one that was tried may lead again, or be reached after all.
        drop(timeout(left.min(LOOKED_AGAIN_WITHIN), metrics.wait_for(is_another)).await);
        let now = metrics.borrow();
        let Some(leader) = now.current_leader.filter(|_| now.running_state.is_ok()) else {
            return Leader::Nobody;
        };
        if leader == now.id {
            return Leader::Here;
        }
        let mut members = now.membership_config.nodes();
        match members.find(|(id, _)| **id == leader) {
            Some((_, member)) => Leader::There(leader, member.name.as_str().into()),
            None => Leader::Nobody,
        }
    }

    /// Answers once this node's table is as far as what is answered. An id that was drawn here is of no use to the client: its
    /// next request has another.
    async fn tell(&self, outcome: Outcome, given: Option<RequestId>, answer: Answer) {
        let Outcome { changed, revision } = outcome;
        let mut metrics = self.raft.metrics();
        let caught_up = async {
            loop {
                // Before the look, so that no news falls between the two.
                let runs = metrics.borrow_and_update().running_state.is_ok();
                if self.view.snapshot().revision() >= revision {
                    return true;
                }
                if !runs || metrics.changed().await.is_err() {
                    return false;
                }
            }
        };
        let caught_up = timeout(CONFIRMED_WITHIN, caught_up).await.unwrap_or(false);
        let is_unconfirmed = changed.as_ref().is_err_and(|error| error.reason() == UNCONFIRMED);
        if is_unconfirmed || (changed.is_ok() && !caught_up) {
            // Or it is made, and this node cannot show it: as its client would not find it, it is not told that it is there.
            answer.give(Err(RoutingError::Unconfirmed { request_id: given }));
        } else {
            answer.give(changed);
        }
    }
}

/// Where changes belong.
enum Leader {
    Here,
    There(NodeId, NodeName),
    Nobody,
}
