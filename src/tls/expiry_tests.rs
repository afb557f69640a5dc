use rcgen::{CertificateParams, KeyPair};

use super::*;
use crate::config::KeyPairFiles;
use crate::tls::ServerFiles;

/// 2040-01-01T00:00:00Z.
const END: u64 = 2_208_988_800;

#[test]
fn a_certificate_is_told_of_from_14_days_before_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["mx.example".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2040, 1, 1);
    let pair = KeyPairFiles {
        certificate_file: directory.path().join("tls.crt"),
        private_key_file: directory.path().join("tls.key"),
    };
    std::fs::write(&pair.certificate_file, params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&pair.private_key_file, key.serialize_pem()).unwrap();
    let files = ServerFiles { pair: &pair, client_ca: None };
    let identity = ServerIdentity::load(files, ServerUse::Admin, None).unwrap();

    let at =
        |seconds: u64| Ending::of(&identity, ServerUse::Admin, UNIX_EPOCH + Duration::from_secs(seconds));
    let stage = |seconds: u64| at(seconds).map(|ending| ending.stage);
    assert_eq!(stage(END - 14 * 86_400), None);
    assert_eq!(stage(END - 14 * 86_400 + 1), Some(EndingStage::Soon));
    assert_eq!(stage(END), Some(EndingStage::Soon));
    assert_eq!(stage(END + 1), Some(EndingStage::Ended));
    let file = pair.certificate_file.display();
    assert_eq!(
        at(END).unwrap().to_string(),
        format!("admin certificate {file} ends at 2040-01-01T00:00:00Z")
    );
    assert_eq!(
        at(END + 1).unwrap().to_string(),
        format!("admin certificate {file} ended at 2040-01-01T00:00:00Z")
    );
}
