//! What must be the same on every node, as digests that nodes can show each other: every key that the schema gives the
//! scope [`Scope::Cluster`], by its effective value, so that two ways of writing one thing do not differ.
//!
//! ```text
//! KEY                   SHA-256 of the key's path and its values, each behind its length
//! dkim.private_key_file the same of the public keys, in the order of signing; dkim.selector: of all selectors.
//!                       [[dkim.key]] is in these two
//! srs.secret_file[N]    HMAC-SHA-256 of the Nth secret, under a key that only who signs as the service has
//! ```
//!
//! A secret may be short enough to be guessed, and a digest of it would tell when the guess is right. So its digest is
//! keyed: the HMAC's key is the signature that the first DKIM key, which is RSA, makes of a fixed text; PKCS #1 v1.5
//! signatures are the same each time and on each node (RFC 8017 §8.2), and nobody makes one without the private key.
//! Where DKIM keys differ, secrets cannot be compared; that difference is told, and they are compared once it is mended.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use thiserror::Error;
use toml::Value;

use crate::config::files::{self, FileError, Secret, SigningKey};
use crate::config::schema::{self as keys, KEYS, Key, Kind, Scope};
use crate::config::{Config, Dnsbl, MxHost};

/// What the DKIM key signs to make the key of the secrets' digests; no header section begins with a NUL.
const DERIVATION: &[u8] = b"\0postroad: digests of secrets that the nodes share, 1";

/// Digests by the path of their key, as `limits.hops` or `srs.secret_file[0]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SharedDigests(BTreeMap<String, [u8; 32]>);

/// A key whose values on two nodes differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its path in the schema.
    pub key: String,
    /// How.
    pub kind: DifferenceKind,
}

/// How the values of a key differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DifferenceKind {
    /// What one node promises another breaks.
    Differs,
    /// Lists of SRS secrets differ, but each node takes what the other makes: so it is while secrets are rotated.
    Overlaps,
}

/// Why there are no digests.
#[derive(Debug, Error)]
pub enum SharedDigestsError {
    /// A file that was good has changed since the configuration was read.
    #[error("{key}")]
    File {
        /// The key that names it.
        key: String,
        /// What is wrong with it.
        source: FileError,
    },
    /// The first DKIM key cannot sign.
    #[error("dkim.private_key_file: the key does not sign")]
    Signing,
}

impl From<BTreeMap<String, [u8; 32]>> for SharedDigests {
    fn from(digests: BTreeMap<String, [u8; 32]>) -> Self {
        Self(digests)
    }
}

impl SharedDigests {
    /// The digests by key; at most some 70, each key under 64 octets.
    #[must_use]
    pub fn by_key(&self) -> &BTreeMap<String, [u8; 32]> {
        &self.0
    }

    /// The keys whose values here and there differ. A key that only one of the two knows is a matter of versions, and is
    /// left out.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let secret = keys::SRS_SECRET_FILE.path();
        let plain = self.0.iter().filter(|(key, _)| !key.starts_with(&secret));
        let differing =
            plain.filter(|(key, digest)| other.0.get(*key).is_some_and(|theirs| theirs != *digest));
        let mut found: Vec<Difference> = differing
            .map(|(key, _)| Difference { key: key.clone(), kind: DifferenceKind::Differs })
            .collect();
        let signing = keys::DKIM_PRIVATE_KEY_FILE.path();
        if self.0.get(&signing) == other.0.get(&signing) {
            let kind = secrets_differ(&self.secrets(), &other.secrets());
            found.extend(kind.map(|kind| Difference { key: secret, kind }));
        }
        found
    }

    /// The digests of the SRS secrets in their order.
    fn secrets(&self) -> Vec<[u8; 32]> {
        (0..files::MAX_SECRETS).map_while(|at| self.0.get(&secret_key(at)).copied()).collect()
    }
}

/// The first secret of a node makes return addresses, all of a node's take them back.
fn secrets_differ(ours: &[[u8; 32]], theirs: &[[u8; 32]]) -> Option<DifferenceKind> {
    if ours == theirs {
        return None;
    }
    let taken = |made: Option<&[u8; 32]>, by: &[[u8; 32]]| made.is_some_and(|made| by.contains(made));
    let both = taken(ours.first(), theirs) && taken(theirs.first(), ours);
    Some(if both { DifferenceKind::Overlaps } else { DifferenceKind::Differs })
}

fn secret_key(at: usize) -> String {
    format!("{}[{at}]", keys::SRS_SECRET_FILE.path())
}

impl Config {
    /// Digests of everything that must be the same on every node. Reads the files of keys and secrets again; blocks.
    ///
    /// # Errors
    /// When one of them is no longer what it was.
    pub fn shared_digests(&self) -> Result<SharedDigests, SharedDigestsError> {
        let signing = self.signing_keys()?;
        let mut digests = BTreeMap::new();
        for key in KEYS.iter().filter(|key| key.scope == Scope::Cluster && stands_for_itself(key)) {
            let values = self.shared_values(key, &signing);
            digests.insert(key.path(), digest(key, &values));
        }
        let secrets = files::srs_secrets(&self.srs.secret_file)
            .map_err(|source| SharedDigestsError::File { key: keys::SRS_SECRET_FILE.path(), source })?;
        let first =
            signing.iter().find_map(|key| if let SigningKey::Rsa(pair) = key { Some(pair) } else { None });
        let under = hmac_key(first.ok_or(SharedDigestsError::Signing)?)?;
        let secrets = secrets.iter().enumerate().map(|(at, secret)| (secret_key(at), keyed(&under, secret)));
        digests.extend(secrets);
        Ok(SharedDigests(digests))
    }

