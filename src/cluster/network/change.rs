//! Changes that are ordered on a node and carried out by another, who leads.
//!
//! A change goes one hop, under a request id: where the other does not lead either, nothing is done, and whoever passed it
//! on looks again. It is carried out once all of it is there, and not if its caller has gone by then. A change is known not
//! to be made while its last piece has not been sent; from then on, without an answer, it is not known.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::super::founding::{NodeId, NodeName};
use super::super::propose::CONFIRMED_WITHIN;
use super::super::staging::STAGED_FOR;
use super::peers::{Peers, Size, cluster_of};
use super::pieces::{Arriving, PIECE_WITHIN, next};
use super::refusal::{CallError, Refusal};
use super::wire::Malformed;
use super::wire::change::{decode_error, encode_error};
use crate::proto::cluster::v1;
use crate::proto::cluster::v1::{change_answer_part, change_part};
use crate::routing::{Author, Change, Changed, MAX_STAMPED_OCTETS, RequestId, Routing, RoutingError};

/// Octets of a piece.
const MAX_PIECE_OCTETS: usize = 256 << 10;
/// Pieces of an answer that wait to be sent.
const MAX_WAITING: usize = 2;

/// A change on its way to another node.
#[derive(Debug)]
pub struct PassedOn {
    /// What its client calls it, or this node.
    pub request_id: RequestId,
    /// Who asked for it.
    pub author: Option<Author>,
    /// As [`Change::encode`] has it.
    pub octets: Arc<[u8]>,
    /// Whether it may take more than an entry where it is carried out.
    pub is_large: bool,
}

/// What became of a change, as who leads tells it.
#[derive(Debug)]
pub struct Outcome {
    /// As its client is told.
    pub changed: Result<Changed, RoutingError>,
    /// A revision of the table that has the change, if it was made.
    pub revision: u64,
}

/// How a change that was passed on has no outcome.
#[derive(Debug)]
pub enum Unpassed {
    /// Nothing was done.
    Refused(CallError),
    /// It may have been made.
    Unknown(CallError),
}

impl Peers {
    /// Passes a change on to the node with this id.
    ///
    /// # Errors
    /// When there is no answer: whether it may have been made all the same.
    pub async fn change(
        &self,
        (name, to): (&NodeName, NodeId),
        change: &PassedOn,
    ) -> Result<Outcome, Unpassed> {
        let octets = &change.octets;
        let complete = Arc::new(AtomicBool::new(false));
        let pass = || async {
            let disk = self.node().disk();
            let (author, address) = Author::tell(change.author.as_ref());
            let (request_id, asked) = change.request_id.tell();
            let head = v1::ChangeHead {
                header: Some(self.header(&disk, cluster_of(&disk), Some(to)).encode()),
                request_id,
                octets: octets.len() as u64,
                author,
                address,
                asked,
            };
            self.pass(name, head, octets, &complete).await
        };
        let passed = timeout(answered_within(change.is_large), self.greeted(name, pass)).await;
        let error = match passed {
            Ok(Ok(outcome)) => return Ok(outcome),
            Ok(Err(error)) => error,
            Err(_) => CallError::late(name, answered_within(change.is_large)),
        };
        match error {
            CallError::Unreachable { .. } | CallError::Refused { .. } | CallError::Replaced(_) => {
                Err(Unpassed::Refused(error))
            }
            CallError::Lost { .. } | CallError::Malformed { .. } if complete.load(Ordering::Acquire) => {
                Err(Unpassed::Unknown(error))
            }
            CallError::Lost { .. } | CallError::Malformed { .. } => Err(Unpassed::Refused(error)),
        }
    }

    async fn pass(
        &self,
        name: &NodeName,
        head: v1::ChangeHead,
        octets: &Arc<[u8]>,
        complete: &Arc<AtomicBool>,
    ) -> Result<Outcome, CallError> {
        let mut client = self.client(name, Size::Large)?;
        let failed = |status: Status| CallError::of(name, &status);
        let malformed = |cause: &str| CallError::malformed(name, cause);
        let parts = parts(head, octets.clone(), complete.clone());
        let mut answer = client.change(parts).await.map_err(failed)?.into_inner();
        let first = next(&mut answer).await.map_err(failed)?.and_then(|first| first.part);
        let Some(change_answer_part::Part::Head(head)) = first else {
            return Err(malformed("the head of an answer"));
        };
        let revision = head.revision;
        if let Some(error) = head.error {
            let error = decode_error(error).map_err(|cause| malformed(&cause.to_string()))?;
            return Ok(Outcome { changed: Err(error), revision });
        }
        let mut arriving =
            Arriving::new(head.octets, MAX_STAMPED_OCTETS).map_err(|cause| malformed(&cause.to_string()))?;
        while !arriving.is_whole() {
            let piece = next(&mut answer).await.map_err(failed)?.and_then(|piece| piece.part);
            let Some(change_answer_part::Part::Octets(piece)) = piece else {
                return Err(malformed("a piece of an answer"));
            };
            arriving.add(&piece).map_err(|cause| malformed(&cause.to_string()))?;
        }
        let octets = arriving.finish().map_err(|cause| malformed(&cause.to_string()))?;
        let decoded = spawn_blocking(move || Changed::decode(&octets)).await;
        let decoded = decoded.map_err(|cause| malformed(&cause.to_string()))?;
        let changed = Ok(decoded.map_err(|cause| malformed(&cause.to_string()))?);
        Ok(Outcome { changed, revision })
    }
}

