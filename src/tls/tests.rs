use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::server::announce;
use super::*;
use crate::config::KeyPairFiles;
use crate::telemetry::Metrics;
use crate::telemetry::labels::TlsVersion;

struct Pair {
    dir: TempDir,
}

impl Pair {
    fn new() -> Self {
        let pair = Self { dir: tempfile::tempdir().unwrap() };
        pair.write(2040);
        pair
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn files(&self) -> KeyPairFiles {
        KeyPairFiles { certificate_file: self.path("tls.crt"), private_key_file: self.path("tls.key") }
    }

    /// A self-signed certificate that ends in this year.
    fn write(&self, ends: i32) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["mx.example".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(ends, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(self.path("tls.crt"), certificate.pem()).unwrap();
        std::fs::write(self.path("tls.key"), key.serialize_pem()).unwrap();
    }
}

fn not_after(metrics: &Metrics) -> i64 {
    metrics.tls_certificate_not_after_timestamp_seconds.with_label_values(&["smtp"]).get()
}

const START_OF_2040: i64 = 2_208_988_800;

async fn handshake(certificate: &ServerIdentity) -> (Negotiated, Negotiated) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = certificate.acceptor();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (mut stream, negotiated) = acceptor.accept(stream).await.unwrap();
        stream.write_all(b"220 hello\r\n").await.unwrap();
        stream.shutdown().await.unwrap();
        negotiated
    });
    let client = ClientTls::new(trusted_roots()).unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let shaken = client.connect("another-name.example", &Demand::Opportunistic, stream).await.unwrap();
    let Shaken { mut stream, negotiated, .. } = shaken;
    let mut heard = String::new();
    stream.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "220 hello\r\n");
    (negotiated, server.await.unwrap())
}

fn load(pair: &Pair, current: Option<&Arc<ServerIdentity>>) -> Result<Arc<ServerIdentity>, TlsError> {
    let files = pair.files();
    ServerIdentity::load(ServerFiles { pair: &files, client_ca: None }, ServerUse::Smtp, current.cloned())
}

#[tokio::test]
async fn rfc7435_opportunistic_tls_takes_a_certificate_for_another_name() {
    let metrics = Metrics::new().unwrap();
    let identity = load(&Pair::new(), None).unwrap();
    let (client, server) = handshake(&identity).await;
    assert_eq!(client.version, TlsVersion::V1_3);
    assert!(client.cipher.starts_with("TLS13_"), "{}", client.cipher);
    assert_eq!(client, server);
    announce(Some(&identity), ServerUse::Smtp, &metrics);
    assert_eq!(not_after(&metrics), START_OF_2040);
    announce(None, ServerUse::Smtp, &metrics);
    assert!(!metrics.render().contains("postroad_tls_certificate_not_after_timestamp_seconds{"));
}

#[test]
fn a_changed_pair_is_a_new_identity_and_the_same_one_is_the_old() {
    let pair = Pair::new();
    let first = load(&pair, None).unwrap();
    assert!(Arc::ptr_eq(&first, &load(&pair, Some(&first)).unwrap()));
    pair.write(2041);
    assert!(!Arc::ptr_eq(&first, &load(&pair, Some(&first)).unwrap()));
}

#[test]
fn a_pair_that_does_not_fit_is_no_identity() {
    let pair = Pair::new();
    std::fs::write(pair.path("tls.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(matches!(load(&pair, None), Err(TlsError::Mismatch { .. })));
}

#[test]
fn errors_name_the_file() {
    let pair = Pair::new();
    std::fs::write(pair.path("tls.crt"), "no certificate").unwrap();
    let error = load(&pair, None).unwrap_err();
    assert!(error.to_string().contains("tls.crt"), "{error}");
    pair.write(2040);
    std::fs::remove_file(pair.path("tls.key")).unwrap();
    let error = load(&pair, None).unwrap_err();
    assert!(error.to_string().contains("tls.key"), "{error}");
}

#[test]
fn keys_are_read_in_pkcs8_sec1_and_pkcs1() {
    use rustls::pki_types::PrivateKeyDer;
    use rustls::pki_types::pem::PemObject;
    let read = |label: &str| {
        let pem = format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap()
    };
    assert!(matches!(read("PRIVATE KEY"), PrivateKeyDer::Pkcs8(_)));
    assert!(matches!(read("EC PRIVATE KEY"), PrivateKeyDer::Sec1(_)));
    assert!(matches!(read("RSA PRIVATE KEY"), PrivateKeyDer::Pkcs1(_)));
}
