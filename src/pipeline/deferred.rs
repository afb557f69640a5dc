//! What travels to and from the queue: orders of other stages to it, and its own to them. And the one
//! place that turns what came of an attempt into what the queue keeps of it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tokio::sync::oneshot;

use super::deadline::Deadline;
use super::parcel::{
    Delivery, Outcome, Recorded, Shipment, Silence, Target, TargetKind, UpstreamReply, parcels,
};
use super::refusal::Refusal;
use crate::mail::{Address, Domain, Message, MessageRequest, SmtpUtf8, TraceId};
use crate::smtp::reply;
use crate::spool::{CopyState, Direction, LastAttempt, Queued, QueuedCopy};

/// Lines of an upstream's reply that are kept, and octets of each.
const MAX_LINES: usize = 20;
/// RFC 5321 §4.5.3.1.5 bounds a reply line.
const MAX_LINE_OCTETS: usize = 512;

/// settle → queue: take these copies, and tell the sender of those that failed. Answered once all of it is
/// durable.
#[derive(Debug)]
pub struct Deferred {
    /// The message, with the copies to keep; perhaps none.
    pub queued: Queued,
    /// Its octets, as they are sent.
    pub message: Message,
    /// Copies whose refusal is told in a DSN, each with its last attempt.
    pub failed: Vec<QueuedCopy>,
    /// Copies that are with their upstream, whose senders asked to be told of success.
    pub relayed: Vec<QueuedCopy>,
    /// Where the answer goes; dropped unanswered, nothing was kept.
    pub answer: oneshot::Sender<Result<(), NotQueued>>,
}

/// Why the queue did not take a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotQueued {
    /// The disk is full, or below `limits.min_free_octets`; or the queue has as many messages as it takes, in all, of the
    /// client's network or for a destination.
    NoRoom,
    /// The disk fails; the log says how.
    Failed,
}

/// settle → queue: the answer that an upstream still owes for a copy that is queued as awaiting it.
#[derive(Debug)]
pub struct Late {
    /// The message.
    pub id: TraceId,
    /// The copy.
    pub destination: Address,
    /// Resolves when the answer is in; closed when it never will be.
    pub reply: oneshot::Receiver<UpstreamReply>,
}

/// queue → deliver: the time of some copies has come.
#[derive(Debug)]
pub struct Due {
    /// The message.
    pub id: TraceId,
    /// Its octets, as they are sent.
    pub message: Message,
    /// Whether the sender's MAIL had SMTPUTF8.
    pub smtp_utf8: SmtpUtf8,
    /// What the sender asked for with MAIL.
    pub request: MessageRequest,
    /// The copies.
    pub shipments: Vec<Shipment>,
    /// When the attempt must have ended, but for a reply to our dot.
    pub deadline: Deadline,
    /// Where the outcomes go.
    pub answer: oneshot::Sender<Tried>,
}

/// deliver → queue: what came of an attempt.
#[derive(Debug)]
pub struct Tried {
    /// One for each copy.
    pub deliveries: Vec<Delivery>,
    /// What was said, a line each: `> ` by us, `< ` by the upstream, `* ` what happened. At most 200, and 16 KiB.
    pub dialogue: Vec<String>,
}

/// queue → rewrite: a message of our own that needs our signature.
#[derive(Debug)]
pub struct Unsigned {
    /// The message.
    pub message: Message,
    /// Where it goes with its signature; dropped unanswered, it could not be signed.
    pub answer: oneshot::Sender<Message>,
}

/// The destination domains to which nothing is sent, by order of an operator: told by the queue as the routing table
/// has them, obeyed by deliver. Clones share the set.
#[derive(Debug, Clone, Default)]
pub struct Suspended(Arc<ArcSwap<HashSet<Domain>>>);

impl Suspended {
    /// Whether nothing is sent to this domain.
    #[must_use]
    pub fn has(&self, domain: &Domain) -> bool {
        self.0.load().contains(domain)
    }

