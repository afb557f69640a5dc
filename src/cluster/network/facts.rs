//! The stream on which two nodes share facts, as it is called and answered. What is said on it: [`crate::cluster::facts`].
//! It goes over the connection for what is large: no heartbeat waits behind it.

use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status, Streaming};

use super::super::facts::{Facts, Stream};
use super::super::founding::{NodeId, NodeName};
use super::admission::Known;
use super::peers::{Peers, Size, cluster_of};
use super::pieces::PIECE_WITHIN;
use super::refusal::{CallError, Refusal};
use crate::proto::cluster::v1;

/// Parts that wait to be sent.
const MAX_WAITING: usize = 1;

/// What is answered.
pub(super) type Told = futures_util::stream::Map<
    ReceiverStream<v1::FactsPart>,
    fn(v1::FactsPart) -> Result<v1::FactsPart, Status>,
>;

impl Peers {
    /// Whether this node is in a cluster with them, as its disk has it.
    pub(in super::super) fn are_in_cluster(&self) -> bool {
        self.node().disk().settled().is_some()
    }

    /// Calls the peer of this name, to share facts with it.
    ///
    /// # Errors
    /// When it does not answer in time, or refuses.
    pub(in super::super) async fn call_about_facts(&self, name: &NodeName) -> Result<Stream, CallError> {
        let id = self.hello(name).await?.answer.disk.id;
        let disk = self.node().disk();
        let header = self.header(&disk, cluster_of(&disk), Some(id)).encode();
        let (told, parts) = mpsc::channel(MAX_WAITING);
        let head = v1::FactsPart { header: Some(header), ..v1::FactsPart::default() };
        // The channel is empty.
        let _sent = told.try_send(head);
        let mut client = self.client(name, Size::Large)?;
        let heard = self.answer(name, PIECE_WITHIN, client.facts(ReceiverStream::new(parts))).await?;
        Ok(self.stream(told, heard, (name, id)))
    }

    fn stream(
        &self,
        told: mpsc::Sender<v1::FactsPart>,
        heard: Streaming<v1::FactsPart>,
        (name, id): (&NodeName, NodeId),
    ) -> Stream {
        let (peers, name) = (self.clone(), name.clone());
        let is_current = move || {
            let is_same = peers.acquaintances().greeted(&name) == Some(id);
            is_same && peers.is_listed(&name) && !peers.is_removed(&name)
        };
        Stream { told, heard, is_current: Box::new(is_current) }
    }
}

/// Has the node's facts shared with a peer that called.
pub(super) fn take(
    peers: &Peers,
    known: &Known,
    heard: Streaming<v1::FactsPart>,
) -> Result<Response<Told>, Refusal> {
    let shares = |facts: &&Facts| facts.is_open() && peers.are_in_cluster();
    let facts: &Facts = peers.facts().filter(shares).ok_or(Refusal::NoFacts)?;
    let (told, parts) = mpsc::channel(MAX_WAITING);
    let (facts, name) = (facts.clone(), known.header.name.clone());
    let stream = peers.stream(told, heard, (&name, known.header.from));
    tokio::spawn(async move { facts.talk(name, stream).await });
    Ok(Response::new(ReceiverStream::new(parts).map(Ok)))
}
