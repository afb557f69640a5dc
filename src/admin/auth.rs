//! Owns who a caller is: the token file, client certificates, loopback. Tokens are kept and compared as
//! SHA-256 digests, in constant time, and never logged.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use aws_lc_rs::{constant_time, digest};
use thiserror::Error;
use tokio::time::MissedTickBehavior;
use tonic::codegen::http::HeaderMap;

use super::access::Role;
use super::status::{self, Reason};
use crate::config;

/// Largest token file, in octets.
const MAX_FILE_OCTETS: u64 = 1024 * 1024;
/// Most tokens in a file: every call is compared with all of them.
const MAX_TOKENS: usize = 1000;
/// How often the file is looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

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

/// Why a token file cannot be used. Tokens themselves are in no text.
#[derive(Debug, Error)]
pub enum TokenFileError {
    /// Not readable.
    #[error("token file {0} cannot be read")]
    Read(PathBuf, #[source] std::io::Error),
    /// Larger than 1 MiB.
    #[error("token file {0} is larger than {MAX_FILE_OCTETS} octets")]
    TooLarge(PathBuf),
    /// More than 1000 tokens.
    #[error("token file {0} has more than {MAX_TOKENS} tokens")]
    TooMany(PathBuf),
    /// A line is not `TOKEN ROLE`.
    #[error(
        "line {line} of token file {path} is not of the form \"TOKEN ROLE\"; roles are viewer, operator, admin"
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// A token stands twice.
    #[error("line {line} of token file {path} repeats the token of another line")]
    Repeated {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
}

/// The content of a token file: lines `TOKEN ROLE`; empty lines and lines that begin with `#` do not count.
#[derive(Debug)]
pub struct Tokens(Vec<(Fingerprint, Role)>);

type Fingerprint = [u8; digest::SHA256_OUTPUT_LEN];

impl Tokens {
    /// Reads a token file. Blocks on the disk.
    ///
    /// # Errors
    /// When it cannot be read, or a line is not as it should be.
    pub fn read(path: &Path) -> Result<Self, TokenFileError> {
        let unreadable = |error| TokenFileError::Read(path.to_owned(), error);
        if std::fs::metadata(path).map_err(unreadable)?.len() > MAX_FILE_OCTETS {
            return Err(TokenFileError::TooLarge(path.to_owned()));
        }
        Self::parse(&std::fs::read_to_string(path).map_err(unreadable)?, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, TokenFileError> {
        let mut tokens: Vec<(Fingerprint, Role)> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line_number = number + 1;
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (token, role) = parse_line(line)
                .ok_or_else(|| TokenFileError::Line { path: path.to_owned(), line: line_number })?;
            let fingerprint = fingerprint(token);
            if tokens.iter().any(|(known, _)| *known == fingerprint) {
                return Err(TokenFileError::Repeated { path: path.to_owned(), line: line_number });
            }
            tokens.push((fingerprint, role));
            if tokens.len() > MAX_TOKENS {
                return Err(TokenFileError::TooMany(path.to_owned()));
            }
        }
        Ok(Self(tokens))
    }

    /// Compares with every token, so that the time says nothing about where a match is.
    fn role(&self, presented: &Fingerprint) -> Option<Role> {
        self.0.iter().fold(None, |found, (known, role)| {
            constant_time::verify_slices_are_equal(known, presented).map_or(found, |()| Some(*role))
        })
    }
}

fn parse_line(line: &str) -> Option<(&str, Role)> {
    let mut words = line.split_ascii_whitespace();
    let (token, role) = (words.next()?, Role::parse(words.next()?)?);
    words.next().is_none().then_some((token, role))
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
    Tokens(TokenFile),
}

impl Authority {
    /// Reads the token file, if there is one. Blocks on the disk.
    pub(super) fn new(config: &config::Admin) -> Result<Self, TokenFileError> {
        match (&config.token_file, &config.client_ca_file) {
            (Some(path), _) => Ok(Self::Tokens(TokenFile::open(path)?)),
            (None, Some(_)) => Ok(Self::Certificates),
            (None, None) => Ok(Self::Loopback),
        }
    }

    /// The caller of a request with these headers, or UNAUTHENTICATED.
    pub(super) fn actor(&self, headers: &HeaderMap) -> Result<Actor, Box<tonic::Status>> {
        match self {
            Self::Loopback => Ok(Actor { name: "loopback".into(), role: Role::Admin }),
            Self::Certificates => Ok(Actor { name: "certificate".into(), role: Role::Admin }),
            Self::Tokens(file) => {
                let token = bearer(headers).ok_or_else(|| unauthenticated("a bearer token is required"))?;
                let fingerprint = fingerprint(token);
                let role = file
                    .tokens
                    .load()
                    .role(&fingerprint)
                    .ok_or_else(|| unauthenticated("the token is not known"))?;
                let name = fingerprint
                    .iter()
                    .take(4)
                    .fold("token:".to_owned(), |name, octet| format!("{name}{octet:02x}"));
                Ok(Actor { name: name.into(), role })
            }
        }
    }

    /// Re-reads the token file when it changes, for ever. A bad file changes nothing and is logged.
    pub(super) async fn watch(self: Arc<Self>) {
        let Self::Tokens(file) = &*self else { return std::future::pending().await };
        let mut stamp = file.first_stamp;
        let mut ticks = tokio::time::interval(WATCH_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let path = file.path.clone();
            let seen = tokio::task::spawn_blocking(move || (Stamp::of(&path), path)).await;
            let Ok((now, path)) = seen else { continue };
            if now == stamp {
                continue;
            }
            stamp = now;
            match tokio::task::spawn_blocking(move || Tokens::read(&path)).await {
                Ok(Ok(tokens)) => {
                    tracing::info!(path = %file.path.display(), tokens = tokens.0.len(), "token file read");
                    file.tokens.store(Arc::new(tokens));
                }
                Ok(Err(error)) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "token file unusable, the last one stays"
                    );
                }
                Err(error) => tracing::error!(%error, "token file reader failed"),
            }
        }
    }
}

/// The header's token (RFC 6750 §2.1); the scheme's case does not matter (RFC 9110 §11.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get("authorization")?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn unauthenticated(message: &str) -> Box<tonic::Status> {
    Box::new(status::new(tonic::Code::Unauthenticated, Reason::Unauthenticated, message, &[]))
}

/// A token file and what it said when it was last readable.
#[derive(Debug)]
pub(super) struct TokenFile {
    path: PathBuf,
    first_stamp: Stamp,
    tokens: ArcSwap<Tokens>,
}

impl TokenFile {
    fn open(path: &Path) -> Result<Self, TokenFileError> {
        // The stamp first: a change while the file is read is then seen at the next look.
        let first_stamp = Stamp::of(path);
        let tokens = ArcSwap::from_pointee(Tokens::read(path)?);
        Ok(Self { path: path.to_owned(), first_stamp, tokens })
    }
}

/// What changes when a file does. The inode too: Kubernetes swaps a symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp(Option<(u64, u64, SystemTime)>);

impl Stamp {
    fn of(path: &Path) -> Self {
        use std::os::unix::fs::MetadataExt;
        let stamp = std::fs::metadata(path)
            .and_then(|metadata| Ok((metadata.ino(), metadata.len(), metadata.modified()?)));
        Self(stamp.ok())
    }
}

#[cfg(test)]
#[path = "auth_tests.rs"]
mod tests;