/// How long a change may take: an entry, and those before it; one in parts as long as the parts are kept, too.
fn answered_within(is_large: bool) -> Duration {
    let entries = CONFIRMED_WITHIN * 2 + PIECE_WITHIN;
    if is_large { entries + STAGED_FOR } else { entries }
}

/// The head and the pieces, made as they are sent; notes when the last one goes.
fn parts(
    head: v1::ChangeHead,
    octets: Arc<[u8]>,
    complete: Arc<AtomicBool>,
) -> impl futures_util::Stream<Item = v1::ChangePart> + Send + 'static {
    let head = std::iter::once(change_part::Part::Head(head));
    let count = octets.len().div_ceil(MAX_PIECE_OCTETS);
    let pieces = (0..count).map(move |at| {
        if at + 1 == count {
            complete.store(true, Ordering::Release);
        }
        let piece = octets.chunks(MAX_PIECE_OCTETS).nth(at).unwrap_or_default();
        change_part::Part::Octets(piece.to_vec())
    });
    stream::iter(head.chain(pieces).map(|part| v1::ChangePart { part: Some(part) }))
}

/// A change that another node passes on.
#[derive(Debug)]
pub(super) struct Passed {
    request_id: RequestId,
    author: Option<Author>,
    change: Change,
}

/// Receives the pieces of a change.
pub(super) async fn receive(
    head: v1::ChangeHead,
    parts: &mut Streaming<v1::ChangePart>,
) -> Result<Passed, Status> {
    let request_id = RequestId::told(&head.request_id, &head.asked)
        .map_err(|_| Refusal::from(Malformed("a request id")))?;
    let author = Author::told(&head.author, &head.address);
    let mut arriving = Arriving::new(head.octets, MAX_STAMPED_OCTETS)?;
    while !arriving.is_whole() {
        let Some(change_part::Part::Octets(piece)) = next(parts).await?.and_then(|piece| piece.part) else {
            return Err(Refusal::Size.into());
        };
        arriving.add(&piece)?;
    }
    let octets = arriving.finish()?;
    let decoded = spawn_blocking(move || Change::decode(&octets)).await;
    match decoded {
        Ok(Ok(change)) => Ok(Passed { request_id, author, change }),
        Ok(Err(_)) | Err(_) => Err(Refusal::from(Malformed("a change")).into()),
    }
}

impl Passed {
    /// Has it carried out here, or not at all.
    pub(super) async fn carry_out(self, routing: &Routing) -> Outcome {
        let changed = routing.by(self.author).change_here(self.request_id, self.change).await;
        Outcome { changed, revision: routing.snapshot().revision() }
    }
}

/// Tells what became of a change; its place is given back when all of that is sent, or nobody listens.
pub(super) fn tell(
    outcome: Outcome,
    place: OwnedSemaphorePermit,
) -> ReceiverStream<Result<v1::ChangeAnswerPart, Status>> {
    let (told, parts) = mpsc::channel(MAX_WAITING);
    tokio::spawn(async move {
        let _place = place;
        // Where nobody listens any more, there is nobody to tell.
        let _gone = send(outcome, &told).await;
    });
    ReceiverStream::new(parts)
}

async fn send(outcome: Outcome, told: &mpsc::Sender<Result<v1::ChangeAnswerPart, Status>>) -> Option<()> {
    let Outcome { changed, revision } = outcome;
    let head = |octets: usize, error| {
        change_answer_part::Part::Head(v1::ChangeAnswerHead { revision, octets: octets as u64, error })
    };
    let part = |part| Ok(v1::ChangeAnswerPart { part: Some(part) });
    let changed = match changed {
        Ok(changed) => changed,
        Err(error) => return told.send(part(head(0, Some(encode_error(&error))))).await.ok(),
    };
    let encoded = spawn_blocking(move || changed.encode()).await.ok()?;
    let octets = match encoded {
        Ok(octets) => octets,
        // It is made; that cannot be told in full.
        Err(error) => return told.send(Err(Status::data_loss(error.to_string()))).await.ok(),
    };
    told.send(part(head(octets.len(), None))).await.ok()?;
    for piece in octets.chunks(MAX_PIECE_OCTETS) {
        let sent = told.send(part(change_answer_part::Part::Octets(piece.to_vec())));
        timeout(PIECE_WITHIN, sent).await.ok()?.ok()?;
    }
    Some(())
}
