//! Our own loop detection: a token for each alias that a message was forwarded for, in a field of its own.
//! A message that comes to an alias whose token it carries already has been here before.
//!
//! Tokens are keyed, so that nobody can put one on a message to have it refused, and so that they tell
//! nothing of the alias. The key is the first SRS secret, which all nodes share.

use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;

use super::{Address, Domain, header};

/// The field that carries the tokens.
pub const NAME: &str = "Postroad-Trace";
/// Hexadecimal digits of a token: 80 bits.
const TOKEN_DIGITS: usize = 20;
/// Tokens that are read of one message; RFC 5321 §4.5.3.1.8 asks for 100 recipients a transaction, and a
/// message may pass through us for other recipients a few times.
const MAX_TOKENS: usize = 1000;

/// The mark of one alias.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LoopToken(String);

impl LoopToken {
    /// The token as it stands in the field.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Makes the tokens of one service.
pub struct LoopKey {
    key: hmac::Key,
    service: Domain,
}

impl LoopKey {
    /// Takes the octets of the first SRS secret and the service's domain.
    #[must_use]
    pub fn new(secret: &[u8], service: &Domain) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret), service: service.clone() }
    }

    /// The token of an alias, whatever its case.
    #[must_use]
    pub fn token(&self, alias: &Address) -> LoopToken {
        let text = format!("postroad-loop\0{}\0{}", self.service, alias.lookup_form());
        let tag = hmac::sign(&self.key, text.as_bytes());
        let shown = tag.as_ref().get(..TOKEN_DIGITS / 2).unwrap_or_default();
        LoopToken(HEXLOWER.encode(shown))
    }
}

/// The field with these tokens and its CRLF, two tokens a line; nothing for none.
#[must_use]
pub fn field(tokens: &[LoopToken]) -> String {
    if tokens.is_empty() {
        return String::new();
    }
    let lines = tokens.chunks(2).map(|line| line.iter().map(LoopToken::as_str).collect::<Vec<_>>().join(" "));
    format!("{NAME}: {}\r\n", lines.collect::<Vec<_>>().join("\r\n\t"))
}

/// The tokens in a header section: all of every such field, up to 1,000.
#[must_use]
pub fn find(section: &[u8]) -> Vec<LoopToken> {
    let is_token = |word: &&[u8]| word.len() == TOKEN_DIGITS && word.iter().all(u8::is_ascii_hexdigit);
    header::fields(section)
        .filter(|field| field.is(NAME))
        .flat_map(|field| field.value.split(|b| b" \t\r\n".contains(b)))
        .filter(is_token)
        .take(MAX_TOKENS)
        .map(|word| LoopToken(String::from_utf8_lossy(word).to_ascii_lowercase()))
        .collect()
}

/// Without the key.
impl std::fmt::Debug for LoopKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoopKey").field("service", &self.service).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(secret: &str) -> LoopKey {
        LoopKey::new(secret.as_bytes(), &Domain::parse("email.relay.example").unwrap())
    }

    fn alias(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn what_was_written_is_found_again() {
        let tokens: Vec<_> = (0..5).map(|n| key("s").token(&alias(&format!("a{n}@b.example")))).collect();
        let section = format!("To: x\r\n{}postroad-trace: garbage 1234\r\n\r\n", field(&tokens));
        assert_eq!(find(section.as_bytes()), tokens);
        assert!(section.lines().all(|line| line.len() <= 78));
        assert_eq!(field(&[]), "");
    }

    #[test]
    fn tokens_depend_on_alias_and_secret_but_not_on_case() {
        let token = key("s").token(&alias("Ann@b.example"));
        assert_eq!(token, key("s").token(&alias("ann@B.example")));
        assert_ne!(token, key("t").token(&alias("ann@b.example")));
        assert_ne!(token, key("s").token(&alias("bob@b.example")));
    }
}
