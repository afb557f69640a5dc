//! Whether a client has the reply to its message, and so whether its retry must be answered from a record
//! (see [`crate::ledger`]). Decided here and nowhere else.
//!
//! | what is seen | the client has |
//! | --- | --- |
//! | an octet that comes after the reply was written whole | heard it |
//! | any end of the stream that was not there before | heard it: who has what it waited for may hang up as it likes |
//! | an end or a reset before the reply was written whole, or a write that fails | vanished |
//! | none of these until the session is over | been silent: nobody knows |
//!
//! What is read before the reply was written says nothing: a client that pipelines (RFC 2920 §3.1) sends QUIT
//! with its final dot, and may be gone long before a late reply. Postfix does, and after the reply to its dot it
//! closes without a look at 221, which may be a reset. An end that crosses the reply on the wire is taken for
//! one that follows it: then the retry doubles, which is better than swallowing mail that is sent twice on
//! purpose. A client that closes its direction behind QUIT and goes on reading looks like one that is gone; a
//! retry of the same message is answered from the record. What is pipelined past what the session reads ahead hides
//! the end behind it.

use tokio::sync::oneshot;

use crate::pipeline::parcel::Acknowledgement;

/// A reply to a message, whose settlement must know whether the client has it. Dropped unwritten, it has not.
#[derive(Debug)]
pub(super) struct ReplyOwed {
    pub(super) acknowledged: oneshot::Sender<Acknowledgement>,
}

impl ReplyOwed {
    fn resolve(self, acknowledgement: Acknowledgement) {
        // Nobody waits for it any more at the very end of a node.
        let _ = self.acknowledged.send(acknowledgement);
    }
}

/// The client's direction of the stream.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Incoming {
    #[default]
    Open,
    Ended,
}

/// The replies of one session that were written whole, and of which the client has not shown that it has them.
#[derive(Debug, Default)]
pub(super) struct RepliesOwed {
    incoming: Incoming,
    written: Vec<ReplyOwed>,
}

impl RepliesOwed {
    /// An octet came.
    pub(super) fn octet_came(&mut self) {
        self.resolve_written(Acknowledgement::Heard);
    }

    /// The stream ended, or broke.
    pub(super) fn stream_ended(&mut self) {
        self.resolve_written(Acknowledgement::Heard);
        self.incoming = Incoming::Ended;
    }

    /// A reply was written whole.
    pub(super) fn was_written(&mut self, reply: ReplyOwed) {
        match self.incoming {
            Incoming::Open => self.written.push(reply),
            Incoming::Ended => reply.resolve(Acknowledgement::Vanished),
        }
    }

    /// Whether there is anything to learn from the client's next octet or end.
    pub(super) fn is_waiting(&self) -> bool {
        !self.written.is_empty()
    }

    fn resolve_written(&mut self, acknowledgement: Acknowledgement) {
        self.written.drain(..).for_each(|reply| reply.resolve(acknowledgement));
    }
}

/// The session is over, however that came.
impl Drop for RepliesOwed {
    fn drop(&mut self) {
        self.resolve_written(Acknowledgement::Silent);
    }
}

#[cfg(test)]
#[path = "reply_owed_tests.rs"]
mod tests;
