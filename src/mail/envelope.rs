//! The SMTP envelope as the client gave it (RFC 5321 §2.3.1).

use std::fmt;

use super::{Address, Domain, MessageRequest};

/// Where bounces go: a mailbox, or nowhere (RFC 5321 §4.5.5).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ReversePath {
    /// `<>`: a notification, never to be answered by another.
    Null,
    /// The mailbox that hears of failures.
    Mailbox(Address),
}

impl ReversePath {
    /// The mailbox, if there is one.
    #[must_use]
    pub fn mailbox(&self) -> Option<&Address> {
        match self {
            Self::Null => None,
            Self::Mailbox(address) => Some(address),
        }
    }

    /// The domain of the mailbox, if there is one.
    #[must_use]
    pub fn domain(&self) -> Option<&Domain> {
        self.mailbox().map(Address::domain)
    }
}

/// The path with its angle brackets' content: empty for the null reverse-path.
impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Mailbox(address) => write!(f, "{address}"),
        }
    }
}

/// What the client declared about the octets of the body (RFC 6152).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyType {
    /// `BODY=7BIT`, or nothing said.
    #[default]
    SevenBit,
    /// `BODY=8BITMIME`.
    EightBitMime,
}

/// Whether the transaction asked for internationalised mail (RFC 6531 §3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SmtpUtf8 {
    /// `SMTPUTF8` was not given with MAIL.
    #[default]
    NotRequested,
    /// `SMTPUTF8` was given with MAIL.
    Requested,
}

/// Everything MAIL said, and the recipients that were accepted, in RCPT order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The reverse-path of MAIL FROM.
    pub reverse_path: ReversePath,
    /// The recipients that we answered 250, as the sender wrote them.
    pub recipients: Vec<Address>,
    /// The BODY parameter.
    pub body_type: BodyType,
    /// The SMTPUTF8 parameter.
    pub smtp_utf8: SmtpUtf8,
    /// RET, ENVID and REQUIRETLS.
    pub request: MessageRequest,
}
