//! DMARC (RFC 9989): the policy of an Author Domain by DNS Tree Walk, and whether an identifier aligns.
//!
//! Ours and not mail-auth's, because its TXT look-up takes the first of several records where all are to be
//! discarded (§4.10), and because an answer that is missing must be told apart by what hangs on it.
//! Records are parsed and weighed by pure functions; [`assess`] asks for them.

mod record;

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::{join, join_all};
use tokio::time::timeout;

pub(super) use self::record::Policy;
use self::record::{Alignment, Record, Suffix};
use crate::dns::{Dns, DnsError};
use crate::mail::Domain;

/// Most labels below which a name is not shortened to this many (RFC 9989 §4.10): so a walk takes at most
/// eight queries.
const WALK_LABELS: usize = 7;
/// How long the answer of a top-level domain is waited for.
const TOP_LEVEL_TIMEOUT: Duration = Duration::from_secs(1);

/// What a query of the walk gave.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    Record(Record),
    Nothing,
    /// DNS did not answer.
    Unknown,
}

/// The answers of a DNS Tree Walk, from the longest name to the shortest, up to the record that ends it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Walk {
    steps: Vec<(String, Found)>,
}

/// What a walk says of a name's Organizational Domain (RFC 9989 §4.10.2).
#[derive(Debug, Clone, PartialEq, Eq)]
enum Organization {
    Known(String),
    /// A missing answer may change it.
    Unknown,
}

/// The names of a walk (RFC 9989 §4.10): the domain, then one label less each time, at most eight.
fn walk_names(domain: &str) -> Vec<&str> {
    let labels = domain.split('.').count();
    let mut names = vec![domain];
    let mut rest = domain;
    let mut left = labels;
    while let Some((_, shorter)) = rest.split_once('.') {
        rest = shorter;
        left -= 1;
        if left <= WALK_LABELS {
            names.push(rest);
        }
    }
    names
}

impl Walk {
    fn new(answers: Vec<(String, Found)>) -> Self {
        let mut steps = Vec::with_capacity(answers.len());
        for (name, found) in answers {
            let last = matches!(&found, Found::Record(record) if record.suffix != Suffix::Unsaid);
            steps.push((name, found));
            if last {
                break;
            }
        }
        Self { steps }
    }

    fn record(&self, name: &str) -> Option<&Record> {
        self.steps.iter().find_map(|(step, found)| match found {
            Found::Record(record) if step == name => Some(record),
            Found::Record(_) | Found::Nothing | Found::Unknown => None,
        })
    }

    /// RFC 9989 §4.10.2. A top-level domain that does not answer counts as one without a record: none that
    /// has one is known to leave its second level out of the walk.
    fn organization(&self) -> Organization {
        let start = self.steps.first().map_or("", |(name, _)| name);
        let mut shortest = start;
        for (name, found) in &self.steps {
            match found {
                Found::Record(record) => match record.suffix {
                    Suffix::No => return Organization::Known(name.clone()),
                    Suffix::Yes if name != start => return Organization::Known(one_label_more(name, start)),
                    Suffix::Yes | Suffix::Unsaid => shortest = name,
                },
                Found::Unknown if name.contains('.') => return Organization::Unknown,
                Found::Unknown | Found::Nothing => {}
            }
        }
        Organization::Known(shortest.to_owned())
    }

    /// Whether no record was found, for sure.
    fn is_barren(&self) -> bool {
        self.steps.iter().all(|(name, found)| match found {
            Found::Record(_) => false,
            Found::Nothing => true,
            Found::Unknown => !name.contains('.'),
        })
    }
}

/// The name one label longer than `suffix` on the way to `name`.
fn one_label_more(suffix: &str, name: &str) -> String {
    let below = name.strip_suffix(suffix).and_then(|rest| rest.strip_suffix('.')).unwrap_or_default();
    let label = below.rsplit('.').next().unwrap_or_default();
    if label.is_empty() { suffix.to_owned() } else { format!("{label}.{suffix}") }
}

/// A domain that SPF or DKIM speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identifier {
    /// The domain.
    pub(super) domain: Domain,
    /// Which alignment mode applies to it.
    pub(super) method: Method,
    /// Whether it is certain.
    pub(super) proof: Proof,
}

/// The two mechanisms of RFC 9989 §4.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Spf,
    Dkim,
}

/// Whether an identifier is authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    Proven,
    /// DNS did not answer.
    Unknown,
}

