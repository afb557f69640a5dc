//! Puts the changes that are ordered on this node into the log, while it leads, and tells each who waits what became of it.
//! Where another leads, they are passed on to it ([`super::forward`]), side by side, those aside that another node has passed
//! on already.
//!
//! - A change is stamped and tried on a copy of the table that this node shows, which has all that was agreed on before the
//!   term in which it leads began, and all that it proposed since: so what is refused here is refused at once, and what is
//!   admitted here is what the entry finds, unless others led in between; then rules may come to form a circle, which is
//!   found when mail meets it. One entry is in flight at a time.
//! - A change that a later version has brought is not made before every member is known to know it.
//! - Each change of an entry has its own outcome, which is that of the state machine: what was tried here is no promise.
//! - A repeat of what was carried out is answered by any node that has seen it, whether it leads or not. What nobody waits
//!   for any more is not proposed: its client has heard nothing.
//! - What was handed to Raft and is not confirmed may still take effect, whatever Raft says of it: an entry that is cut off
//!   here may stand in another node's log, who may lead yet. Its client is told to repeat it under its request id.
//! - Nobody waits for longer than [`CONFIRMED_WITHIN`] for an entry, nor for as long again for those before it. While one
//!   is in flight beyond that, others are refused at once. A change in parts has its entries one by one, and as long as the
//!   parts are kept ([`super::staging::STAGED_FOR`]); others wait for it meanwhile.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use openraft::Raft;
use openraft::error::{CheckIsLeaderError, RaftError};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::forward::Forwarder;
use super::founding::NodeId;
use super::network::Peers;
use super::proposal::{CHANGE_OVERHEAD_OCTETS, Finish, MAX_PART_OCTETS, MAX_PROPOSAL_OCTETS, Part, Proposal};
use super::types::{Outcomes, Types};
use crate::clock;
use crate::routing::{
    Answer, Change, Draft, Order, Orders, Reach, RequestId, RoutingError, Stamped, Table, View,
};

/// How long an entry may take before its clients are told that it is not confirmed: several elections, and a disk that
/// hesitates.
pub const CONFIRMED_WITHIN: Duration = Duration::from_secs(10);

/// Changes in one entry.
const MAX_CHANGES: usize = 64;
/// Changes that are passed on at once, past which no more orders are taken.
const MAX_FORWARDS: usize = 64;

/// Refuses the orders of a node that cannot carry them out, and says why, until no one can ask any more; repeats are answered
/// by the table that is shown.
pub async fn refuse(orders: &mut Orders, view: &View, why: impl Fn() -> RoutingError) {
    loop {
        let refused = orders.take(MAX_CHANGES).await;
        if refused.is_empty() {
            return;
        }
        let table = view.snapshot();
        for Order { change, request_id, answer, .. } in refused {
            if let Some(answer) = answer_done(&table, &change, request_id.as_ref(), answer) {
                answer.give(Err(why()));
            }
        }
    }
}

/// What proposes, on every node; one that does not lead passes on, or refuses.
pub struct Proposer {
    raft: Raft<Types>,
    view: View,
    silent: watch::Receiver<Vec<String>>,
    draft: Draft,
    confirmed_within: Duration,
    /// The term in which this node leads and the table has all that was agreed on before.
    term: Option<u64>,
    /// The entry that was not confirmed in time, until it is decided.
    unconfirmed: Option<JoinHandle<Option<Outcomes>>>,
    forwarder: Option<Forwarder>,
    /// What is being passed on; those that come back belong here.
    forwards: JoinSet<Option<Order>>,
}

impl Proposer {
    /// Proposes for the table that is shown. `silent` names the members that do not answer, as far as those
    /// who talk to them know.
    #[must_use]
    pub fn new(raft: Raft<Types>, view: View, silent: watch::Receiver<Vec<String>>) -> Self {
        let draft = Draft::new(&view.snapshot());
        Self {
            raft,
            view,
            silent,
            draft,
            confirmed_within: CONFIRMED_WITHIN,
            term: None,
            unconfirmed: None,
            forwarder: None,
            forwards: JoinSet::new(),
        }
    }

    /// Passes on to these what belongs to another node.
    #[must_use]
    pub fn forwarding(mut self, peers: Peers) -> Self {
        self.forwarder = Some(Forwarder::new(peers, self.raft.clone(), self.view.clone()));
        self
    }

    /// Works until told to stop, until Raft stops, or until no one can ask any more and all that was passed on is answered:
    /// whether somebody may still ask.
    pub async fn run(mut self, orders: &mut Orders, stop: &CancellationToken) -> bool {
        let mut metrics = self.raft.metrics();
        let mut can_be_asked = true;
        while can_be_asked || !self.forwards.is_empty() {
            let takes = can_be_asked && self.forwards.len() < MAX_FORWARDS;
            let taken = tokio::select! {
                taken = orders.take(MAX_CHANGES), if takes => {
                    can_be_asked = !taken.is_empty();
                    taken
                }
                // A panic was told to whoever waited by what it dropped.
                Some(passed) = self.forwards.join_next() => passed.ok().flatten().into_iter().collect(),
                () = stop.cancelled() => break,
                // An error: whoever would tell more has ended.
                _ = metrics.wait_for(|now| now.running_state.is_err()) => break,
            };
            self.carry_out(taken.into()).await;
        }
        // What is under way may have been made: who waits for it hears so from who passed it on.
        self.forwards.detach_all();
        can_be_asked
    }

