//! `check_host()` (RFC 7208 §4): what a domain's SPF record says of a client, asked of our resolver. The words of a
//! record are `spf`'s.
//!
//! Where RFC 7208 leaves a choice:
//! - **Time** (§4.6.4 wants at least 20 s): [`TIME_LIMIT`] in all, as two identities, DKIM and DMARC share the time
//!   that a client waits. What has not ended by then is a temperror.
//! - **Terms** (§4.6.4): [`MAX_TERMS`] of those that ask the DNS, over the whole evaluation. The term past the limit is
//!   not asked about.
//! - **Void look-ups** (§4.6.4) are counted by term, as the RFC has it ("the number of "terms" for which DNS queries
//!   return" nothing): a term is void when the name that it is about has no record of the type wanted. The hosts behind
//!   MX and PTR records have a limit of their own there. AAAA records that are missing beside A records count:
//!   §4.6.4 names an answer of RCODE 0 without records, and other evaluators that a domain owner may have tried
//!   count them, so that a record means the same everywhere. To ask for A as well, to see whether the name
//!   exists, would be one more question for each void one, where the limit is there to save them.
//! - **Size**: a record of more than 8,192 octets is a permerror, as one that nobody publishes for his mail.
//! - **The hosts of an `mx`** are asked side by side and compared in order of preference.
//! - **Names that cannot be asked**, with an empty label or one of more than 63 octets, do not exist, so that nothing
//!   matches there; at the target of `include` and `redirect` that is "none" (§4.3), and so a permerror (§5.2, §6.1).
//!   All other octets are asked for as they are (RFC 2181 §11), but for a local part that is not ASCII, which matches
//!   nothing (RFC 8616 §4).
//! - **`ptr` and `%{p}`**: of the client's names the first [`MAX_NAMES`] count, the others are ignored (§4.6.4).
//! - **`exp`** is looked up only when somebody wants to show it: [`Explanation::fetch`].

mod evaluation;
mod explanation;

use std::time::Duration;

use thiserror::Error;
use tracing::debug;

use self::evaluation::Evaluation;
pub use self::explanation::Explanation;
use crate::dns::{Dns, DnsError};
use crate::spf::{Sender, SpfVerdict, SyntaxError};

/// For one identity; see the module's text.
pub const TIME_LIMIT: Duration = Duration::from_secs(10);
/// Terms that ask the DNS (RFC 7208 §4.6.4): `include`, `a`, `mx`, `ptr`, `exists`, `redirect`.
pub const MAX_TERMS: usize = 10;
/// Terms that found nothing (RFC 7208 §4.6.4).
pub const MAX_VOID_TERMS: usize = 2;
/// Hosts of one `mx`, and names of the client (RFC 7208 §4.6.4).
pub const MAX_NAMES: usize = 10;

/// What a check came to.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The result.
    pub verdict: SpfVerdict,
    /// Why, for a temperror or permerror.
    pub fault: Option<Fault>,
    /// Of a fail: what the domain's owner has to say about it, if anything.
    pub explanation: Option<Explanation>,
}

/// Why a check has no answer.
#[derive(Debug, Clone, Error)]
pub enum Fault {
    /// DNS did not answer.
    #[error(transparent)]
    Dns(#[from] DnsError),
    /// [`TIME_LIMIT`] is over.
    #[error("not done after {} s", TIME_LIMIT.as_secs())]
    Time,
    /// The record of this domain is none.
    #[error("SPF record of {domain}: {cause}")]
    Syntax {
        /// Whose record.
        domain: String,
        /// What is wrong with it.
        cause: SyntaxError,
    },
    /// More than [`MAX_TERMS`].
    #[error("more than {MAX_TERMS} terms that ask the DNS")]
    TooManyTerms,
    /// More than [`MAX_VOID_TERMS`].
    #[error("more than {MAX_VOID_TERMS} terms that find nothing in the DNS")]
    TooManyVoidTerms,
    /// More MX records than [`MAX_NAMES`].
    #[error("more than {MAX_NAMES} MX records of {0}")]
    TooManyHosts(String),
    /// The target of an `include` or a `redirect` has no record.
    #[error("no SPF record of {0}, which another one names")]
    NoRecord(String),
}

impl Checked {
    /// Of a sender that has no domain to ask about.
    #[must_use]
    pub fn none() -> Self {
        Self { verdict: SpfVerdict::None, fault: None, explanation: None }
    }
}

impl Fault {
    fn verdict(&self) -> SpfVerdict {
        match self {
            Self::Dns(_) | Self::Time => SpfVerdict::TempError,
            Self::Syntax { .. }
            | Self::TooManyTerms
            | Self::TooManyVoidTerms
            | Self::TooManyHosts(_)
            | Self::NoRecord(_) => SpfVerdict::PermError,
        }
    }
}

/// Checks whether the domain of a sender lets the client send for it.
pub async fn check_host(dns: &Dns, sender: &Sender) -> Checked {
    // RFC 7208 §5: an IPv4-mapped address is an IPv4 address for every mechanism.
    let sender = &Sender { ip: sender.ip.to_canonical(), ..sender.clone() };
    let mut evaluation = Evaluation::new(dns, sender);
    let evaluated = tokio::time::timeout(TIME_LIMIT, evaluation.check(sender.domain.as_bytes())).await;
    match evaluated.unwrap_or(Err(Fault::Time)) {
        Ok(found) => Checked {
            verdict: found.verdict,
            fault: None,
            explanation: found.explanation.map(|text| Explanation::new(sender.clone(), text)),
        },
        Err(fault) => {
            debug!(domain = sender.domain, %fault, "no SPF result");
            Checked { verdict: fault.verdict(), fault: Some(fault), explanation: None }
        }
    }
}

#[cfg(test)]
mod tests;