/// DMARC for one Author Domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assessment {
    /// The Author Domain.
    pub(super) author: Domain,
    /// The result.
    pub(super) result: Evaluation,
    /// The Domain Owner Assessment Policy; for a temporary error the strictest that may apply.
    pub(super) policy: Policy,
}

/// The results of RFC 9989 §5.4 that occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Evaluation {
    /// No policy applies.
    None,
    Pass,
    Fail,
    /// Whether it passes, or which policy applies, hangs on an answer that is missing.
    TempError,
}

/// Whether the Author Domain is in the DNS at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Existence {
    Exists,
    Missing,
}

/// Evaluates DMARC for an Author Domain and the identifiers that are, or may be, authenticated.
pub(super) async fn assess(dns: &Dns, author: &Domain, identifiers: &[Identifier]) -> Assessment {
    if author.is_literal() || !author.as_str().contains('.') {
        return Assessment { author: author.clone(), result: Evaluation::None, policy: Policy::None };
    }
    let own = (author.to_string(), ask(dns, author.as_str()).await);
    let proven = |identifier: &Identifier| identifier.domain == *author && identifier.proof == Proof::Proven;
    if matches!(own.1, Found::Record(_)) && identifiers.iter().any(proven) {
        // The author's own record applies, and the author itself aligns in either mode: nothing that the
        // rest of the walk says could change that.
        return weigh(author, &Walk::new(vec![own]), Existence::Exists, identifiers, &HashMap::new());
    }
    let walk = walk(dns, author.as_str()).await;
    let relatives = relatives(author, &walk, identifiers);
    let walks = join_all(relatives.iter().map(|name| self::walk(dns, name)));
    let (existence, walks) = join(existence(dns, author, &walk), walks).await;
    let organizations =
        relatives.iter().map(|name| (*name).to_owned()).zip(walks.iter().map(Walk::organization));
    weigh(author, &walk, existence, identifiers, &organizations.collect())
}

/// Whether one of these names above a domain, or it itself, belongs to the domain's organisation (§4.10.2); not where
/// that is not known for now.
///
/// A walk begins at the domain and so passes all of them: those at or below its Organizational Domain have the same.
pub(super) async fn is_organization_of(dns: &Dns, above: &[&Domain], domain: &Domain) -> bool {
    match walk(dns, domain.as_str()).await.organization() {
        Organization::Known(organization) => {
            above.iter().any(|name| is_at_or_below(name.as_str(), &organization))
        }
        Organization::Unknown => false,
    }
}

/// Has the first answers for these Author Domains in the resolver's cache when [`assess`] asks.
pub(super) async fn ask_ahead(dns: &Dns, authors: &[Domain]) {
    join_all(authors.iter().filter(|author| !author.is_literal()).map(|author| ask(dns, author.as_str())))
        .await;
}

async fn walk(dns: &Dns, domain: &str) -> Walk {
    let step = |name: &str| {
        let name = name.to_owned();
        async move { (name.clone(), ask(dns, &name).await) }
    };
    Walk::new(join_all(walk_names(domain).into_iter().map(step)).await)
}

/// The DMARC record at one name. A top-level domain is not waited for as long as others: one that does not
/// answer counts as one without a record (see [`Walk::organization`]).
async fn ask(dns: &Dns, name: &str) -> Found {
    let name_of_record = format!("_dmarc.{name}");
    let question = dns.txt(&name_of_record);
    let answer = if name.contains('.') {
        question.await
    } else {
        match timeout(TOP_LEVEL_TIMEOUT, question).await {
            Ok(answer) => answer,
            Err(_) => return Found::Unknown,
        }
    };
    match answer {
        Ok(answer) => select(&answer.records),
        Err(error) if error.is_temporary() => Found::Unknown,
        Err(_) => Found::Nothing,
    }
}

/// RFC 9989 §4.10: records that are no DMARC records do not count, and of several none does.
fn select(records: &[Vec<u8>]) -> Found {
    let mut found = records.iter().filter_map(|record| Record::parse(record));
    match (found.next(), found.next()) {
        (Some(record), None) => Found::Record(record),
        (Some(_), Some(_)) | (None, _) => Found::Nothing,
    }
}

/// Asked for only where `np` and `sp` differ and one of them may apply.
async fn existence(dns: &Dns, author: &Domain, walk: &Walk) -> Existence {
    let matters = walk.steps.iter().any(|(name, found)| match found {
        Found::Record(Record { policies: Some(policies), .. }) => {
            name != author.as_str() && policies.subdomain != policies.nonexistent
        }
        Found::Record(_) | Found::Nothing | Found::Unknown => false,
    });
    if !matters || walk.record(author.as_str()).is_some() {
        return Existence::Exists;
    }
    match dns.ipv4(author.as_str()).await {
        Err(DnsError::NoSuchName { .. }) => Existence::Missing,
        Ok(_) | Err(_) => Existence::Exists,
    }
}

