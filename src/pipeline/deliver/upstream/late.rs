//! A reply to our dot that comes after the client's time: still read, because an upstream that is hung up
//! on delivers what it has and the sender's retry doubles it (RFC 1047).

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::connection::Connection;
use super::outcomes::Outcomes;
use super::places::LatePlace;
use super::pool::Pool;
use super::transaction::{after_dot, final_reply};
use crate::mail::Address;
use crate::pipeline::deliver::options::Timing;
use crate::pipeline::mask;
use crate::pipeline::parcel::{Outcome, UpstreamReply};

/// A connection whose upstream owes the reply to a dot.
pub(crate) struct Late {
    pub(crate) connection: Connection,
    /// When the dot was sent.
    pub(crate) dot_at: Instant,
    pub(crate) timing: Timing,
    pub(crate) pool: Arc<Pool>,
    /// The aliases of the transaction's copies and their forward-paths, for which they stand in the reply.
    pub(crate) masks: Vec<(Address, Address)>,
    /// Its place among those.
    pub(crate) place: LatePlace,
}

impl Late {
    /// Leaves the reading to a task of its own; the copies' outcomes are the promise of its result.
    pub(crate) fn follow(self, copies: Vec<usize>) -> Outcomes {
        let (mut waiting, mut outcomes) = (Vec::new(), Vec::new());
        for copy in copies {
            let (sender, late) = oneshot::channel();
            waiting.push(sender);
            let host = self.connection.peer.host.clone();
            outcomes.push((copy, Outcome::AwaitingReply { host, late }));
        }
        tokio::spawn(self.read(waiting));
        outcomes
    }

    async fn read(mut self, waiting: Vec<oneshot::Sender<UpstreamReply>>) {
        let until = self.dot_at + self.timing.dot;
        let reply = tokio::select! {
            biased;
            reply = self.connection.reply(until, "after the dot") => {
                reply.and_then(final_reply).map_err(|trouble| trouble.to_string())
            }
            () = self.place.is_gone() => Err("too many other hosts owe an answer".to_owned()),
        };
        let waited_ms = self.dot_at.elapsed().as_millis() as u64;
        let host = self.connection.peer.host.clone();
        match reply {
            Ok(reply) => {
                tracing::info!(host, code = reply.code, waited_ms, "late answer to the dot");
                self.connection.phase = after_dot(&reply);
                let masks = self.masks.iter().map(|(alias, private)| (alias, private));
                let reply = mask::mask_all(reply, masks);
                self.pool.release(self.connection, self.timing);
                for sender in waiting {
                    // Nobody listens any more: the outcome has been given up elsewhere.
                    let _ = sender.send(UpstreamReply { host: host.clone(), reply: reply.clone() });
                }
            }
            Err(trouble) => {
                tracing::warn!(host, %trouble, waited_ms, "no late answer: delivered or not, nobody knows");
            }
        }
    }
}
