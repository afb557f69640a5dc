//! The hashes of a body, each taken once: signatures are verified by them, and made with the relaxed one. The memory that
//! a body in a file takes is held while it is read and hashed and no longer: DNS is asked behind that.
//!
//! Relaxed hashes are taken of the body without its blank tail, which mail-auth 0.13 canonicalises wrongly (its
//! issue 62).

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use mail_auth::common::crypto::HashAlgorithm;
use mail_auth::dkim::Canonicalization;
use tokio::sync::Semaphore;
use tracing::error;

use crate::mail::canonical::without_blank_tail;
use crate::mail::dkim::Form;
use crate::mail::{Body, Message};
use crate::pipeline::cores::Cores;
use crate::pipeline::parcel::BodyHash;
use crate::pipeline::refusal::Refusal;

/// Longest wait for memory: what is not free by then is not soon (conventions: 452 after 10 s).
const PERMIT_TIMEOUT: Duration = Duration::from_secs(10);
/// Bodies past this are hashed off the pool: 64 KiB take about 100 µs a hash, and two may be wanted.
const LARGE_BODY_OCTETS: usize = 64 * 1024;

/// What reading and hashing a message takes of the machine.
#[derive(Debug, Clone)]
pub(super) struct Works {
    /// A permit for each octet that may be used for bodies read back from files.
    pub(super) contiguous: Arc<Semaphore>,
    pub(super) cores: Cores,
}

/// Whether the simple form is wanted; the relaxed one always is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Relaxed,
    Both,
}

/// SHA-256 of the canonical forms (RFC 6376 §3.4.3, §3.4.4).
#[derive(Debug)]
pub(super) struct Hashes {
    simple: Option<Vec<u8>>,
    relaxed: Vec<u8>,
}

impl Hashes {
    /// Hashes the body. One in a file is brought into memory for it.
    ///
    /// # Errors
    /// When there is no memory for it, or the file cannot be read.
    pub(super) async fn of(message: &Message, wanted: Wanted, works: &Works) -> Result<Self, Refusal> {
        let hashes = match message.body() {
            Body::Memory(body) if body.len() <= LARGE_BODY_OCTETS => return Ok(Self::take(body, wanted)),
            Body::Memory(body) => {
                let body = body.clone();
                works.cores.run(move || Ok(Self::take(&body, wanted))).await
            }
            Body::File { file, offset, octets } => {
                let (file, offset) = (file.clone(), *offset);
                let octets = u32::try_from(*octets).map_err(|_| Refusal::NoStorage)?;
                let permit = works.contiguous.clone().acquire_many_owned(octets);
                let permit = tokio::time::timeout(PERMIT_TIMEOUT, permit).await;
                let permit = permit.ok().and_then(Result::ok).ok_or(Refusal::NoStorage)?;
                let read_and_hash = move || {
                    let hashes = read(&file, offset, octets as usize).map(|body| Self::take(&body, wanted));
                    drop(permit);
                    hashes
                };
                works.cores.run(read_and_hash).await
            }
        };
        match hashes {
            Ok(Ok(hashes)) => Ok(hashes),
            Ok(Err(cause)) => {
                error!(%cause, "a message's temporary file cannot be read");
                Err(Refusal::Internal)
            }
            Err(_panic) => Err(Refusal::Internal),
        }
    }

    fn take(body: &[u8], wanted: Wanted) -> Self {
        let hash = |(canonical, octets): (Canonicalization, &[u8])| {
            HashAlgorithm::Sha256.hash(canonical.canonical_body(octets, 0)).as_ref().to_vec()
        };
        Self {
            simple: (wanted == Wanted::Both).then(|| hash((Canonicalization::Simple, body))),
            relaxed: hash((Canonicalization::Relaxed, without_blank_tail(body))),
        }
    }

    /// Whether this is the hash of the body in this form; `false` for a form that was not wanted.
    pub(super) fn has(&self, form: Form, hash: &[u8]) -> bool {
        match form {
            Form::Simple => self.simple.as_deref() == Some(hash),
            Form::Relaxed => self.relaxed == hash,
        }
    }

    /// The one that our own signatures are made with.
    pub(super) fn relaxed(&self) -> BodyHash {
        BodyHash::new(&self.relaxed)
    }
}

fn read(file: &File, offset: u64, octets: usize) -> std::io::Result<Vec<u8>> {
    let mut body = vec![0; octets];
    file.read_exact_at(&mut body, offset)?;
    Ok(body)
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
