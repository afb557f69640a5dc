use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::clock;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn certify(dir: &Path, asked: &[&str], now: SystemTime) -> Result<Certificates, AuthorityError> {
    Authority::open(dir, now)?.certify(&names(asked), now)
}

/// A folder with these nodes.
fn folder(asked: &[&str]) -> (TempDir, PathBuf, Certificates) {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("cluster");
    let made = certify(&dir, asked, clock::now()).unwrap();
    (parent, dir, made)
}

/// What a node has on its side of a link, read from its folder.
struct Side {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
}

impl Side {
    fn of(folder: &Path) -> Self {
        let chain = CertificateDer::pem_file_iter(folder.join(NODE_CERTIFICATE)).unwrap();
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_file_iter(folder.join(CA_CERTIFICATE)).unwrap() {
            roots.add(authority.unwrap()).unwrap();
        }
        Self {
            chain: chain.collect::<Result<_, _>>().unwrap(),
            key: PrivateKeyDer::from_pem_file(folder.join(NODE_KEY)).unwrap(),
            roots: Arc::new(roots),
        }
    }

    fn acceptor(self) -> TlsAcceptor {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(self.roots, provider.clone()).build().unwrap();
        let builder =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config =
            builder.with_client_cert_verifier(verifier).with_single_cert(self.chain, self.key).unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    fn connector(self) -> TlsConnector {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(self.roots, provider.clone()).build().unwrap();
        let builder =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config =
            builder.with_webpki_verifier(verifier).with_client_auth_cert(self.chain, self.key).unwrap();
        TlsConnector::from(Arc::new(config))
    }
}

/// One folder's node dials another's by this name, and both say a word.
async fn link(client: &Path, server: &Path, name: &str) -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let acceptor = Side::of(server).acceptor();
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await?;
        let mut stream = acceptor.accept(stream).await?;
        stream.write_all(b"x").await?;
        stream.shutdown().await
    });
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut stream = Side::of(client).connector().connect(name, stream).await?;
    let mut heard = String::new();
    stream.read_to_string(&mut heard).await?;
    serving.await.unwrap()
}

#[tokio::test]
async fn the_nodes_of_one_authority_take_each_others_certificates_both_ways() {
    let (_parent, dir, _) = folder(&["amir", "linda"]);
    let (amir, linda) = (dir.join("amir"), dir.join("linda"));
    link(&amir, &linda, "linda").await.unwrap();
    link(&linda, &amir, "amir").await.unwrap();
    assert!(link(&amir, &linda, "isaac").await.is_err());
    let (_other, strangers, _) = folder(&["amir", "linda"]);
    assert!(link(&strangers.join("amir"), &linda, "linda").await.is_err());
    assert!(link(&amir, &strangers.join("linda"), "linda").await.is_err());
}

#[tokio::test]
async fn a_node_that_is_added_later_is_of_the_same_authority() {
    let (_parent, dir, first) = folder(&["amir"]);
    let before = fs::read(dir.join("amir/node.key")).unwrap();
    let second = certify(&dir, &["isaac", "amir"], clock::now()).unwrap();
    assert_eq!((first.issued, second.issued), (Issued::Now, Issued::Before));
    let issued: Vec<_> = second.nodes.iter().map(|node| (node.name.as_str(), node.issued)).collect();
    assert_eq!(issued, [("isaac", Issued::Now), ("amir", Issued::Before)]);
    assert_eq!(second.names, ["amir", "isaac"]);
    assert_eq!(fs::read(dir.join("amir/node.key")).unwrap(), before);
    link(&dir.join("isaac"), &dir.join("amir"), "amir").await.unwrap();
}

#[test]
fn all_is_for_its_user_alone() {
    let (_parent, dir, _) = folder(&["amir"]);
    let mode = |path: &str| fs::metadata(dir.join(path)).unwrap().mode() & 0o777;
    for path in ["", "amir"] {
        assert_eq!(mode(path), 0o700, "{path}");
    }
    for path in ["ca.key", "ca.pem", "amir/node.key", "amir/node.pem", "amir/ca.pem"] {
        assert_eq!(mode(path), 0o600, "{path}");
    }
    let mut entries: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    entries.sort();
    assert_eq!(entries, ["amir", "ca.key", "ca.pem"]);
}

