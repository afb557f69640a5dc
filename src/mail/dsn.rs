//! What a sender asks to be told of a message's fate (RFC 3461), and whether it insists on TLS (RFC 8689).
//!
//! A rule of ours is an alias whose destination is private, so RFC 3461 §5.2.7.4 applies: nobody but us may
//! tell the sender that a message arrived, since the destination's own word would name it. What goes on with
//! a forwarded message is what §5.2.7.3 (c) lets an alias with several destinations pass on: RET, ENVID and
//! ORCPT as they are, or the alias as ORCPT, and NOTIFY without SUCCESS. Success is told by our `relayed` DSN, which names the alias.
//!
//! Of a message that a rule drops nothing is told, SUCCESS or not: it was neither delivered nor relayed nor
//! expanded, which are what RFC 3461 §5.2 has told of, and it did not fail. `delivered` would be untrue, and
//! `failed` what a rule that rejects is for. Sieve's discard, the same thing, is silent too (RFC 5228 §4.4).

use super::{Address, xtext};

/// Longest ENVID, in octets of xtext (RFC 3461 §4.4).
pub const MAX_ENVELOPE_ID_OCTETS: usize = 100;
/// Longest ORCPT, in octets of addr-type and xtext (RFC 3461 §4.2).
pub const MAX_ORIGINAL_RECIPIENT_OCTETS: usize = 500;

/// What a DSN gives back of the message: the RET parameter of MAIL (RFC 3461 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Return {
    /// `FULL`: the message, where it failed and is of a decent size; else the header section.
    Full,
    /// `HDRS`: the header section.
    Headers,
}

/// When a recipient's DSN is wanted: the NOTIFY parameter of RCPT (RFC 3461 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Notify {
    /// Nothing said: of failure, and of delay as we see fit.
    #[default]
    Unsaid,
    /// `NEVER`.
    Never,
    /// On the occasions given; at least one of them.
    On {
        /// `SUCCESS`: when the next hop has taken the message, a `relayed` DSN.
        success: bool,
        /// `FAILURE`.
        failure: bool,
        /// `DELAY`.
        delay: bool,
    },
}

impl Notify {
    /// Whether a failure is to be told.
    #[must_use]
    pub fn wants_failure(self) -> bool {
        matches!(self, Self::Unsaid | Self::On { failure: true, .. })
    }

    /// Whether a delay is to be told.
    #[must_use]
    pub fn wants_delay(self) -> bool {
        matches!(self, Self::Unsaid | Self::On { delay: true, .. })
    }

    /// Whether a success is to be told.
    #[must_use]
    pub fn wants_success(self) -> bool {
        matches!(self, Self::On { success: true, .. })
    }

    /// What is left to ask of the next hop when success is ours to tell. Who asked for nothing else is not
    /// to hear of a failure either: leaving NOTIFY out would ask for it (RFC 3461 §4.1).
    #[must_use]
    pub fn without_success(self) -> Self {
        match self {
            Self::Unsaid => Self::Unsaid,
            Self::Never | Self::On { failure: false, delay: false, .. } => Self::Never,
            Self::On { failure, delay, .. } => Self::On { success: false, failure, delay },
        }
    }
}

/// What the sender asks for one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecipientRequest {
    /// NOTIFY.
    pub notify: Notify,
    /// ORCPT as written, `addr-type;xtext` (RFC 3461 §4.2), at most 500 octets; outside ASCII only with the
    /// type `utf-8` and SMTPUTF8 (RFC 6533 §3).
    pub original_recipient: Option<String>,
}

impl RecipientRequest {
    /// What is asked of the next hop for a message that the alias forwards. Where ORCPT was not given it is the
    /// alias, the recipient as we were told it (RFC 3461 §5.2.1 (c)): a DSN from further on then says what the sender
    /// wrote. NOTIFY is not added where there was none.
    #[must_use]
    pub fn forwarded(&self, alias: &Address) -> Self {
        let given = self.original_recipient.clone();
        let original_recipient = given.unwrap_or_else(|| original_recipient(alias));
        Self { notify: self.notify.without_success(), original_recipient: Some(original_recipient) }
    }
}

/// An address of ours as ORCPT: of the type `rfc822`, or `utf-8` outside ASCII (RFC 6533 §3).
fn original_recipient(address: &Address) -> String {
    let addr_type = if address.is_ascii() { "rfc822" } else { "utf-8" };
    format!("{addr_type};{}", xtext::encode(&address.to_string()))
}

/// What the sender asks for the whole message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MessageRequest {
    /// RET.
    pub ret: Option<Return>,
    /// ENVID as written, in xtext (RFC 3461 §4.4), at most 100 octets.
    pub envelope_id: Option<String>,
    /// REQUIRETLS (RFC 8689 §2).
    pub require_tls: RequireTls,
}

/// Whether the message may only travel over verified TLS (RFC 8689 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RequireTls {
    /// Not asked.
    #[default]
    No,
    /// MAIL had REQUIRETLS.
    Yes,
}

#[cfg(test)]
#[path = "dsn_tests.rs"]
mod tests;
