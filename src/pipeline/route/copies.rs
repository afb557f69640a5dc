//! The dot: whether the message goes in circles, and which copies are sent.

use std::collections::HashSet;

use super::Context;
use crate::mail::{Address, header, loop_token};
use crate::pipeline::parcel::{Action, Recipient, Target, TargetKind};
use crate::pipeline::refusal::Refusal;

/// The copies to send, in RCPT order; a destination that several aliases lead to gets one, under the first of them.
/// None when every recipient drops the message.
///
/// # Errors
/// [`Refusal::Loop`] when the message has more Received fields than `limits.hops` (RFC 5321 §6.3), or our mark for
/// one of these recipients: it was forwarded for it before.
pub(super) fn copies(
    recipients: &[Recipient],
    head: &[u8],
    context: &Context,
) -> Result<Vec<Target>, Refusal> {
    let hops = header::fields(head).filter(|field| field.is("Received")).count();
    if hops > context.hops {
        return Err(Refusal::Loop);
    }
    let seen: HashSet<_> = loop_token::find(head).into_iter().collect();
    let again = |recipient: &Recipient| seen.contains(&context.loop_key.token(&recipient.alias));
    if !seen.is_empty() && recipients.iter().any(again) {
        return Err(Refusal::Loop);
    }
    Ok(targets(recipients))
}

fn targets(recipients: &[Recipient]) -> Vec<Target> {
    let mut known: HashSet<Address> = HashSet::new();
    let mut targets = Vec::with_capacity(recipients.len());
    for Recipient { alias, action, request, .. } in recipients {
        let (destinations, kind) = match action {
            Action::Forward(destinations) => (destinations.as_slice(), TargetKind::Forward),
            Action::ReturnToSender(original) => (std::slice::from_ref(original), TargetKind::Return),
            Action::Drop => continue,
        };
        let new = destinations.iter().filter(|destination| known.insert(destination.folded()));
        targets.extend(new.map(|to| Target {
            alias: alias.clone(),
            destination: to.clone(),
            kind,
            request: request.clone(),
        }));
    }
    targets
}
