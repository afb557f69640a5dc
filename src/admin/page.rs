//! Owns paging (AIP-158): sizes, and opaque tokens that are bound to the request they came from.

use aws_lc_rs::digest;
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use tonic::Status;

use super::status;

/// Page size when none is asked for.
const DEFAULT_SIZE: usize = 50;
/// Largest page; more is cut to it.
pub(super) const MAX_SIZE: usize = 1000;
/// Octets of the digest that binds a token to its request.
const BINDING_OCTETS: usize = 8;
/// Longest token, in octets: a name of 320 octets in hexadecimal, and the binding.
const MAX_TOKEN_OCTETS: usize = 1024;

/// The page size to use for what was asked.
pub(super) fn size(asked: i32) -> Result<usize, Status> {
    match usize::try_from(asked) {
        Ok(0) => Ok(DEFAULT_SIZE),
        Ok(size) => Ok(size.min(MAX_SIZE)),
        Err(_) => Err(status::invalid("page_size", "must not be negative")),
    }
}

/// The token for the page after the item with this sort key. `scope` holds all that must be the same.
pub(super) fn token(scope: &str, key: &str) -> String {
    HEXLOWER.encode(&[&binding(scope), key.as_bytes()].concat())
}

/// The sort key in a token, or `None` for the first page.
pub(super) fn key(scope: &str, token: &str) -> Result<Option<String>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let bad = || status::invalid("page_token", "is not a token of this list");
    let token = Some(token).filter(|token| token.len() <= MAX_TOKEN_OCTETS).ok_or_else(bad)?;
    let octets = HEXLOWER_PERMISSIVE.decode(token.as_bytes()).map_err(|_| bad())?;
    let key = octets.strip_prefix(&binding(scope)).ok_or_else(bad)?;
    String::from_utf8(key.to_vec()).map(Some).map_err(|_| bad())
}

/// Takes a page from items in order; `next` is given when more follow.
pub(super) fn take<T>(
    items: impl Iterator<Item = T>,
    size: usize,
    token_of: impl Fn(&T) -> String,
) -> (Vec<T>, String) {
    let mut items = items.peekable();
    let page: Vec<T> = items.by_ref().take(size).collect();
    let next = match (page.last(), items.peek()) {
        (Some(last), Some(_)) => token_of(last),
        _ => String::new(),
    };
    (page, next)
}

fn binding(scope: &str) -> [u8; BINDING_OCTETS] {
    let mut binding = [0; BINDING_OCTETS];
    let digest = digest::digest(&digest::SHA256, scope.as_bytes());
    binding.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    binding
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
