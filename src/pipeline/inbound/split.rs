//! RCPT: one transaction group a transaction, for senders that nobody vouches for (`smtp.split_unvouched`).
//!
//! A message that one upstream takes and another refuses at the dot is answered 250, and the refusal told in a
//! DSN. A sender that may be forged, or is null, is sent none: nobody would hear of the copy that was refused.
//! So its message goes to upstreams in one transaction, whose one reply it hears. A recipient of another group
//! hears 452 4.5.3, as one too many does (RFC 5321 §4.5.3.1.10), and is written to in the next transaction.
//!
//! A group is what `deliver` has in one upstream transaction: one reverse-path, rewritten in the alias's domain,
//! and one destination domain. MX hosts and TLS policy follow from that domain; nothing is looked up for it, and
//! so no answer is waited for. Two domains with the same hosts are two groups, because they are two
//! transactions. An alias that leads to several groups cannot be split by its sender: it is taken when it is
//! alone, and what may come of that is settled as `partly_refused` (see [`crate::pipeline::settle`]).

use std::collections::HashSet;

use tokio::time::Instant;

use super::open::rcpt_limit;
use super::session::Session;
use crate::mail::{Domain, ReversePath};
use crate::pipeline::parcel::{Action, Recipient};
use crate::smtp::reply::{self, Reply};

/// What one upstream transaction has in common.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Group<'a> {
    /// Whose reverse-path it has; none: the null one.
    forwarding: Option<&'a Domain>,
    destination: &'a Domain,
}

impl Session {
    /// The refusal of a recipient that goes in a transaction of its own. Who is vouched for is asked where it
    /// matters only, and waited for as long as RCPT may take.
    pub(super) async fn split(&mut self, recipient: &Recipient) -> Option<Reply> {
        let until = Instant::now() + rcpt_limit(&self.config.delivery);
        let open = self.open.as_mut().filter(|_| self.config.smtp.split_unvouched)?;
        let is_alone = open.recipients.iter().all(is_dropped);
        let fits = || is_one_group(&open.mail.reverse_path, open.recipients.iter().chain([recipient]));
        if is_alone || is_dropped(recipient) || fits() || open.is_vouched_for(until).await {
            return None;
        }
        let id = open.id;
        Some(self.refer(reply::OTHER_GROUP, &[], id))
    }
}

/// Whether nothing of it goes to any upstream.
fn is_dropped(recipient: &Recipient) -> bool {
    recipient.action == Action::Drop
}

/// Whether the copies of these recipients need no more than one upstream transaction.
fn is_one_group<'a>(reverse_path: &ReversePath, recipients: impl IntoIterator<Item = &'a Recipient>) -> bool {
    let groups = recipients.into_iter().flat_map(|recipient| groups(reverse_path, recipient));
    groups.collect::<HashSet<_>>().len() <= 1
}

fn groups<'a>(
    reverse_path: &ReversePath,
    recipient: &'a Recipient,
) -> impl Iterator<Item = Group<'a>> + use<'a> {
    let (destinations, forwarding) = match &recipient.action {
        Action::Forward(destinations) => {
            let forwarding = reverse_path.mailbox().map(|_| recipient.alias.domain());
            (destinations.as_slice(), forwarding)
        }
        Action::ReturnToSender(original) => (std::slice::from_ref(original), None),
        Action::Drop => (&[][..], None),
    };
    destinations.iter().map(move |to| Group { forwarding, destination: to.domain() })
}

#[cfg(test)]
#[path = "split_tests.rs"]
mod tests;
