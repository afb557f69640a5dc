//! Raft's calls of its peers. How long a call may take is the engine's: it drops those that take longer.
//!
//! A peer that does not answer is called again soon, and then less often. What it answers is held to what Raft can bear
//! ([`super::wire::raft`]).

use std::time::Duration;

use openraft::error::{Fatal, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{RaftNetwork, RaftNetworkFactory};
use tonic::Response;

use super::super::founding::{ClusterId, NodeId, NodeName};
use super::super::types::{LogId, Member, Snapshot, Types, Vote};
use super::peers::{Peers, Size, cluster_of};
use super::refusal::CallError;
use super::wire::raft::{decode_append_response, decode_vote_response, encode_append, encode_vote_request};
use super::wire::{Header, Malformed};

/// After how long a peer that did not answer is called again, first and at last: it is doubled in between.
const RETRIED_AFTER: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// The network of the Raft that runs under an id.
pub struct Network {
    peers: Peers,
    me: NodeId,
}

/// A peer, as Raft calls it.
pub struct RaftPeer {
    pub(super) peers: Peers,
    me: NodeId,
    pub(super) name: NodeName,
    pub(super) id: NodeId,
}

type Failed = RPCError<NodeId, Member, RaftError<NodeId>>;

impl Peers {
    /// What the Raft that runs under this id calls its peers by.
    #[must_use]
    pub fn network(&self, me: NodeId) -> Network {
        Network { peers: self.clone(), me }
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = RaftPeer;

    async fn new_client(&mut self, target: NodeId, node: &Member) -> RaftPeer {
        let name = node.name.as_str().into();
        RaftPeer { peers: self.peers.clone(), me: self.me, name, id: target }
    }
}

impl RaftPeer {
    /// What its calls begin with, and the cluster that they are of.
    pub(super) fn header(&self) -> Result<(Header, ClusterId), CallError> {
        let disk = self.peers.node().disk();
        let cluster = cluster_of(&disk).filter(|_| disk.id == self.me);
        let cluster = cluster.ok_or(CallError::Replaced(self.me))?;
        Ok((self.peers.header(&disk, Some(cluster), Some(self.id)), cluster))
    }

    async fn append(
        &self,
        request: AppendEntriesRequest<Types>,
    ) -> Result<AppendEntriesResponse<NodeId>, CallError> {
        let (header, cluster) = self.header()?;
        let message = encode_append(&header, &request);
        let AppendEntriesRequest { vote, prev_log_id, entries, leader_commit } = request;
        let call = || async {
            let mut client = self.peers.client(&self.name, Size::Short)?;
            let answered = client.append(message.clone()).await;
            answered.map(Response::into_inner).map_err(|status| CallError::of(&self.name, &status))
        };
        let answer = self.peers.greeted(&self.name, call).await?;
        let answer =
            decode_append_response(answer, &vote, prev_log_id).map_err(|cause| self.malformed(&cause))?;
        let acquaintances = self.peers.acquaintances();
        match &answer {
            AppendEntriesResponse::Success => {
                let end = entries.last().map(|entry| entry.log_id).or(prev_log_id);
                let agreed = agreed(end, leader_commit);
                acquaintances.see(self.id, cluster, vote.leader_id.term, agreed);
            }
            AppendEntriesResponse::HigherVote(vote) => {
                acquaintances.see(self.id, cluster, vote.leader_id.term, None);
            }
            AppendEntriesResponse::Conflict | AppendEntriesResponse::PartialSuccess(_) => {}
        }
        Ok(answer)
    }

    async fn ask_vote(&self, request: VoteRequest<NodeId>) -> Result<VoteResponse<NodeId>, CallError> {
        let (header, cluster) = self.header()?;
        let message = encode_vote_request(&header, &request);
        let call = || async {
            let mut client = self.peers.client(&self.name, Size::Short)?;
            let answered = client.vote(message.clone()).await;
            answered.map(Response::into_inner).map_err(|status| CallError::of(&self.name, &status))
        };
        let answer = self.peers.greeted(&self.name, call).await?;
        let answer = decode_vote_response(answer).map_err(|cause| self.malformed(&cause))?;
        self.peers.acquaintances().see(self.id, cluster, answer.vote.leader_id.term, None);
        Ok(answer)
    }

    pub(super) fn malformed(&self, cause: &Malformed) -> CallError {
        CallError::malformed(&self.name, cause)
    }
}

/// Of two logs that are alike up to the end of one, the entries that are agreed on and in it.
fn agreed(end: Option<LogId>, committed: Option<LogId>) -> Option<LogId> {
    match (end, committed) {
        (Some(end), Some(committed)) => Some(if end.index < committed.index { end } else { committed }),
        (Some(_), None) | (None, Some(_)) | (None, None) => None,
    }
}

impl RaftNetwork<Types> for RaftPeer {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<NodeId>, Failed> {
        self.append(rpc).await.map_err(|error| Unreachable::new(&error).into())
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<NodeId>,
        _option: RPCOption,
    ) -> Result<VoteResponse<NodeId>, Failed> {
        self.ask_vote(rpc).await.map_err(|error| Unreachable::new(&error).into())
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<NodeId>, StreamingError<Types, Fatal<NodeId>>> {
        tokio::select! {
            biased;
            closed = cancel => Err(closed.into()),
            sent = self.send_snapshot(vote, snapshot) => sent.map_err(|error| Unreachable::new(&error).into()),
        }
    }

    fn backoff(&self) -> Backoff {
        let (first, last) = RETRIED_AFTER;
        Backoff::new(std::iter::successors(Some(first), move |before| Some((*before * 2).min(last))))
    }
}
