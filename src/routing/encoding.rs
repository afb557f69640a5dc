//! A stamped change as octets, for a log, and the parts that records share with it. The form is
//! `proto/postroad/routing/v1/state.proto`: what it says of unknown fields and kinds is kept here.

use std::time::SystemTime;

use aws_lc_rs::digest::{self, SHA256, SHA256_OUTPUT_LEN};
use ipnet::IpNet;
use prost::{DecodeError, Message as _};
use thiserror::Error;
use ulid::Ulid;

use super::author::Author;
use super::change::{
    CHANGES_VERSION, Change, DomainPatch, NewDomain, NewRule, RulePatch, RulesOfDeleted, Stamped,
    TempfailSetting,
};
use super::delivery_key::DeliveryKey;
use super::images::Image;
use super::model::{Matcher, RuleAction};
use super::requests::{RequestId, decode_request_id};
use super::rollback::RollBack;
use super::wire;
use crate::config::OnTempfail;
use crate::mail::{Address, Domain};
use crate::proto::routing::v1;
use crate::proto::routing::v1::change::Kind;

/// Largest stamped change, in octets: more than a document can ask for ([`super::Document`] has 128 MiB at most). A batch
/// of [`super::MAX_CHANGES_PER_BATCH`] new rules of the usual size has 5.5 MB.
pub const MAX_STAMPED_OCTETS: usize = 512 << 20;

/// What errors call it.
const STAMPED: &str = "a stamped change";
/// As for [`STAMPED`].
const CHANGE: &str = "a change";

