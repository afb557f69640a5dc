//! Between the resources of the API and ours. Wire values are checked here and nowhere else.

use std::time::{Duration, SystemTime};

use tonic::Status;

use super::status;
use crate::cluster::operate::NodeName;
use crate::config::OnTempfail;
use crate::journal::{Delivery, DeliveryResult, Entry, Outcome};
use crate::mail::Address;
use crate::proto::Timestamp;
use crate::proto::admin::v1::domain::OnTempfail as WireTempfail;
use crate::proto::admin::v1::listing::Access as WireAccess;
use crate::proto::admin::v1::rule::State;
use crate::proto::admin::v1::{
    Action, Destination, Domain, Listing, Matcher, Rule, Trace, action, matcher, trace,
};
use crate::routing::{self, Access, RuleAction};

/// A domain for the wire.
pub(super) fn domain(entry: &routing::DomainEntry) -> Domain {
    let on_tempfail = match entry.on_tempfail {
        None => WireTempfail::Unspecified,
        Some(OnTempfail::Relay) => WireTempfail::Relay,
        Some(OnTempfail::Queue) => WireTempfail::Queue,
        Some(OnTempfail::Verified) => WireTempfail::Verified,
    };
    Domain {
        name: entry.resource_name(),
        id: entry.id.to_string(),
        enabled: Some(entry.enabled),
        on_tempfail: on_tempfail.into(),
        subaddressing: Some(entry.subaddressing),
        create_time: Some(entry.created_at.into()),
        update_time: Some(entry.updated_at.into()),
        etag: etag(entry.revision),
    }
}

/// `on_tempfail` from the wire.
pub(super) fn on_tempfail(domain: &Domain) -> Result<Option<OnTempfail>, Status> {
    let known = WireTempfail::try_from(domain.on_tempfail)
        .map_err(|_| status::invalid("domain.on_tempfail", "is not a known value"))?;
    Ok(match known {
        WireTempfail::Unspecified => None,
        WireTempfail::Relay => Some(OnTempfail::Relay),
        WireTempfail::Queue => Some(OnTempfail::Queue),
        WireTempfail::Verified => Some(OnTempfail::Verified),
    })
}

/// A rule for the wire.
pub(super) fn rule(rule: &routing::Rule, state: State) -> Rule {
    let matcher = match &rule.matcher {
        routing::Matcher::Local(local) => matcher::Kind::To(local.clone()),
        routing::Matcher::CatchAll => matcher::Kind::All(matcher::All {}),
    };
    let action = match &rule.action {
        RuleAction::Forward(destinations) => {
            let addresses = destinations.iter().map(Address::to_string).collect();
            action::Kind::Forward(action::Forward { addresses })
        }
        RuleAction::Drop => action::Kind::Drop(action::Drop {}),
        RuleAction::Reject(text) => action::Kind::Reject(action::Reject { text: text.clone() }),
    };
    Rule {
        name: rule.resource_name(),
        id: rule.id.to_string(),
        display_name: rule.label.clone(),
        enabled: Some(rule.enabled),
        priority: rule.priority,
        matcher: Some(Matcher { kind: Some(matcher) }),
        action: Some(Action { kind: Some(action) }),
        state: state.into(),
        create_time: Some(rule.created_at.into()),
        update_time: Some(rule.updated_at.into()),
        etag: etag(rule.revision),
    }
}

/// A rule's matcher from the wire.
pub(super) fn matcher(rule: &Rule) -> Result<routing::Matcher, Status> {
    match rule.matcher.as_ref().and_then(|matcher| matcher.kind.as_ref()) {
        Some(matcher::Kind::To(local)) => Ok(routing::Matcher::Local(local.clone())),
        Some(matcher::Kind::All(_)) => Ok(routing::Matcher::CatchAll),
        None => Err(status::invalid("rule.matcher", "is required: to or all")),
    }
}

/// A rule's action from the wire.
pub(super) fn action(rule: &Rule) -> Result<RuleAction, Status> {
    match rule.action.as_ref().and_then(|action| action.kind.as_ref()) {
        Some(action::Kind::Forward(forward)) => {
            // One more than a rule may name is enough to be refused for.
            let addresses = forward.addresses.iter().take(routing::MAX_DESTINATIONS_PER_RULE + 1);
            let parsed = addresses.map(|address| {
                Address::parse(address)
                    .map_err(|error| status::invalid("rule.action.forward.addresses", error))
            });
            Ok(RuleAction::Forward(parsed.collect::<Result<_, _>>()?))
        }
        Some(action::Kind::Drop(_)) => Ok(RuleAction::Drop),
        Some(action::Kind::Reject(reject)) => Ok(RuleAction::Reject(reject.text.clone())),
        None => Err(status::invalid("rule.action", "is required: forward, drop or reject")),
    }
}

