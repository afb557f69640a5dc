//! For tests: a directory with one good file of each kind, and node files that name them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::LazyLock;

use tempfile::TempDir;

static RSA: LazyLock<String> = LazyLock::new(|| {
    let pair = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    pair.serialize_pem()
});
static ED25519: LazyLock<String> =
    LazyLock::new(|| rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem());

/// The mandatory keys of `[cluster]`.
pub(crate) const CLUSTER: &str = "cluster.certificate_file = '@node.pem'\ncluster.private_key_file = '@node.key'\n\
                                  cluster.ca_file = '@ca.pem'\n\
                                  cluster.peers = [{ name = 'amir', address = 'amir.internal:50052' }]\n";

/// A directory with one good file of each kind, and texts that name them.
pub(crate) struct Files {
    directory: TempDir,
}

impl Files {
    pub(crate) fn new() -> Self {
        let files = Self { directory: tempfile::tempdir().unwrap() };
        files.write("rsa.pem", &RSA);
        files.write("ed25519.pem", &ED25519);
        files.write("secrets", "0123456789abcdef\nfedcba9876543210\n");
        files.write("dnsbl.key", "subscriber1\n");
        files.write("tokens", "# who\n0123456789abcdef admin\nfedcba9876543210 viewer\n");
        let cert = rcgen::generate_simple_self_signed(["linda.mx.relay.example".to_owned()]).unwrap();
        files.write("chain.pem", &cert.cert.pem());
        files.write("key.pem", &cert.signing_key.serialize_pem());
        files.write_cluster();
        files
    }

    /// What the node linda needs in a cluster.
    fn write_cluster(&self) {
        let mut authority = rcgen::CertificateParams::default();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority =
            rcgen::CertifiedIssuer::self_signed(authority, rcgen::KeyPair::generate().unwrap()).unwrap();
        let mut node = rcgen::CertificateParams::new(["linda".to_owned()]).unwrap();
        node.extended_key_usages =
            vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth, rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let key = rcgen::KeyPair::generate().unwrap();
        self.write("ca.pem", &authority.pem());
        self.write("node.pem", &node.signed_by(&key, &authority).unwrap().pem());
        self.write("node.key", &key.serialize_pem());
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        self.permit(name, 0o600);
    }

    pub(crate) fn permit(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// The mandatory keys, and no more.
    pub(crate) fn minimal(&self) -> String {
        self.fill(
            "node = { name = 'linda', hostname = 'linda.mx.relay.example', data_dir = '@data' }\n\
             service = { domain = 'email.relay.example', postmaster = 'ops@relay.example' }\n\
             dkim = { selector = '2022', private_key_file = '@rsa.pem' }\n\
             srs = { secret_file = '@secrets' }\n",
        )
    }

    /// The mandatory keys and these, which beat them.
    pub(crate) fn with(&self, lines: &str) -> String {
        let mut tables: toml::Table = self.minimal().parse().unwrap();
        for (name, value) in self.fill(lines).parse::<toml::Table>().unwrap() {
            match (tables.get_mut(&name), value) {
                (Some(toml::Value::Table(inner)), toml::Value::Table(more)) => inner.extend(more),
                (_, value) => drop(tables.insert(name, value)),
            }
        }
        tables.to_string()
    }

    /// The mandatory keys with `[cluster]`, and these, which beat them.
    pub(crate) fn with_cluster(&self, lines: &str) -> String {
        self.with(&format!("{}\n{lines}", self.cluster()))
    }

    /// The mandatory keys of `[cluster]`.
    pub(crate) fn cluster(&self) -> String {
        self.fill(CLUSTER)
    }

    /// The contract's file, whole.
    pub(crate) fn contract(&self) -> String {
        self.fill(include_str!("../../tests/data/contract.toml"))
    }

    /// `'@name'` becomes the path of that file here.
    pub(crate) fn fill(&self, text: &str) -> String {
        text.replace("'@", &format!("'{}/", self.directory.path().display()))
    }
}
