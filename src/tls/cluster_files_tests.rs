use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use tempfile::TempDir;

use super::*;

/// 2030-01-01.
const NOW: u64 = 1_893_456_000;

struct Folder {
    dir: TempDir,
}

type Change = fn(&mut CertificateParams);

impl Folder {
    /// Files of the node linda, with changes of its certificate.
    fn new(change: Change) -> Self {
        let this = Self { dir: tempfile::tempdir().unwrap() };
        let authority = this.authority("ca.pem");
        let mut params = CertificateParams::new(["linda".to_owned(), "linda.internal".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2029, 1, 1);
        params.not_after = date_time_ymd(2031, 1, 1);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        this.write("node.pem", &params.signed_by(&key, &authority).unwrap().pem());
        this.write("node.key", &key.serialize_pem());
        this
    }

    /// A new authority, its certificate in this file.
    fn authority(&self, name: &str) -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        self.write(name, &authority.pem());
        authority
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// The faults, without the folder.
    fn faults(&self, node: &str) -> Vec<String> {
        let (certificate, private_key, ca) =
            (self.path("node.pem"), self.path("node.key"), self.path("ca.pem"));
        let files = ClusterFiles { certificate: &certificate, private_key: &private_key, ca: &ca };
        let faults = cluster_faults(files, node, UNIX_EPOCH + Duration::from_secs(NOW));
        let folder = format!("{}/", self.dir.path().display());
        faults.iter().map(|fault| fault.to_string().replace(&folder, "")).collect()
    }
}

fn nothing(_: &mut CertificateParams) {}

const CERTIFICATE: &str = "cluster.certificate_file node.pem:";

#[test]
fn good_files_have_no_faults() {
    assert_eq!(Folder::new(nothing).faults("linda"), [""; 0]);
    // No extended key usage is every usage (RFC 5280 §4.2.1.12).
    assert_eq!(Folder::new(|params| params.extended_key_usages.clear()).faults("linda"), [""; 0]);
}

#[test]
fn a_certificate_of_another_node_is_told_with_its_names() {
    let expected =
        format!("{CERTIFICATE} is not for amir, which is node.name; its DNS names: linda, linda.internal");
    assert_eq!(Folder::new(nothing).faults("amir"), [expected]);
    let nameless = Folder::new(|params| params.subject_alt_names.clear()).faults("linda");
    assert_eq!(
        nameless,
        [format!("{CERTIFICATE} is not for linda, which is node.name; its DNS names: none")]
    );
}

#[test]
fn a_certificate_of_another_authority_is_told_once() {
    let folder = Folder::new(nothing);
    folder.authority("ca.pem");
    let faults = folder.faults("linda");
    let expected = format!("{CERTIFICATE} is not signed by an authority of cluster.ca_file: ");
    assert!(faults.len() == 1 && faults[0].starts_with(&expected), "{faults:?}");
}

/// While one authority is replaced by another, nodes believe both.
#[test]
fn several_authorities_may_stand_in_the_file() {
    let folder = Folder::new(nothing);
    let own = std::fs::read_to_string(folder.path("ca.pem")).unwrap();
    let other = folder.authority("ca.pem").pem();
    folder.write("ca.pem", &(other + &own));
    assert_eq!(folder.faults("linda"), [""; 0]);
}

#[test]
fn a_certificate_out_of_its_time_is_told_and_bars_no_start() {
    let ended = Folder::new(|params| params.not_after = date_time_ymd(2029, 6, 1));
    assert_eq!(ended.faults("linda"), [format!("{CERTIFICATE} ended at 2029-06-01T00:00:00Z")]);
    let early = Folder::new(|params| params.not_before = date_time_ymd(2030, 6, 1));
    assert_eq!(early.faults("linda"), [format!("{CERTIFICATE} is not valid before 2030-06-01T00:00:00Z")]);
    assert!(FaultCause::Ended(UNIX_EPOCH).is_of_time() && !FaultCause::NoPair.is_of_time());
}

#[test]
fn a_certificate_for_one_direction_is_told() {
    let server = Folder::new(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    assert_eq!(
        server.faults("linda"),
        [format!("{CERTIFICATE} is not for use by clients (extended key usage)")]
    );
    let client = Folder::new(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    assert_eq!(
        client.faults("linda"),
        [format!("{CERTIFICATE} is not for use by servers (extended key usage)")]
    );
}

#[test]
fn everything_is_found_at_once() {
    let folder = Folder::new(|params| params.not_after = date_time_ymd(2029, 6, 1));
    folder.write("node.key", &KeyPair::generate().unwrap().serialize_pem());
    folder.authority("ca.pem");
    let faults = folder.faults("amir");
    for expected in [
        "cluster.private_key_file node.key: is not the key of cluster.certificate_file",
        "cluster.certificate_file node.pem: is not for amir",
        "cluster.certificate_file node.pem: ended at 2029-06-01T00:00:00Z",
        "cluster.certificate_file node.pem: is not signed by an authority of cluster.ca_file: ",
    ] {
        assert!(faults.iter().any(|fault| fault.starts_with(expected)), "{expected} in {faults:#?}");
    }
    assert_eq!(faults.len(), 4, "{faults:#?}");
}

#[test]
fn files_of_no_use_are_told_without_their_content() {
    let folder = Folder::new(nothing);
    folder.write("node.pem", "no certificate");
    folder.write("node.key", "a secret");
    std::fs::remove_file(folder.path("ca.pem")).unwrap();
    assert_eq!(
        folder.faults("linda"),
        [
            "cluster.certificate_file node.pem: holds nothing of use in PEM",
            "cluster.private_key_file node.key: holds nothing of use in PEM",
            "cluster.ca_file ca.pem: cannot be read: No such file or directory (os error 2)",
        ]
    );
}
