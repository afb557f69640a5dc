//! What the names of deliveries are made with ([`crate::ledger`]): a secret that all nodes of a cluster have.

use std::fmt;

use super::encoding::{EncodingError, unreadable};

/// A key of 256 bits. Stands in no document, log or answer.
#[derive(Clone, PartialEq, Eq)]
pub struct DeliveryKey([u8; Self::OCTETS]);

impl DeliveryKey {
    /// Its length.
    pub const OCTETS: usize = 32;

    /// A key that was drawn.
    #[must_use]
    pub fn new(octets: [u8; Self::OCTETS]) -> Self {
        Self(octets)
    }

    /// The secret itself.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; Self::OCTETS] {
        &self.0
    }

    pub(super) fn decode(octets: &[u8]) -> Result<Self, EncodingError> {
        let key = octets.try_into().map_err(|_| {
            unreadable(
                "the key of deliveries",
                format!("it has {} octets, not {}", octets.len(), Self::OCTETS),
            )
        })?;
        Ok(Self(key))
    }
}

/// Without the secret.
impl fmt::Debug for DeliveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeliveryKey")
    }
}
