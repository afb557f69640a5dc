//! What the queue knows of a message, all but its octets.

use std::net::IpAddr;
use std::time::SystemTime;

use crate::mail::{Address, Domain, MessageRequest, RecipientRequest, ReversePath, SmtpUtf8, TraceId};
use crate::smtp::reply::Enhanced;

/// One message in the queue: its envelope and the copies that are not settled yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// The id of the transaction that brought it; a DSN of ours has one of its own.
    pub id: TraceId,
    /// When it was received, to the millisecond.
    pub received_at: SystemTime,
    /// MAIL FROM as the sender gave it: where a DSN goes.
    pub reverse_path: ReversePath,
    /// Whether a DSN to that address can be nobody else's.
    pub bounces: Bounces,
    /// What the sender asked for with MAIL.
    pub request: MessageRequest,
    /// Whether MAIL had SMTPUTF8.
    pub smtp_utf8: SmtpUtf8,
    /// Whose client brought it: its network has a share of the queue. Of a notification, that of what it tells of; of what
    /// nobody brought, `None`.
    pub client: Option<IpAddr>,
    /// The copies that are not settled; a message with none leaves the queue.
    pub copies: Vec<QueuedCopy>,
}

/// A message as the operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// What the queue knows of it.
    pub queued: Queued,
    /// Octets of the message as it is sent.
    pub octets: u64,
}

impl Queued {
    /// When a copy for this domain is due next; `None`: there is none, or it waits for a late reply.
    #[must_use]
    pub fn due(&self, domain: &Domain) -> Option<SystemTime> {
        let copies = self.copies.iter().filter(|copy| copy.destination.domain() == domain);
        copies.filter(|copy| copy.state.is_scheduled()).map(|copy| copy.due).min()
    }
}

/// Whether a failure may be told to the reverse-path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bounces {
    /// SPF or an aligned DKIM signature vouches for it.
    Permitted,
    /// It may be forged, or is null.
    Forbidden,
}

/// One copy: where it goes, and how far it got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedCopy {
    /// The address that the sender wrote.
    pub alias: Address,
    /// The private destination.
    pub destination: Address,
    /// MAIL FROM upstream.
    pub reverse_path: ReversePath,
    /// Whether this is a bounce on its way back: what goes to the reverse-path of a message that we
    /// forwarded, or a DSN of ours.
    pub direction: Direction,
    /// How far it got.
    pub state: CopyState,
    /// Attempts so far, the one in the sender's session included.
    pub attempts: u32,
    /// When the next attempt is due, to the millisecond.
    pub due: SystemTime,
    /// What the sender asked for with RCPT.
    pub request: RecipientRequest,
    /// Whether a delay was told already.
    pub delay_told: bool,
    /// What came of the last attempt.
    pub last: Option<LastAttempt>,
}

/// Forwarded mail, or a bounce on its way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Forwarded.
    Forward,
    /// Back to an original sender.
    Return,
}

/// How far a copy got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CopyState {
    /// Not delivered; the next attempt has its time.
    Waiting,
    /// The upstream owes its answer to our dot: no other attempt until it is in. After a restart nobody
    /// listens any more, and it is [`Self::Unknown`].
    AwaitingReply,
    /// The connection was lost behind our dot: delivered or not, nobody knows. Tried again.
    Unknown,
}

impl CopyState {
    /// Whether the next attempt has its time.
    #[must_use]
    pub fn is_scheduled(self) -> bool {
        matches!(self, Self::Waiting | Self::Unknown)
    }
}

/// What came of the last attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastAttempt {
    /// When it ended, to the millisecond.
    pub at: SystemTime,
    /// The host that was tried last; empty if none was.
    pub host: String,
    /// Basic code of its reply; 0 if there was none.
    pub code: u16,
    /// The enhanced code; without a reply, of what went wrong.
    pub enhanced: Option<Enhanced>,
    /// The reply's text, a line each; or what went wrong.
    pub lines: Vec<String>,
    /// The dialogue with the upstream, `> ` and `< ` before each line, at most 200 lines and 16 KiB.
    pub dialogue: Vec<String>,
}
