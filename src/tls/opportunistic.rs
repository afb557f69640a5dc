//! The certificate verifier of opportunistic TLS: it takes every certificate, on purpose.
//!
//! RFC 3207 §4.1 leaves it to the client whether to go on with a server it cannot authenticate, and RFC 7435
//! §3 says why it should: an MX host's name comes from unsigned DNS, so that a certificate for that name
//! proves nothing about the recipient's domain, and the alternative to unauthenticated encryption is none.
//! What does authenticate (MTA-STS, RFC 8461; DANE, RFC 7672) has verifiers of its own.

use std::sync::Arc;

use parking_lot::Mutex;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};

use super::TlsFailure;

/// Takes every certificate and every signature: hosts with certificates that cannot even be parsed
/// (X.509 version 1) would otherwise be sent their mail in the clear.
#[derive(Debug)]
pub(super) struct TakesAnyCertificate {
    pub(super) provider: Arc<CryptoProvider>,
    /// Who looks on, if anybody.
    pub(super) onlooker: Option<Onlooker>,
}

/// Looks at every certificate that is taken, and remembers what the Web's PKI has against the last.
#[derive(Debug)]
pub(super) struct Onlooker {
    pub(super) web_pki: Arc<WebPkiServerVerifier>,
    pub(super) seen: Arc<Mutex<Option<TlsFailure>>>,
}

impl ServerCertVerifier for TakesAnyCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(Onlooker { web_pki, seen }) = &self.onlooker {
            let verified =
                web_pki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
            *seen.lock() = verified.err().map(|error| TlsFailure::of(&error));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
