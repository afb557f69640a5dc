//! What a rule and a destination may be, whatever else stands in the table.

use super::error::RoutingError;
use super::model::{
    MAX_DESTINATIONS_PER_RULE, MAX_LABEL_OCTETS, MAX_REASON_CHARS, MAX_REJECT_OCTETS, Matcher, RuleAction,
};
use crate::mail::{Address, Domain};

pub(super) fn check_label(label: &str) -> Result<(), RoutingError> {
    if label.len() > MAX_LABEL_OCTETS || label.chars().any(char::is_control) {
        return Err(RoutingError::Label);
    }
    Ok(())
}

pub(super) fn check_reason(reason: &str) -> Result<(), RoutingError> {
    if reason.chars().count() > MAX_REASON_CHARS || reason.chars().any(char::is_control) {
        return Err(RoutingError::Reason);
    }
    Ok(())
}

pub(super) fn checked_matcher(matcher: &Matcher, domain: &Domain) -> Result<Matcher, RoutingError> {
    let Matcher::Local(local) = matcher else { return Ok(Matcher::CatchAll) };
    if local.contains('@') {
        return Err(RoutingError::LocalPartIsAddress(local.clone()));
    }
    let address = Address::from_parts(local, domain.clone())
        .map_err(|cause| RoutingError::LocalPartInvalid { local: local.clone(), cause })?;
    if has_srs_form(local) {
        return Err(RoutingError::LocalPartReserved(local.clone()));
    }
    Ok(Matcher::Local(address.lookup_form().local().to_owned()))
}

pub(super) fn checked_action(action: &RuleAction) -> Result<RuleAction, RoutingError> {
    match action {
        RuleAction::Forward(destinations) => {
            let mut different: Vec<Address> = Vec::with_capacity(destinations.len());
            for address in destinations.iter().take(MAX_DESTINATIONS_PER_RULE + 1) {
                checked_destination(address)?;
                if !different.iter().any(|other| other.folded() == address.folded()) {
                    different.push(address.clone());
                }
            }
            if destinations.is_empty() {
                return Err(RoutingError::NoDestination);
            }
            if destinations.len() > MAX_DESTINATIONS_PER_RULE {
                return Err(RoutingError::TooManyDestinationsInRule(destinations.len()));
            }
            Ok(RuleAction::Forward(different))
        }
        RuleAction::Reject(text) => {
            let fits = (1..=MAX_REJECT_OCTETS).contains(&text.len());
            if !fits || !text.bytes().all(|octet| (b' '..=b'~').contains(&octet)) {
                return Err(RoutingError::RejectText);
            }
            Ok(action.clone())
        }
        RuleAction::Drop => Ok(RuleAction::Drop),
    }
}

pub(super) fn checked_destination(address: &Address) -> Result<&Address, RoutingError> {
    if has_srs_form(address.local()) {
        return Err(RoutingError::DestinationIsSrs(address.clone()));
    }
    Ok(address)
}

/// Whether a local part is of the form that return addresses have, valid or not: a tag that begins with
/// `SRS`, a fourth character, a separator.
fn has_srs_form(local: &str) -> bool {
    let Some((tag, rest)) = local.split_at_checked(4) else { return false };
    ["SRS0", "SRS1", "SRSA"].iter().any(|srs| tag.eq_ignore_ascii_case(srs))
        && rest.starts_with(['=', '+', '-'])
}
