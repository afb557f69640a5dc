//! Delivery status notifications (RFC 3464): who is told what, and the message that says so, signed and in
//! the queue itself by one record with what it tells of.
//!
//! Told is only a sender that SPF or DKIM vouches for, never a null reverse-path (RFC 5321 §4.5.5): what
//! goes to anybody else is backscatter. A recipient is named by the alias that the sender wrote to.

use std::time::SystemTime;

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::oneshot;

use super::{Inner, Queue, QueueError, Settings};
use crate::clock;
use crate::mail::report::{self, Diagnostic, Report, ReportedRecipient};
use crate::mail::{
    Address, AddressError, Enhanced, Message, MessageRequest, Notify, RecipientRequest, RequireTls,
    ReversePath, SmtpUtf8, TraceId,
};
use crate::pipeline::deferred::Unsigned;
use crate::pipeline::mask::mask;
use crate::pipeline::parcel::Silence;
use crate::pipeline::relay;
use crate::routing::{Coverage, Resolution};
use crate::spool::{Bounces, CopyState, Direction, LastAttempt, Queued, QueuedCopy, SpoolError};
use crate::telemetry::labels::{DsnAction, Label as _};

/// Whose name a notification is sent in, at the service's domain: a reply to it reaches whoever is responsible
/// (RFC 3464 §2).
const AUTHOR: &str = "postmaster";
/// What is told of a copy that nobody answered for, where the way is not known (RFC 3463 §3.5): no answer.
const NO_ANSWER: Enhanced = Enhanced(5, 4, 1);
/// And of one whose upstream gave no number (RFC 3463 §3.1): undefined.
const UNDEFINED: Enhanced = Enhanced(5, 0, 0);
/// RFC 3463 §3.5: delivery time expired.
const EXPIRED: Enhanced = Enhanced(5, 4, 7);
/// Recipients one notification tells of, at most; the others are told in further ones.
pub(super) const MAX_RECIPIENTS: usize = 100;

/// Why a sender is not told yet, or a message not looked after: both are tried again.
#[derive(Debug, Error)]
pub(super) enum NotYet {
    /// Mail to ourselves would go round and be dropped.
    #[error("whether the sender is one of ours is not known: the routing table is lost")]
    RoutingLost,
    /// Our own address.
    #[error(transparent)]
    Author(#[from] AddressError),
    /// The disk.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// The copy was not delivered and will not be.
    Failed,
    /// The copy is still tried.
    Delayed,
    /// The copy is with its upstream, from which no further word will come (RFC 3464 §2.3.3).
    Relayed,
}

impl Action {
    /// Whether the sender wants to hear this.
    pub(super) fn is_wanted(self, notify: Notify) -> bool {
        match self {
            Self::Failed => notify.wants_failure(),
            Self::Delayed => notify.wants_delay(),
            Self::Relayed => notify.wants_success(),
        }
    }

    /// The label of `dsn_sent_total`.
    fn counted(self) -> DsnAction {
        match self {
            Self::Failed => DsnAction::Failed,
            Self::Delayed => DsnAction::Delayed,
            Self::Relayed => DsnAction::Relayed,
        }
    }

    /// The word of the report.
    fn reported(self) -> report::Action {
        match self {
            Self::Failed => report::Action::Failed,
            Self::Delayed => report::Action::Delayed,
            Self::Relayed => report::Action::Relayed,
        }
    }

    /// The status of a copy: of the class that the action asks for (RFC 3464 §2.3.4), with the detail of what
    /// was said last. What failed without a last word on it did so for its age.
    fn status(self, last: Option<&LastAttempt>) -> Enhanced {
        let unsaid = if last.is_some_and(|last| last.code != 0) { UNDEFINED } else { NO_ANSWER };
        let said = last.and_then(|last| last.enhanced);
        let Enhanced(_, subject, detail) = said.unwrap_or(unsaid);
        match self {
            Self::Failed if !last.is_some_and(is_final) => EXPIRED,
            Self::Failed => Enhanced(5, subject, detail),
            Self::Delayed => Enhanced(4, subject, detail),
            Self::Relayed => Enhanced(2, 0, 0),
        }
    }
}

impl Queue {
    /// Sends a message of our own with the null reverse-path, signed. Durable when this returns.
    ///
    /// # Errors
    /// When the disk has no room or fails.
    pub async fn send(&self, to: &Address, octets: Bytes) -> Result<(), QueueError> {
        let id = TraceId::new(clock::now(), rand::random());
        let (own, message) = self.inner.own_message(id, to, octets, RequireTls::No).await;
        self.inner.spool.put(own.clone(), &message).await?;
        self.inner.note(&own);
        Ok(())
    }
}

impl Inner {
    /// Has copies leave a message: with those that a notification tells of, by one record with it. `left` is the message
    /// without any of them. On failure `leaving` has those that have not left.
    pub(super) async fn part(
        &self,
        left: &Queued,
        message: &Message,
        leaving: &mut Vec<QueuedCopy>,
        action: Action,
    ) -> Result<(), NotYet> {
        loop {
            let (now, later) = leaving.split_at(leaving.len().min(MAX_RECIPIENTS));
            let mut stands = left.clone();
            stands.copies.extend_from_slice(later);
            self.write_told(&stands, message, now, action).await?;
            leaving.drain(..leaving.len().min(MAX_RECIPIENTS));
            if leaving.is_empty() {
                return Ok(());
            }
        }
    }

