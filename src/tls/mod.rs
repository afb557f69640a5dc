//! TLS in both directions: what listeners show, made anew when their files change, and the client side
//! of STARTTLS with the policies that destinations publish: DANE (RFC 7672) and MTA-STS (RFC 8461). Owns
//! `rustls`: nobody else names it. Time limits are the callers'.
//!
//! One crypto provider, aws-lc-rs, given to every configuration explicitly: nothing depends on which
//! process-wide default happens to be installed. TLS 1.2 and 1.3 (RFC 8996 retired what was before).

mod authority;
mod client;
mod cluster_files;
mod dane;
mod expiry;
mod failure;
mod link;
mod opportunistic;
mod policy;
mod reports;
mod roots;
mod server;
mod sts;
#[cfg(test)]
pub(crate) mod test_authority;

use rustls::ProtocolVersion;
use thiserror::Error;

use crate::config::files::FileError;
use crate::store::StoreError;
use crate::telemetry::labels::TlsVersion;

pub use authority::{Authority, AuthorityError, Certificates, Issued, NodeFolder};
pub use client::{ClientStream, ClientTls, Shaken};
pub use cluster_files::{ClusterFault, ClusterFiles, FaultCause, cluster_faults};
pub use dane::Dane;
pub use expiry::{Ending, EndingStage, Endings, RENEWAL_TIME};
pub use failure::TlsFailure;
pub use link::{LinkFiles, LinkIdentity, LinkTls, Linked};
pub use policy::{Barred, Candidate, Demand, Judgement, Policies};
pub use reports::{Basis, Report, Reporter, Reports, Sighting};
pub use roots::trusted_roots;
pub use rustls::RootCertStore;
pub use server::{
    Acceptor, ServerFiles, ServerIdentity, ServerStream, ServerUse, StartTls, Trust, announce_change,
    client_subject,
};
pub use sts::{
    Certainty, HTTPS_PORT, MAX_AGE, MAX_POLICY_OCTETS, MAX_WAIT, Sts, StsMode, StsPolicies, StsPolicy,
    StsPolicyError, announced_id,
};

/// What a handshake agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// Protocol version.
    pub version: TlsVersion,
    /// Cipher suite, such as `TLS13_AES_256_GCM_SHA384`.
    pub cipher: String,
}

impl Negotiated {
    /// Reads it off a connection whose handshake is complete.
    fn of(connection: &rustls::CommonState) -> Self {
        let is_newest = connection.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        let suite = connection.negotiated_cipher_suite().map(|suite| suite.suite());
        Self {
            version: if is_newest { TlsVersion::V1_3 } else { TlsVersion::V1_2 },
            cipher: suite.and_then(|suite| suite.as_str()).unwrap_or("unknown").to_owned(),
        }
    }
}

/// Why a certificate, a configuration or what was kept cannot be used; all of them are the operator's to mend.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read, or is larger than any certificate chain.
    #[error("{key}: cannot read {path}")]
    Read {
        /// The path of the key that names it.
        key: String,
        /// The file.
        path: String,
        /// Why not.
        source: FileError,
    },
    /// The file holds no certificate in PEM.
    #[error("{key}: {path} holds no usable PEM certificate")]
    NoCertificate {
        /// The path of the key that names it.
        key: String,
        /// The file.
        path: String,
    },
    /// The file holds no private key in PEM.
    #[error("{key}: {path} holds no usable PEM private key (PKCS#8, PKCS#1 or SEC1)")]
    NoKey {
        /// The path of the key that names it.
        key: String,
        /// The file.
        path: String,
    },
    /// The key is not the certificate's, or of a kind that TLS does not use.
    #[error("{listener}.certificate_file {certificate} and {listener}.private_key_file {key} are no pair")]
    Mismatch {
        /// The section that names them.
        listener: &'static str,
        /// The certificate's file.
        certificate: String,
        /// The key's file.
        key: String,
        /// What rustls says.
        source: Box<rustls::Error>,
    },
    /// The crypto provider does not support what every configuration needs.
    #[error("cannot set up TLS")]
    Setup(#[from] rustls::Error),
    /// The policies cannot be kept or read.
    #[error("TLS policies: {0}")]
    Store(#[from] StoreError),
}

#[cfg(test)]
mod tests;
