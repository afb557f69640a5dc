//! Owns the terms on which callers are served: token file, certificate and key, client CA. They follow the
//! configuration as a whole, and hold for every call from then on, on connections that were made before too.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use thiserror::Error;
use tonic::codegen::http::HeaderMap;

use super::auth::{Actor, Authority, Tokens, unauthenticated};
use super::listener::Handshake;
use crate::config::files::{FileError, admin_tokens};
use crate::config::{self, Config, Live};
use crate::telemetry::Metrics;
use crate::tls::{ServerFiles, ServerIdentity, ServerUse, TlsError, announce_change};

/// Why callers cannot be served on what the configuration says.
#[derive(Debug, Error)]
pub enum TermsError {
    /// `admin.token_file` is unusable.
    #[error("admin.token_file {}", path.display())]
    Tokens {
        /// The file.
        path: PathBuf,
        /// Why; tokens themselves are in no text.
        #[source]
        source: FileError,
    },
    /// A file of TLS is unusable.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A client CA means nothing without TLS; everybody would be admin.
    #[error("admin.client_ca_file needs admin.certificate_file and admin.private_key_file")]
    ClientCaWithoutTls,
}

/// What holds at a time.
#[derive(Debug)]
pub struct Terms {
    authority: Authority,
    pub(super) identity: Option<Arc<ServerIdentity>>,
}

impl Terms {
    /// Reads the files. Blocks on the disk.
    pub(super) fn read(config: &config::Admin, current: Option<&Self>) -> Result<Self, TermsError> {
        if config.client_ca_file.is_some() && config.tls.is_none() {
            return Err(TermsError::ClientCaWithoutTls);
        }
        let authority = match (&config.token_file, &config.client_ca_file) {
            (Some(path), _) => Authority::Tokens(tokens(path)?),
            (None, Some(_)) => Authority::Certificates,
            (None, None) => Authority::Loopback,
        };
        let current = current.and_then(|terms| terms.identity.clone());
        let files =
            config.tls.as_ref().map(|pair| ServerFiles { pair, client_ca: config.client_ca_file.as_deref() });
        let identity =
            files.map(|files| ServerIdentity::load(files, ServerUse::Admin, current)).transpose()?;
        Ok(Self { authority, identity })
    }

    /// The caller of a request with these headers on a connection with this handshake, or UNAUTHENTICATED.
    pub(super) fn actor(&self, headers: &HeaderMap, made: Handshake) -> Result<Actor, Box<tonic::Status>> {
        if !self.demands().is_met_by(made) {
            return Err(unauthenticated("TLS of the listener has changed since; connect again"));
        }
        self.authority.actor(headers)
    }

    /// Whether whoever has shaken hands so is known by that alone.
    pub(super) fn knows_by(&self, made: Handshake) -> bool {
        match self.authority {
            Authority::Certificates => self.demands().is_met_by(made),
            Authority::Loopback | Authority::Tokens(_) => false,
        }
    }

    fn demands(&self) -> Handshake {
        let Some(identity) = &self.identity else { return Handshake::None };
        identity.trust().map_or(Handshake::Tls, Handshake::Certified)
    }
}

fn tokens(path: &Path) -> Result<Tokens, TermsError> {
    let tokens = admin_tokens(path).map_err(|source| TermsError::Tokens { path: path.to_owned(), source })?;
    Ok(Tokens::new(&tokens))
}

/// The terms in force. Clones share them.
#[derive(Debug, Clone)]
pub struct LiveTerms {
    current: Arc<ArcSwap<Terms>>,
    metrics: Arc<Metrics>,
}

impl LiveTerms {
    /// Reads the files. Blocks on the disk.
    pub fn new(config: &config::Admin, metrics: Arc<Metrics>) -> Result<Self, TermsError> {
        let terms = Terms::read(config, None)?;
        announce_change(None, terms.identity.as_ref(), ServerUse::Admin, &metrics);
        Ok(Self { current: Arc::new(ArcSwap::from_pointee(terms)), metrics })
    }

    /// Those of now.
    pub(super) fn now(&self) -> Arc<Terms> {
        self.current.load_full()
    }

    /// What the listener shows now.
    #[must_use]
    pub fn identity(&self) -> Option<Arc<ServerIdentity>> {
        self.current.load().identity.clone()
    }

    /// Whether these are still in force.
    pub(super) fn are(&self, terms: &Arc<Terms>) -> bool {
        Arc::ptr_eq(&self.current.load(), terms)
    }
}

impl Live for LiveTerms {
    type Prepared = Terms;
    type Error = TermsError;

    fn prepare(&self, next: &Arc<Config>) -> Result<Terms, TermsError> {
        Terms::read(&next.admin, Some(&self.now()))
    }

    fn swap(&self, prepared: Terms) {
        let next = Arc::new(prepared);
        let before = self.current.swap(next.clone());
        announce_change(before.identity.as_ref(), next.identity.as_ref(), ServerUse::Admin, &self.metrics);
    }
}

#[cfg(test)]
#[path = "terms_tests.rs"]
mod tests;