/// A destination for the wire.
pub(super) fn destination(destination: &routing::Destination) -> Destination {
    Destination {
        name: destination.resource_name(),
        id: destination.id.to_string(),
        address: destination.address.to_string(),
        verify_time: destination.verified_at.map(Into::into),
        create_time: Some(destination.created_at.into()),
        etag: etag(destination.revision),
    }
}

/// A listing for the wire.
pub(super) fn listing(listing: &routing::Listing) -> Listing {
    let access = match listing.access {
        Access::Blocked => WireAccess::Blocked,
        Access::Allowed => WireAccess::Allowed,
    };
    Listing {
        name: listing.resource_name(),
        network: listing.network.to_string(),
        access: access.into(),
        reason: listing.reason.clone(),
        create_time: Some(listing.since.into()),
        expire_time: listing.until.map(Into::into),
        etag: etag(listing.revision),
    }
}

/// A journal entry for the wire, with what came later of its copies.
pub(super) fn trace(node: &NodeName, entry: &Entry, deliveries: &[Delivery]) -> Trace {
    let outcome = match entry.outcome {
        Outcome::Forwarded => trace::Outcome::Forwarded,
        Outcome::Rejected => trace::Outcome::Rejected,
        Outcome::Dropped => trace::Outcome::Dropped,
        Outcome::Tempfailed => trace::Outcome::Tempfailed,
        Outcome::Queued => trace::Outcome::Queued,
        Outcome::PartlyRefused => trace::Outcome::PartlyRefused,
    };
    Trace {
        name: format!("traces/{}", entry.id),
        id: entry.id.to_string(),
        time: Some(entry.at.into()),
        duration: Some(Duration::from_millis(entry.duration_ms).into()),
        client_ip: entry.client_ip.to_string(),
        helo: entry.helo.clone(),
        reverse_path: entry.reverse_path.clone(),
        recipients: entry.recipients.clone(),
        message_id: entry.message_id.clone().unwrap_or_default(),
        octets: i64::try_from(entry.octets).unwrap_or(i64::MAX),
        authentication_results: entry.verdict.clone(),
        outcome: outcome.into(),
        code: entry.code.into(),
        reply: entry.reply.clone(),
        steps: entry.steps.clone(),
        deliveries: deliveries.iter().map(delivery).collect(),
        node: node.to_string(),
    }
}

/// What came of a queued copy, for the wire.
pub(super) fn delivery(delivery: &Delivery) -> trace::Delivery {
    let result = match delivery.result {
        DeliveryResult::Delivered => trace::Result::Delivered,
        DeliveryResult::Failed => trace::Result::Failed,
        DeliveryResult::Deferred => trace::Result::Deferred,
        DeliveryResult::Unknown => trace::Result::Uncertain,
        DeliveryResult::Cancelled => trace::Result::Cancelled,
        DeliveryResult::Told => trace::Result::Told,
    };
    trace::Delivery {
        time: Some(delivery.at.into()),
        result: result.into(),
        recipient: delivery.recipient.clone(),
        destination: delivery.destination.clone(),
        attempts: i32::try_from(delivery.attempts).unwrap_or(i32::MAX),
        host: delivery.host.clone(),
        code: delivery.code.into(),
        text: delivery.text.clone(),
    }
}

/// An etag for the wire: the revision that wrote the resource.
pub(super) fn etag(revision: u64) -> String {
    revision.to_string()
}

/// An etag from the wire; empty is none.
pub(super) fn etag_from(field: &str, text: &str) -> Result<Option<u64>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| status::invalid(field, "is not an etag of this server"))
}

/// A time from the wire.
pub(super) fn time_from(field: &str, time: &Timestamp) -> Result<SystemTime, Status> {
    time.time().ok_or_else(|| status::invalid(field, "is no time between 1970 and 9999"))
}

/// The longest time that an order may be for.
pub(super) struct Longest {
    /// As a number.
    pub(super) hours: u64,
    /// As people say it.
    pub(super) text: &'static str,
}

/// When an order ends that begins at this time and is for so long.
pub(super) fn end_of(
    since: SystemTime,
    duration: &pbjson_types::Duration,
    longest: &Longest,
) -> Result<SystemTime, Status> {
    let nanos = u32::try_from(duration.nanos).ok().filter(|nanos| *nanos < 1_000_000_000);
    let seconds = u64::try_from(duration.seconds).ok();
    let length = seconds.zip(nanos).map(|(seconds, nanos)| Duration::new(seconds, nanos));
    length
        .filter(|length| !length.is_zero() && *length <= Duration::from_hours(longest.hours))
        .and_then(|length| since.checked_add(length))
        .ok_or_else(|| status::invalid("duration", format!("is not between nothing and {}", longest.text)))
}
