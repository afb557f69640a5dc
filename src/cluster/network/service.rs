//! The calls of peers, answered.

use std::sync::Arc;

use openraft::Raft;
use tokio::sync::Semaphore;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::super::founding::{self, Call};
use super::super::proposal::MAX_PROPOSAL_OCTETS;
use super::super::types::Types;
use super::admission::{Admission, Certified, Known, admit, meant};
use super::change;
use super::facts;
use super::node::Joining;
use super::peers::Peers;
use super::pieces::next;
use super::refusal::Refusal;
use super::snapshot::Announced;
use super::wire::Malformed;
use super::wire::greeting::{decode_greeting, decode_terms, encode_greeting, encode_report};
use super::wire::raft::{
    decode_append, decode_vote_request, encode_append_response, encode_vote, encode_vote_response,
};
use crate::proto::cluster::v1;
use crate::proto::cluster::v1::cluster_service_server::ClusterService;
use crate::proto::cluster::v1::{change_part, join_response, snapshot_part};

/// Changes of the size of an entry that are passed on to this node at once: each has its octets in memory.
const MAX_CHANGES: usize = 64;
/// Larger ones.
const MAX_LARGE_CHANGES: usize = 2;

/// Answers from the node.
pub(super) struct Service {
    pub(super) peers: Peers,
    admission: Admission,
    snapshots: Semaphore,
    changes: Arc<Semaphore>,
    large_changes: Arc<Semaphore>,
}

impl Service {
    pub(super) fn new(peers: Peers) -> Self {
        Self {
            peers,
            admission: Admission::new(),
            snapshots: Semaphore::new(1),
            changes: Arc::new(Semaphore::new(MAX_CHANGES)),
            large_changes: Arc::new(Semaphore::new(MAX_LARGE_CHANGES)),
        }
    }

    fn know(&self, certified: Option<&Certified>, header: Option<v1::Header>) -> Result<Known, Status> {
        self.admission.know(&self.peers, certified, header)
    }

    /// A call to a member.
    fn admit(
        &self,
        certified: Option<&Certified>,
        header: Option<v1::Header>,
    ) -> Result<(Known, Call), Status> {
        let known = self.know(certified, header)?;
        let call = self.admission.admit(&self.peers, &known)?;
        Ok((known, call))
    }

    /// As [`Self::admit`], for what Raft does not need of a node that an operator has removed.
    fn admit_member(
        &self,
        certified: Option<&Certified>,
        header: Option<v1::Header>,
    ) -> Result<(Known, Call), Status> {
        let (known, call) = self.admit(certified, header)?;
        let name = &known.header.name;
        if self.peers.is_removed(name) {
            return Err(self.admission.refuse(name, Refusal::Removed(name.clone())));
        }
        Ok((known, call))
    }

    fn raft(&self, known: &Known) -> Result<Raft<Types>, Status> {
        let raft = self.peers.node().raft();
        raft.ok_or_else(|| self.admission.refuse(&known.header.name, Refusal::Stopped))
    }

    /// Notes, before entries are taken of a cluster of which the disk has none, whose they are.
    async fn adopt(&self, known: &Known, call: Call) -> Result<(), Refusal> {
        let node = self.peers.node();
        if node.disk().holds(call.cluster) {
            return Ok(());
        }
        node.adopt(call.cluster).await.map_err(Refusal::Unadopted)?;
        // Meanwhile another id of this name may have said Hello.
        admit(&self.peers, &known.header).map(drop)
    }

    fn refused(&self, known: &Known) -> impl Fn(Refusal) -> Status {
        |refusal| self.admission.refuse(&known.header.name, refusal)
    }

    fn malformed(&self, known: &Known) -> impl Fn(Malformed) -> Status {
        |malformed| self.admission.refuse(&known.header.name, malformed.into())
    }
}

/// The certificate of who is connected.
fn certified<T>(request: &Request<T>) -> Option<Certified> {
    request.extensions().get::<Certified>().cloned()
}

#[tonic::async_trait]
impl ClusterService for Service {
    async fn hello(&self, request: Request<v1::HelloRequest>) -> Result<Response<v1::HelloResponse>, Status> {
        let certified = certified(&request);
        let v1::HelloRequest { header, greeting } = request.into_inner();
        let known = self.know(certified.as_ref(), header)?;
        let told = decode_greeting(greeting).map_err(self.malformed(&known))?;
        let (name, from) = (&known.header.name, known.header.from);
        if told.answer.disk.id != from {
            return Err(self.admission.refuse(name, Malformed("the caller's id").into()));
        }
        self.peers.acquaintances().greet(name, from);
        self.peers.acquaintances().speaks(name, known.header.versions.1);
        self.peers.node().greeted(name, told);
        let mut greeting = self.peers.node().greeting();
        greeting.answer.seen = self.peers.acquaintances().seen(from);
        Ok(Response::new(v1::HelloResponse { greeting: Some(encode_greeting(&greeting)) }))
    }

    async fn consent(
        &self,
        request: Request<v1::ConsentRequest>,
    ) -> Result<Response<v1::ConsentResponse>, Status> {
        let certified = certified(&request);
        let v1::ConsentRequest { header, terms } = request.into_inner();
        let known = self.know(certified.as_ref(), header)?;
        let terms = decode_terms(terms).map_err(self.malformed(&known))?;
        let (cluster, to) = meant(&known.header).map_err(self.refused(&known))?;
        let founder = known.header.name.clone();
        let request = founding::Request { cluster, founder, to, terms };
        let unwilling = self.peers.node().consent(request).await.err().unwrap_or_default();
        Ok(Response::new(v1::ConsentResponse { unwilling }))
    }

    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::JoinResponse>, Status> {
        let certified = certified(&request);
        let (known, call) = self.admit(certified.as_ref(), request.into_inner().header)?;
        let needed = self.peers.node().routing().map_or(0, |routing| routing.snapshot().version());
        let joining = if known.header.versions.1 < needed {
            Joining::Refused("its version of Postroad does not know what the routing table holds".to_owned())
        } else {
            self.peers.node().join(known.header.name, call.from).await
        };
        let answer = match joining {
            Joining::Taken => join_response::Answer::Taken(v1::Blank {}),
            Joining::Ask(name) => join_response::Answer::Ask(name.to_string()),
            Joining::Refused(why) => join_response::Answer::Refused(why),
        };
        Ok(Response::new(v1::JoinResponse { answer: Some(answer) }))
    }

