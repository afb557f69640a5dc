//! A transaction that MAIL has opened, and what is known of it so far.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::{Duration, Instant, timeout_at};

use super::reception::Reception;
use crate::config::Delivery;
use crate::journal::MAX_RECIPIENTS;
use crate::mail::{Address, TraceId};
use crate::pipeline::parcel::{Advance, Client, EarlyVerdict, Recipient, SpfVerdict};
use crate::routing::Listing;
use crate::smtp::command::Mail;
use crate::smtp::reply::Reply;

/// How long one recipient waits for SPF and its upstreams. Most answer within a second, and a client that
/// waits for ours is not kept longer than by a greylisting server's pause.
const RCPT_LIMIT: Duration = Duration::from_secs(5);
/// How long all recipients of a transaction together do; past it they are asked at the dot.
const TRANSACTION_LIMIT: Duration = Duration::from_secs(20);

/// A transaction that MAIL opened.
pub(super) struct Open {
    pub(super) id: TraceId,
    pub(super) client: Arc<Client>,
    pub(super) mail: Mail,
    /// What an operator said of the client at MAIL: in the place of what blocklists say.
    pub(super) listing: Option<Arc<Listing>>,
    pub(super) early: Early,
    pub(super) recipients: Vec<Recipient>,
    /// What upstreams were asked, and may still be.
    pub(super) asking: Asking,
    pub(super) opened_at: Instant,
    /// For the trace of a transaction that never got a message.
    pub(super) refused: Option<Refused>,
    /// Chunks under way (RFC 3030).
    pub(super) chunks: Chunks,
    /// When the message that has begun must be there.
    pub(super) due: Option<Instant>,
}

/// The recipients that were refused, and the last refusal.
pub(super) struct Refused {
    /// The first of them, as many as the journal keeps.
    pub(super) recipients: Vec<Address>,
    /// How many more there were.
    pub(super) omitted: usize,
    pub(super) reply: Reply,
}

impl Refused {
    /// Nobody so far, with this reply.
    pub(super) fn new(reply: Reply) -> Self {
        Self { recipients: Vec::new(), omitted: 0, reply }
    }

    /// One more, with its reply.
    pub(super) fn add(&mut self, recipient: Option<Address>, reply: Reply) {
        match recipient {
            Some(recipient) if self.recipients.len() < MAX_RECIPIENTS => self.recipients.push(recipient),
            Some(_) => self.omitted += 1,
            None => {}
        }
        self.reply = reply;
    }
}

/// Where a message by BDAT stands.
pub(super) enum Chunks {
    None,
    Receiving(Box<Reception>),
    /// A chunk was refused; so are all that follow it (RFC 3030 §2).
    Refused,
}

/// What a transaction asks of upstreams at RCPT.
#[derive(Debug)]
pub(super) struct Asking {
    /// What upstreams hold for it.
    pub(super) advance: Advance,
    /// What is left of [`TRANSACTION_LIMIT`].
    pub(super) patience: Duration,
    /// Recipients that were asked, taken or not.
    pub(super) recipients: usize,
}

impl Default for Asking {
    fn default() -> Self {
        Self { advance: Advance::default(), patience: TRANSACTION_LIMIT, recipients: 0 }
    }
}

/// The early verdict on the sender, from MAIL on.
#[derive(Debug)]
pub(super) enum Early {
    /// Under way.
    Asked(oneshot::Receiver<EarlyVerdict>),
    /// Known, because RCPT needed it.
    Known(EarlyVerdict),
    /// Whoever should have said it is gone.
    Lost,
}

impl Early {
    /// The verdict, if it comes in time.
    async fn wait(&mut self, until: Instant) -> Option<&EarlyVerdict> {
        if let Self::Asked(early) = self {
            *self = match timeout_at(until, early).await {
                Ok(Ok(verdict)) => Self::Known(verdict),
                Ok(Err(_)) => Self::Lost,
                Err(_) => return None,
            };
        }
        match self {
            Self::Known(verdict) => Some(verdict),
            Self::Asked(_) | Self::Lost => None,
        }
    }

    /// For the message's parcel.
    pub(super) fn receiver(self) -> oneshot::Receiver<EarlyVerdict> {
        match self {
            Self::Asked(early) => early,
            Self::Known(verdict) => {
                let (sender, receiver) = oneshot::channel();
                // The receiver is right here.
                let _ = sender.send(verdict);
                receiver
            }
            Self::Lost => oneshot::channel().1,
        }
    }
}

impl Open {
    /// Whether SPF passes for MAIL FROM, and its domain takes our answers.
    pub(super) async fn is_vouched_for(&mut self, until: Instant) -> bool {
        if self.mail.reverse_path.mailbox().is_none() {
            return false;
        }
        let until = until.min(Instant::now() + self.asking.patience);
        let early = self.early.wait(until).await;
        if early.is_none() {
            // Those that follow do not wait for it again.
            self.asking.patience = Duration::ZERO;
        }
        early.is_some_and(|early| early.spf_mail_from == SpfVerdict::Pass && !early.sender_null_mx)
    }
}

/// Half of what the message will have at the dot, at most.
pub(super) fn rcpt_limit(delivery: &Delivery) -> Duration {
    RCPT_LIMIT.min(delivery.in_session_timeout / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::reply;

    #[test]
    fn of_a_hundred_thousand_refused_recipients_a_hundred_are_kept() {
        let address = Address::parse("nobody@ours.example").unwrap();
        let mut refused = Refused::new(reply::UNKNOWN_RECIPIENT.reply());
        for _ in 0..100_000 {
            refused.add(Some(address.clone()), reply::RULE_WAITING.reply());
        }
        refused.add(None, reply::UNKNOWN_DOMAIN.reply());
        assert_eq!((refused.recipients.len(), refused.omitted), (100, 99_900));
        assert_eq!(refused.reply, reply::UNKNOWN_DOMAIN.reply());
    }
}
