//! How mail addresses are written to the log: `log.addresses`, made into a value that can be passed around.

use std::fmt;

use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;

use crate::config::LogAddresses;
use crate::mail::{Address, ReversePath};

/// Octets of the keyed hash that are shown: 48 bits tell the addresses of a day's log apart.
const SHOWN_HASH_OCTETS: usize = 6;

/// Writes mail addresses as `log.addresses` asks: in full, the local part as a keyed hash, or not at all.
#[derive(Clone)]
pub struct AddressLog {
    form: LogAddresses,
    key: hmac::Key,
}

impl AddressLog {
    /// Derives the key of the hash from a secret that all nodes share, so that they hash alike and that a
    /// guessed address cannot be checked without it.
    #[must_use]
    pub fn new(form: LogAddresses, secret: &[u8]) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let derived = hmac::sign(&root, b"postroad log.addresses");
        Self { form, key: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()) }
    }

    /// How addresses are written.
    #[must_use]
    pub fn form(&self) -> LogAddresses {
        self.form
    }

    /// The address as the log may show it. The hash ignores case, as rules do.
    #[must_use]
    pub fn show(&self, address: &Address) -> String {
        match self.form {
            LogAddresses::Full => address.to_string(),
            LogAddresses::Hash => {
                let tag = hmac::sign(&self.key, address.folded().to_string().as_bytes());
                let shown = tag.as_ref().get(..SHOWN_HASH_OCTETS).unwrap_or_default();
                format!("{}@{}", HEXLOWER.encode(shown), address.domain())
            }
            LogAddresses::None => "-".to_owned(),
        }
    }

    /// A reverse-path as the log may show it; the null one (RFC 5321 §4.5.5) is `<>` in every form.
    #[must_use]
    pub fn show_path(&self, path: &ReversePath) -> String {
        path.mailbox().map_or_else(|| "<>".to_owned(), |address| self.show(address))
    }
}

impl fmt::Debug for AddressLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AddressLog({:?})", self.form)
    }
}

#[cfg(test)]
#[path = "address_log_tests.rs"]
mod tests;