    async fn vote(&self, request: Request<v1::VoteRequest>) -> Result<Response<v1::VoteResponse>, Status> {
        let certified = certified(&request);
        let mut request = request.into_inner();
        let (known, call) = self.admit(certified.as_ref(), request.header.take())?;
        let request = decode_vote_request(call.from, request).map_err(self.malformed(&known))?;
        let term = request.vote.leader_id.term;
        self.peers.acquaintances().see(call.from, call.cluster, term, None);
        let answer = self.raft(&known)?.vote(request).await;
        let answer = answer.map_err(|_| self.refused(&known)(Refusal::Stopped))?;
        self.admission.answered(&known.header.name);
        Ok(Response::new(encode_vote_response(&answer)))
    }

    async fn append(
        &self,
        request: Request<v1::AppendRequest>,
    ) -> Result<Response<v1::AppendResponse>, Status> {
        let certified = certified(&request);
        let mut request = request.into_inner();
        let (known, call) = self.admit(certified.as_ref(), request.header.take())?;
        let request = decode_append(call.from, request).map_err(self.malformed(&known))?;
        let term = request.vote.leader_id.term;
        self.peers.acquaintances().see(call.from, call.cluster, term, request.leader_commit);
        if !request.entries.is_empty() {
            self.adopt(&known, call).await.map_err(self.refused(&known))?;
        }
        let answer = self.raft(&known)?.append_entries(request).await.ok();
        let answer = answer.as_ref().and_then(encode_append_response);
        let answer = answer.ok_or_else(|| self.refused(&known)(Refusal::Stopped))?;
        self.admission.answered(&known.header.name);
        Ok(Response::new(answer))
    }

    async fn snapshot(
        &self,
        request: Request<Streaming<v1::SnapshotPart>>,
    ) -> Result<Response<v1::SnapshotResponse>, Status> {
        let certified = certified(&request);
        let mut parts = request.into_inner();
        let Some(snapshot_part::Part::Head(mut head)) = next(&mut parts).await?.and_then(|first| first.part)
        else {
            return Err(Refusal::from(Malformed("the head of a snapshot")).into());
        };
        let (known, call) = self.admit(certified.as_ref(), head.header.take())?;
        let announced = Announced::decode(call.from, head).map_err(self.refused(&known))?;
        let Ok(_arriving) = self.snapshots.try_acquire() else {
            return Err(self.admission.refuse(&known.header.name, Refusal::SnapshotArriving));
        };
        let raft = self.raft(&known)?;
        let check = async || {
            admit(&self.peers, &known.header)?;
            self.adopt(&known, call).await
        };
        let vote = announced.receive(&raft, &mut parts, check).await?;
        Ok(Response::new(v1::SnapshotResponse { vote: Some(encode_vote(&vote)) }))
    }

    type ChangeStream = ReceiverStream<Result<v1::ChangeAnswerPart, Status>>;

    async fn change(
        &self,
        request: Request<Streaming<v1::ChangePart>>,
    ) -> Result<Response<Self::ChangeStream>, Status> {
        let certified = certified(&request);
        let mut parts = request.into_inner();
        let Some(change_part::Part::Head(mut head)) = next(&mut parts).await?.and_then(|first| first.part)
        else {
            return Err(Refusal::from(Malformed("the head of a change")).into());
        };
        let (known, _) = self.admit_member(certified.as_ref(), head.header.take())?;
        let is_large = head.octets > MAX_PROPOSAL_OCTETS as u64;
        let places = if is_large { &self.large_changes } else { &self.changes };
        let Ok(place) = places.clone().try_acquire_owned() else {
            return Err(self.admission.refuse(&known.header.name, Refusal::TooManyChanges));
        };
        let order = change::receive(head, &mut parts).await?;
        let routing = self.peers.node().routing();
        let routing = routing.ok_or_else(|| self.refused(&known)(Refusal::Stopped))?;
        let answer = order.carry_out(&routing).await;
        Ok(Response::new(change::tell(answer, place)))
    }

    async fn drain(&self, request: Request<v1::DrainRequest>) -> Result<Response<v1::DrainResponse>, Status> {
        let certified = certified(&request);
        let v1::DrainRequest { header, ordered } = request.into_inner();
        let (known, _) = self.admit_member(certified.as_ref(), header)?;
        tracing::info!(by = %known.header.name, ordered, "an operator orders new sessions to be refused, or taken");
        let report = encode_report(&self.peers.node().drain(ordered));
        Ok(Response::new(v1::DrainResponse { report: Some(report) }))
    }

    type FactsStream = facts::Told;

    async fn facts(
        &self,
        request: Request<Streaming<v1::FactsPart>>,
    ) -> Result<Response<Self::FactsStream>, Status> {
        let certified = certified(&request);
        let mut parts = request.into_inner();
        let header = next(&mut parts).await?.and_then(|first| first.header);
        let (known, _) = self.admit_member(certified.as_ref(), header)?;
        Ok(facts::take(&self.peers, &known, parts)?)
    }
}