    /// Replaces the set.
    pub fn set(&self, domains: HashSet<Domain>) {
        self.0.store(Arc::new(domains));
    }
}

parcels!(
    Deferred: |parcel| Some(parcel.queued.id),
    Late: |parcel| Some(parcel.id),
    Due: |parcel| Some(parcel.id),
    Unsigned: |_| None,
);

/// The copy as the queue keeps it after an attempt; when the next is due is the queue's to say.
#[must_use]
pub fn keep(delivery: &Delivery, now: SystemTime) -> QueuedCopy {
    let Target { alias, destination, kind, request } = delivery.target.clone();
    QueuedCopy {
        alias,
        destination,
        reverse_path: delivery.reverse_path.clone(),
        direction: match kind {
            TargetKind::Forward => Direction::Forward,
            TargetKind::Return => Direction::Return,
        },
        state: state(&delivery.outcome),
        attempts: 1,
        due: now,
        request,
        delay_told: false,
        last: Some(last_attempt(&delivery.outcome, now)),
    }
}

/// How a copy stands in the queue after this outcome.
fn state(outcome: &Outcome) -> CopyState {
    match outcome {
        Outcome::AwaitingReply { .. } => CopyState::AwaitingReply,
        Outcome::Unknown { .. } => CopyState::Unknown,
        Outcome::Delivered(_)
        | Outcome::Refused(_)
        | Outcome::Undeliverable(_)
        | Outcome::NoAnswer(_)
        | Outcome::Recorded(_) => CopyState::Waiting,
    }
}

/// What an outcome leaves to be shown, and told in a DSN.
#[must_use]
pub fn last_attempt(outcome: &Outcome, now: SystemTime) -> LastAttempt {
    let bare = |host: &str, lines: Vec<String>| LastAttempt {
        at: now,
        host: host.to_owned(),
        code: 0,
        enhanced: None,
        lines,
        dialogue: Vec::new(),
    };
    match outcome {
        Outcome::Delivered(upstream)
        | Outcome::Refused(upstream)
        | Outcome::Recorded(Recorded::Delivered(upstream) | Recorded::Refused(upstream)) => {
            answered(upstream, now)
        }
        Outcome::Undeliverable(refusal) => ruled(refusal, now),
        Outcome::NoAnswer(no_answer) => LastAttempt {
            enhanced: Some(no_answer.silence.enhanced()),
            ..bare("", vec![clean(&no_answer.detail)])
        },
        Outcome::Unknown { host } => LastAttempt {
            enhanced: Some(Silence::Interrupted.enhanced()),
            ..bare(host, vec!["the connection was lost behind the final dot".to_owned()])
        },
        Outcome::AwaitingReply { host, .. } => LastAttempt {
            enhanced: Some(Silence::Interrupted.enhanced()),
            ..bare(host, vec!["the final dot has not been answered yet".to_owned()])
        },
        Outcome::Recorded(Recorded::Open | Recorded::Queued) => bare("", Vec::new()),
    }
}

/// What an upstream's reply leaves to be shown.
fn answered(upstream: &UpstreamReply, now: SystemTime) -> LastAttempt {
    LastAttempt {
        at: now,
        host: upstream.host.clone(),
        code: upstream.reply.code,
        enhanced: upstream.reply.enhanced,
        lines: upstream.reply.lines.iter().take(MAX_LINES).map(|line| clean(line)).collect(),
        dialogue: Vec::new(),
    }
}

fn ruled(refusal: &Refusal, now: SystemTime) -> LastAttempt {
    let row = refusal.row();
    LastAttempt {
        at: now,
        host: String::new(),
        code: row.0.code,
        enhanced: row.0.enhanced,
        lines: row.0.with(&[&row.1]).lines,
        dialogue: Vec::new(),
    }
}

fn clean(line: &str) -> String {
    reply::clean(line).chars().take(MAX_LINE_OCTETS).collect()
}
