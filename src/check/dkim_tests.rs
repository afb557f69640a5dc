use aws_lc_rs::signature::KeyPair as _;

use super::*;
use crate::config::test_files::Files;
use crate::mail::base64::encode as base64;

fn keys() -> (SigningKey, SigningKey) {
    let files = Files::new();
    (files::dkim_key(&files.path("rsa.pem")).unwrap(), files::dkim_key(&files.path("ed25519.pem")).unwrap())
}

fn compare_text(record: &str, ours: &SigningKey) -> (Verdict, String) {
    compare(record.as_bytes(), ours)
}

#[test]
fn both_forms_of_an_rsa_key_are_ours() {
    let (key, other) = keys();
    let SigningKey::Rsa(pair) = &key else { panic!("no RSA key") };
    let spki = base64(pair.public_key().as_der().unwrap().as_ref());
    let pkcs1 = base64(pair.public_key().as_ref());
    for p in [&spki, &pkcs1] {
        assert_eq!(compare_text(&format!("v=DKIM1; k=rsa; p={p}"), &key).0, Verdict::Ok);
    }
    let (head, tail) = spki.split_at(100);
    assert_eq!(compare_text(&format!("p={head} {tail} "), &key).0, Verdict::Ok);
    assert_eq!(compare_text(&format!("v=DKIM1; t=s:y; p={spki}"), &key).0, Verdict::Warn);
    assert_eq!(compare_text(&format!("v=DKIM1; p={spki}"), &other).0, Verdict::Fail);
}

#[test]
fn rfc8463_an_ed25519_key_is_its_32_octets() {
    let (rsa, key) = keys();
    let SigningKey::Ed25519(pair) = &key else { panic!("no Ed25519 key") };
    let record = format!("v=DKIM1; k=ed25519; p={}", base64(pair.public_key().as_ref()));
    assert_eq!(compare_text(&record, &key).0, Verdict::Ok);
    assert_eq!(
        compare_text(&record, &rsa),
        (Verdict::Fail, "verifies nothing that we sign: inappropriate key algorithm".into())
    );
}

#[test]
fn wrong_records_say_what_is_wrong() {
    let (key, _) = keys();
    for (record, text) in [
        ("v=DKIM2; p=AAAA", "verifies nothing that we sign: the key record is not of DKIM1"),
        ("v=DKIM1; k=rsa", "verifies nothing that we sign: no key in the record"),
        ("v=DKIM1; p=", "verifies nothing that we sign: key revoked"),
        ("v=DKIM1; p=AAAA; p=AAAA", "verifies nothing that we sign: duplicate tag in the key record"),
        ("v=DKIM1; s=tlsrpt; p=AAAA", "verifies nothing that we sign: the key is not for mail"),
        ("v=DKIM1; p=AAAA", "has another key: publish ours, or sign with a new selector"),
        ("v=DKIM1; p=!!", "verifies nothing that we sign: no key in the record"),
    ] {
        assert_eq!(compare_text(record, &key), (Verdict::Fail, text.into()), "{record}");
    }
}
