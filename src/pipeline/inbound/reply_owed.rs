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
//! retry of the same message is answered from the record. What is pipelined past [`READ_AHEAD_OCTETS`] hides
//! the end behind it.

use std::io::ErrorKind;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::AsyncReadExt;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::session::{COMMAND_READ_OCTETS, End, Session};
use crate::pipeline::parcel::{Acknowledgement, Settlement};
use crate::telemetry::SmtpCommand;

/// Pipelined octets read ahead while a reply is awaited.
const READ_AHEAD_OCTETS: usize = 65_536;
/// How long a client whose session we have ended is given to end it too.
const GOODBYE: Duration = Duration::from_secs(5);

/// A reply to a message, whose settlement must know whether the client has it. Dropped unwritten, it has not.
#[derive(Debug)]
pub(super) struct ReplyOwed {
    acknowledged: oneshot::Sender<Acknowledgement>,
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
    fn was_written(&mut self, reply: ReplyOwed) {
        match self.incoming {
            Incoming::Open => self.written.push(reply),
            Incoming::Ended => reply.resolve(Acknowledgement::Vanished),
        }
    }

    /// Whether there is anything to learn from the client's next octet or end.
    fn is_waiting(&self) -> bool {
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

impl Session {
    /// Writes the one reply to a message, at once.
    pub(super) async fn settle(&mut self, command: SmtpCommand, settlement: Settlement) -> Result<(), End> {
        let Settlement { reply, acknowledged, .. } = settlement;
        self.put(command, &reply);
        if let Some(acknowledged) = acknowledged {
            let owed = ReplyOwed { acknowledged };
            // What is there already is not there because of the reply.
            let _end = self.gone().now_or_never();
            self.flush().await?;
            self.replies.was_written(owed);
        }
        self.count_error(command, &reply).await
    }

    /// Resolves when the client has closed its side; reads pipelined commands ahead meanwhile.
    pub(super) async fn gone(&mut self) {
        while self.input.len() < READ_AHEAD_OCTETS {
            self.input.reserve(COMMAND_READ_OCTETS);
            match self.stream.read_buf(&mut self.input).await {
                Ok(0) | Err(_) => return self.replies.stream_ended(),
                Ok(_) => self.replies.octet_came(),
            }
        }
        std::future::pending::<()>().await;
    }

    /// Learns from how the session ended, behind our own end of the stream.
    pub(super) async fn part(&mut self, end: &End) {
        match end {
            End::Closed => self.replies.stream_ended(),
            // Time that ran out is no end of the client's.
            End::Failed { error } if error.kind() == ErrorKind::TimedOut => {}
            End::Failed { .. } => self.replies.stream_ended(),
            End::Quit | End::StartTls | End::Dismissed if self.replies.is_waiting() => {
                let mut octet = [0];
                match timeout(GOODBYE, self.stream.read(&mut octet)).await {
                    Ok(Ok(0) | Err(_)) => self.replies.stream_ended(),
                    Ok(Ok(_)) => self.replies.octet_came(),
                    Err(_silent) => {}
                }
            }
            End::Quit | End::StartTls | End::Dismissed => {}
        }
    }
}

#[cfg(test)]
#[path = "reply_owed_tests.rs"]
mod tests;
