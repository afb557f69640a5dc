//! The keys of signatures: asked for by DNS (RFC 6376 §3.6.2), and what they say of a signature (§6.1.2, §6.1.3).

use aws_lc_rs::digest::Digest;
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::signature::{
    ED25519, ParsedPublicKey, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, VerificationAlgorithm,
};
use tokio::time::timeout_at;
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::dkim::Outcome;
use crate::dns::Dns;
use crate::mail::Domain;
use crate::mail::dkim::{Key, Kind, Mode, Reach, Signer};
use crate::pipeline::cores::Cores;
use crate::pipeline::deadline::Deadline;

/// Records of one name that are tried. There ought to be one.
const MAX_RECORDS: usize = 4;
/// Octets of a message's key records past which they are not used on an async thread. One of RSA-2048 has about 400 and
/// is used in 30 µs, one of RSA-8192 has 1,400 and takes 400 µs.
const SMALL_KEYS_OCTETS: usize = 6 * 1024;
/// RFC 8301 §3.2: "Verifiers MUST NOT consider signatures using RSA keys of less than 1024 bits as valid signatures."
const MIN_RSA_BITS: usize = 1024;

/// What a signature's key says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// It is the signer's.
    Good(Mode),
    /// It is worth nothing, or is not known to be worth anything.
    Bad(Outcome),
}

/// Who checks the signatures of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prover<'a> {
    pub(super) dns: &'a Dns,
    pub(super) cores: &'a Cores,
    /// How many the message has.
    pub(super) proofs: usize,
    pub(super) deadline: Deadline,
}

impl Prover<'_> {
    /// Checks a signature over a SHA-256 digest. `identity` is what `i=` names.
    pub(super) async fn prove(&self, signer: &Signer, identity: Option<&Domain>, digest: &Digest) -> Proof {
        let name = format!("{}._domainkey.{}", signer.selector, signer.domain);
        let records = match self.dns.txt(&name).await {
            Ok(answer) => answer.records,
            Err(error) if error.is_temporary() => return Proof::Bad(Outcome::TempError),
            Err(_) => return Proof::Bad(Outcome::PermError("no key")),
        };
        if records.len() > MAX_RECORDS {
            return Proof::Bad(Outcome::PermError("too many key records"));
        }
        // The others are taken to have keys of the same size: each is asked for alone.
        if self.proofs * records.iter().map(Vec::len).sum::<usize>() <= SMALL_KEYS_OCTETS {
            return best(&records, signer, identity, digest);
        }
        let (signer, identity, digest) = (signer.clone(), identity.cloned(), *digest);
        let proof = self.cores.run(move || best(&records, &signer, identity.as_ref(), &digest));
        match timeout_at(self.deadline.at(), proof).await {
            Ok(Ok(proof)) => proof,
            Ok(Err(_)) | Err(_) => Proof::Bad(Outcome::TempError),
        }
    }
}

/// What the records of a key say of a signature.
///
/// Several records ought not to be (RFC 6376 §3.6.2.2: "the results are undefined"); where they are, the order
/// of an answer must not decide, so each is tried until one is good, as §6.1.2 lets us: all are the domain's.
fn best(records: &[Vec<u8>], signer: &Signer, identity: Option<&Domain>, digest: &Digest) -> Proof {
    let mut proof = Proof::Bad(Outcome::PermError("no key"));
    for record in records {
        match try_record(record, signer, identity, digest) {
            Ok(Mode::Live) => return Proof::Good(Mode::Live),
            Ok(Mode::Testing) => proof = Proof::Good(Mode::Testing),
            // A key that does not fit says more than a record that is none.
            Err(outcome) if !matches!(proof, Proof::Good(_) | Proof::Bad(Outcome::Fail(_))) => {
                proof = Proof::Bad(outcome);
            }
            Err(_) => {}
        }
    }
    proof
}

fn try_record(
    record: &[u8],
    signer: &Signer,
    identity: Option<&Domain>,
    digest: &Digest,
) -> Result<Mode, Outcome> {
    let key = Key::parse(record, signer.algorithm).map_err(|error| Outcome::PermError(error.reason()))?;
    if key.reach == Reach::Exact && identity.is_some_and(|identity| *identity != signer.domain) {
        return Err(Outcome::PermError("i= is not d=, which its key wants"));
    }
    let algorithm: &'static dyn VerificationAlgorithm = match key.kind {
        Kind::Rsa => &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
        Kind::Ed25519 => &ED25519,
    };
    let public =
        ParsedPublicKey::new(algorithm, &key.octets).map_err(|_| Outcome::PermError("unusable key"))?;
    let verified = match key.kind {
        Kind::Rsa => public.verify_digest_sig(digest, &signer.signature),
        // RFC 8463 §3: what is signed with Ed25519 is the digest.
        Kind::Ed25519 => public.verify_sig(digest.as_ref(), &signer.signature),
    };
    match verified {
        Ok(()) => Ok(key.mode),
        Err(_) if is_short(&public) => Err(Outcome::Policy("RSA key of less than 1024 bits")),
        Err(_) => Err(Outcome::Fail("signature did not verify")),
    }
}

/// Whether that was why it did not verify: AWS-LC takes no such key.
fn is_short(public: &ParsedPublicKey) -> bool {
    let Ok(der) = public.as_der() else { return false };
    let Ok((_, info)) = SubjectPublicKeyInfo::from_der(der.as_ref()) else { return false };
    let Ok(PublicKey::RSA(key)) = info.parsed() else { return false };
    let first = key.modulus.iter().position(|octet| *octet != 0).unwrap_or(key.modulus.len());
    let modulus = key.modulus.get(first..).unwrap_or_default();
    let zeros = modulus.first().map_or(0, |octet| octet.leading_zeros() as usize);
    modulus.len() * 8 - zeros < MIN_RSA_BITS
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
