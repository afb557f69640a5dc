//! What of a message goes back to its sender with a report: RET=FULL (RFC 3461 §4.3) within bounds.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use bytes::Bytes;
use tokio::task::spawn_blocking;

use super::Inner;
use super::notify::Action;
use crate::mail::{Body, Message, Return};
use crate::spool::Queued;

/// Largest message that a report gives back whole, in octets. RFC 3461 §4.3 leaves a bound to us; whoever sent more has
/// it, and a report as large would be refused for its size where it tells of that.
pub(super) const MAX_RETURNED_OCTETS: u64 = 1 << 20;

impl Inner {
    /// The body, where the sender asked for the whole of a message that failed. Where the disk is short of room, which a
    /// report may go below, it is the header section only.
    pub(super) async fn returned_body(
        &self,
        queued: &Queued,
        message: &Message,
        action: Action,
    ) -> Option<Bytes> {
        let is_wanted = action == Action::Failed && queued.request.ret == Some(Return::Full);
        let fits = message.emitted_octets() <= MAX_RETURNED_OCTETS;
        if !is_wanted || !fits || self.spool.admit().is_err() {
            return None;
        }
        match message.body() {
            Body::Memory(octets) => Some(octets.clone()),
            Body::File { file, offset, octets } => {
                let (file, offset, octets) = (file.clone(), *offset, *octets);
                let read = spawn_blocking(move || read(&file, offset, octets)).await.ok()?;
                // The report is worth more than what goes with it.
                read.inspect_err(
                    |error| tracing::warn!(trace = %queued.id, %error, "a body is not given back"),
                )
                .ok()
            }
        }
    }
}

fn read(file: &File, offset: u64, octets: u64) -> std::io::Result<Bytes> {
    let mut body = vec![0; usize::try_from(octets).unwrap_or_default()];
    file.read_exact_at(&mut body, offset)?;
    Ok(body.into())
}
