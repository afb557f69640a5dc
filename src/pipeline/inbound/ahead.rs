//! RCPT, the last step: a recipient that passed every check of ours is asked of its upstreams (cut-through),
//! so that an unknown or full mailbox is refused here. Only for senders that SPF vouches for; nobody else
//! can have us connect anywhere before their message was judged.

use tokio::sync::oneshot;
use tokio::time::{Duration, Instant, timeout_at};

use super::session::{End, Session};
use super::transaction::Open;
use crate::config::{Delivery, OnTempfail};
use crate::pipeline::deadline::Deadline;
use crate::pipeline::parcel::{
    Action, Admitted, Advance, Declared, EarlyVerdict, Inquired, Inquiry, Recipient, SpfVerdict,
};
use crate::pipeline::relay;
use crate::smtp::reply::Reply;
use crate::telemetry::SmtpCommand;

/// How long one recipient waits for SPF and its upstreams. Most answer within a second, and a client that
/// waits for ours is not kept longer than by a greylisting server's pause.
const RCPT_LIMIT: Duration = Duration::from_secs(5);
/// How long all recipients of a transaction together do; past it they are asked at the dot.
const TRANSACTION_LIMIT: Duration = Duration::from_secs(20);

/// What a transaction asks of upstreams at RCPT.
#[derive(Debug)]
pub(super) struct Asking {
    /// What upstreams hold for it.
    pub(super) advance: Advance,
    /// What is left of [`TRANSACTION_LIMIT`].
    patience: Duration,
    /// Recipients that were asked, taken or not.
    recipients: usize,
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

impl Session {
    /// Asks the recipient's upstreams. Gives it back unless they refuse it: whatever goes wrong here is left
    /// for the dot.
    pub(super) async fn ask_upstreams(
        &mut self,
        recipient: Recipient,
    ) -> Result<Result<Recipient, Reply>, End> {
        let (most, limit) = (self.config.limits.recipients, rcpt_limit(&self.config.delivery));
        let Some(open) = self.open.as_mut().filter(|open| may_ask(open, &recipient, most)) else {
            return Ok(Ok(recipient));
        };
        let started = Instant::now();
        let until = Deadline::after(limit.min(open.asking.patience));
        if !self.config.delivery.cut_through || !is_vouched_for(open, until.at()).await {
            return Ok(Ok(recipient));
        }
        open.asking.recipients += 1;
        let (id, mail) = (open.id, &open.mail);
        let declared = Declared {
            size_octets: mail.size_octets,
            body_type: mail.body_type,
            smtp_utf8: mail.smtp_utf8,
            request: mail.request.clone(),
        };
        let reverse_path = mail.reverse_path.clone();
        let advance = std::mem::take(&mut open.asking.advance);
        let (answer, answered) = oneshot::channel();
        let inquiry = Inquiry { id, declared, advance, until, answer };
        let admitted = Admitted { recipient: recipient.clone(), reverse_path, inquiry };
        if self.around.admitted.pass(admitted).await.is_err() {
            return self.break_down(SmtpCommand::Rcpt).await;
        }
        let Inquired { advance, refused } = answered.await.unwrap_or_default();
        if let Some(open) = &mut self.open {
            open.asking.advance = advance;
            open.asking.patience = open.asking.patience.saturating_sub(started.elapsed());
        }
        let Some((upstream, target)) = refused else { return Ok(Ok(recipient)) };
        let reply = relay::relay(&upstream, &target, &self.config.service.postmaster_url, id);
        let on_tempfail = recipient.on_tempfail.unwrap_or(self.config.delivery.on_tempfail);
        // The queue is for what its sender need not hear of yet.
        let kept = !reply.is_permanent() && on_tempfail != OnTempfail::Relay;
        Ok(if kept { Ok(recipient) } else { Err(reply) })
    }
}

/// Half of what the message will have at the dot, at most.
pub(super) fn rcpt_limit(delivery: &Delivery) -> Duration {
    RCPT_LIMIT.min(delivery.in_session_timeout / 2)
}

/// Whether there is anybody to ask, and anything left to ask with. As many recipients are asked as may be
/// taken: RCPT after RCPT that is refused for now is no way to knock at an upstream without end.
fn may_ask(open: &Open, recipient: &Recipient, most: usize) -> bool {
    matches!(recipient.action, Action::Forward(_))
        && open.mail.reverse_path.mailbox().is_some()
        && open.asking.recipients < most
        && !open.asking.patience.is_zero()
}

/// Whether SPF passes for MAIL FROM, and its domain takes our answers.
pub(super) async fn is_vouched_for(open: &mut Open, until: Instant) -> bool {
    if open.mail.reverse_path.mailbox().is_none() {
        return false;
    }
    let until = until.min(Instant::now() + open.asking.patience);
    let early = open.early.wait(until).await;
    if early.is_none() {
        // Those that follow do not wait for it again.
        open.asking.patience = Duration::ZERO;
    }
    early.is_some_and(|early| early.spf_mail_from == SpfVerdict::Pass && !early.sender_null_mx)
}
