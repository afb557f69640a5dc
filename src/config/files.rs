//! The files that a node file names: each kind read, bounded and checked in one place. Never shows a secret.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use aws_lc_rs::signature::{Ed25519KeyPair, RsaKeyPair};
use thiserror::Error;
use x509_parser::pem::Pem;

/// The largest file read, in octets: a chain or a list of tokens is a hundred times smaller.
pub const MAX_FILE_OCTETS: u64 = 1_048_576;
/// The shortest SRS secret, in octets: 128 bits, so that hashes cannot be found by guessing the secret.
pub const MIN_SECRET_OCTETS: usize = 16;
/// The shortest admin token, in characters.
pub const MIN_TOKEN_CHARACTERS: usize = 16;
/// The most admin tokens: every call is compared with all of them.
pub const MAX_TOKENS: usize = 1000;
/// Longest name of an admin token, in octets.
pub const MAX_TOKEN_NAME_OCTETS: usize = 64;
/// The most SRS secrets: each is tried for every bounce.
pub const MAX_SECRETS: usize = 16;

/// Why a named file cannot be used. Never holds its content.
#[derive(Debug, Error)]
pub enum FileError {
    /// The system refused.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// Nor was it made yet.
    #[error("is not there; `postroad keygen {0} --out FILE` makes one")]
    NotMade(&'static str),
    /// A directory, a device, a pipe.
    #[error("is not a file")]
    NotAFile,
    /// Longer than [`MAX_FILE_OCTETS`].
    #[error("is larger than {MAX_FILE_OCTETS} octets")]
    TooLarge,
    /// Text was expected.
    #[error("is not UTF-8 text")]
    NotText,
    /// Nothing in it.
    #[error("holds no {0}")]
    Empty(&'static str),
    /// A line is not as it should be.
    #[error("line {line}: {reason}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What it should be.
        reason: String,
    },
    /// PEM that cannot be parsed.
    #[error("is not well-formed PEM: {0}")]
    Pem(String),
    /// A key that cannot sign.
    #[error("holds a key that is neither RSA of 2048 to 8192 bits nor Ed25519")]
    NotASigningKey,
}

/// A secret from a file; its `Debug` form does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A DKIM signing key.
#[derive(Debug)]
pub enum SigningKey {
    /// rsa-sha256 (RFC 6376 §3.3.1).
    Rsa(Box<RsaKeyPair>),
    /// ed25519-sha256 (RFC 8463).
    Ed25519(Box<Ed25519KeyPair>),
}

/// What an admin token may do; each role may do what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Reads, changes rules and destinations, and looks after the queue.
    Operator,
    /// Everything.
    Admin,
}

impl Role {
    /// The word of the token file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// Reads the word of the token file.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Viewer, Self::Operator, Self::Admin].into_iter().find(|role| role.as_str() == word)
    }
}

/// One line of an admin token file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What the client sends.
    pub secret: Secret,
    /// What it may do then.
    pub role: Role,
    /// What it is called.
    pub name: Option<String>,
}

/// Reads a file of at most [`MAX_FILE_OCTETS`].
///
/// # Errors
/// When it is no file, too large, or cannot be read.
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    // Asked before opening: opening a pipe would wait for its writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(FileError::NotAFile);
    }
    let mut octets = Vec::new();
    File::open(path)?.take(MAX_FILE_OCTETS + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > MAX_FILE_OCTETS {
        return Err(FileError::TooLarge);
    }
    Ok(octets)
}

fn read_text(path: &Path) -> Result<String, FileError> {
    String::from_utf8(read(path)?).map_err(|_| FileError::NotText)
}

/// The lines that hold something, trimmed, with their numbers from 1.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty())
}

/// Says of a file that is not there what makes one.
fn made_by(what: &'static str) -> impl Fn(FileError) -> FileError {
    move |error| {
        let is_missing =
            matches!(&error, FileError::Unreadable(cause) if cause.kind() == io::ErrorKind::NotFound);
        if is_missing { FileError::NotMade(what) } else { error }
    }
}

/// The SRS secrets, one a line: the first signs, all verify.
///
/// # Errors
/// When there is none, more than [`MAX_SECRETS`], or one shorter than [`MIN_SECRET_OCTETS`].
pub fn srs_secrets(path: &Path) -> Result<Vec<Secret>, FileError> {
    let text = read_text(path).map_err(made_by("srs"))?;
    let mut secrets = Vec::new();
    for (line, secret) in lines(&text) {
        if secret.len() < MIN_SECRET_OCTETS {
            let reason = format!("a secret has {MIN_SECRET_OCTETS} octets or more");
            return Err(FileError::Line { line, reason });
        }
        if secrets.len() == MAX_SECRETS {
            return Err(FileError::Line { line, reason: format!("more than {MAX_SECRETS} secrets") });
        }
        secrets.push(Secret(secret.into()));
    }
    if secrets.is_empty() { Err(FileError::Empty("secret")) } else { Ok(secrets) }
}

