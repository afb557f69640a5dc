//! The ARC signing suite, read where `POSTROAD_SUITES` says that it lies.
//!
//! The suite fixes what RFC 8617 leaves to the sealer: the list and order of the signed fields, the order of tags, the
//! time. Given these, a signature with PKCS#1 v1.5 has only one value, so the suite's is ours if it verifies over the
//! octets that we would sign. Its keys have 1024 bits, with which we sign nothing (RFC 8301 §3.2).

use std::collections::BTreeMap;

use aws_lc_rs::signature::{RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};
use mail_parser::decoders::base64::base64_decode;
use serde::Deserialize;

use super::*;
use crate::mail::header;
use crate::pipeline::rewrite::sign::body_hash;

#[derive(Deserialize)]
struct Section {
    tests: BTreeMap<String, Case>,
    #[serde(rename = "txt-records")]
    keys: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Case {
    message: String,
    /// What is put on the message; empty for nothing.
    #[serde(rename = "AS")]
    seal: String,
    #[serde(rename = "AMS")]
    signature: String,
    #[serde(rename = "AAR")]
    results: String,
}

#[test]
fn rfc8617_5_1_what_we_would_sign_is_what_the_signing_suite_signed() {
    let Some(folder) = std::env::var_os("POSTROAD_SUITES") else {
        println!("skipped: POSTROAD_SUITES is not set");
        return;
    };
    let text = std::fs::read_to_string(std::path::Path::new(&folder).join("arc-signing.yml")).unwrap();
    let (mut right, mut wrong) = (0, Vec::new());
    for document in serde_norway::Deserializer::from_str(&text) {
        let Some(section) = Option::<Section>::deserialize(document).unwrap() else { continue };
        let key = section.keys.values().next().unwrap();
        for (name, case) in &section.tests {
            match judge(case, key) {
                Ok(()) => right += 1,
                Err(cause) => wrong.push(format!("{name}: {cause}")),
            }
        }
    }
    println!("ARC signing cases, what is signed: {right} of {}", right + wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(right, 17);
}

fn judge(case: &Case, key: &str) -> Result<(), String> {
    let message = case.message.replace('\n', "\r\n");
    let (head, body) = message.split_once("\r\n\r\n").unwrap();
    let head = format!("{head}\r\n");
    let fields: Vec<Field<'_>> =
        header::fields(head.as_bytes()).map(|field| (field.name, field.value)).collect();
    let state = state(&fields, tag(&case.seal, "cv"));
    let found = next(state).map(|(instance, validation)| (instance.to_string(), validation.to_owned()));
    let expected = tag(&case.seal, "i").zip(tag(&case.seal, "cv"));
    if found != expected {
        return Err(format!("{expected:?} is right, found {found:?}"));
    }
    let Some((instance, _)) = next(state) else { return Ok(()) };

    if tag(&case.signature, "bh") != Some(body_hash(body.as_bytes()).to_string()) {
        return Err(format!("the body hash is not {}", body_hash(body.as_bytes())));
    }
    let mut signed = Vec::new();
    let mut left = fields.clone();
    for name in tag(&case.signature, "h").unwrap().split(':') {
        // RFC 6376 §5.4.2: from the bottom, each field once; nothing for one that is not there.
        let at = left.iter().rposition(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes()));
        let Some(at) = at else { continue };
        let (name, value) = left.remove(at);
        relaxed_field(name, value, &mut signed);
        signed.extend_from_slice(b"\r\n");
    }
    let mut sealed = covered(state, &fields, instance).ok_or("an earlier set is not whole")?;
    push_line(&format!("ARC-Authentication-Results: {}", case.results), &mut sealed);
    push_line(&format!("ARC-Message-Signature: {}", on_one_line(&case.signature)), &mut sealed);
    verify("ARC-Message-Signature", &case.signature, signed, key)?;
    verify("ARC-Seal", &case.seal, sealed, key)
}

/// The field with the signature in one piece: that the suite's file folds it came after the seal.
fn on_one_line(value: &str) -> String {
    let (before, from) = value.split_once("b=").unwrap();
    let (signature, after) = from.split_once(';').unwrap();
    format!("{before}b={};{after}", signature.split_whitespace().collect::<String>())
}

/// What the node has found of the chain, by what the suite makes of it.
fn state(fields: &[Field<'_>], validation: Option<String>) -> ArcState {
    let sets = fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"ARC-Seal")).count();
    let sets = u8::try_from(sets).unwrap();
    match validation.as_deref() {
        Some("none") => ArcState::None,
        Some("pass") => ArcState::Pass(sets),
        Some("fail") => ArcState::Fail(sets),
        _ => ArcState::Ended,
    }
}

/// Whether the suite's signature is one of these octets and of its own field without `b=` (RFC 6376 §3.7).
fn verify(name: &str, value: &str, mut octets: Vec<u8>, key: &str) -> Result<(), String> {
    let (before, from) = value.split_once("b=").unwrap();
    let (_, after) = from.split_once(';').unwrap();
    let unsigned = format!("{before}b=;{after}");
    relaxed_field(name.as_bytes(), unsigned.as_bytes(), &mut octets);
    let signature = base64_decode(tag(value, "b").unwrap().as_bytes()).unwrap();
    let key = base64_decode(tag(key, "p").unwrap().as_bytes()).unwrap();
    UnparsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, key)
        .verify(&octets, &signature)
        .map_err(|_| format!("{name} is not of {:?}", String::from_utf8_lossy(&octets)))
}

/// A tag's value without white space.
fn tag(list: &str, name: &str) -> Option<String> {
    let value = list.split(';').find_map(|tag| tag.trim().strip_prefix(name)?.strip_prefix('='))?;
    Some(value.split_whitespace().collect())
}
