//! Owns how errors look on the wire: a canonical code, a text, and `google.rpc` details (AIP-193). Every error
//! carries an `ErrorInfo` with a reason from a closed list, the domain `postroad`, and metadata.

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::routing::{ErrorKind, RoutingError};

/// The domain of every `ErrorInfo`.
pub(crate) const DOMAIN: &str = "postroad";
/// Mistakes of a document that are told one by one; details travel in a header, which has its bound.
const MAX_MISTAKES: usize = 10;
/// Characters of one mistake.
const MAX_MISTAKE_CHARS: usize = 200;
/// When to try again what our own trouble stopped.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Why a call failed, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// No token, or an unknown one.
    Unauthenticated,
    /// The caller's role does not reach.
    PermissionDenied,
    /// The path names no method.
    UnknownMethod,
    /// A field of the request is not as it should be.
    InvalidField,
    /// The method is no matter of one node.
    NotOfOneNode,
    /// The routing document has mistakes.
    InvalidDocument,
    /// The call took too long.
    DeadlineExceeded,
    /// Too many calls at once.
    TooManyCalls,
    /// A message is being delivered right now; retry.
    MessageBusy,
    /// The node is stopping or its storage fails; retry.
    Unavailable,
    /// A fault of ours; it is in the node's log.
    Internal,
}

impl Reason {
    /// The word in `ErrorInfo.reason`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::UnknownMethod => "UNKNOWN_METHOD",
            Self::InvalidField => "INVALID_FIELD",
            Self::NotOfOneNode => "NOT_OF_ONE_NODE",
            Self::InvalidDocument => "INVALID_DOCUMENT",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::TooManyCalls => "TOO_MANY_CALLS",
            Self::MessageBusy => "MESSAGE_BUSY",
            Self::Unavailable => "UNAVAILABLE",
            Self::Internal => "INTERNAL",
        }
    }
}

/// A kind of resource, for `ResourceInfo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `domains/…`
    Domain,
    /// `domains/…/rules/…`
    Rule,
    /// `destinations/…`
    Destination,
    /// `traces/…`
    Trace,
    /// `queue/messages/…`
    Message,
    /// `queue/suspensions/…`
    Suspension,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Domain => "domain",
            Self::Rule => "rule",
            Self::Destination => "destination",
            Self::Trace => "trace",
            Self::Message => "message",
            Self::Suspension => "suspension",
        }
    }

    fn not_found(self) -> &'static str {
        match self {
            Self::Domain => "DOMAIN_NOT_FOUND",
            Self::Rule => "RULE_NOT_FOUND",
            Self::Destination => "DESTINATION_NOT_FOUND",
            Self::Trace => "TRACE_NOT_FOUND",
            Self::Message => "MESSAGE_NOT_FOUND",
            Self::Suspension => "SUSPENSION_NOT_FOUND",
        }
    }
}

fn details(reason: &str, metadata: &[(&str, &str)]) -> ErrorDetails {
    let metadata: HashMap<String, String> =
        metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    ErrorDetails::with_error_info(reason, DOMAIN, metadata)
}

/// An error with `ErrorInfo` alone.
pub(super) fn new(code: Code, reason: Reason, message: &str, metadata: &[(&str, &str)]) -> Status {
    Status::with_error_details(code, message, details(reason.as_str(), metadata))
}

/// An error for a reason of another's list, about a resource.
pub(super) fn with_reason(code: Code, reason: &str, message: &str, name: &str) -> Status {
    Status::with_error_details(code, message, details(reason, &[("name", name)]))
}

/// INVALID_ARGUMENT for one field of the request.
pub(super) fn invalid(field: &str, description: impl std::fmt::Display) -> Status {
    let description = description.to_string();
    let mut details = details(Reason::InvalidField.as_str(), &[("field", field)]);
    details.add_bad_request_violation(field, description.as_str());
    Status::with_error_details(Code::InvalidArgument, format!("{field}: {description}"), details)
}