    async fn carry_out(&mut self, mut orders: VecDeque<Order>) {
        while !orders.is_empty() {
            if let Err(error) = self.lead().await {
                self.pass_on(orders, &error);
                return;
            }
            let Some(filled) = self.fill(orders).await else { return };
            orders = filled.rest;
            match filled.entry {
                Filling::Changes(changes) => self.propose_changes(changes).await,
                Filling::Large(large) => self.propose_large(large).await,
            }
        }
    }

    /// Whether this node may propose now.
    async fn lead(&mut self) -> Result<(), RoutingError> {
        let metrics = self.raft.metrics().borrow().clone();
        if metrics.running_state.is_err() {
            return Err(RoutingError::ClusterStopped);
        }
        if metrics.current_leader != Some(metrics.id) {
            return Err(self.led_by(metrics.current_leader));
        }
        if self.term != Some(metrics.current_term) {
            self.catch_up().await?;
            (self.term, self.unconfirmed) = (Some(metrics.current_term), None);
        }
        match &self.unconfirmed {
            Some(write) if !write.is_finished() => Err(self.no_majority()),
            Some(_) | None => {
                self.unconfirmed = None;
                Ok(())
            }
        }
    }

    /// Waits until a majority has said that this node leads, and the table has all that was agreed on before it did.
    async fn catch_up(&self) -> Result<(), RoutingError> {
        let caught_up = timeout(self.confirmed_within, self.raft.ensure_linearizable()).await;
        match caught_up {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(to)))) => {
                Err(self.led_by(to.leader_id))
            }
            Ok(Err(RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(_)))) | Err(_) => {
                Err(self.no_majority())
            }
            Ok(Err(RaftError::Fatal(_))) => Err(RoutingError::ClusterStopped),
        }
    }

    /// Passes on what another is to carry out, and tells the others that nothing is proposed now; but what was done: a
    /// repeat is answered by whoever has seen the first.
    fn pass_on(&mut self, orders: VecDeque<Order>, error: &RoutingError) {
        let table = self.view.snapshot();
        let there = self.forwarder.as_ref().filter(|_| matches!(error, RoutingError::NotLeader { .. }));
        for Order { change, request_id, author, since, reach, answer } in orders {
            let Some(answer) = answer_done(&table, &change, request_id.as_ref(), answer) else { continue };
            match there {
                Some(forwarder) if reach == Reach::Cluster => {
                    let order = Order { change, request_id, author, since, reach, answer };
                    self.forwards.spawn(forwarder.clone().forward(order));
                }
                Some(_) | None => answer.give(Err(error.clone())),
            }
        }
    }

    fn led_by(&self, leader: Option<NodeId>) -> RoutingError {
        match leader {
            Some(NodeId(leader)) => RoutingError::NotLeader { leader },
            None => RoutingError::NoLeader { missing: self.silent.borrow().clone() },
        }
    }

    fn no_majority(&self) -> RoutingError {
        RoutingError::NoMajority { missing: self.silent.borrow().clone() }
    }

    /// Fills an entry, off the runtime's threads. `None` after a panic, of which those who wait hear by what it dropped.
    async fn fill(&mut self, orders: VecDeque<Order>) -> Option<Filled> {
        let table = self.view.snapshot();
        let mut draft = std::mem::replace(&mut self.draft, Draft::new(&table));
        let (within, forwarder) = (self.confirmed_within, self.forwarder.clone());
        let filled = spawn_blocking(move || {
            draft.restart(&table);
            let behind =
                |change: &Change| forwarder.as_ref().map_or_else(Vec::new, |to| to.behind(change.version()));
            let filled = fill(&mut draft, &table, orders, within, behind);
            (draft, filled)
        });
        let (draft, filled) = filled.await.ok()?;
        self.draft = draft;
        Some(filled)
    }

    async fn propose_changes(&mut self, changes: Vec<Pending>) {
        if changes.is_empty() {
            return;
        }
        let (octets, waiting): (Vec<_>, Vec<_>) =
            changes.into_iter().map(|change| (change.octets, (change.request_id, change.answer))).unzip();
        match self.propose(Proposal::changes(octets)).await {
            Some(Outcomes(outcomes)) => {
                waiting.into_iter().zip(outcomes).for_each(|((_, answer), outcome)| answer.give(outcome));
            }
            None => waiting.into_iter().for_each(|(request_id, answer)| {
                answer.give(Err(RoutingError::Unconfirmed { request_id }));
            }),
        }
    }

    /// Proposes the parts of a change, and then the change.
    async fn propose_large(&mut self, large: Pending) {
        let Pending { octets, request_id, answer } = large;
        // Parts need a name. That the change was made is remembered only under one that its client knows.
        let name = request_id.clone().unwrap_or_else(RequestId::draw);
        let octets = Bytes::from(octets);
        if let Err(error) = self.propose_parts(&name, &octets).await {
            answer.give(Err(error));
            return;
        }
        let finish = Finish { request_id: name, at: clock::now(), octets: octets.len() };
        let made = self.propose(Proposal::finish(&finish)).await.and_then(|Outcomes(mut made)| made.pop());
        answer.give(made.unwrap_or(Err(RoutingError::Unconfirmed { request_id })));
    }

    /// Proposes parts, one by one. They change nothing.
    async fn propose_parts(&mut self, name: &RequestId, octets: &Bytes) -> Result<(), RoutingError> {
        let term = self.term;
        let mut offset = 0;
        while offset < octets.len() {
            let end = octets.len().min(offset + MAX_PART_OCTETS);
            let (request_id, at) = (name.clone(), clock::now());
            let part = Part { request_id, at, offset, octets: octets.slice(offset..end) };
            let taken = self.propose(Proposal::part(&part)).await.ok_or_else(|| self.no_majority())?;
            taken.0.into_iter().try_for_each(|refused| refused.map(drop))?;
            self.lead().await?;
            if self.term != term {
                // Others may have changed what it was tried on.
                return Err(RoutingError::PartsGone);
            }
            offset = end;
        }
        Ok(())
    }

    /// Proposes an entry, and waits for what becomes of it. `None`: it may still take effect.
    async fn propose(&mut self, proposal: Proposal) -> Option<Outcomes> {
        let raft = self.raft.clone();
        let mut write = tokio::spawn(async move {
            let written = raft.client_write(proposal).await;
            let written = written.inspect_err(|error| tracing::warn!(%error, "an entry was not confirmed"));
            written.ok().map(|response| response.data)
        });
        match timeout(self.confirmed_within, &mut write).await {
            Ok(written) => written.ok().flatten(),
            Err(_) => {
                tracing::warn!(within = ?self.confirmed_within, "an entry was not confirmed in time");
                self.unconfirmed = Some(write);
                None
            }
        }
    }
}

