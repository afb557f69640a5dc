use super::*;
use crate::config::test_files::Files;

fn config(text: &str) -> Config {
    Config::parse(text, &[]).unwrap()
}

fn digests(text: &str) -> SharedDigests {
    config(text).shared_digests().unwrap()
}

fn told(ours: &SharedDigests, theirs: &SharedDigests) -> Vec<(String, DifferenceKind)> {
    ours.differences(theirs).into_iter().map(|difference| (difference.key, difference.kind)).collect()
}

fn secrets(kind: DifferenceKind) -> Vec<(String, DifferenceKind)> {
    vec![("srs.secret_file".to_owned(), kind)]
}

#[test]
fn two_ways_of_writing_one_thing_do_not_differ() {
    let files = Files::new();
    for (one, other) in [
        ("", "limits.hops = 100"),
        ("delivery.retry_first = '60s'", "delivery.retry_first = '1m'"),
        ("service.domain = 'email.relay.example'", "service.domain = 'EMAIL.relay.example.'"),
        ("", "service.postmaster_url = 'https://email.relay.example/postmaster'"),
        (
            "service.mx = [{ hostname = 'a.example', preference = 1 }, { hostname = 'b.example', preference = 2 }]",
            "service.mx = [{ hostname = 'B.example', preference = 2 }, { hostname = 'a.example', preference = 1 }]",
        ),
        (
            "authentication.trusted_arc_sealers = ['a.example', 'b.example']",
            "authentication.trusted_arc_sealers = ['b.example', 'A.example']",
        ),
        (
            "dnsbl = [{ name = 'a', zone = 'z.example' }]",
            "dnsbl = [{ name = 'a', zone = 'Z.example', listed = ['127.0.0.1/8'], key_file = '@dnsbl.key' }]",
        ),
        (
            "cluster = { certificate_file = '@node.pem', private_key_file = '@node.key', ca_file = '@ca.pem', \
             peers = [{ name = 'amir', address = 'amir:1' }] }",
            "cluster = { certificate_file = '@node.pem', private_key_file = '@node.key', ca_file = '@ca.pem', \
             peers = [{ name = 'linda', address = 'linda:1' }, { name = 'amir', address = 'amir:2' }] }",
        ),
    ] {
        assert_eq!(told(&digests(&files.with(one)), &digests(&files.with(other))), [], "{other}");
    }
}

#[test]
fn signing_keys_are_compared_by_what_they_sign_with() {
    let files = Files::new();
    std::fs::copy(files.path("rsa.pem"), files.path("same.pem")).unwrap();
    let ours = digests(&files.minimal());
    assert_eq!(told(&ours, &digests(&files.with("dkim.private_key_file = '@same.pem'"))), []);
    let alone = files.minimal().replace("dkim = { ", "dkim.key = [{ ").replace("rsa.pem' }", "rsa.pem' }]");
    assert_eq!(told(&ours, &digests(&alone)), []);

    let another =
        rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    files.write("rsa.pem", &another.serialize_pem());
    let differs = vec![("dkim.private_key_file".to_owned(), DifferenceKind::Differs)];
    // The secrets are the same, and could not be compared.
    assert_eq!(told(&ours, &digests(&files.minimal())), differs);
}

#[test]
fn secrets_that_are_rotated_overlap() {
    let files = Files::new();
    let with = |list: &str| {
        files.write("secrets", list);
        digests(&files.minimal())
    };
    let old = with("the old secret of all\n");
    let prepared = with("the old secret of all\nthe new secret of all\n");
    let turned = with("the new secret of all\nthe old secret of all\n");
    let new = with("the new secret of all\n");
    assert_eq!(told(&old, &old), []);
    assert_eq!(told(&old, &prepared), secrets(DifferenceKind::Overlaps));
    assert_eq!(told(&prepared, &turned), secrets(DifferenceKind::Overlaps));
    assert_eq!(told(&turned, &new), secrets(DifferenceKind::Overlaps));
    // The one makes what the other does not take.
    assert_eq!(told(&old, &turned), secrets(DifferenceKind::Differs));
    assert_eq!(told(&turned, &old), secrets(DifferenceKind::Differs));
    assert_eq!(told(&old, &new), secrets(DifferenceKind::Differs));
}

/// Who can guess a secret cannot tell from its digest that the guess is right.
#[test]
fn the_digest_of_a_secret_hangs_on_the_signing_key() {
    let files = Files::new();
    let before = digests(&files.minimal());
    let another =
        rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    files.write("rsa.pem", &another.serialize_pem());
    let after = digests(&files.minimal());
    for key in ["srs.secret_file[0]", "srs.secret_file[1]"] {
        assert!(before.by_key()[key] != after.by_key()[key], "{key}");
    }
    assert!(before.by_key()["srs.secret_file[0]"] != before.by_key()["srs.secret_file[1]"]);
}

#[test]
fn a_key_of_another_version_is_no_difference() {
    let files = Files::new();
    let ours = digests(&files.minimal());
    let mut theirs = ours.by_key().clone();
    theirs.insert("limits.later".to_owned(), [0; 32]);
    theirs.remove("limits.hops");
    assert_eq!(told(&ours, &theirs.into()), []);
}

#[test]
fn digests_are_few_and_their_keys_short() {
    let files = Files::new();
    let many: String = (0..files::MAX_SECRETS).map(|at| format!("{at:016}\n")).collect();
    files.write("secrets", &many);
    let digests = digests(&files.contract());
    assert!(digests.by_key().len() <= 70, "{}", digests.by_key().len());
    assert!(digests.by_key().keys().all(|key| key.len() < 64));
}
