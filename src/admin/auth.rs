//! Owns who a caller is: tokens, client certificates, loopback. Tokens are kept and compared as SHA-256 digests, in
//! constant time, and never logged.

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::{constant_time, digest};
use data_encoding::HEXLOWER;
use tonic::codegen::http::HeaderMap;

use super::access::Role;
use super::audit::Notes;
use super::status::{self, Reason};
use crate::config::files::Token;
use crate::routing::Author;

/// Who calls, and what they may do.
#[derive(Debug, Clone)]
pub(super) struct Actor {
    /// For the audit log and the table's history: the token's name, or `token:1f2e3d4c` (the start of its SHA-256); the
    /// certificate's subject, or `certificate` where it has none; `loopback`.
    pub(super) name: Arc<str>,
    /// What they may do.
    pub(super) role: Role,
    /// The address that they call from.
    pub(super) address: Option<IpAddr>,
    /// What is noted of the call.
    pub(super) notes: Notes,
}

impl Actor {
    /// Known by what was proven, wherever the call comes from.
    pub(super) fn known(name: &str, role: Role) -> Self {
        Self { name: name.into(), role, address: None, notes: Notes::default() }
    }

    /// As the table's history names them.
    pub(super) fn author(&self) -> Option<Author> {
        Author::new(&self.name, self.address)
    }

    /// The caller of a request. The guard has put it there; without it nobody is to be trusted.
    pub(super) fn of<T>(request: &tonic::Request<T>) -> Self {
        let nobody = || Self::known("nobody", Role::Viewer);
        request.extensions().get::<Self>().cloned().unwrap_or_else(nobody)
    }
}

type Fingerprint = [u8; digest::SHA256_OUTPUT_LEN];

/// The tokens of a file, as far as they are kept.
#[derive(Debug)]
pub(super) struct Tokens(Vec<Known>);

/// A token as far as it is kept.
#[derive(Debug)]
struct Known {
    fingerprint: Fingerprint,
    role: Role,
    name: Box<str>,
}

impl Tokens {
    pub(super) fn new(tokens: &[Token]) -> Self {
        let known = |token: &Token| {
            let fingerprint = fingerprint(token.secret.expose());
            let name = token.name.clone().unwrap_or_else(|| short(&fingerprint));
            Known { fingerprint, role: token.role, name: name.into() }
        };
        Self(tokens.iter().map(known).collect())
    }

    /// Compares with every token, so that the time says nothing about where a match is.
    fn find(&self, presented: &Fingerprint) -> Option<&Known> {
        self.0.iter().fold(None, |found, known| {
            constant_time::verify_slices_are_equal(&known.fingerprint, presented)
                .map_or(found, |()| Some(known))
        })
    }
}

/// Tells tokens without a name apart.
fn short(fingerprint: &Fingerprint) -> String {
    let [one, two, three, four, ..] = *fingerprint;
    format!("token:{}", HEXLOWER.encode(&[one, two, three, four]))
}

fn fingerprint(token: &str) -> Fingerprint {
    let digest = digest::digest(&digest::SHA256, token.as_bytes());
    let mut fingerprint = [0; digest::SHA256_OUTPUT_LEN];
    fingerprint.copy_from_slice(digest.as_ref());
    fingerprint
}

/// Tells who a caller is.
#[derive(Debug)]
pub(super) enum Authority {
    /// No token file and no client CA: the listener is on loopback, and whoever is there is admin.
    Loopback,
    /// The TLS handshake has checked a certificate of the client CA: admin.
    Certificates,
    /// A bearer token says who it is, with or without a certificate.
    Tokens(Tokens),
}

impl Authority {
    /// The caller of a request with these headers, or UNAUTHENTICATED.
    pub(super) fn actor(&self, headers: &HeaderMap) -> Result<Actor, Box<tonic::Status>> {
        match self {
            Self::Loopback => Ok(Actor::known("loopback", Role::Admin)),
            Self::Certificates => Ok(Actor::known("certificate", Role::Admin)),
            Self::Tokens(tokens) => {
                let token = bearer(headers).ok_or_else(|| unauthenticated("a bearer token is required"))?;
                let known = tokens.find(&fingerprint(token));
                let known = known.ok_or_else(|| unauthenticated("the token is not known"))?;
                Ok(Actor::known(&known.name, known.role))
            }
        }
    }
}

/// The header's token (RFC 6750 §2.1); the scheme's case does not matter (RFC 9110 §11.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get("authorization")?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

pub(super) fn unauthenticated(message: &str) -> Box<tonic::Status> {
    Box::new(status::new(tonic::Code::Unauthenticated, Reason::Unauthenticated, message, &[]))
}

#[cfg(test)]
#[path = "auth_tests.rs"]
mod tests;
