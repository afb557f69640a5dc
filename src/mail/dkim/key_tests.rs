use super::*;

fn rsa(record: &str) -> Result<Key, KeyError> {
    Key::parse(record.as_bytes(), Algorithm::RsaSha256)
}

#[test]
fn rfc6376_3_6_1_a_key_is_all_that_a_record_must_have() {
    let key = Key { kind: Kind::Rsa, octets: b"ABC".to_vec(), mode: Mode::Live, reach: Reach::Below };
    for record in [
        "p=QUJD",
        "v=DKIM1; p=QU JD",
        "v=DKIM1; k=rsa; h=sha1 : sha256; s=email; n=a=20note; p=QUJD; g=*;",
        "k=rsa; s=tlsrpt:*; x=y; p=QUJD; ",
        "V=x; p=QUJD",
    ] {
        assert_eq!(rsa(record), Ok(key.clone()), "{record}");
    }
    let latin1 = b"v=DKIM1; n=Schl\xFCssel; x=\xE4; p=QUJD";
    assert_eq!(Key::parse(latin1, Algorithm::RsaSha256), Ok(key.clone()), "a note is octets");
    assert_eq!(rsa("t=s : y; p=QUJD"), Ok(Key { mode: Mode::Testing, reach: Reach::Exact, ..key }));
}

#[test]
fn rfc6376_6_1_2_a_record_that_does_not_fit_is_ignored() {
    for (record, error) in [
        ("k=rsa; v=DKIM1; p=QUJD", KeyError::Version),
        ("v=DKIM2; p=QUJD", KeyError::Version),
        ("v=dkim1; p=QUJD", KeyError::Version),
        ("v=; p=QUJD", KeyError::Version),
        ("v=spf1 -all", KeyError::Version),
        ("h=sha1; p=QUJD", KeyError::Hash),
        ("h=; p=QUJD", KeyError::Hash),
        ("h=SHA256; p=QUJD", KeyError::Hash),
        ("s=tlsrpt; p=QUJD", KeyError::Service),
        ("s=emails:mail; p=QUJD", KeyError::Service),
        ("s=; p=QUJD", KeyError::Service),
        ("k=ed25519; p=QUJD", KeyError::Kind),
        ("k=; p=QUJD", KeyError::Kind),
        ("k=dsa; p=QUJD", KeyError::Kind),
        ("v=DKIM1", KeyError::Missing),
        ("P=QUJD", KeyError::Missing),
        ("p=QU*D", KeyError::Missing),
        ("p=", KeyError::Revoked),
        ("v=DKIM1; p= ;", KeyError::Revoked),
        ("p=AAAA; p=QUJD", KeyError::Tags(TagError::Duplicate)),
        ("p=QUJD; k=rsa; k=rsa", KeyError::Tags(TagError::Duplicate)),
        ("p=QUJD;; k=rsa", KeyError::Tags(TagError::Syntax)),
        ("google-site-verification", KeyError::Tags(TagError::Syntax)),
    ] {
        assert_eq!(rsa(record), Err(error), "{record}");
    }
}

#[test]
fn rfc8463_4_2_a_key_fits_its_algorithm() {
    let ed25519 = |record: &str| Key::parse(record.as_bytes(), Algorithm::Ed25519Sha256);
    assert_eq!(ed25519("k=ed25519; p=QUJD").unwrap().kind, Kind::Ed25519);
    assert_eq!(ed25519("p=QUJD"), Err(KeyError::Kind));
}

#[test]
fn a_record_longer_than_any_key_is_not_read() {
    let record = |note: usize| format!("p=QUJD; n={}", "x".repeat(note));
    assert!(rsa(&record(MAX_RECORD_OCTETS - 10)).is_ok());
    assert_eq!(rsa(&record(MAX_RECORD_OCTETS - 9)), Err(KeyError::TooLong));
}