    fn signing_keys(&self) -> Result<Vec<SigningKey>, SharedDigestsError> {
        let read = |key: &crate::config::DkimKey| files::dkim_key(&key.private_key_file);
        let read = self.dkim.keys.iter().map(read).collect::<Result<_, _>>();
        read.map_err(|source| SharedDigestsError::File { key: keys::DKIM_PRIVATE_KEY_FILE.path(), source })
    }

    /// A key's effective values in the one form that they have on every node.
    fn shared_values(&self, key: &Key, signing: &[SigningKey]) -> Vec<Vec<u8>> {
        let (service, dnsbl) = (&self.service, &self.dnsbl);
        let texts: Vec<String> = match (key.section, key.name) {
            ("service", "domain") => vec![service.domain.to_string()],
            ("service", "spf_name") => service.spf_name.iter().map(ToString::to_string).collect(),
            ("service", "postmaster") => vec![service.postmaster.to_string()],
            ("service", "postmaster_url") => vec![service.postmaster_url.clone()],
            ("service.mx[]", "hostname") => {
                hosts(&service.mx).map(|host| host.hostname.to_string()).collect()
            }
            ("service.mx[]", "preference") => {
                hosts(&service.mx).map(|host| host.preference.to_string()).collect()
            }
            ("authentication", "trusted_arc_sealers") => {
                sorted(self.authentication.trusted_arc_sealers.iter().map(ToString::to_string))
            }
            ("dnsbl[]", "zone") => dnsbl.iter().map(|zone| zone.zone.to_string()).collect(),
            ("dnsbl[]", "listed") => dnsbl.iter().map(listed).collect(),
            ("dkim", "selector") => self.dkim.keys.iter().map(|key| key.selector.clone()).collect(),
            ("dkim", "private_key_file") => return signing.iter().map(public_key).collect(),
            ("cluster.peers[]", "name") => self.node_names(),
            _ => self.settings.values(key).iter().map(|value| written(key, value.as_ref())).collect(),
        };
        texts.into_iter().map(String::into_bytes).collect()
    }

    /// The names of all nodes, whether this one's file lists it or not.
    fn node_names(&self) -> Vec<String> {
        let peers = self.cluster.iter().flat_map(|cluster| &cluster.peers);
        sorted(peers.map(|peer| peer.name.clone()).chain([self.node.name.clone()]))
    }
}

/// Whether a key has a digest of its own, and not one within another's.
fn stands_for_itself(key: &Key) -> bool {
    key.kind != Kind::Tables && key.section != "dkim.key[]" && key.path() != keys::SRS_SECRET_FILE.path()
}

fn hosts(mx: &[MxHost]) -> impl Iterator<Item = &MxHost> {
    let mut hosts: Vec<&MxHost> = mx.iter().collect();
    hosts.sort_by_key(|host| (host.preference, host.hostname.as_str()));
    hosts.into_iter()
}

fn listed(zone: &Dnsbl) -> String {
    sorted(zone.listed.iter().map(|network| network.trunc().to_string())).join(" ")
}

fn sorted(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut texts: Vec<String> = texts.collect();
    texts.sort_unstable();
    texts.dedup();
    texts
}

/// A value as the file or the default has it. Of a duration there is more than one way to write it.
fn written(key: &Key, value: Option<&Value>) -> String {
    let Some(value) = value else { return String::new() };
    let duration = value.as_str().filter(|_| matches!(key.kind, Kind::Duration(..)));
    match duration.and_then(|text| humantime::parse_duration(text).ok()) {
        Some(duration) => duration.as_nanos().to_string(),
        None => value.to_string(),
    }
}

fn public_key(key: &SigningKey) -> Vec<u8> {
    match key {
        SigningKey::Rsa(pair) => pair.public_key().as_ref().to_vec(),
        SigningKey::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
    }
}

fn digest(key: &Key, values: &[Vec<u8>]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in std::iter::once(key.path().as_bytes()).chain(values.iter().map(Vec::as_slice)) {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    array(context.finish().as_ref())
}

fn hmac_key(pair: &RsaKeyPair) -> Result<hmac::Key, SharedDigestsError> {
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), DERIVATION, &mut signature)
        .map_err(|_| SharedDigestsError::Signing)?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &signature))
}

fn keyed(key: &hmac::Key, secret: &Secret) -> [u8; 32] {
    array(hmac::sign(key, secret.expose().as_bytes()).as_ref())
}

fn array(octets: &[u8]) -> [u8; 32] {
    let mut array = [0; 32];
    array.iter_mut().zip(octets).for_each(|(to, from)| *to = *from);
    array
}

#[cfg(test)]
#[path = "shared_tests.rs"]
mod tests;
