//! What can be known of a sender before its message: SPF, forward-confirmed reverse DNS, null MX. All look-ups
//! run side by side, and none takes longer than its limit.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::{join, join_all, join3};

use super::Context;
use crate::check_host::{Checked, check_host};
use crate::dns::{Dns, DnsError, MailHosts};
use crate::mail::{Domain, ReversePath};
use crate::pipeline::deadline::Deadline;
use crate::pipeline::parcel::{Client, EarlyVerdict, IprevVerdict, SpfVerdict};
use crate::spf::Sender;

/// Names that PTR records may give and that are looked up (as RFC 7208 §4.6.4 has it for "ptr").
const MAX_NAMES: usize = 10;
/// The local part of an identity without one (RFC 7208 §2.4, §4.3).
const POSTMASTER: &str = "postmaster";
/// For the reverse and the forward look-ups together.
const IPREV_TIME_LIMIT: Duration = Duration::from_secs(10);

/// Asks everything. An identity that is no domain has the SPF result "none" (RFC 7208 §2.3, §4.3).
pub(super) async fn ask(context: &Context, client: &Client, reverse_path: &ReversePath) -> EarlyVerdict {
    let ip = client.ip.to_canonical();
    let dns = context.dns.until(Deadline::after(context.settings.early_limit).at());
    let ((spf_helo, spf_mail_from), (iprev, confirmed_names), sender_null_mx) = join3(
        spf_identities(&dns, client, reverse_path),
        iprev(&dns, ip),
        has_null_mx(&dns, reverse_path.domain()),
    )
    .await;
    let Checked { verdict: spf_mail_from, explanation: spf_explanation, .. } = spf_mail_from;
    EarlyVerdict { spf_helo, spf_mail_from, spf_explanation, confirmed_names, iprev, sender_null_mx }
}

/// The HELO identity, if it is a domain name (RFC 7208 §2.3).
pub(super) fn helo_domain(client: &Client) -> Option<Domain> {
    Domain::parse(&client.helo).ok().filter(|domain| !domain.is_literal() && domain.as_str().contains('.'))
}

/// SPF of HELO and of MAIL FROM.
async fn spf_identities(dns: &Dns, client: &Client, reverse_path: &ReversePath) -> (SpfVerdict, Checked) {
    let check = |local: &str, domain: &Domain| {
        let (local, domain) = (local.to_owned(), domain.to_string());
        let sender = Sender { ip: client.ip, helo: client.helo.clone(), local, domain };
        async move { check_host(dns, &sender).await }
    };
    let of_helo = async {
        match helo_domain(client) {
            Some(domain) => check(POSTMASTER, &domain).await,
            None => Checked::none(),
        }
    };
    match reverse_path.mailbox() {
        Some(mailbox) => {
            let (of_helo, of_mail_from) = join(of_helo, check(mailbox.local(), mailbox.domain())).await;
            (of_helo.verdict, of_mail_from)
        }
        // RFC 7208 §2.4: with a null reverse-path, MAIL FROM is postmaster at the HELO identity.
        None => {
            let checked = of_helo.await;
            (checked.verdict, checked)
        }
    }
}

/// RFC 8601 §3: the client's names that have its address among theirs.
async fn iprev(dns: &Dns, ip: IpAddr) -> (IprevVerdict, Vec<Domain>) {
    let answer = tokio::time::timeout(IPREV_TIME_LIMIT, confirm(dns, ip)).await;
    answer.unwrap_or((IprevVerdict::TempError, Vec::new()))
}

async fn confirm(dns: &Dns, ip: IpAddr) -> (IprevVerdict, Vec<Domain>) {
    let names = match dns.ptr(ip).await {
        Ok(answer) => answer.records,
        Err(error) if error.is_temporary() => return (IprevVerdict::TempError, Vec::new()),
        Err(_) => return (IprevVerdict::PermError, Vec::new()),
    };
    let names: Vec<Domain> = names.iter().take(MAX_NAMES).filter_map(|n| Domain::parse(n).ok()).collect();
    let answers = join_all(names.iter().map(|name| has_address(dns, name, ip))).await;
    let unknown = answers.iter().any(Result::is_err);
    let confirmed = names.into_iter().zip(answers).filter(|(_, answer)| *answer == Ok(true));
    let confirmed: Vec<Domain> = confirmed.map(|(name, _)| name).collect();
    let verdict = match (confirmed.is_empty(), unknown) {
        (false, _) => IprevVerdict::Pass,
        (true, true) => IprevVerdict::TempError,
        (true, false) => IprevVerdict::Fail,
    };
    (verdict, confirmed)
}

/// Nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Unknown;

async fn has_address(dns: &Dns, name: &Domain, ip: IpAddr) -> Result<bool, Unknown> {
    let found = match ip {
        IpAddr::V4(ip) => dns.ipv4(name.as_str()).await.map(|answer| answer.records.contains(&ip)),
        IpAddr::V6(ip) => dns.ipv6(name.as_str()).await.map(|answer| answer.records.contains(&ip)),
    };
    known(found)
}

fn known(found: Result<bool, DnsError>) -> Result<bool, Unknown> {
    match found {
        Ok(found) => Ok(found),
        Err(error) if error.is_temporary() => Err(Unknown),
        Err(_) => Ok(false),
    }
}

/// RFC 7505 §4.2: whether the domain says that it takes no mail. A look-up that fails says nothing.
async fn has_null_mx(dns: &Dns, domain: Option<&Domain>) -> bool {
    match domain.filter(|domain| !domain.is_literal()) {
        Some(domain) => matches!(dns.mx(domain).await, Ok(MailHosts::Null)),
        None => false,
    }
}
