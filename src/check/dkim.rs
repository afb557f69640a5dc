//! The published DKIM record of each selector against the key we sign with (RFC 6376 §3.6).

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::signature::KeyPair as _;
use x509_parser::pem::Pem;

use crate::check::{Finding, Verdict};
use crate::config::DkimKey;
use crate::config::files::{self, SigningKey};
use crate::dns::Dns;
use crate::mail::Domain;

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
            let (verdict, text) = compare(&String::from_utf8_lossy(record), &ours);
            finding(verdict, text.to_owned())
        }
        // RFC 6376 §3.6.2.2: "the results are undefined".
        several => finding(Verdict::Fail, format!("has {} TXT records, must have one", several.len())),
    }
}

/// How a record stands to our key.
pub(super) fn compare(record: &str, ours: &SigningKey) -> (Verdict, &'static str) {
    let tag = |name: &str| {
        let mut tags = record.split(';').filter_map(|tag| tag.split_once('='));
        tags.find(|(tag, _)| tag.trim() == name).map(|(_, value)| value.trim())
    };
    if tag("v").is_some_and(|version| version != "DKIM1") {
        return (Verdict::Fail, "is no DKIM1 record");
    }
    let (algorithm, forms) = public_forms(ours);
    if tag("k").unwrap_or("rsa") != algorithm {
        return (Verdict::Fail, "is for another kind of key (k=)");
    }
    match tag("p") {
        None => (Verdict::Fail, "has no key (p=)"),
        Some("") => (Verdict::Fail, "is revoked (empty p=)"),
        Some(key) if decode(key).is_some_and(|key| forms.contains(&key)) => {
            if tag("t").is_some_and(|flags| flags.split(':').any(|flag| flag.trim() == "y")) {
                (Verdict::Warn, "has our key, and says that it is a test (t=y)")
            } else {
                (Verdict::Ok, "has our key")
            }
        }
        Some(_) => (Verdict::Fail, "has another key: publish ours, or sign with a new selector"),
    }
}

/// The `k=` of a key, and what its `p=` can hold: for RSA a SubjectPublicKeyInfo, as everybody writes it, or
/// an RSAPublicKey, as RFC 6376 §3.6.1 says; for Ed25519 the 32 octets (RFC 8463 §4.2).
fn public_forms(key: &SigningKey) -> (&'static str, Vec<Vec<u8>>) {
    match key {
        SigningKey::Rsa(pair) => {
            let public = pair.public_key();
            let mut forms = vec![public.as_ref().to_vec()];
            forms.extend(public.as_der().ok().map(|der| der.as_ref().to_vec()));
            ("rsa", forms)
        }
        SigningKey::Ed25519(pair) => ("ed25519", vec![pair.public_key().as_ref().to_vec()]),
    }
}

/// A `p=` is what stands between the marks of a PEM file, but for the white space.
fn decode(base64: &str) -> Option<Vec<u8>> {
    let joined: String = base64.split_whitespace().collect();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{joined}\n-----END PUBLIC KEY-----\n");
    Pem::iter_from_buffer(pem.as_bytes()).next()?.ok().map(|pem| pem.contents)
}

#[cfg(test)]
#[path = "dkim_tests.rs"]
mod tests;
