//! What is too large for one message, in pieces: each has its limit of time, and all of them their limit of size.

use std::time::Duration;

use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::refusal::Refusal;

/// How long the next piece of something may take.
pub(super) const PIECE_WITHIN: Duration = Duration::from_secs(10);

/// The next message of a stream; none at its end. The caller's fault else: the library refuses what is past its bound, or
/// is no message.
pub(super) async fn next<T>(stream: &mut Streaming<T>) -> Result<Option<T>, Status> {
    timeout(PIECE_WITHIN, stream.message()).await.map_err(|_| Refusal::Silent(PIECE_WITHIN))?
}

/// Pieces that come, up to a size that was announced.
#[derive(Debug)]
pub(super) struct Arriving {
    octets: Vec<u8>,
    announced: usize,
}

impl Arriving {
    /// So many octets are to come, and no more than `most`. They take room as they come.
    pub(super) fn new(announced: u64, most: usize) -> Result<Self, Refusal> {
        let announced = usize::try_from(announced).ok().filter(|announced| *announced <= most);
        Ok(Self { octets: Vec::new(), announced: announced.ok_or(Refusal::Size)? })
    }

    pub(super) fn add(&mut self, piece: &[u8]) -> Result<(), Refusal> {
        if piece.is_empty() || piece.len() > self.announced - self.octets.len() {
            return Err(Refusal::Size);
        }
        self.octets.extend_from_slice(piece);
        Ok(())
    }

    pub(super) fn is_whole(&self) -> bool {
        self.octets.len() == self.announced
    }

    /// All of them.
    pub(super) fn finish(self) -> Result<Vec<u8>, Refusal> {
        if self.is_whole() { Ok(self.octets) } else { Err(Refusal::Size) }
    }
}
