//! Whether a bounce to the reverse-path goes to whom the message is from. Only then may the message be queued and its
//! sender be told of a failure: a bounce to anybody else is backscatter.
//!
//! SPF vouches for its domain, and a signature for the signer's own domain and those below it, within one organisation:
//! whoever has a name may sign for what is under it, and never for the one it has its name from, or for a neighbour
//! there. A host of other people's pages or a registry, above all of them, has no say in their mail. This is not DMARC's
//! alignment, where two names of one organisation are as good as one.

use super::dkim::Signature;
use super::dmarc;
use crate::dns::Dns;
use crate::mail::{Domain, ReversePath};
use crate::pipeline::parcel::{EarlyVerdict, SpfVerdict, Vouched};

/// Says so; DNS is asked only where all hangs on a signer above the reverse-path's domain. What is not known is no.
pub(super) async fn vouched(
    dns: &Dns,
    reverse_path: &ReversePath,
    early: &EarlyVerdict,
    signatures: &[Signature],
) -> Vouched {
    let Some(domain) = reverse_path.domain() else { return Vouched::No };
    let signers = signatures.iter().filter_map(Signature::passes);
    let above: Vec<&Domain> = signers.filter(|signer| domain.is_at_or_below(signer)).collect();
    if early.spf_mail_from == SpfVerdict::Pass
        || above.contains(&domain)
        || !above.is_empty() && dmarc::is_organization_of(dns, &above, domain).await
    {
        Vouched::Yes
    } else {
        Vouched::No
    }
}

#[cfg(test)]
#[path = "vouch_tests.rs"]
mod tests;