/// A change that is to be proposed, and who waits for it.
struct Pending {
    /// As [`Stamped::encode`] has it.
    octets: Vec<u8>,
    request_id: Option<RequestId>,
    answer: Answer,
}

/// What is to be proposed next.
enum Filling {
    /// In one entry, if there are any.
    Changes(Vec<Pending>),
    /// Too large for an entry.
    Large(Pending),
}

struct Filled {
    entry: Filling,
    rest: VecDeque<Order>,
}

/// Answers what a request asks that was carried out already; the answer that is still to be given, if it was not.
fn answer_done(table: &Table, change: &Change, id: Option<&RequestId>, answer: Answer) -> Option<Answer> {
    match id.map_or(Ok(None), |id| table.left_by(id, change, clock::now())) {
        Ok(None) => return Some(answer),
        Ok(Some(done)) => answer.give(Ok(done.clone())),
        Err(reused) => answer.give(Err(reused)),
    }
    None
}

/// Takes orders until the entry is full, and answers those that need none. `behind` names who may not know a change.
fn fill(
    draft: &mut Draft,
    table: &Table,
    mut rest: VecDeque<Order>,
    within: Duration,
    behind: impl Fn(&Change) -> Vec<String>,
) -> Filled {
    let (mut changes, mut octets) = (Vec::new(), 0);
    while let Some(order) = rest.pop_front() {
        let Order { change, request_id, author, since, reach, answer } = order;
        // Whoever is gone has heard nothing, and may come again.
        if answer.is_in_vain() {
            continue;
        }
        let Some(answer) = answer_done(table, &change, request_id.as_ref(), answer) else { continue };
        if since.elapsed() >= within {
            answer.give(Err(RoutingError::Overtaken));
            continue;
        }
        let nodes = behind(&change);
        if !nodes.is_empty() {
            answer.give(Err(RoutingError::VersionsDiffer { nodes }));
            continue;
        }
        let encoded = draft.attempt(change, request_id, author).and_then(|stamped| {
            let encoded = stamped.encode().map_err(|_| RoutingError::TooLarge)?;
            Ok((stamped, encoded))
        });
        let (stamped, encoded) = match encoded {
            Ok(encoded) => encoded,
            Err(refused) => {
                answer.give(Err(refused));
                continue;
            }
        };
        let size = encoded.len() + CHANGE_OVERHEAD_OCTETS;
        if octets + size <= MAX_PROPOSAL_OCTETS {
            octets += size;
            changes.push(Pending { octets: encoded, request_id: stamped.request_id, answer });
        } else if changes.is_empty() {
            let large = Pending { octets: encoded, request_id: stamped.request_id, answer };
            return Filled { entry: Filling::Large(large), rest };
        } else {
            let Stamped { change, request_id, author, .. } = stamped;
            rest.push_front(Order { change, request_id, author, since, reach, answer });
            break;
        }
    }
    Filled { entry: Filling::Changes(changes), rest }
}

#[cfg(test)]
#[path = "propose_tests.rs"]
mod tests;
