//! RCPT: whether a recipient is taken, and what becomes of its copy. In this order:
//!
//! 1. `<Postmaster>` is the service's (RFC 5321 §4.5.1).
//! 2. A return address (SRS) in a domain that is ours, disabled or not, before any rule sees it: for a bounce, and with
//!    a valid hash and age, it leads to the original sender. What is no bounce is refused before its hash is looked at,
//!    so that nobody learns anything of it. In other domains it is an address like any other.
//! 3. The rules.
//!
//! While the routing table is not the whole one ([`Coverage`]), nobody hears that a recipient does not exist, and
//! return addresses wait too: whose bounce it is, and the originals of long ones, went with the table.
//!
//! postmaster@ and abuse@ are let through policy by the sender's address, whether a rule takes them or not.

use std::time::SystemTime;

use tracing::{error, warn};

use super::Context;
use crate::aliases::Original;
use crate::clock;
use crate::mail::{Address, Domain, RecipientRequest, ReversePath};
use crate::pipeline::parcel::{Action, Recipient, Standing};
use crate::pipeline::refusal::Refusal;
use crate::routing::{Coverage, MatchedBy, Resolution, Table, is_role};
use crate::srs::{self, SrsError};
use crate::telemetry::labels::{Matcher, RuleAction, SrsOperation};

/// Return addresses that may be found in one another: SRS1 leads to the SRS0 address of another domain of ours.
const MAX_UNWRAPPED: usize = 3;

/// Decides about a recipient; `None` is `<Postmaster>`.
///
/// # Errors
/// When it is not taken.
pub(super) async fn take(
    recipient: Option<Address>,
    reverse_path: &ReversePath,
    context: &Context,
) -> Result<Recipient, Refusal> {
    let table = context.routing.snapshot();
    let mut taken = find(recipient, reverse_path, &table, context).await?;
    taken.on_tempfail = table.domain(taken.alias.domain()).and_then(|domain| domain.on_tempfail);
    Ok(taken)
}

async fn find(
    recipient: Option<Address>,
    reverse_path: &ReversePath,
    table: &Table,
    context: &Context,
) -> Result<Recipient, Refusal> {
    let Some(alias) = recipient else {
        let service = table.options().service_domain.clone();
        let alias = Address::from_parts("Postmaster", service).map_err(|_| Refusal::Internal)?;
        return decide(alias, table.resolve_postmaster(), Standing::Role, context);
    };
    if srs::has_form(&alias) {
        if table.coverage() != Coverage::Whole {
            return Err(Refusal::Internal);
        }
        if *reverse_path != ReversePath::Null && is_ours(alias.domain(), table) {
            return Err(Refusal::SrsNotABounce);
        }
    }
    match original_sender(&alias, table, clock::now(), context).await? {
        // A sender with an address in a domain that we host: never by SMTP to ourselves.
        Some(original) if table.hosts(original.domain()) => {
            decide(alias, table.resolve(&original), Standing::Bounce, context)
        }
        Some(original) => Ok(taken(alias, Action::ReturnToSender(original), Standing::Bounce)),
        None => {
            let standing = if is_role(&alias) { Standing::Role } else { Standing::Ordinary };
            let resolution = table.resolve(&alias);
            decide(alias, resolution, standing, context)
        }
    }
}

/// Whether return addresses in a domain are ours to read.
fn is_ours(domain: &Domain, table: &Table) -> bool {
    table.hosts(domain) || *domain == table.options().service_domain
}

/// Where a return address of ours leads: `None` for every other address.
async fn original_sender(
    alias: &Address,
    table: &Table,
    now: SystemTime,
    context: &Context,
) -> Result<Option<Address>, Refusal> {
    let mut found: Option<Address> = None;
    for _ in 0..MAX_UNWRAPPED {
        let address = found.as_ref().unwrap_or(alias);
        if !is_ours(address.domain(), table) {
            return Ok(found);
        }
        match unwrap(address, now, context).await? {
            Some(original) => found = Some(original),
            None => return Ok(found),
        }
    }
    Err(Refusal::SrsInvalid)
}

