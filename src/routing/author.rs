//! Who asked for a change, as its history says it. No change depends on it: a version that does not know it makes the same
//! table.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::requests::RequestId;

/// Longest name of an author, in octets; a certificate's subject may be longer, and is cut.
pub const MAX_AUTHOR_OCTETS: usize = 128;

/// Who asks for a change, and what they call the request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asker {
    /// `None`: a node, or it is not known.
    pub author: Option<Author>,
    /// `None`: it is not to be repeated.
    pub request_id: Option<RequestId>,
}

/// Who asked for a change, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    name: Arc<str>,
    address: Option<IpAddr>,
}

impl Author {
    /// Of a name, which is cut to [`MAX_AUTHOR_OCTETS`] and has its control characters replaced. `None` without one.
    #[must_use]
    pub fn new(name: &str, address: Option<IpAddr>) -> Option<Self> {
        let mut name = name.replace(char::is_control, " ");
        name.truncate(name.floor_char_boundary(MAX_AUTHOR_OCTETS));
        (!name.is_empty()).then(|| Self { name: name.into(), address })
    }

    /// As a log has it, or another node; what is no address is none.
    #[must_use]
    pub fn told(name: &str, address: &str) -> Option<Self> {
        Self::new(name, address.parse().ok())
    }

    /// What the author is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address that the author called from, if it is known.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// Name and address for [`Self::told`]; empty for nobody.
    #[must_use]
    pub fn tell(author: Option<&Self>) -> (String, String) {
        let name = author.map(|author| author.name.to_string());
        let address = author.and_then(|author| author.address).map(|address| address.to_string());
        (name.unwrap_or_default(), address.unwrap_or_default())
    }
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
