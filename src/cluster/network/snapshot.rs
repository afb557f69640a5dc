//! Snapshots between nodes: the head, then pieces. One arrives at a time; what has arrived is a file of the receiver's, and
//! goes with the transfer that fails.

use std::time::Duration;

use openraft::Raft;
use openraft::raft::SnapshotResponse;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status, Streaming};

use super::super::founding::NodeId;
use super::super::snapshot::{FinishedSnapshot, MAX_RECEIVED_OCTETS, SnapshotFile};
use super::super::types::{Snapshot, SnapshotMeta, Types, Vote};
use super::peers::Size;
use super::pieces::{PIECE_WITHIN, next};
use super::raft::RaftPeer;
use super::refusal::{CallError, Refusal};
use super::wire::raft::{decode_meta, decode_vote, encode_meta, encode_vote};
use crate::proto::cluster::v1;
use crate::proto::cluster::v1::snapshot_part::Part;

/// Octets of a piece.
pub(super) const MAX_PIECE_OCTETS: usize = 1 << 20;
/// Octets that a peer has taken, before it is expected to need time for them: a disk that hesitates.
const TAKEN_WITHIN: Duration = PIECE_WITHIN;
/// How long it may take a peer to make a table of a snapshot that it has: a large one, and a slow disk.
const INSTALLED_WITHIN: Duration = Duration::from_secs(600);

impl RaftPeer {
    /// Sends a snapshot, and waits until the peer has made it its own, or has said that it follows another.
    pub(super) async fn send_snapshot(
        &self,
        vote: Vote,
        snapshot: Snapshot,
    ) -> Result<SnapshotResponse<NodeId>, CallError> {
        // The large connection knows no Hello of its own: a peer that wants one says so before it takes a snapshot.
        self.peers.hello(&self.name).await?;
        let (header, cluster) = self.header()?;
        let Snapshot { meta, snapshot } = snapshot;
        let SnapshotFile::Finished(file) = *snapshot else {
            return Err(CallError::malformed(&self.name, "a snapshot that only arrives is to be sent"));
        };
        let head = v1::SnapshotHead {
            header: Some(header.encode()),
            vote: Some(encode_vote(&vote)),
            meta: Some(encode_meta(&meta)),
            octets: file.octets(),
        };
        let (pieces, sent) = mpsc::channel(1);
        let mut client = self.peers.client(&self.name, Size::Large)?;
        let answered = tokio::select! {
            answered = client.snapshot(ReceiverStream::new(sent)) => {
                answered.map(Response::into_inner).map_err(|status| CallError::of(&self.name, &status))?
            }
            failed = self.feed(head, file, pieces) => return Err(failed),
        };
        let vote = decode_vote(answered.vote).map_err(|cause| self.malformed(&cause))?;
        self.peers.acquaintances().see(self.id, cluster, vote.leader_id.term, None);
        Ok(SnapshotResponse::new(vote))
    }

    /// Sends pieces as they are taken, and then waits for the answer as long as that may take: why it did not come.
    async fn feed(
        &self,
        head: v1::SnapshotHead,
        file: FinishedSnapshot,
        pieces: mpsc::Sender<v1::SnapshotPart>,
    ) -> CallError {
        let lost = |cause: &str| CallError::Lost { name: self.name.clone(), cause: cause.to_owned() };
        let octets = file.octets();
        let (mut part, mut offset) = (Part::Head(head), 0);
        loop {
            match timeout(TAKEN_WITHIN, pieces.send(v1::SnapshotPart { part: Some(part) })).await {
                Ok(Ok(())) => {}
                // It has answered already, and is heard at once.
                Ok(Err(_)) => break,
                Err(_) => return lost("a piece of a snapshot was not taken in time"),
            }
            if offset >= octets {
                break;
            }
            let file = file.clone();
            let read = spawn_blocking(move || file.read(offset, MAX_PIECE_OCTETS)).await;
            let piece = match read {
                Ok(Ok(piece)) => piece,
                Ok(Err(error)) => return lost(&error.to_string()),
                Err(error) => return lost(&error.to_string()),
            };
            offset += piece.len() as u64;
            part = Part::Octets(piece);
        }
        drop(pieces);
        sleep(INSTALLED_WITHIN).await;
        lost("a snapshot was not installed in time")
    }
}

/// A snapshot that is announced.
#[derive(Debug)]
pub(super) struct Announced {
    vote: Vote,
    meta: SnapshotMeta,
    octets: u64,
}

impl Announced {
    /// What a head says, from the leader with this id.
    pub(super) fn decode(from: NodeId, head: v1::SnapshotHead) -> Result<Self, Refusal> {
        let vote = decode_vote(head.vote)?;
        if vote.leader_id.node_id != from || !vote.committed || head.octets > MAX_RECEIVED_OCTETS {
            return Err(Refusal::Size);
        }
        Ok(Self { vote, meta: decode_meta(head.meta)?, octets: head.octets })
    }

    /// Receives and installs it, unless this node follows another leader. `check` says whether the leader may go on, once
    /// all of it is there.
    pub(super) async fn receive(
        self,
        raft: &Raft<Types>,
        pieces: &mut Streaming<v1::SnapshotPart>,
        check: impl AsyncFnOnce() -> Result<(), Refusal>,
    ) -> Result<Vote, Status> {
        let mine = raft.metrics().borrow().vote;
        if mine > self.vote {
            return Ok(mine);
        }
        let mut file = raft.begin_receiving_snapshot().await.map_err(|_| Refusal::Stopped)?;
        let mut received = 0;
        while received < self.octets {
            let piece = match next(pieces).await?.and_then(|piece| piece.part) {
                Some(Part::Octets(piece)) if (1..=MAX_PIECE_OCTETS).contains(&piece.len()) => piece,
                Some(Part::Octets(_) | Part::Head(_)) | None => return Err(Refusal::Size.into()),
            };
            received += piece.len() as u64;
            if received > self.octets {
                return Err(Refusal::Size.into());
            }
            file = append(file, piece).await?;
        }
        // What is read after another id of this name has said Hello is not taken.
        check().await?;
        let snapshot = Snapshot { meta: self.meta, snapshot: file };
        let installed = raft.install_full_snapshot(self.vote, snapshot).await;
        Ok(installed.map_err(|_| Refusal::Stopped)?.vote)
    }
}

/// Writes a piece, off the runtime's threads.
async fn append(mut file: Box<SnapshotFile>, piece: Vec<u8>) -> Result<Box<SnapshotFile>, Status> {
    let written = spawn_blocking(move || match &mut *file {
        SnapshotFile::Arriving(arriving) => arriving.append(&piece).map(|()| file),
        SnapshotFile::Finished(_) => Ok(file),
    });
    let failed = |error: &dyn std::error::Error| {
        tracing::warn!(error = %error, "a snapshot cannot be received");
        Status::from(Refusal::Stopped)
    };
    written.await.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
}
