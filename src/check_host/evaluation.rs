//! The evaluation of a record, and of those that it names (RFC 7208 §4.6, §5, §6.1).

use std::net::IpAddr;
use std::pin::Pin;

use futures_util::future::join_all;

use super::{Fault, MAX_NAMES, MAX_TERMS, MAX_VOID_TERMS};
use crate::dns::{Answer, Dns, DnsError, DnsName};
use crate::smtp::reply;
use crate::spf::{
    self, Context, MacroString, Mechanism, PrefixLengths, Qualifier, Record, Sender, SpfVerdict,
};

/// One `check_host()`, with what is counted over all the records that it reads.
pub(super) struct Evaluation<'a> {
    dns: &'a Dns,
    sender: &'a Sender,
    terms: usize,
    void_terms: usize,
    /// The names of the client, once they were asked for.
    names: Option<Names>,
}

/// What the client's PTR records give (RFC 7208 §5.5).
#[derive(Debug, Clone)]
enum Names {
    /// There are none.
    Void,
    /// Those that have its address among theirs: none, too, where DNS does not answer.
    Validated(Vec<DnsName>),
}

/// The result of a domain.
pub(super) struct Found {
    pub(super) verdict: SpfVerdict,
    /// Of a fail: its record's `exp`.
    pub(super) explanation: Option<Unexpanded>,
}

/// `exp=` and the domain whose record has it.
#[derive(Debug, Clone)]
pub(super) struct Unexpanded {
    pub(super) name: MacroString,
    pub(super) domain: Vec<u8>,
}

impl Found {
    fn plain(verdict: SpfVerdict) -> Self {
        Self { verdict, explanation: None }
    }

    fn matched(qualifier: Qualifier, record: &Record, domain: &[u8]) -> Self {
        match qualifier {
            Qualifier::Pass => Self::plain(SpfVerdict::Pass),
            Qualifier::SoftFail => Self::plain(SpfVerdict::SoftFail),
            Qualifier::Neutral => Self::plain(SpfVerdict::Neutral),
            Qualifier::Fail => {
                let name = record.explanation.clone();
                let explanation = name.map(|name| Unexpanded { name, domain: domain.to_vec() });
                Self { verdict: SpfVerdict::Fail, explanation }
            }
        }
    }
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(dns: &'a Dns, sender: &'a Sender) -> Self {
        Self { dns, sender, terms: 0, void_terms: 0, names: None }
    }