/// Identifiers whose own organisation must be asked for: others under the author's.
fn relatives<'a>(author: &Domain, walk: &Walk, identifiers: &'a [Identifier]) -> Vec<&'a str> {
    let Organization::Known(organization) = walk.organization() else { return Vec::new() };
    let mut names: Vec<&str> = identifiers
        .iter()
        .filter(|identifier| identifier.domain != *author)
        .map(|identifier| identifier.domain.as_str())
        .filter(|name| is_at_or_below(name, &organization))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn is_at_or_below(name: &str, parent: &str) -> bool {
    name.strip_suffix(parent).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Whether an identifier aligns (RFC 9989 §4.4, §4.10.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aligned {
    Yes,
    No,
    Unknown,
}

fn weigh(
    author: &Domain,
    walk: &Walk,
    existence: Existence,
    identifiers: &[Identifier],
    organizations: &HashMap<String, Organization>,
) -> Assessment {
    let assessment = |result, policy| Assessment { author: author.clone(), result, policy };
    if walk.is_barren() {
        return assessment(Evaluation::None, Policy::None);
    }
    let Some((record, policy)) = applicable(walk, existence) else {
        // The policy is missing. An identifier that is the author itself passes under any.
        let certain = identifiers.iter().any(|i| i.domain == *author && i.proof == Proof::Proven);
        return assessment(Evaluation::TempError, if certain { Policy::None } else { Policy::Reject });
    };
    let Some(policy) = policy else { return assessment(Evaluation::None, Policy::None) };
    let mut result = Evaluation::Fail;
    for identifier in identifiers {
        let mode = match identifier.method {
            Method::Spf => record.spf,
            Method::Dkim => record.dkim,
        };
        let aligned = if identifier.domain == *author {
            Aligned::Yes
        } else {
            match mode {
                Alignment::Strict => Aligned::No,
                Alignment::Relaxed => related(identifier, walk, organizations),
            }
        };
        match (aligned, identifier.proof) {
            (Aligned::Yes, Proof::Proven) => return assessment(Evaluation::Pass, policy),
            (Aligned::Yes | Aligned::Unknown, _) => result = Evaluation::TempError,
            (Aligned::No, _) => {}
        }
    }
    assessment(result, policy)
}

fn related(identifier: &Identifier, walk: &Walk, organizations: &HashMap<String, Organization>) -> Aligned {
    let name = identifier.domain.as_str();
    match (walk.organization(), organizations.get(name)) {
        (Organization::Known(author), Some(Organization::Known(own))) if author == *own => Aligned::Yes,
        (Organization::Known(_), Some(Organization::Known(_)) | None) => Aligned::No,
        (Organization::Known(_), Some(Organization::Unknown)) => Aligned::Unknown,
        (Organization::Unknown, _) => {
            let start = walk.steps.first().map_or("", |(start, _)| start);
            if second_level(start) == second_level(name) { Aligned::Unknown } else { Aligned::No }
        }
    }
}

/// The last two labels, or fewer: what names of one owner have in common, as far as that can be told from them.
pub(super) fn second_level(name: &str) -> &str {
    let cut = name.rmatch_indices('.').nth(1).map_or(0, |(at, _)| at + 1);
    name.get(cut..).unwrap_or(name)
}

/// The record to apply and its policy for this author (RFC 9989 §4.10.1): the author's own, else that of its
/// organisation, else that of the public suffix. `None` when it cannot be known for now.
fn applicable(walk: &Walk, existence: Existence) -> Option<(&Record, Option<Policy>)> {
    let (record, is_own) = match walk.steps.first() {
        Some((_, Found::Record(record))) => (record, true),
        Some((_, Found::Unknown)) | None => return None,
        Some((_, Found::Nothing)) => {
            let Organization::Known(organization) = walk.organization() else { return None };
            let shortest = walk.steps.iter().rev().find_map(|(name, _)| walk.record(name));
            (walk.record(&organization).or(shortest)?, false)
        }
    };
    let policy = record.policies.map(|policies| {
        let stated = match existence {
            _ if is_own => policies.domain,
            Existence::Exists => policies.subdomain,
            Existence::Missing => policies.nonexistent,
        };
        if record.testing { stated.one_lower() } else { stated }
    });
    Some((record, policy))
}

#[cfg(test)]
mod tests;
