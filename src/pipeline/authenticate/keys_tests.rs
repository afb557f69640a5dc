use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use mail_auth::common::crypto::SigningKey as _;

use super::super::tests::{World, domain};
use super::*;
use crate::dev::dns::{Behaviour, Data};
use crate::mail::base64;
use crate::mail::dkim::Algorithm;

const SIGNED: &[u8] = b"what is signed";

/// A signature of `keys.example` with the key of all tests.
fn signer(selector: &str) -> Signer {
    Signer {
        algorithm: Algorithm::RsaSha256,
        domain: domain("keys.example"),
        selector: domain(selector),
        signature: World::key().sign(SIGNED).unwrap(),
        span: 0..0,
    }
}

async fn proof(world: &World, signer: &Signer, identity: Option<&Domain>) -> Proof {
    let prover = world.prover();
    let proof = prover.prove(signer, identity, &digest(&SHA256, SIGNED)).await;
    // As one of many it is proven elsewhere, and is worth the same.
    let among_many = Prover { proofs: SMALL_KEYS_OCTETS, ..prover };
    assert_eq!(among_many.prove(signer, identity, &digest(&SHA256, SIGNED)).await, proof);
    proof
}

#[tokio::test]
async fn rfc6376_6_1_2_a_key_is_used_for_what_its_record_says() {
    let world = World::new().await;
    for (selector, expected) in [
        ("plain", Proof::Good(Mode::Live)),
        ("mail", Proof::Good(Mode::Live)),
        ("testing", Proof::Good(Mode::Testing)),
        ("sha1", Proof::Bad(Outcome::PermError("inappropriate hash algorithm"))),
        ("tlsrpt", Proof::Bad(Outcome::PermError("the key is not for mail"))),
        ("twice", Proof::Bad(Outcome::PermError("duplicate tag in the key record"))),
        ("late", Proof::Bad(Outcome::PermError("the key record is not of DKIM1"))),
        ("absent", Proof::Bad(Outcome::PermError("no key"))),
        // RFC 6376 §3.6.2.2: one of several is for mail.
        ("several", Proof::Good(Mode::Live)),
    ] {
        assert_eq!(proof(&world, &signer(selector), None).await, expected, "{selector}");
    }
}

#[tokio::test]
async fn rfc6376_3_6_1_a_strict_key_speaks_for_no_subdomain() {
    let world = World::new().await;
    let (own, below) = (domain("keys.example"), domain("mail.keys.example"));
    let refused = Proof::Bad(Outcome::PermError("i= is not d=, which its key wants"));
    assert_eq!(proof(&world, &signer("exact"), Some(&below)).await, refused);
    for identity in [None, Some(&own)] {
        assert_eq!(proof(&world, &signer("exact"), identity).await, Proof::Good(Mode::Live));
    }
    assert_eq!(proof(&world, &signer("plain"), Some(&below)).await, Proof::Good(Mode::Live));
}

#[tokio::test]
async fn rfc6376_6_1_2_only_an_answer_that_is_missing_is_temporary() {
    let world = World::new().await;
    world.server.behave("plain._domainkey.keys.example.", Behaviour::ServFail).unwrap();
    assert_eq!(proof(&world, &signer("plain"), None).await, Proof::Bad(Outcome::TempError));
    // A name that no query can hold will not mend itself.
    let long = ["a"; 100].map(|label| label.repeat(2)).join(".");
    let long = Signer { selector: domain(&long[..250]), ..signer("plain") };
    assert_eq!(proof(&world, &long, None).await, Proof::Bad(Outcome::PermError("no key")));
    let elsewhere = Signer { domain: domain("keys.invalid"), ..signer("plain") };
    assert_eq!(proof(&world, &elsewhere, None).await, Proof::Bad(Outcome::PermError("no key")));
}

fn tried(record: &str, algorithm: Algorithm, signature: &[u8]) -> Result<Mode, Outcome> {
    let signer = Signer { algorithm, signature: signature.to_vec(), ..signer("plain") };
    try_record(record.as_bytes(), &signer, None, &digest(&SHA256, SIGNED))
}

#[tokio::test]
async fn rfc8301_3_2_short_keys_are_not_accepted() {
    // Made by OpenSSL, with 512 bits.
    let short = "p=MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAOsz6WUKzxD7KxYu06bKxynAFNP7k8iOH6x/5iIxqjhfVuepKLIek+dlSAlzJaSDySm+RSscjm0lKlRrdJf/HksCAwEAAQ==";
    assert_eq!(
        tried(short, Algorithm::RsaSha256, &[1; 64]),
        Err(Outcome::Policy("RSA key of less than 1024 bits"))
    );
    let signature = World::key().sign(SIGNED).unwrap();
    assert_eq!(tried("p=QUJD", Algorithm::RsaSha256, &signature), Err(Outcome::PermError("unusable key")));
}

#[tokio::test]
async fn rfc8463_3_ed25519_signs_the_digest() {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let record = format!("v=DKIM1; k=ed25519; p={}", base64::encode(pair.public_key().as_ref()));
    let signature = pair.sign(digest(&SHA256, SIGNED).as_ref());
    assert_eq!(tried(&record, Algorithm::Ed25519Sha256, signature.as_ref()), Ok(Mode::Live));
    assert_eq!(
        tried(&record, Algorithm::Ed25519Sha256, pair.sign(SIGNED).as_ref()),
        Err(Outcome::Fail("signature did not verify"))
    );
}

/// RFC 6376 §3.6.2.2 leaves open what several records mean; the order of an answer must not say it.
#[tokio::test]
async fn of_several_key_records_the_order_decides_nothing() {
    let world = World::new().await;
    let key = base64::encode(World::key().public_key().as_ref());
    let live = format!("v=DKIM1; p={key}");
    let testing = format!("v=DKIM1; t=y; p={key}");
    let publish = |selector: &str, records: &[&str]| {
        for record in records {
            let name = format!("{selector}._domainkey.keys.example");
            world.server.publish(name.as_bytes(), &Data::Txt(&[record.as_bytes()])).unwrap();
        }
    };
    publish("a", &[&testing, &live]);
    publish("b", &[&live, &testing]);
    publish("c", &["v=DKIM1; p=", &testing, "no key"]);
    publish("d", &["1", "2", "3", "4", &live]);
    for (selector, expected) in [
        ("a", Proof::Good(Mode::Live)),
        ("b", Proof::Good(Mode::Live)),
        ("c", Proof::Good(Mode::Testing)),
        ("d", Proof::Bad(Outcome::PermError("too many key records"))),
    ] {
        assert_eq!(proof(&world, &signer(selector), None).await, expected, "{selector}");
    }
}