#[test]
fn certificates_last_as_said_and_no_longer_than_their_authority() {
    let now = clock::now();
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("cluster");
    let seconds = |later: SystemTime| later.duration_since(now).unwrap().as_secs().div_ceil(86_400);
    let first = certify(&dir, &["amir"], now).unwrap();
    assert_eq!((seconds(first.not_after), seconds(first.nodes[0].not_after)), (3650, 730));
    let late = now + AUTHORITY_LIFE - Duration::from_secs(86_400);
    let second = certify(&dir, &["isaac"], late).unwrap();
    assert_eq!(second.nodes[0].not_after, first.not_after);
    let error = certify(&dir, &["linda"], now + AUTHORITY_LIFE + Duration::from_secs(86_400)).unwrap_err();
    assert!(matches!(&error, AuthorityError::Ended { path, .. } if *path == dir.join("ca.pem")), "{error}");
    assert!(!dir.join("linda").exists());
}

/// Renewal is a folder moved aside.
#[test]
fn a_node_whose_certificate_is_of_no_use_is_told_and_left_as_it_is() {
    let (_parent, dir, _) = folder(&["amir", "isaac"]);
    fs::rename(dir.join("isaac"), dir.join("linda")).unwrap();
    let error = certify(&dir, &["linda"], clock::now()).unwrap_err().to_string();
    let expected = format!(
        "cluster.certificate_file {}: is not for linda, which is node.name; its DNS names: isaac: move the folder \
         aside to have it made anew",
        dir.join("linda/node.pem").display()
    );
    assert_eq!(error, expected);
    fs::rename(dir.join("linda"), dir.join("aside")).unwrap();
    assert_eq!(certify(&dir, &["linda"], clock::now()).unwrap().nodes[0].issued, Issued::Now);
}

#[test]
fn nothing_half_is_made_whole_or_overwritten() {
    for (gone, left) in [("ca.key", "ca.pem"), ("ca.pem", "ca.key"), ("amir/node.key", "amir/node.pem")] {
        let (_parent, dir, _) = folder(&["amir"]);
        fs::remove_file(dir.join(gone)).unwrap();
        let error = certify(&dir, &["amir"], clock::now()).unwrap_err().to_string();
        for path in [gone, left] {
            assert!(error.contains(&dir.join(path).display().to_string()), "{error}");
        }
        assert!(!dir.join(gone).exists());
    }
    let (_parent, dir, _) = folder(&["amir"]);
    fs::create_dir(dir.join("isaac")).unwrap();
    fs::write(dir.join("isaac/notes"), "mine").unwrap();
    let error = certify(&dir, &["isaac"], clock::now()).unwrap_err();
    assert!(matches!(&error, AuthorityError::Io { path, .. } if *path == dir.join("isaac")), "{error}");
    assert_eq!(fs::read_dir(dir.join("isaac")).unwrap().count(), 1);
}

#[test]
fn files_that_are_no_authority_are_named() {
    let (_parent, dir, _) = folder(&["amir"]);
    let (_other, strangers, _) = folder(&["amir"]);
    fs::copy(strangers.join("ca.key"), dir.join("ca.key")).unwrap();
    assert!(matches!(certify(&dir, &["amir"], clock::now()), Err(AuthorityError::NoAuthority { .. })));
    // A node's certificate has a key that fits, and is no authority's.
    fs::copy(dir.join("amir/node.key"), dir.join("ca.key")).unwrap();
    fs::copy(dir.join("amir/node.pem"), dir.join("ca.pem")).unwrap();
    assert!(matches!(certify(&dir, &["amir"], clock::now()), Err(AuthorityError::NoAuthority { .. })));
    let file = dir.join("amir/node.pem");
    let error = Authority::open(&file, clock::now()).map(|_| ()).unwrap_err();
    assert!(matches!(&error, AuthorityError::Io { path, .. } if *path == file), "{error}");
}

#[test]
fn a_tenth_node_is_refused_before_anything_is_made() {
    let nine: Vec<String> = (0..9).map(|at| format!("n{at}")).collect();
    let nine: Vec<&str> = nine.iter().map(String::as_str).collect();
    let (_parent, dir, _) = folder(&nine);
    let error = certify(&dir, &["tenth"], clock::now()).unwrap_err();
    assert!(matches!(error, AuthorityError::TooMany { count: 10, .. }), "{error}");
    assert!(!dir.join("tenth").exists());
}
