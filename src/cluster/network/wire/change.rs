//! A change that is passed on, and what became of it.

use super::Malformed;
use crate::proto::cluster::v1;
use crate::routing::{ErrorKind, RoutingError, Told};

/// Longest reason of an error, in octets.
const MAX_REASON_OCTETS: usize = 64;

pub(in super::super) fn encode_error(error: &RoutingError) -> v1::ChangeError {
    let kind = match error.kind() {
        ErrorKind::InvalidArgument => 1,
        ErrorKind::NotFound => 2,
        ErrorKind::AlreadyExists => 3,
        ErrorKind::FailedPrecondition => 4,
        ErrorKind::Aborted => 5,
        ErrorKind::ResourceExhausted => 6,
        ErrorKind::Unavailable => 7,
        ErrorKind::DeadlineExceeded => 8,
    };
    let mut text = error.to_string().replace(char::is_control, " ");
    text.truncate(text.floor_char_boundary(crate::routing::MAX_TOLD_OCTETS));
    v1::ChangeError { kind, reason: error.reason().to_owned(), text }
}

pub(in super::super) fn decode_error(error: v1::ChangeError) -> Result<RoutingError, Malformed> {
    if error.reason.len() > MAX_REASON_OCTETS || error.text.chars().any(char::is_control) {
        return Err(Malformed("an error"));
    }
    let kind = match error.kind {
        1 => ErrorKind::InvalidArgument,
        2 => ErrorKind::NotFound,
        3 => ErrorKind::AlreadyExists,
        4 => ErrorKind::FailedPrecondition,
        5 => ErrorKind::Aborted,
        6 => ErrorKind::ResourceExhausted,
        8 => ErrorKind::DeadlineExceeded,
        _ => ErrorKind::Unavailable,
    };
    Ok(Told::new(kind, &error.reason, error.text).into())
}
