//! Takes a message's fingerprint for the ledger, off the runtime's threads where that reads a file.

use crate::ledger::Fingerprint;
use crate::mail::{Body, Message};

/// The fingerprint of a message, read from its file where it lives in one.
pub(super) async fn fingerprint(message: &Message) -> Option<Fingerprint> {
    let taken = match message.body() {
        Body::Memory(_) => Fingerprint::of(message),
        Body::File { .. } => {
            let message = message.clone();
            tokio::task::spawn_blocking(move || Fingerprint::of(&message)).await.ok()?
        }
    };
    taken.inspect_err(|error| tracing::error!(%error, "a message's file cannot be read")).ok()
}
