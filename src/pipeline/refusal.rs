//! Why a stage refuses a message, and the one match that turns each reason into its reply.

use crate::mail::{Domain, TraceId};
use crate::smtp::reply::{self, Reply, Row};

/// A decision of ours against a recipient or a message. Our own faults are 4yz, never 5yz.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The recipient's domain is not one of ours.
    UnknownDomain,
    /// No rule for the recipient.
    UnknownRecipient,
    /// The rule waits for its destination to be verified.
    RuleWaiting,
    /// The rule rejects with this text.
    RuleReject(String),
    /// An SRS address that does not verify, though nobody guessed its hash.
    SrsInvalid,
    /// An SRS address whose hash is not ours: a guess.
    SrsForged,
    /// An SRS address as recipient of something that is no bounce.
    SrsNotABounce,
    /// The sender's domain takes no mail.
    SenderNullMx(Domain),
    /// The message went through us before, for the same recipient, or through too many hops.
    Loop,
    /// No usable From field, or several.
    BadFrom,
    /// DMARC policy of this domain.
    Dmarc(Domain),
    /// Neither SPF nor DKIM passes.
    Unauthenticated {
        /// What the owner of the sender's domain has to say of SPF's fail.
        explanation: Option<String>,
    },
    /// A DNS answer that would decide is missing for now.
    AuthenticationUnavailable,
    /// The destination publishes a null MX.
    RecipientNullMx,
    /// The destination's domain does not exist.
    DestinationUnknown,
    /// None of the destination's hosts has an address that mail can be sent to.
    DestinationUnroutable,
    /// All of the destination's hosts say that they take no mail at all.
    DestinationTakesNoMail,
    /// The upstream does not offer SMTPUTF8.
    UpstreamWithoutUtf8,
    /// The upstream does not offer 8BITMIME.
    UpstreamWithout8Bit,
    /// No host of the destination is authenticated and offers REQUIRETLS.
    UpstreamWithoutRequireTls,
    /// The upstream's SIZE is smaller than the message. The limit in octets.
    UpstreamSize(u64),
    /// No memory or disk.
    NoStorage,
    /// A fault of ours; it is in the log under the trace id.
    Internal,
}

impl Refusal {
    /// The reply that says so.
    #[must_use]
    pub fn reply(&self, postmaster_url: &str, trace: TraceId) -> Reply {
        let (row, argument) = self.row();
        row.refer(&[&argument], postmaster_url, trace)
    }

    /// Whether trying again cannot help.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.row().0.code / 100 == 5
    }

    /// The row of the catalogue, and what fills its gap.
    #[must_use]
    pub fn row(&self) -> (&'static Row, String) {
        match self {
            Self::UnknownDomain => (reply::UNKNOWN_DOMAIN, String::new()),
            Self::UnknownRecipient => (reply::UNKNOWN_RECIPIENT, String::new()),
            Self::RuleWaiting => (reply::RULE_WAITING, String::new()),
            Self::RuleReject(text) => (reply::RULE_REJECT, text.clone()),
            Self::SrsInvalid | Self::SrsForged => (reply::SRS_INVALID, String::new()),
            Self::SrsNotABounce => (reply::SRS_NOT_A_BOUNCE, String::new()),
            Self::SenderNullMx(domain) => (reply::SENDER_NULL_MX, domain.to_string()),
            Self::Loop => (reply::LOOP, String::new()),
            Self::BadFrom => (reply::BAD_FROM, String::new()),
            Self::Dmarc(domain) => (reply::DMARC_REJECT, domain.to_string()),
            Self::Unauthenticated { explanation } => {
                let text = explanation.as_ref().map(|text| format!(" ({text})"));
                (reply::UNAUTHENTICATED, text.unwrap_or_default())
            }
            Self::AuthenticationUnavailable => (reply::AUTHENTICATION_UNAVAILABLE, String::new()),
            Self::RecipientNullMx => (reply::RECIPIENT_NULL_MX, String::new()),
            Self::DestinationUnknown => (reply::DESTINATION_UNKNOWN, String::new()),
            Self::DestinationUnroutable => (reply::DESTINATION_UNROUTABLE, String::new()),
            Self::DestinationTakesNoMail => (reply::DESTINATION_TAKES_NO_MAIL, String::new()),
            Self::UpstreamWithoutUtf8 => (reply::UPSTREAM_WITHOUT_UTF8, String::new()),
            Self::UpstreamWithoutRequireTls => (reply::UPSTREAM_WITHOUT_REQUIRETLS, String::new()),
            Self::UpstreamWithout8Bit => (reply::UPSTREAM_WITHOUT_8BIT, String::new()),
            Self::UpstreamSize(octets) => (reply::UPSTREAM_SIZE, octets.to_string()),
            Self::NoStorage => (reply::NO_STORAGE, String::new()),
            Self::Internal => (reply::INTERNAL, String::new()),
        }
    }
}