    /// Writes down how a message stands, and by the same record tells its sender what became of these copies, of which
    /// there are [`MAX_RECIPIENTS`] at most, where that is wanted and safe. Durable when this returns, if anybody is told.
    pub(super) async fn write_told(
        &self,
        stands: &Queued,
        message: &Message,
        copies: &[QueuedCopy],
        action: Action,
    ) -> Result<(), NotYet> {
        match self.to_tell(stands, copies, action) {
            Some(told) => {
                self.send_report((stands, message), &told, Some(stands)).await?;
                self.note(stands);
            }
            None => self.write(stands).await?,
        }
        Ok(())
    }

    /// Tells the sender of a message that is not in the queue what became of these copies, where that is wanted and safe.
    /// Durable when this returns.
    pub(super) async fn notify(
        &self,
        queued: &Queued,
        message: &Message,
        copies: &[QueuedCopy],
        action: Action,
    ) -> Result<(), NotYet> {
        for copies in copies.chunks(MAX_RECIPIENTS) {
            if let Some(told) = self.to_tell(queued, copies, action) {
                self.send_report((queued, message), &told, None).await?;
            }
        }
        Ok(())
    }

    /// What is told of copies, and to whom; `None`: nothing.
    fn to_tell<'a>(&self, queued: &'a Queued, copies: &'a [QueuedCopy], action: Action) -> Option<News<'a>> {
        let wanted = copies.iter().filter(|copy| action.is_wanted(copy.request.notify));
        let copies: Vec<&QueuedCopy> = wanted.collect();
        let sender = queued.reverse_path.mailbox().filter(|_| !copies.is_empty())?;
        if queued.bounces == Bounces::Forbidden {
            tracing::warn!(trace = %queued.id, action = action.counted().label(), "not told: the sender may be forged");
            if action == Action::Failed {
                self.metrics.copies_refused_untold_total.inc_by(copies.len() as u64);
            }
            return None;
        }
        Some(News { sender, copies, action })
    }

    /// Builds a report, has it signed, and puts it in the queue, with the new state of what it tells of.
    async fn send_report(
        &self,
        (queued, message): (&Queued, &Message),
        News { sender, copies, action }: &News<'_>,
        cause: Option<&Queued>,
    ) -> Result<(), NotYet> {
        if self.routing.snapshot().coverage() != Coverage::Whole {
            return Err(NotYet::RoutingLost);
        }
        let settings = self.settings.load_full();
        let from = author(&settings)?;
        let now = clock::now();
        let id = TraceId::new(now, rand::random());
        let told: Vec<Told<'_>> = copies.iter().copied().map(Told::new).collect();
        let recipients: Vec<ReportedRecipient<'_>> = told
            .iter()
            .map(|told| told.reported(*action, queued.received_at + settings.give_up_after))
            .collect();
        let original_body = self.returned_body(queued, message, *action).await;
        let octets = report::build(&Report {
            reporting_mta: &settings.hostname,
            arrival: queued.received_at,
            envelope_id: queued.request.envelope_id.as_deref(),
            recipients: &recipients,
            from: &from,
            to: sender,
            id,
            date: now,
            original_head: &message.emitted_head(),
            original_body: original_body.as_deref(),
            postmaster_url: &settings.postmaster_url,
            trace: queued.id,
        });
        // RFC 8689 §5: a report holds what the message held, and is protected in the same manner.
        let require_tls = queued.request.require_tls;
        let (mut own, report) = self.own_message(id, sender, octets.into(), require_tls).await;
        own.client = queued.client;
        self.spool.put_notice(own.clone(), &report, cause).await?;
        self.note(&own);
        self.metrics.dsn_sent_total.of(action.counted()).inc();
        tracing::info!(trace = %queued.id, report = %id, action = action.counted().label(), "sender told");
        self.record_told(queued.id, sender, format!("{} (report {id})", action.counted().label()));
        Ok(())
    }

