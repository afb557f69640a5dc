use super::*;
use crate::mail::dkim::{Algorithm, Key};

#[test]
fn a_new_key_is_a_pem_file_and_a_record_that_verifiers_read() {
    let key = NewKey::generate().unwrap();
    assert!(key.pem().lines().all(|line| line.len() <= PEM_LINE_OCTETS));
    let record = key.record();
    let strings: Vec<&str> = record.trim_matches('"').split("\" \"").collect();
    assert_eq!(strings.iter().map(|string| string.len()).max(), Some(TXT_STRING_OCTETS));
    let read = Key::parse(strings.concat().as_bytes(), Algorithm::RsaSha256).unwrap();
    assert_eq!(read.octets, key.public);
}
