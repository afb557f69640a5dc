//! DANE for SMTP (RFC 7672): an MX host's certificate held against the TLSA records of its name.
//!
//! - DANE-EE(3) matches the host's own certificate or key; its name and its dates do not matter (§3.1.1).
//! - DANE-TA(2) matches an issuer in the chain that the host sends; from there on it is the usual path, name
//!   and dates included, with the records' names as the reference (§3.1.2, §3.2).
//! - PKIX-TA(0) and PKIX-EE(1) are unusable for SMTP (§3.1.3).
//!
//! Not done: digest agility (RFC 7671 §9); each record counts, whatever stronger one stands beside it. A
//! DANE-TA record of a whole key (2 1 0) whose certificate the host does not send.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::client;
use crate::dns::Tlsa;
use crate::mail::Domain;

/// Records used of one set; real sets have two or three.
const MAX_RECORDS: usize = 32;

/// What a host must match.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Dane {
    /// Usable ones only, at least one.
    records: Vec<Tlsa>,
    /// The names that a DANE-TA certificate may be for: the host's, and the destination's (RFC 7672 §3.2.2).
    names: Vec<String>,
}

impl Dane {
    /// What usable records demand of a host; `None` when none is usable.
    #[must_use]
    pub fn of(records: Vec<Tlsa>, host: &str, domain: &Domain) -> Option<Self> {
        let mut records: Vec<Tlsa> = records.into_iter().filter(is_usable).take(MAX_RECORDS).collect();
        records.sort_by(|a, b| (b.usage, &b.data).cmp(&(a.usage, &a.data)));
        let by_name = records.iter().any(|record| record.usage == 2);
        // Without DANE-TA names do not matter, and connections of all domains at the host are alike.
        let names = if by_name { vec![host.to_owned(), domain.to_string()] } else { Vec::new() };
        (!records.is_empty()).then_some(Self { records, names })
    }
}

/// RFC 7672 §3.1, RFC 6698 §2.1: the usages of SMTP, and numbers and lengths that exist.
fn is_usable(record: &Tlsa) -> bool {
    let length_fits = match record.matching {
        0 => !record.data.is_empty(),
        1 => record.data.len() == 32,
        2 => record.data.len() == 64,
        _ => false,
    };
    matches!(record.usage, 2 | 3) && matches!(record.selector, 0 | 1) && length_fits
}

/// Whether a record is this certificate's, its usage aside.
fn matches(record: &Tlsa, certificate: &CertificateDer<'_>) -> bool {
    let parsed;
    let selected = match record.selector {
        0 => certificate.as_ref(),
        _ => match X509Certificate::from_der(certificate) {
            Ok((_, found)) => {
                parsed = found;
                parsed.tbs_certificate.subject_pki.raw
            }
            Err(_) => return false,
        },
    };
    match record.matching {
        0 => selected == record.data,
        1 => digest(&SHA256, selected).as_ref() == record.data,
        _ => digest(&SHA512, selected).as_ref() == record.data,
    }
}

/// Verifies by TLSA records.
#[derive(Debug)]
pub(super) struct DaneVerifier {
    pub(super) dane: Arc<Dane>,
    pub(super) provider: Arc<CryptoProvider>,
}

impl DaneVerifier {
    /// Verifies the path from an issuer that a record names, for one of the names.
    fn verify_below(
        &self,
        issuer: &CertificateDer<'_>,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let mut roots = RootCertStore::empty();
        roots.add(issuer.clone().into_owned())?;
        let verifier = client::web_pki(roots, self.provider.clone())
            .map_err(|_| Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut last = Error::InvalidCertificate(CertificateError::NotValidForName);
        for name in &self.dane.names {
            let Ok(name) = ServerName::try_from(name.as_str()) else { continue };
            match verifier.verify_server_cert(end_entity, intermediates, &name, &[], now) {
                Ok(_) => return Ok(()),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

impl ServerCertVerifier for DaneVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut last = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        for record in &self.dane.records {
            if record.usage == 3 {
                if matches(record, end_entity) {
                    return Ok(ServerCertVerified::assertion());
                }
                continue;
            }
            // RFC 7672 §3.1.2: a whole certificate in the record may be missing in the chain.
            let own = (record.selector, record.matching) == (0, 0);
            let own = own.then(|| CertificateDer::from(record.data.as_slice()));
            let issuers = intermediates.iter().filter(|issuer| matches(record, issuer)).chain(&own);
            for issuer in issuers {
                match self.verify_below(issuer, end_entity, intermediates, now) {
                    Ok(()) => return Ok(ServerCertVerified::assertion()),
                    Err(error) => last = error,
                }
            }
        }
        Err(last)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
#[path = "dane_tests.rs"]
mod tests;
