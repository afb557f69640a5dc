//! What went wrong with a policy or a handshake, in the words that reports use (RFC 8460 §4.3).

use std::io;

use rustls::{AlertDescription, CertificateError};
use serde::{Deserialize, Serialize};

/// A result type of RFC 8460 §4.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsFailure {
    /// The host does not offer STARTTLS.
    StarttlsNotSupported,
    /// The certificate is for another name.
    CertificateHostMismatch,
    /// The certificate is past its time, or before it.
    CertificateExpired,
    /// No trusted root leads to the certificate, or no TLSA record matches it.
    CertificateNotTrusted,
    /// There is no TLS version or cipher suite that both sides take.
    NothingInCommon,
    /// Anything else, such as a host that the MTA-STS policy does not name.
    ValidationFailure,
    /// The TLSA records are not usable.
    TlsaInvalid,
    /// DNSSEC validation failed.
    DnssecInvalid,
    /// The policy cannot be fetched.
    StsPolicyFetchError,
    /// The policy was fetched and cannot be read.
    StsPolicyInvalid,
    /// The policy's host does not authenticate itself.
    StsWebpkiInvalid,
}

impl TlsFailure {
    /// The type's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::StarttlsNotSupported => "starttls-not-supported",
            Self::CertificateHostMismatch => "certificate-host-mismatch",
            Self::CertificateExpired => "certificate-expired",
            Self::CertificateNotTrusted => "certificate-not-trusted",
            // RFC 8460 §4.3.3: what has no word of its own; the reason says it.
            Self::NothingInCommon | Self::ValidationFailure => "validation-failure",
            Self::TlsaInvalid => "tlsa-invalid",
            Self::DnssecInvalid => "dnssec-invalid",
            Self::StsPolicyFetchError => "sts-policy-fetch-error",
            Self::StsPolicyInvalid => "sts-policy-invalid",
            Self::StsWebpkiInvalid => "sts-webpki-invalid",
        }
    }

    /// More than the word says, for `failure-reason-code` (RFC 8460 §4.4).
    #[must_use]
    pub fn reason(self) -> Option<&'static str> {
        (self == Self::NothingInCommon).then_some("no TLS version or cipher suite in common")
    }

    /// What a handshake failed of.
    #[must_use]
    pub fn of_handshake(error: &io::Error) -> Self {
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
        cause.map_or(Self::ValidationFailure, Self::of)
    }

    /// What a verifier found wrong.
    pub(super) fn of(error: &rustls::Error) -> Self {
        // RFC 8446 §6.2: how the other side says that it wants what we do not have.
        let wants_other_tls = matches!(
            error,
            rustls::Error::PeerIncompatible(_)
                | rustls::Error::AlertReceived(
                    AlertDescription::ProtocolVersion
                        | AlertDescription::HandshakeFailure
                        | AlertDescription::InsufficientSecurity,
                )
        );
        if wants_other_tls {
            return Self::NothingInCommon;
        }
        let rustls::Error::InvalidCertificate(cause) = error else { return Self::ValidationFailure };
        let host = matches!(
            cause,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
        );
        let dates = matches!(
            cause,
            CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. }
        );
        let issuer = matches!(
            cause,
            CertificateError::UnknownIssuer | CertificateError::Revoked | CertificateError::BadSignature
        );
        match (host, dates, issuer) {
            (true, _, _) => Self::CertificateHostMismatch,
            (_, true, _) => Self::CertificateExpired,
            (_, _, true) => Self::CertificateNotTrusted,
            (false, false, false) => Self::ValidationFailure,
        }
    }
}