/// Why octets are no change, or no table. Ours: what was written by a later version, or is damaged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the texts say it, and the fields are what they name")]
pub enum EncodingError {
    #[error("{what} of {octets} octets is past the limit of {limit}")]
    TooLong { what: &'static str, octets: usize, limit: usize },
    #[error("{what} cannot be decoded: {cause}")]
    Malformed { what: &'static str, cause: DecodeError },
    #[error("{0} is of a kind that this version does not know")]
    UnknownKind(&'static str),
    #[error("a change is of version {0}, and this version of Postroad knows those up to {CHANGES_VERSION}")]
    Later(u32),
    #[error("{field} cannot be read: {detail}")]
    Field { field: &'static str, detail: String },
    #[error("the table's format is {found}, this version reads {known}")]
    Format { found: u32, known: u32 },
    #[error("the first record is not the table's head")]
    NoHead,
    #[error("the table has a second head")]
    SecondHead,
    #[error("rule {rule} needs {missing}, of which there is no record before it")]
    Dangling { rule: Ulid, missing: String },
    #[error("the table should hold {said} {what}, and holds {found}")]
    Count { what: &'static str, said: u64, found: u64 },
}

impl Stamped {
    /// The form for a log; times are cut to the millisecond.
    ///
    /// # Errors
    /// When it is too long to be decoded.
    pub fn encode(&self) -> Result<Vec<u8>, EncodingError> {
        let change = Some(encode_change(&self.change));
        let at_ms = wire::to_millis(self.at);
        let (request_id, asked) = self.request_id.as_ref().map(RequestId::tell).unzip();
        let first_id = self.first_id.to_bytes().to_vec();
        let (author, address) = Author::tell(self.author.as_ref());
        let asked = asked.unwrap_or_default();
        // The first is not written, so that what is old stays as it was.
        let version = Some(self.change.version()).filter(|version| *version > 1).unwrap_or_default();
        let stamped = v1::Stamped { at_ms, first_id, change, request_id, author, address, asked, version };
        check_length(STAMPED, stamped.encoded_len(), MAX_STAMPED_OCTETS)?;
        Ok(stamped.encode_to_vec())
    }

    /// What [`Self::encode`] wrote, of this version or another.
    ///
    /// # Errors
    /// When it is too long, is not of that form, or asks for what this version does not know.
    pub fn decode(octets: &[u8]) -> Result<Self, EncodingError> {
        check_length(STAMPED, octets.len(), MAX_STAMPED_OCTETS)?;
        let stamped =
            v1::Stamped::decode(octets).map_err(|cause| EncodingError::Malformed { what: STAMPED, cause })?;
        if stamped.version > CHANGES_VERSION {
            return Err(EncodingError::Later(stamped.version));
        }
        let request_id =
            |text: &str| decode_request_id("the request id of a stamped change", text, &stamped.asked);
        Ok(Self {
            at: time("the time of a stamped change", stamped.at_ms)?,
            first_id: id("the first id of a stamped change", &stamped.first_id)?,
            request_id: stamped.request_id.as_deref().map(request_id).transpose()?,
            author: Author::told(&stamped.author, &stamped.address),
            change: decode_change(given("the change of a stamped change", stamped.change)?)?,
        })
    }
}

impl Change {
    /// The form in which a node passes it on: as it was ordered.
    ///
    /// # Errors
    /// When it is too long to be decoded.
    pub fn encode(&self) -> Result<Vec<u8>, EncodingError> {
        let change = encode_order(self);
        check_length(CHANGE, change.encoded_len(), MAX_STAMPED_OCTETS)?;
        Ok(change.encode_to_vec())
    }

    /// What [`Self::encode`] wrote, of this version or another.
    ///
    /// # Errors
    /// When it is too long, is not of that form, or asks for what this version does not know.
    pub fn decode(octets: &[u8]) -> Result<Self, EncodingError> {
        check_length(CHANGE, octets.len(), MAX_STAMPED_OCTETS)?;
        let change =
            v1::Change::decode(octets).map_err(|cause| EncodingError::Malformed { what: CHANGE, cause })?;
        decode_change(change)
    }
}

/// SHA-256 of a change as it was ordered: that of one that is the same is the same.
pub(super) fn change_digest(change: &Change) -> [u8; SHA256_OUTPUT_LEN] {
    sha256(&encode_order(change).encode_to_vec())
}

pub(super) fn sha256(octets: &[u8]) -> [u8; SHA256_OUTPUT_LEN] {
    let mut digest = [0; SHA256_OUTPUT_LEN];
    digest.copy_from_slice(digest::digest(&SHA256, octets).as_ref());
    digest
}

/// Without what who leads has added.
fn encode_order(change: &Change) -> v1::Change {
    if let Change::RollBack(order) = change {
        return encode_change(&Change::RollBack(RollBack::to(order.revision, order.etag)));
    }
    encode_change(change)
}

fn encode_change(change: &Change) -> v1::Change {
    let kind = match change {
        Change::CreateDomain(new) => Kind::CreateDomain(encode_new_domain(new)),
        Change::UpdateDomain { name, patch, etag } => {
            Kind::UpdateDomain(encode_domain_patch(name, patch, *etag))
        }
        Change::DeleteDomain { name, rules, etag } => Kind::DeleteDomain(v1::DeleteDomain {
            name: name.to_string(),
            with_rules: *rules == RulesOfDeleted::Delete,
            etag: *etag,
        }),
        Change::CreateRule(new) => Kind::CreateRule(encode_new_rule(new)),
        Change::UpdateRule { id, patch, etag } => Kind::UpdateRule(encode_rule_patch(*id, patch, *etag)),
        Change::DeleteRule { id, etag } => {
            Kind::DeleteRule(v1::DeleteRule { id: id.to_bytes().to_vec(), etag: *etag })
        }
        Change::CreateDestination { address, verified } => Kind::CreateDestination(v1::CreateDestination {
            address: address.to_string(),
            verified: *verified,
        }),
        Change::UpdateDestination { address, verified, etag } => {
            let address = address.to_string();
            Kind::UpdateDestination(v1::UpdateDestination { address, verified: *verified, etag: *etag })
        }
        Change::DeleteDestination { address, etag } => {
            Kind::DeleteDestination(v1::DeleteDestination { address: address.to_string(), etag: *etag })
        }
        Change::DeclareWhole => Kind::DeclareWhole(v1::Nothing {}),
        Change::DeclareLost => Kind::DeclareLost(v1::Nothing {}),
        Change::Suspend { domain, until, reason } => Kind::Suspend(v1::Suspend {
            domain: domain.to_string(),
            until_ms: until.map(wire::to_millis),
            reason: reason.clone(),
        }),
        Change::Resume { domain, etag } => Kind::Resume(encode_resume(domain, *etag)),
        Change::EndSuspensions => Kind::EndSuspensions(v1::Nothing {}),
        Change::Block { network, until, reason } => Kind::Block(v1::Block {
            network: network.to_string(),
            until_ms: until.map(wire::to_millis),
            reason: reason.clone(),
        }),
        Change::Allow { network, until, reason } => Kind::Allow(v1::Allow {
            network: network.to_string(),
            until_ms: until.map(wire::to_millis),
            reason: reason.clone(),
        }),
        Change::Unlist { network, etag } => {
            Kind::Unlist(v1::Unlist { network: network.to_string(), etag: *etag })
        }
        Change::BarNode { name } => Kind::BarNode(v1::NodeOfCluster { name: name.clone() }),
        Change::AdmitNode { name } => Kind::AdmitNode(v1::NodeOfCluster { name: name.clone() }),
        Change::AgreeOnDeliveryKey(key) => Kind::AgreeOnDeliveryKey(key.as_bytes().to_vec()),
        Change::RollBack(order) => Kind::RollBack(encode_roll_back(order)),
        Change::Batch(changes) => {
            Kind::Batch(v1::Batch { changes: changes.iter().map(encode_change).collect() })
        }
    };
    v1::Change { kind: Some(kind) }
}

fn encode_domain_patch(name: &Domain, patch: &DomainPatch, etag: Option<u64>) -> v1::UpdateDomain {
    v1::UpdateDomain {
        name: name.to_string(),
        enabled: patch.enabled,
        on_tempfail: patch.on_tempfail.map(|TempfailSetting(value)| tempfail_code(value)),
        subaddressing: patch.subaddressing,
        etag,
    }
}

fn encode_resume(domain: &Domain, etag: Option<u64>) -> v1::Resume {
    v1::Resume { domain: domain.to_string(), etag }
}

fn encode_roll_back(order: &RollBack) -> v1::RollBack {
    let RollBack { revision, etag, from, restored } = order;
    let restored = restored.iter().map(Image::encode).collect();
    v1::RollBack { revision: *revision, etag: *etag, from: *from, restored }
}

fn encode_new_domain(new: &NewDomain) -> v1::CreateDomain {
    v1::CreateDomain {
        name: new.name.to_string(),
        enabled: new.enabled,
        on_tempfail: tempfail_code(new.on_tempfail),
        subaddressing: new.subaddressing,
    }
}

fn encode_new_rule(new: &NewRule) -> v1::CreateRule {
    v1::CreateRule {
        domain: new.domain.to_string(),
        matcher: Some(encode_matcher(&new.matcher)),
        action: Some(encode_action(&new.action)),
        priority: new.priority,
        label: new.label.clone(),
        enabled: new.enabled,
    }
}

fn encode_rule_patch(id: Ulid, patch: &RulePatch, etag: Option<u64>) -> v1::UpdateRule {
    v1::UpdateRule {
        id: id.to_bytes().to_vec(),
        matcher: patch.matcher.as_ref().map(encode_matcher),
        action: patch.action.as_ref().map(encode_action),
        priority: patch.priority,
        label: patch.label.clone(),
        enabled: patch.enabled,
        etag,
    }
}

fn decode_change(change: v1::Change) -> Result<Change, EncodingError> {
    Ok(match change.kind.ok_or(EncodingError::UnknownKind("a change"))? {
        Kind::CreateDomain(new) => Change::CreateDomain(decode_new_domain(&new)?),
        Kind::UpdateDomain(update) => decode_domain_update(&update)?,
        Kind::DeleteDomain(v1::DeleteDomain { name, with_rules, etag }) => {
            let rules = if with_rules { RulesOfDeleted::Delete } else { RulesOfDeleted::Keep };
            Change::DeleteDomain { name: domain("the domain to delete", &name)?, rules, etag }
        }
        Kind::CreateRule(new) => Change::CreateRule(decode_new_rule(new)?),
        Kind::UpdateRule(update) => decode_rule_update(update)?,
        Kind::DeleteRule(v1::DeleteRule { id: rule, etag }) => {
            Change::DeleteRule { id: id("the id of the rule to delete", &rule)?, etag }
        }
        Kind::CreateDestination(v1::CreateDestination { address: new, verified }) => {
            Change::CreateDestination { address: address("the destination to create", &new)?, verified }
        }
        Kind::UpdateDestination(v1::UpdateDestination { address: old, verified, etag }) => {
            let address = address("the destination to change", &old)?;
            Change::UpdateDestination { address, verified, etag }
        }
        Kind::DeleteDestination(v1::DeleteDestination { address: old, etag }) => {
            Change::DeleteDestination { address: address("the destination to delete", &old)?, etag }
        }
        Kind::DeclareWhole(v1::Nothing {}) => Change::DeclareWhole,
        Kind::DeclareLost(v1::Nothing {}) => Change::DeclareLost,
        Kind::Suspend(v1::Suspend { domain: to, until_ms, reason }) => Change::Suspend {
            domain: domain("the domain to suspend", &to)?,
            until: optional_time("the end of a suspension", until_ms)?,
            reason,
        },
        Kind::Resume(v1::Resume { domain: to, etag }) => {
            Change::Resume { domain: domain("the domain to resume", &to)?, etag }
        }
        Kind::EndSuspensions(v1::Nothing {}) => Change::EndSuspensions,
        Kind::Block(v1::Block { network: of, until_ms, reason }) => Change::Block {
            network: network("the network to block", &of)?,
            until: optional_time("the end of a listing", until_ms)?,
            reason,
        },
        Kind::Allow(v1::Allow { network: of, until_ms, reason }) => Change::Allow {
            network: network("the network to allow", &of)?,
            until: optional_time("the end of a listing", until_ms)?,
            reason,
        },
        Kind::Unlist(v1::Unlist { network: of, etag }) => {
            Change::Unlist { network: network("the network to unlist", &of)?, etag }
        }
        Kind::BarNode(v1::NodeOfCluster { name }) => Change::BarNode { name },
        Kind::AdmitNode(v1::NodeOfCluster { name }) => Change::AdmitNode { name },
        Kind::AgreeOnDeliveryKey(key) => Change::AgreeOnDeliveryKey(DeliveryKey::decode(&key)?),
        Kind::RollBack(v1::RollBack { revision, etag, from, restored }) => {
            let restored = restored.into_iter().map(Image::decode).collect::<Result<_, _>>()?;
            Change::RollBack(RollBack { revision, etag, from, restored })
        }
        Kind::Batch(v1::Batch { changes }) => {
            Change::Batch(changes.into_iter().map(decode_change).collect::<Result<_, _>>()?)
        }
    })
}

fn decode_new_domain(new: &v1::CreateDomain) -> Result<NewDomain, EncodingError> {
    Ok(NewDomain {
        name: domain("the name of a new domain", &new.name)?,
        enabled: new.enabled,
        on_tempfail: tempfail("on_tempfail of a new domain", new.on_tempfail)?,
        subaddressing: new.subaddressing,
    })
}

fn decode_domain_update(update: &v1::UpdateDomain) -> Result<Change, EncodingError> {
    let setting = |code| tempfail("on_tempfail of the domain to change", code).map(TempfailSetting);
    let patch = DomainPatch {
        enabled: update.enabled,
        on_tempfail: update.on_tempfail.map(setting).transpose()?,
        subaddressing: update.subaddressing,
    };
    Ok(Change::UpdateDomain { name: domain("the domain to change", &update.name)?, patch, etag: update.etag })
}

fn decode_new_rule(new: v1::CreateRule) -> Result<NewRule, EncodingError> {
    Ok(NewRule {
        domain: domain("the domain of a new rule", &new.domain)?,
        matcher: decode_matcher(given("the matcher of a new rule", new.matcher)?)?,
        action: decode_action(given("the action of a new rule", new.action)?)?,
        priority: new.priority,
        label: new.label,
        enabled: new.enabled,
    })
}

fn decode_rule_update(update: v1::UpdateRule) -> Result<Change, EncodingError> {
    let patch = RulePatch {
        matcher: update.matcher.map(decode_matcher).transpose()?,
        action: update.action.map(decode_action).transpose()?,
        priority: update.priority,
        label: update.label,
        enabled: update.enabled,
    };
    let id = id("the id of the rule to change", &update.id)?;
    Ok(Change::UpdateRule { id, patch, etag: update.etag })
}

pub(super) fn encode_matcher(matcher: &Matcher) -> v1::Matcher {
    let kind = match matcher {
        Matcher::Local(local) => v1::matcher::Kind::Local(local.clone()),
        Matcher::CatchAll => v1::matcher::Kind::CatchAll(v1::Nothing {}),
    };
    v1::Matcher { kind: Some(kind) }
}

pub(super) fn decode_matcher(matcher: v1::Matcher) -> Result<Matcher, EncodingError> {
    match matcher.kind.ok_or(EncodingError::UnknownKind("the matcher of a rule"))? {
        v1::matcher::Kind::Local(local) => Ok(Matcher::Local(local)),
        v1::matcher::Kind::CatchAll(v1::Nothing {}) => Ok(Matcher::CatchAll),
    }
}

pub(super) fn encode_action(action: &RuleAction) -> v1::Action {
    let kind = match action {
        RuleAction::Forward(to) => v1::action::Kind::Forward(v1::Forward {
            destinations: to.iter().map(Address::to_string).collect(),
        }),
        RuleAction::Drop => v1::action::Kind::Drop(v1::Nothing {}),
        RuleAction::Reject(text) => v1::action::Kind::Reject(text.clone()),
    };
    v1::Action { kind: Some(kind) }
}

pub(super) fn decode_action(action: v1::Action) -> Result<RuleAction, EncodingError> {
    match action.kind.ok_or(EncodingError::UnknownKind("the action of a rule"))? {
        v1::action::Kind::Forward(v1::Forward { destinations }) => {
            let parsed = destinations.iter().map(|text| address("a destination of a rule", text));
            parsed.collect::<Result<_, _>>().map(RuleAction::Forward)
        }
        v1::action::Kind::Drop(v1::Nothing {}) => Ok(RuleAction::Drop),
        v1::action::Kind::Reject(text) => Ok(RuleAction::Reject(text)),
    }
}

pub(super) fn tempfail_code(value: Option<OnTempfail>) -> u32 {
    match value {
        None => 0,
        Some(OnTempfail::Relay) => 1,
        Some(OnTempfail::Queue) => 2,
        Some(OnTempfail::Verified) => 3,
    }
}

pub(super) fn tempfail(field: &'static str, code: u32) -> Result<Option<OnTempfail>, EncodingError> {
    match code {
        0 => Ok(None),
        1 => Ok(Some(OnTempfail::Relay)),
        2 => Ok(Some(OnTempfail::Queue)),
        3 => Ok(Some(OnTempfail::Verified)),
        _ => Err(unreadable(field, format!("{code} is not known"))),
    }
}

pub(super) fn id(field: &'static str, octets: &[u8]) -> Result<Ulid, EncodingError> {
    let id = octets.try_into().map(Ulid::from_bytes);
    id.map_err(|_| unreadable(field, format!("a ULID has 16 octets, and this {}", octets.len())))
}

pub(super) fn domain(field: &'static str, text: &str) -> Result<Domain, EncodingError> {
    Domain::parse(text).map_err(|cause| unreadable(field, cause.to_string()))
}

pub(super) fn address(field: &'static str, text: &str) -> Result<Address, EncodingError> {
    Address::parse(text).map_err(|cause| unreadable(field, cause.to_string()))
}

pub(super) fn network(field: &'static str, text: &str) -> Result<IpNet, EncodingError> {
    text.parse().map_err(|_| unreadable(field, format!("\"{text}\" is no network")))
}

pub(super) fn time(field: &'static str, millis: u64) -> Result<SystemTime, EncodingError> {
    wire::from_millis(millis).ok_or_else(|| unreadable(field, "it is past the end of time".to_owned()))
}

pub(super) fn optional_time(
    field: &'static str,
    millis: Option<u64>,
) -> Result<Option<SystemTime>, EncodingError> {
    millis.map(|millis| time(field, millis)).transpose()
}

/// A message that is always written.
pub(super) fn given<T>(field: &'static str, message: Option<T>) -> Result<T, EncodingError> {
    message.ok_or_else(|| unreadable(field, "it is missing".to_owned()))
}

pub(super) fn unreadable(field: &'static str, detail: String) -> EncodingError {
    EncodingError::Field { field, detail }
}

pub(super) fn check_length(what: &'static str, octets: usize, limit: usize) -> Result<(), EncodingError> {
    if octets > limit {
        return Err(EncodingError::TooLong { what, octets, limit });
    }
    Ok(())
}

#[cfg(test)]
#[path = "encoding_tests.rs"]
mod tests;