    /// The result of a domain's record. Boxed, because records name each other; no deeper than [`MAX_TERMS`].
    pub(super) fn check<'b>(
        &'b mut self,
        domain: &'b [u8],
    ) -> Pin<Box<dyn Future<Output = Result<Found, Fault>> + Send + 'b>> {
        Box::pin(async move {
            let Some(mut record) = self.record(domain).await? else {
                return Ok(Found::plain(SpfVerdict::None));
            };
            for directive in &record.directives {
                if self.matches(&directive.mechanism, domain).await? {
                    return Ok(Found::matched(directive.qualifier, &record, domain));
                }
            }
            let redirect = record.redirect.take();
            // Nothing of it is kept while others are asked.
            drop(record);
            match redirect {
                Some(target) => self.refer(&target, domain).await,
                None => Ok(Found::plain(SpfVerdict::Neutral)),
            }
        })
    }

    /// The one record of a domain (RFC 7208 §4.3 to §4.5).
    async fn record(&self, domain: &[u8]) -> Result<Option<Record>, Fault> {
        let Some(name) = policy_name(domain) else { return Ok(None) };
        let records = found(self.dns.txt(&name).await)?;
        spf::select(&records).map_err(|cause| Fault::Syntax { domain: name.to_string(), cause })
    }

    async fn matches(&mut self, mechanism: &Mechanism, domain: &[u8]) -> Result<bool, Fault> {
        match mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Network(net) => Ok(net.contains(&self.sender.ip)),
            Mechanism::Include(target) => self.include(target, domain).await,
            Mechanism::A(target, lengths) => self.a(target.as_ref(), *lengths, domain).await,
            Mechanism::Mx(target, lengths) => self.mx(target.as_ref(), *lengths, domain).await,
            Mechanism::Ptr(target) => self.ptr(target.as_ref(), domain).await,
            Mechanism::Exists(target) => self.exists(target, domain).await,
        }
    }

    /// By the table of RFC 7208 §5.2.
    async fn include(&mut self, target: &MacroString, domain: &[u8]) -> Result<bool, Fault> {
        if self.matches_nothing(target) {
            self.count_term()?;
            return Ok(false);
        }
        match self.refer(target, domain).await?.verdict {
            SpfVerdict::Pass => Ok(true),
            SpfVerdict::Fail
            | SpfVerdict::SoftFail
            | SpfVerdict::Neutral
            | SpfVerdict::None
            | SpfVerdict::TempError
            | SpfVerdict::PermError => Ok(false),
        }
    }

    /// The result of the domain that `include` or `redirect` names. One without a record is an error (RFC 7208 §5.2,
    /// §6.1).
    async fn refer(&mut self, target: &MacroString, domain: &[u8]) -> Result<Found, Fault> {
        self.count_term()?;
        let target = self.expand(Some(target), domain).await;
        let found = self.check(&target).await?;
        if found.verdict == SpfVerdict::None {
            return Err(Fault::NoRecord(reply::clean(&String::from_utf8_lossy(&target))));
        }
        Ok(found)
    }

    /// RFC 7208 §5.3.
    async fn a(
        &mut self,
        target: Option<&MacroString>,
        lengths: PrefixLengths,
        domain: &[u8],
    ) -> Result<bool, Fault> {
        self.count_term()?;
        let Some(name) = self.target(target, domain).await else { return Ok(false) };
        let addresses = addresses(self.dns, &name, self.sender.ip).await?;
        if addresses.is_empty() {
            self.count_void()?;
        }
        Ok(addresses.iter().any(|address| lengths.agree(*address, self.sender.ip)))
    }

    /// RFC 7208 §5.4.
    async fn mx(
        &mut self,
        target: Option<&MacroString>,
        lengths: PrefixLengths,
        domain: &[u8],
    ) -> Result<bool, Fault> {
        self.count_term()?;
        let Some(name) = self.target(target, domain).await else { return Ok(false) };
        let hosts = self.dns.exchanges(&name).await.or_else(none_if_known)?;
        if hosts.len() > MAX_NAMES {
            return Err(Fault::TooManyHosts(name.to_string()));
        }
        if hosts.is_empty() {
            self.count_void()?;
        }
        // Asked side by side, since ten slow hosts are slower than we have time for; compared in order of preference, so
        // that the order of an answer decides nothing. The root is no host (RFC 7505 §3).
        let hosts = hosts.iter().filter(|host| host.labels() > 0);
        for answer in join_all(hosts.map(|host| addresses(self.dns, host, self.sender.ip))).await {
            if answer?.iter().any(|address| lengths.agree(*address, self.sender.ip)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// RFC 7208 §5.5: the name itself counts as one below it.
    async fn ptr(&mut self, target: Option<&MacroString>, domain: &[u8]) -> Result<bool, Fault> {
        self.count_term()?;
        let Some(target) = self.target(target, domain).await else { return Ok(false) };
        match self.names().await {
            Names::Void => {
                self.count_void()?;
                Ok(false)
            }
            Names::Validated(names) => Ok(names.iter().any(|name| name.is_at_or_below(&target))),
        }
    }

    /// RFC 7208 §5.7: "The lookup type is A even when the connection type is IPv6."
    async fn exists(&mut self, target: &MacroString, domain: &[u8]) -> Result<bool, Fault> {
        self.count_term()?;
        let Some(name) = self.target(Some(target), domain).await else { return Ok(false) };
        let addresses = found(self.dns.ipv4(&name).await)?;
        if addresses.is_empty() {
            self.count_void()?;
        }
        Ok(!addresses.is_empty())
    }

    fn count_term(&mut self) -> Result<(), Fault> {
        self.terms += 1;
        if self.terms > MAX_TERMS { Err(Fault::TooManyTerms) } else { Ok(()) }
    }

    fn count_void(&mut self) -> Result<(), Fault> {
        self.void_terms += 1;
        if self.void_terms > MAX_VOID_TERMS { Err(Fault::TooManyVoidTerms) } else { Ok(()) }
    }

    /// RFC 8616 §4: a term with the local part in it matches nothing where that is not ASCII, since the DNS cannot hold
    /// such a local part.
    fn matches_nothing(&self, target: &MacroString) -> bool {
        !self.sender.local.is_ascii() && target.names_the_mailbox()
    }

    /// The name that a mechanism is about; `None` for one that cannot be asked for.
    async fn target(&mut self, target: Option<&MacroString>, domain: &[u8]) -> Option<DnsName> {
        if target.is_some_and(|target| self.matches_nothing(target)) {
            return None;
        }
        DnsName::from_octets(&self.expand(target, domain).await)
    }

    /// What a `domain-spec` stands for; without one the domain whose record it is.
    pub(super) async fn expand(&mut self, target: Option<&MacroString>, domain: &[u8]) -> Vec<u8> {
        let Some(target) = target else { return domain.to_vec() };
        let validated = if target.names_the_client() { self.validated_name(domain).await } else { None };
        target.name(&Context {
            sender: self.sender,
            domain,
            validated: validated.as_deref(),
            explained: None,
        })
    }

    /// `%{p}` (RFC 7208 §7.3): the domain itself, or else a name below it, or else any that is validated.
    pub(super) async fn validated_name(&mut self, domain: &[u8]) -> Option<Vec<u8>> {
        let Names::Validated(names) = self.names().await else { return None };
        let domain = DnsName::from_octets(domain)?;
        let itself = names.iter().find(|name| **name == domain);
        let below = || names.iter().find(|name| name.is_at_or_below(&domain));
        itself.or_else(below).or_else(|| names.first()).map(DnsName::octets)
    }

    /// The client's names, asked for once (RFC 7208 §5.5): look-ups that fail only leave names out.
    async fn names(&mut self) -> Names {
        if let Some(names) = &self.names {
            return names.clone();
        }
        let names = match found(self.dns.pointers(self.sender.ip).await) {
            Ok(names) if names.is_empty() => Names::Void,
            Ok(names) => Names::Validated(self.validated(names).await),
            Err(_) => Names::Validated(Vec::new()),
        };
        self.names.insert(names).clone()
    }

    async fn validated(&self, mut names: Vec<DnsName>) -> Vec<DnsName> {
        names.truncate(MAX_NAMES);
        let answers = names.iter().map(|name| addresses(self.dns, name, self.sender.ip));
        let answers = join_all(answers).await;
        let confirmed = |answer: &Result<Vec<IpAddr>, DnsError>| {
            answer.as_ref().is_ok_and(|addresses| addresses.contains(&self.sender.ip))
        };
        let pairs = names.into_iter().zip(answers).filter(|(_, answer)| confirmed(answer));
        pairs.map(|(name, _)| name).collect()
    }
}

/// RFC 7208 §4.3: a domain that is malformed, an address literal, or of one label has no policy.
fn policy_name(domain: &[u8]) -> Option<DnsName> {
    DnsName::from_octets(domain).filter(|name| name.labels() > 1 && !domain.starts_with(b"["))
}

/// The addresses of a name in the client's family (RFC 7208 §5).
async fn addresses(dns: &Dns, name: &DnsName, client: IpAddr) -> Result<Vec<IpAddr>, DnsError> {
    Ok(match client {
        IpAddr::V4(_) => found(dns.ipv4(name).await)?.into_iter().map(IpAddr::V4).collect(),
        IpAddr::V6(_) => found(dns.ipv6(name).await)?.into_iter().map(IpAddr::V6).collect(),
    })
}

/// The records, or that there are none.
///
/// # Errors
/// When nobody knows (RFC 7208 §2.6.6).
pub(super) fn found<T>(answer: Result<Answer<T>, DnsError>) -> Result<Vec<T>, DnsError> {
    answer.map(|answer| answer.records).or_else(none_if_known)
}

fn none_if_known<T>(error: DnsError) -> Result<Vec<T>, DnsError> {
    if error.is_temporary() { Err(error) } else { Ok(Vec::new()) }
}
