//! A certificate authority for tests: identities of any name and age, and the TLSA records that name them.

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use data_encoding::HEXLOWER;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{LinkFiles, LinkIdentity};
use crate::config::KeyPairFiles;

/// An authority that nobody knows but who is told.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

/// A host's certificate chain and key.
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        roots
    }

    /// A certificate for these names, good until 2040.
    pub(crate) fn issue(&self, names: &[&str]) -> Identity {
        self.issue_until(names, 2040)
    }

    /// A certificate for these names, good until this year; the chain holds the authority's too.
    pub(crate) fn issue_until(&self, names: &[&str], year: i32) -> Identity {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let leaf = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Identity { chain: vec![leaf, self.certificate.clone()], key: key.serialize_der() }
    }

    /// Its certificate, as a file has it.
    pub(crate) fn pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }
}

/// What a node with this certificate shows to its peers, held to these authorities.
pub(crate) fn link_identity(identity: &Identity, authorities: &[&Authority]) -> Arc<LinkIdentity> {
    let dir = tempfile::tempdir().unwrap();
    LinkIdentity::load(&link_files(dir.path(), identity, authorities), None).unwrap()
}

/// Writes the files for that.
pub(crate) fn link_files(dir: &Path, identity: &Identity, authorities: &[&Authority]) -> LinkFiles {
    let (certificate, key) = identity.pems();
    let ca = authorities.iter().map(|authority| authority.pem()).collect();
    let write = |name: &str, text: String| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let pair =
        KeyPairFiles { certificate_file: write("crt", certificate), private_key_file: write("key", key) };
    LinkFiles { pair, ca_file: write("ca", ca) }
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = data_encoding::BASE64.encode(der);
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

impl Identity {
    /// Certificate and key, as files have them.
    pub(crate) fn pems(&self) -> (String, String) {
        (pem("CERTIFICATE", &self.chain[0]), pem("PRIVATE KEY", &self.key))
    }

    /// What a server with this identity shakes hands with.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let key = PrivateKeyDer::try_from(self.key.clone()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    /// The association data of one of the chain's certificates: 0 is the host's, 1 the authority's.
    pub(crate) fn association(&self, place: usize, selector: u8, matching: u8) -> Vec<u8> {
        let der = &self.chain[place];
        let (_, parsed) = X509Certificate::from_der(der).unwrap();
        let selected = if selector == 0 { der.as_ref() } else { parsed.tbs_certificate.subject_pki.raw };
        match matching {
            0 => selected.to_vec(),
            1 => digest(&SHA256, selected).as_ref().to_vec(),
            _ => digest(&SHA512, selected).as_ref().to_vec(),
        }
    }

    /// A TLSA record's data as master text, such as `3 1 1 0123…`.
    pub(crate) fn tlsa(&self, usage: u8, selector: u8, matching: u8) -> String {
        let place = usize::from(usage == 2);
        let data = HEXLOWER.encode(&self.association(place, selector, matching));
        format!("{usage} {selector} {matching} {data}")
    }
}