/// A DNSBL subscriber's key: one DNS label.
///
/// # Errors
/// When the file holds anything else than one line of 1 to 63 letters, digits, hyphens and underscores.
pub fn dnsbl_key(path: &Path) -> Result<Secret, FileError> {
    let text = read_text(path)?;
    let mut lines = lines(&text);
    let (line, key) = lines.next().ok_or(FileError::Empty("key"))?;
    let is_label = key.len() <= 63 && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if !is_label {
        let reason = "a key is one label of up to 63 letters, digits, hyphens and underscores".to_owned();
        return Err(FileError::Line { line, reason });
    }
    match lines.next() {
        Some((line, _)) => Err(FileError::Line { line, reason: "one key is all there can be".to_owned() }),
        None => Ok(Secret(key.into())),
    }
}

/// A DKIM signing key: RSA as PKCS#1 or PKCS#8, Ed25519 as PKCS#8, PEM.
///
/// # Errors
/// When there is no such key.
pub fn dkim_key(path: &Path) -> Result<SigningKey, FileError> {
    let pem = private_key(path).map_err(made_by("dkim"))?;
    let rsa = |pair| SigningKey::Rsa(Box::new(pair));
    let key = if pem.label == "RSA PRIVATE KEY" {
        RsaKeyPair::from_der(&pem.contents).map(rsa)
    } else {
        RsaKeyPair::from_pkcs8(&pem.contents).map(rsa).or_else(|_| {
            Ed25519KeyPair::from_pkcs8(&pem.contents).map(|pair| SigningKey::Ed25519(Box::new(pair)))
        })
    };
    key.map_err(|_| FileError::NotASigningKey)
}

/// The first private key of a PEM file: PKCS#8, PKCS#1 or SEC1 (RFC 7468 §10, RFC 8017 A.1.2, RFC 5915).
///
/// # Errors
/// When there is none.
pub fn private_key(path: &Path) -> Result<Pem, FileError> {
    let labels = ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"];
    let key = pems(path)?.into_iter().find(|pem| labels.contains(&pem.label.as_str()));
    key.ok_or(FileError::Empty("private key in PEM"))
}

/// The certificates of a PEM file, at least one, in their order.
///
/// # Errors
/// When there is none, or one is malformed.
pub fn certificates(path: &Path) -> Result<Vec<Pem>, FileError> {
    let mut chain = pems(path)?;
    chain.retain(|pem| pem.label == "CERTIFICATE");
    if let Some(cause) = chain.iter().find_map(|pem| pem.parse_x509().err()) {
        return Err(FileError::Pem(format!("certificate: {cause}")));
    }
    if chain.is_empty() { Err(FileError::Empty("certificate in PEM")) } else { Ok(chain) }
}

fn pems(path: &Path) -> Result<Vec<Pem>, FileError> {
    Pem::iter_from_buffer(&read(path)?)
        .collect::<Result<_, _>>()
        .map_err(|cause| FileError::Pem(cause.to_string()))
}

/// The admin tokens: lines `TOKEN ROLE [NAME]`; lines that begin with `#` are comments.
///
/// # Errors
/// When a line is anything else, or there is no token.
pub fn admin_tokens(path: &Path) -> Result<Vec<Token>, FileError> {
    let text = read_text(path)?;
    let mut tokens: Vec<Token> = Vec::new();
    for (line, content) in lines(&text).filter(|(_, content)| !content.starts_with('#')) {
        let token = token(content).map_err(|reason| FileError::Line { line, reason: reason.to_owned() })?;
        if tokens.iter().any(|other| other.secret == token.secret) {
            return Err(FileError::Line { line, reason: "the token is there twice".to_owned() });
        }
        if tokens.len() == MAX_TOKENS {
            return Err(FileError::Line { line, reason: format!("more than {MAX_TOKENS} tokens") });
        }
        tokens.push(token);
    }
    if tokens.is_empty() { Err(FileError::Empty("token")) } else { Ok(tokens) }
}

fn token(line: &str) -> Result<Token, &'static str> {
    let mut words = line.split_whitespace();
    let (Some(secret), Some(role), name, None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err("not of the form `TOKEN ROLE [NAME]`");
    };
    if secret.len() < MIN_TOKEN_CHARACTERS || !secret.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("a token has 16 printable ASCII characters or more");
    }
    let role = Role::parse(role).ok_or("the role is none of viewer, operator, admin")?;
    let is_name =
        |name: &str| name.len() <= MAX_TOKEN_NAME_OCTETS && name.bytes().all(|b| b.is_ascii_graphic());
    if !name.is_none_or(is_name) {
        return Err("a name has up to 64 printable ASCII characters");
    }
    Ok(Token { secret: Secret(secret.into()), role, name: name.map(str::to_owned) })
}
