use super::*;

#[test]
fn a_file_without_key_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let private_key_file = directory.path().join("none.pem");
    let load = || {
        let key = config::DkimKey { selector: "s".to_owned(), private_key_file: private_key_file.clone() };
        SigningKeys::load(&config::Dkim { keys: vec![key] }).unwrap_err().to_string()
    };
    assert!(load().contains("none.pem is not there"), "{}", load());
    std::fs::write(&private_key_file, "hello").unwrap();
    assert!(load().contains("none.pem holds no private key"), "{}", load());
    let none = SigningKeys::load(&config::Dkim { keys: Vec::new() });
    assert!(matches!(none, Err(KeyError::None)));
}

#[test]
fn records_are_those_that_openssl_prints() {
    // RFC 8463 §A.1 has the public key's form; RSA keys are wrapped as in RFC 5280 §4.1.
    let spki = rsa_spki(&[0x30; 270]);
    assert_eq!(spki.get(..4), Some(&[0x30, 0x82, 0x01, 0x22][..]));
    assert_eq!(spki.len(), 294);
    assert_eq!(der(0x04, &[1; 0x80]).get(..3), Some(&[0x04, 0x81, 0x80][..]));
    assert_eq!(der(0x04, &[]), [0x04, 0x00]);
}
