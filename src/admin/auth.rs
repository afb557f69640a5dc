//! Owns who a caller is: tokens, client certificates, loopback. Tokens are kept and compared as SHA-256 digests, in
//! constant time, and never logged.

use std::sync::Arc;

use aws_lc_rs::{constant_time, digest};
use data_encoding::HEXLOWER;
use tonic::codegen::http::HeaderMap;

use super::access::Role;
use super::status::{self, Reason};
use crate::config::files::Token;

/// Who calls, and what they may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Actor {
    /// For the audit log: `token:1f2e3d4c` (the start of the token's SHA-256), `certificate` or `loopback`.
    pub(super) name: Arc<str>,
    /// What they may do.
    pub(super) role: Role,
}

impl Actor {
    /// The caller of a request. The guard has put it there; without it nobody is to be trusted.
    pub(super) fn of<T>(request: &tonic::Request<T>) -> Self {
        let nobody = || Self { name: "nobody".into(), role: Role::Viewer };
        request.extensions().get::<Self>().cloned().unwrap_or_else(nobody)
    }
}

type Fingerprint = [u8; digest::SHA256_OUTPUT_LEN];

/// The tokens of a file, as far as they are kept.
#[derive(Debug)]
pub(super) struct Tokens(Vec<(Fingerprint, Role)>);

impl Tokens {
    pub(super) fn new(tokens: &[Token]) -> Self {
        Self(tokens.iter().map(|token| (fingerprint(token.secret.expose()), token.role)).collect())
    }

    /// Compares with every token, so that the time says nothing about where a match is.
    fn role(&self, presented: &Fingerprint) -> Option<Role> {
        self.0.iter().fold(None, |found, (known, role)| {
            constant_time::verify_slices_are_equal(known, presented).map_or(found, |()| Some(*role))
        })
    }
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
            Self::Loopback => Ok(Actor { name: "loopback".into(), role: Role::Admin }),
            Self::Certificates => Ok(Actor { name: "certificate".into(), role: Role::Admin }),
            Self::Tokens(tokens) => {
                let token = bearer(headers).ok_or_else(|| unauthenticated("a bearer token is required"))?;
                let fingerprint = fingerprint(token);
                let role =
                    tokens.role(&fingerprint).ok_or_else(|| unauthenticated("the token is not known"))?;
                let [one, two, three, four, ..] = fingerprint;
                let name = format!("token:{}", HEXLOWER.encode(&[one, two, three, four]));
                Ok(Actor { name: name.into(), role })
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
