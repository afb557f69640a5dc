//! The roots that the Web's PKI is verified against: the system's, as its operator keeps them (OpenSSL's
//! `SSL_CERT_FILE` and `SSL_CERT_DIR` are obeyed), or, where the system has none, as in a bare container,
//! Mozilla's as they were when this was built.

use rustls::RootCertStore;

/// Reads the system's roots from disk; blocks for some milliseconds.
#[must_use]
pub fn trusted_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (taken, refused) = roots.add_parsable_certificates(found.certs);
    if taken == 0 {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let errors = found.errors.len();
    tracing::debug!(taken, refused, errors, "system's roots read");
    roots
}
