//! The published DKIM record of each selector against the key we sign with (RFC 6376 §3.6).

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::signature::KeyPair as _;

use crate::check::{Finding, Verdict};
use crate::config::DkimKey;
use crate::config::files::{self, SigningKey};
use crate::dns::Dns;
use crate::mail::Domain;
use crate::mail::dkim::{Algorithm, Key, Mode};

/// Whether `SELECTOR._domainkey.DOMAIN` publishes the public half of the key.
pub(super) async fn check(key: &DkimKey, domain: &Domain, dns: &Dns) -> Vec<Finding> {
    let name = format!("{}._domainkey.{domain}", key.selector);
    let finding = |verdict, text: String| vec![Finding::new(verdict, "dkim", format!("{name} {text}"))];
    let ours = match files::dkim_key(&key.private_key_file) {
        Ok(ours) => ours,
        Err(cause) => return finding(Verdict::Fail, format!("cannot be compared: {cause}")),
    };
    let answer = match dns.txt(&name).await {
        Ok(answer) => answer,
        Err(cause) => return finding(Verdict::Fail, format!("is not published: {cause}")),
    };
    match answer.records.as_slice() {
        [record] => {
            let (verdict, text) = compare(record, &ours);
            finding(verdict, text)
        }
        // RFC 6376 §3.6.2.2: "the results are undefined".
        several => finding(Verdict::Fail, format!("has {} TXT records, must have one", several.len())),
    }
}

/// How a record stands to our key: as verifiers read it, so that none of them refuses what this takes.
pub(super) fn compare(record: &[u8], ours: &SigningKey) -> (Verdict, String) {
    let (algorithm, forms) = public_forms(ours);
    match Key::parse(record, algorithm) {
        Err(cause) => (Verdict::Fail, format!("verifies nothing that we sign: {cause}")),
        Ok(key) if !forms.contains(&key.octets) => {
            (Verdict::Fail, "has another key: publish ours, or sign with a new selector".to_owned())
        }
        Ok(Key { mode: Mode::Testing, .. }) => {
            (Verdict::Warn, "has our key, and says that it is a test (t=y)".to_owned())
        }
        Ok(_) => (Verdict::Ok, "has our key".to_owned()),
    }
}

/// What a key signs with, and what its `p=` can hold: for RSA a SubjectPublicKeyInfo, as everybody writes it, or
/// an RSAPublicKey, as RFC 6376 §3.6.1 says; for Ed25519 the 32 octets (RFC 8463 §4.2).
fn public_forms(key: &SigningKey) -> (Algorithm, Vec<Vec<u8>>) {
    match key {
        SigningKey::Rsa(pair) => {
            let public = pair.public_key();
            let mut forms = vec![public.as_ref().to_vec()];
            forms.extend(public.as_der().ok().map(|der| der.as_ref().to_vec()));
            (Algorithm::RsaSha256, forms)
        }
        SigningKey::Ed25519(pair) => (Algorithm::Ed25519Sha256, vec![pair.public_key().as_ref().to_vec()]),
    }
}

#[cfg(test)]
#[path = "dkim_tests.rs"]
mod tests;
