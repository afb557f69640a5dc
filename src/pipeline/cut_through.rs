//! What travels between the stages while the client is at RCPT: upstreams are asked about a recipient, and
//! their transactions held for the message (cut-through). Part of [`super::parcel`].

use std::collections::HashMap;
use std::fmt;

use tokio::sync::oneshot;

use super::deadline::Deadline;
use super::parcel::{Recipient, Shipment, Target, UpstreamReply};
use crate::mail::{BodyType, Domain, MessageRequest, ReversePath, SmtpUtf8, TraceId};

/// inbound → rewrite, at RCPT: a recipient that passed every check of ours. Would its destinations take it?
#[derive(Debug)]
pub struct Admitted {
    /// Who; its rule forwards.
    pub recipient: Recipient,
    /// MAIL FROM.
    pub reverse_path: ReversePath,
    /// What is asked.
    pub inquiry: Inquiry,
}

/// rewrite → deliver, at RCPT: the same under the new reverse-path.
#[derive(Debug)]
pub struct Readdressed {
    /// The recipient's copies, grouped as those of a message are.
    pub shipments: Vec<Shipment>,
    /// What is asked.
    pub inquiry: Inquiry,
}

/// A question to upstreams ahead of the message (cut-through).
#[derive(Debug)]
pub struct Inquiry {
    /// The transaction that the recipient is one of.
    pub id: TraceId,
    /// What MAIL said of the message.
    pub declared: Declared,
    /// What earlier recipients of the transaction left; the answer gives it back.
    pub advance: Advance,
    /// When the client must have its reply to RCPT.
    pub until: Deadline,
    /// Where the answer goes; dropped unanswered, nobody said anything and nothing is held.
    pub answer: oneshot::Sender<Inquired>,
}

impl Inquiry {
    /// Answers that no destination said anything.
    pub fn give_up(self) {
        // A session that has ended does not wait for it.
        let _ = self.answer.send(Inquired { advance: self.advance, refused: None });
    }
}

/// What the client's MAIL said of a message that is not here yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// SIZE (RFC 1870 §6).
    pub size_octets: Option<u64>,
    /// BODY (RFC 6152 §2).
    pub body_type: BodyType,
    /// SMTPUTF8 (RFC 6531 §3.4).
    pub smtp_utf8: SmtpUtf8,
    /// RET and ENVID (RFC 3461 §4.3, §4.4), and REQUIRETLS (RFC 8689).
    pub request: MessageRequest,
}

/// deliver → inbound, at RCPT.
#[derive(Debug, Default)]
pub struct Inquired {
    /// For the next recipient, or for the message.
    pub advance: Advance,
    /// Where no copy of the recipient would be taken: the upstream's word, and on which copy.
    pub refused: Option<(UpstreamReply, Target)>,
}

/// What was done for a message before it was there.
#[derive(Debug, Default)]
pub struct Advance {
    /// The rewritten reverse-path by forwarding domain: the message goes on under those that upstreams heard.
    pub reverse_paths: HashMap<Domain, ReversePath>,
    /// The upstream transactions that wait for the message.
    pub held: Option<Held>,
}

/// Upstream transactions that deliver opened at RCPT and finds again by the transaction's id. Dropping it
/// ends those that were not used, so that whoever refuses or forgets a message resets its upstreams.
pub struct Held {
    _claim: Box<dyn Send + Sync>,
}

impl Held {
    /// Holds on to a claim, which ends the transactions when it is dropped.
    #[must_use]
    pub fn new(claim: impl Send + Sync + 'static) -> Self {
        Self { _claim: Box::new(claim) }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}
