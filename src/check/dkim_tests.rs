use aws_lc_rs::signature::KeyPair as _;

use super::*;
use crate::config::test_files::Files;

/// Base64 of RFC 4648 §4.
fn base64(octets: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in octets.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, octet| bits << 8 | u32::from(*octet));
        let bits = bits << (8 * (3 - chunk.len()));
        for index in 0..4 {
            let sextet = ALPHABET[(bits >> (18 - 6 * index) & 63) as usize];
            out.push(if index <= chunk.len() { char::from(sextet) } else { '=' });
        }
    }
    out
}

fn keys() -> (SigningKey, SigningKey) {
    let files = Files::new();
    (files::dkim_key(&files.path("rsa.pem")).unwrap(), files::dkim_key(&files.path("ed25519.pem")).unwrap())
}

#[test]
fn both_forms_of_an_rsa_key_are_ours() {
    let (key, other) = keys();
    let SigningKey::Rsa(pair) = &key else { panic!("no RSA key") };
    let spki = base64(pair.public_key().as_der().unwrap().as_ref());
    let pkcs1 = base64(pair.public_key().as_ref());
    for p in [&spki, &pkcs1] {
        assert_eq!(compare(&format!("v=DKIM1; k=rsa; p={p}"), &key).0, Verdict::Ok);
    }
    let (head, tail) = spki.split_at(100);
    assert_eq!(compare(&format!("p={head} {tail} "), &key).0, Verdict::Ok);
    assert_eq!(compare(&format!("v=DKIM1; t=s:y; p={spki}"), &key).0, Verdict::Warn);
    assert_eq!(compare(&format!("v=DKIM1; p={spki}"), &other).0, Verdict::Fail);
}

#[test]
fn rfc8463_an_ed25519_key_is_its_32_octets() {
    let (rsa, key) = keys();
    let SigningKey::Ed25519(pair) = &key else { panic!("no Ed25519 key") };
    let record = format!("v=DKIM1; k=ed25519; p={}", base64(pair.public_key().as_ref()));
    assert_eq!(compare(&record, &key).0, Verdict::Ok);
    assert_eq!(compare(&record, &rsa), (Verdict::Fail, "is for another kind of key (k=)"));
}

#[test]
fn wrong_records_say_what_is_wrong() {
    let (key, _) = keys();
    for (record, text) in [
        ("v=DKIM2; p=AAAA", "is no DKIM1 record"),
        ("v=DKIM1; k=rsa", "has no key (p=)"),
        ("v=DKIM1; p=", "is revoked (empty p=)"),
        ("v=DKIM1; p=AAAA", "has another key: publish ours, or sign with a new selector"),
        ("v=DKIM1; p=!!", "has another key: publish ours, or sign with a new selector"),
    ] {
        assert_eq!(compare(record, &key), (Verdict::Fail, text), "{record}");
    }
}
