//! What a message wants of the TLS of its next hop (RFC 8689), against what the destination demands.

use super::outcome::Failure;
use crate::dns::Security;
use crate::mail::{Message, MessageRequest, RequireTls, header};
use crate::pipeline::parcel::Silence;
use crate::pipeline::refusal::Refusal;
use crate::tls::{Candidate, Certainty, Demand, Judgement, Sts};

/// The sender's wish for the rest of the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TlsWish {
    /// None: the destination's policy decides.
    Unsaid,
    /// REQUIRETLS (RFC 8689 §2): an authenticated host that promises the same, or none.
    Required,
    /// `TLS-Required: No` (RFC 8689 §3): to be delivered though a policy is not met, such as a report of that.
    NotRequired,
}

impl TlsWish {
    /// The wish of a message. REQUIRETLS makes the header field meaningless (RFC 8689 §3).
    pub(super) fn of(request: &MessageRequest, message: &Message) -> Self {
        let mut fields = header::fields(message.head());
        if request.require_tls == RequireTls::Yes {
            Self::Required
        } else if fields.any(|field| field.is("TLS-Required") && says_no(field.value)) {
            Self::NotRequired
        } else {
            Self::Unsaid
        }
    }

    /// The wish as far as it is known ahead of the message: its header field can only ask for less.
    pub(super) fn ahead(request: &MessageRequest) -> Self {
        match request.require_tls {
            RequireTls::Yes => Self::Required,
            RequireTls::No => Self::Unsaid,
        }
    }

    /// What a host must show for this message. A host's certificate is worth something only where its name
    /// is known to be the destination's (RFC 8689 §4.2.1): by DNSSEC, or by a policy that names it.
    pub(super) fn weigh(
        self,
        judgement: Judgement,
        candidate: Candidate<'_>,
        sts: &Sts,
    ) -> Result<Judgement, Failure> {
        match self {
            Self::Unsaid => Ok(judgement),
            Self::NotRequired => Ok(Judgement { demand: Demand::Opportunistic, ..judgement }),
            Self::Required if judgement.demand.is_authenticated() => Ok(judgement),
            Self::Required => {
                let named = sts.policy.as_ref().is_some_and(|policy| policy.names(candidate.host));
                if named || candidate.security == Security::Secure {
                    Ok(Judgement { demand: Demand::Verified, ..judgement })
                } else if sts.policy.is_none() && sts.certainty == Certainty::Open {
                    // RFC 5321 §4.2.1: 5yz only for what stays so.
                    let detail =
                        format!("{}: whether an MTA-STS policy names it is not known yet", candidate.host);
                    Err(Failure::no_answer(Silence::Tls, &detail))
                } else {
                    Err(Failure::Ruled(Refusal::UpstreamWithoutRequireTls))
                }
            }
        }
    }
}

fn says_no(value: &[u8]) -> bool {
    value.trim_ascii().eq_ignore_ascii_case(b"no")
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
