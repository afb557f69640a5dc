//! RCPT, the last step: a recipient that passed every check of ours is asked of its upstreams (cut-through),
//! so that an unknown or full mailbox is refused here. Only for senders that SPF vouches for; nobody else
//! can have us connect anywhere before their message was judged.

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::open::{Open, rcpt_limit};
use super::session::{End, Session};
use crate::config::OnTempfail;
use crate::pipeline::deadline::Deadline;
use crate::pipeline::parcel::{Action, Admitted, Declared, Inquired, Inquiry, Recipient};
use crate::pipeline::relay;
use crate::smtp::reply::Reply;
use crate::telemetry::SmtpCommand;

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
        if !self.config.delivery.cut_through || !open.is_vouched_for(until.at()).await {
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

/// Whether there is anybody to ask, and anything left to ask with. As many recipients are asked as may be
/// taken: RCPT after RCPT that is refused for now is no way to knock at an upstream without end.
fn may_ask(open: &Open, recipient: &Recipient, most: usize) -> bool {
    matches!(recipient.action, Action::Forward(_))
        && open.mail.reverse_path.mailbox().is_some()
        && open.asking.recipients < most
        && !open.asking.patience.is_zero()
}