    /// A message of our own for the queue, signed, due at once.
    async fn own_message(
        &self,
        id: TraceId,
        to: &Address,
        octets: Bytes,
        require_tls: RequireTls,
    ) -> (Queued, Message) {
        let message = self.sign(Message::from_octets(octets)).await;
        (self.own_envelope(id, to, clock::now(), require_tls), message)
    }

    /// The message with our signature; without, where there is none to be had: it is better told unsigned
    /// than not at all.
    async fn sign(&self, message: Message) -> Message {
        let (answer, answered) = oneshot::channel();
        let unsigned = Unsigned { message: message.clone(), answer };
        if self.rewrite.pass(unsigned).await.is_err() {
            return message;
        }
        answered.await.unwrap_or(message)
    }

    /// The envelope of a message of our own: null reverse-path, so that nothing is ever told of it.
    fn own_envelope(&self, id: TraceId, to: &Address, now: SystemTime, require_tls: RequireTls) -> Queued {
        let copy = |destination: Address| QueuedCopy {
            alias: to.clone(),
            destination,
            reverse_path: ReversePath::Null,
            direction: Direction::Return,
            state: CopyState::Waiting,
            attempts: 0,
            due: now,
            request: RecipientRequest::default(),
            delay_told: false,
            last: None,
        };
        Queued {
            id,
            received_at: now,
            reverse_path: ReversePath::Null,
            bounces: Bounces::Forbidden,
            request: MessageRequest { require_tls, ..MessageRequest::default() },
            smtp_utf8: if to.is_ascii() { SmtpUtf8::NotRequested } else { SmtpUtf8::Requested },
            client: None,
            copies: self.destinations(to).into_iter().map(copy).collect(),
        }
    }

    /// Where mail to an address goes: through our own rules if we host it, since we do not deliver to
    /// ourselves.
    fn destinations(&self, to: &Address) -> Vec<Address> {
        match self.routing.snapshot().resolve(to) {
            Resolution::Forward { destinations, .. } => destinations,
            Resolution::UnknownDomain
            | Resolution::UnknownRecipient
            | Resolution::Waiting { .. }
            | Resolution::Reject { .. }
            | Resolution::Drop { .. }
            | Resolution::NoPostmaster
            | Resolution::NotKnown
            | Resolution::Cycle { .. }
            | Resolution::TooMany => vec![to.clone()],
        }
    }
}

/// What one notification tells.
struct News<'a> {
    sender: &'a Address,
    copies: Vec<&'a QueuedCopy>,
    action: Action,
}

/// A copy as it is told of: what its last attempt heard, the private destination masked. Where nobody answered,
/// only in what way: what is known of it names the destination's domain.
struct Told<'a> {
    copy: &'a QueuedCopy,
    lines: Vec<String>,
}

impl<'a> Told<'a> {
    fn new(copy: &'a QueuedCopy) -> Self {
        let lines = match &copy.last {
            Some(last) if !last.lines.is_empty() && is_silence(last) => {
                vec![Silence::of(last.enhanced).sentence().to_owned()]
            }
            Some(last) => mask(&last.lines, &copy.alias, &copy.destination),
            None => Vec::new(),
        };
        Self { copy, lines }
    }

    fn reported(&self, action: Action, give_up_at: SystemTime) -> ReportedRecipient<'_> {
        let last = self.copy.last.as_ref();
        ReportedRecipient {
            alias: &self.copy.alias,
            original_recipient: self.copy.request.original_recipient.as_deref(),
            action: action.reported(),
            status: action.status(last),
            remote_mta: last.map(|last| last.host.as_str()).filter(|host| !host.is_empty()),
            diagnostic: last.map(|last| Diagnostic {
                code: last.code,
                enhanced: last.enhanced.filter(|_| last.code != 0),
                lines: &self.lines,
            }),
            last_attempt_at: last.map(|last| last.at),
            will_retry_until: (action == Action::Delayed).then_some(give_up_at),
        }
    }
}

/// Whether it says that the copy will never be taken.
fn is_final(last: &LastAttempt) -> bool {
    match last.code {
        0 => !is_silence(last),
        code => relay::heard_code(code, last.enhanced) / 100 == 5,
    }
}

/// Whether nobody answered; what we gave up for good ourselves is of class 5.
fn is_silence(last: &LastAttempt) -> bool {
    last.code == 0 && !matches!(last.enhanced, Some(Enhanced(5, ..)))
}

fn author(settings: &Settings) -> Result<Address, AddressError> {
    Address::from_parts(AUTHOR, settings.service_domain.clone())
}

#[cfg(test)]
#[path = "notify_tests.rs"]
mod tests;