/// NOT_FOUND for a resource.
pub(super) fn not_found(kind: Kind, name: &str) -> Status {
    let mut details = details(kind.not_found(), &[("name", name)]);
    details.set_resource_info(kind.as_str(), name, "", "not found");
    Status::with_error_details(Code::NotFound, format!("{} {name} does not exist", kind.as_str()), details)
}

/// INVALID_ARGUMENT for the mistakes of a document, each `where: what`.
pub(super) fn invalid_document(mistakes: &[String]) -> Status {
    let count = mistakes.len().to_string();
    let mut details = details(Reason::InvalidDocument.as_str(), &[("mistakes", &count)]);
    let mut told: Vec<String> = Vec::new();
    for mistake in mistakes.iter().take(MAX_MISTAKES) {
        let mistake: String = mistake.chars().take(MAX_MISTAKE_CHARS).collect();
        details.add_bad_request_violation("yaml", mistake.as_str());
        told.push(mistake);
    }
    let more = mistakes.len().saturating_sub(MAX_MISTAKES);
    if more > 0 {
        told.push(format!("and {more} more"));
    }
    Status::with_error_details(Code::InvalidArgument, told.join("; "), details)
}

/// What the routing table's owner says, under its own reasons.
pub(super) fn routing(error: &RoutingError, name: &str) -> Status {
    let code = match error.kind() {
        ErrorKind::InvalidArgument => Code::InvalidArgument,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::FailedPrecondition => Code::FailedPrecondition,
        ErrorKind::Aborted => Code::Aborted,
        ErrorKind::ResourceExhausted => Code::ResourceExhausted,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::DeadlineExceeded => Code::DeadlineExceeded,
    };
    let text = error.to_string();
    let mut details = details(error.reason(), &[("name", name)]);
    match error.kind() {
        ErrorKind::InvalidArgument => {
            details.add_bad_request_violation(name, text.as_str());
        }
        ErrorKind::FailedPrecondition => {
            details.add_precondition_failure_violation(error.reason(), name, text.as_str());
        }
        ErrorKind::NotFound | ErrorKind::AlreadyExists => {
            let kind = error.reason().split('_').next().unwrap_or_default().to_lowercase();
            details.set_resource_info(kind, name, "", text.as_str());
        }
        ErrorKind::Unavailable => {
            tracing::error!(error = error as &dyn std::error::Error, "routing table not changed");
            details.set_retry_info(Some(RETRY_AFTER));
        }
        ErrorKind::Aborted | ErrorKind::ResourceExhausted | ErrorKind::DeadlineExceeded => {}
    }
    Status::with_error_details(code, text, details)
}

/// INTERNAL, with the cause in the log and not on the wire.
pub(super) fn internal(error: &(dyn std::error::Error + 'static)) -> Status {
    tracing::error!(error, "admin call failed");
    new(Code::Internal, Reason::Internal, "internal error; the cause is in the node's log", &[])
}

/// UNAVAILABLE: the node's storage fails; the cause is in the log and not on the wire.
pub(super) fn storage(error: &(dyn std::error::Error + 'static)) -> Status {
    tracing::error!(error, "admin call failed");
    let text = "the node's storage fails, the cause is in its log; try again";
    new(Code::Unavailable, Reason::Unavailable, text, &[])
}

/// As [`storage`], for an order that was carried out for some messages before.
pub(super) fn storage_after(error: &(dyn std::error::Error + 'static), count: i64) -> Status {
    tracing::error!(error, "admin call failed");
    let text = format!(
        "{count} messages are done, for others the node's storage fails, the cause is in its log; try again"
    );
    new(Code::Unavailable, Reason::Unavailable, &text, &[("count", &count.to_string())])
}

/// INTERNAL: the routing table answered with another kind of thing than was changed.
pub(super) fn unexpected(wanted: &'static str) -> Status {
    tracing::error!(wanted, "the routing table answered with something else");
    new(Code::Internal, Reason::Internal, "internal error; the cause is in the node's log", &[])
}

/// UNAVAILABLE: the node is stopping.
pub(super) fn stopping() -> Status {
    new(Code::Unavailable, Reason::Unavailable, "the node is stopping", &[])
}