async fn unwrap(address: &Address, now: SystemTime, context: &Context) -> Result<Option<Address>, Refusal> {
    let decoded = match context.srs.decode(address, now) {
        Ok(None) => return Ok(None),
        Ok(Some(original)) => Ok(original),
        Err(SrsError::Stored) => stored(address, now, context).await?,
        Err(error) => Err(error),
    };
    let operation = match &decoded {
        Ok(_) => SrsOperation::Decoded,
        Err(SrsError::Expired | SrsError::Retired) => SrsOperation::Expired,
        Err(SrsError::Malformed | SrsError::Forged | SrsError::Stored) => SrsOperation::Invalid,
    };
    context.chronicle.metrics().srs_operations_total.of(operation).inc();
    decoded.map(Some).map_err(|error| match error {
        SrsError::Forged => Refusal::SrsForged,
        SrsError::Malformed | SrsError::Retired | SrsError::Expired | SrsError::Stored => Refusal::SrsInvalid,
    })
}

/// The original of an alias, which is on disk, here or elsewhere.
async fn stored(
    address: &Address,
    now: SystemTime,
    context: &Context,
) -> Result<Result<Address, SrsError>, Refusal> {
    let token = match context.srs.decode_alias(address, now) {
        Ok(Some(token)) => token,
        Ok(None) => return Ok(Err(SrsError::Malformed)),
        Err(error) => return Ok(Err(error)),
    };
    match context.aliases.clone().find(token).await {
        Ok(Original::Known(original)) => Ok(Ok(original)),
        Ok(Original::Unknown) => Ok(Err(SrsError::Expired)),
        Ok(Original::Unanswered) => {
            warn!("a return address is not known here, and another node that may know it does not answer");
            Err(Refusal::Internal)
        }
        Err(cause) => {
            error!(%cause, "a return address cannot be looked up");
            Err(Refusal::NoStorage)
        }
    }
}

/// Turns where an address leads into what is answered, and counts it.
fn decide(
    alias: Address,
    resolution: Resolution,
    standing: Standing,
    context: &Context,
) -> Result<Recipient, Refusal> {
    let count = |matcher: MatchedBy, action: RuleAction| {
        let matcher = match matcher {
            MatchedBy::Exact => Matcher::Exact,
            MatchedBy::Subaddress => Matcher::Subaddress,
            MatchedBy::Role => Matcher::Role,
            MatchedBy::CatchAll => Matcher::CatchAll,
        };
        context.chronicle.metrics().rule_matches_total.of((matcher, action)).inc();
    };
    match resolution {
        Resolution::Forward { matcher, destinations, .. } => {
            count(matcher, RuleAction::Forward);
            Ok(taken(alias, Action::Forward(destinations), standing))
        }
        Resolution::Drop { matcher, .. } => {
            count(matcher, RuleAction::Drop);
            Ok(taken(alias, Action::Drop, standing))
        }
        Resolution::Reject { matcher, text, .. } => {
            count(matcher, RuleAction::Reject);
            Err(Refusal::RuleReject(text))
        }
        Resolution::Waiting { matcher, .. } => {
            count(matcher, RuleAction::Waiting);
            Err(Refusal::RuleWaiting)
        }
        Resolution::UnknownDomain => Err(Refusal::UnknownDomain),
        Resolution::UnknownRecipient => Err(Refusal::UnknownRecipient),
        Resolution::NotKnown => Err(Refusal::Internal),
        Resolution::Cycle { .. } => {
            warn!(domain = %alias.domain(), "rules lead in a circle; see postroadctl resolve");
            Err(Refusal::Loop)
        }
        Resolution::TooMany => {
            error!(domain = %alias.domain(), "rules lead to too many destinations; see postroadctl resolve");
            Err(Refusal::Internal)
        }
        Resolution::NoPostmaster => {
            error!("service.postmaster is in a domain of ours, and no rule there takes it");
            Err(Refusal::Internal)
        }
    }
}

/// What is asked for is not known here: `inbound` fills it in.
fn taken(alias: Address, action: Action, standing: Standing) -> Recipient {
    Recipient { alias, action, standing, on_tempfail: None, request: RecipientRequest::default() }
}
