//! Look-ups whose answers say whether DNSSEC vouches for them, for DANE (RFC 7672 §2.1).
//!
//! Validation is left to the resolver that is asked, as RFC 7672 §2.1.1 allows where the way to it is safe:
//! queries carry the AD bit, which asks for it in the answer (RFC 6840 §5.7), and the answer's AD bit counts
//! when `dns.trust_ad` trusts every server that may have answered. A validating resolver answers SERVFAIL to
//! what is bogus, which is temporary. Decided against validating here: operators who care run a validating
//! resolver beside the node anyway, its cache outlives ours, and its judgement is tested far better.
//!
//! These questions have a cache of their own, because the answers that other callers share carry no AD bit.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::Pin;

use hickory_resolver::config::{ConnectionConfig, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsExchange, DnsHandle};
use hickory_resolver::proto::op::DnsRequest;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{ConnectionProvider, PoolContext};

use super::{
    Answer, Dns, DnsError, DnsOptions, MailHosts, absolute, ipv4, ipv6, mail_hosts, resolver_options,
};
use crate::config::TrustAd;
use crate::mail::Domain;

/// Addresses kept of a host and family: twice what is tried for one message over all its hosts. A response has room
/// for 4,000, and each of 20 MX hosts may have so many.
const MAX_ADDRESSES: usize = 20;
/// TLSA records kept of a host: RFC 7672 §8.1 has two for each key while keys change, and ten keys are more than any
/// host has. Each is compared in each handshake.
const MAX_TLSA: usize = 20;

pub(super) type Resolver = hickory_resolver::Resolver<AsksForAd>;

/// Whether an answer came with DNSSEC's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Security {
    /// A resolver that we trust has validated all of it.
    Secure,
    /// The zone is not signed, or nobody that we trust has looked.
    Insecure,
}

impl Security {
    /// Of two answers together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if self == Self::Secure { other } else { self }
    }
}

/// A TLSA record (RFC 6698 §2.1), its numbers as they came.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tlsa {
    /// Certificate usage; SMTP knows 2 (DANE-TA) and 3 (DANE-EE).
    pub usage: u8,
    /// 0: the certificate; 1: its public key.
    pub selector: u8,
    /// 0: the data itself; 1: its SHA-256; 2: its SHA-512.
    pub matching: u8,
    /// What must match.
    pub data: Vec<u8>,
}

/// The resolver that asks for the AD bit, when its servers' word counts.
pub(super) fn resolver(
    trust: TrustAd,
    servers: &ResolverConfig,
    options: DnsOptions,
) -> Result<Option<Resolver>, DnsError> {
    let loopback = || servers.name_servers().iter().all(|server| server.ip.is_loopback());
    let trusted = match trust {
        TrustAd::Always => true,
        TrustAd::Loopback => loopback(),
        TrustAd::Never => false,
    };
    if !trusted {
        return Ok(None);
    }
    let provider = AsksForAd(TokioRuntimeProvider::default());
    let builder = hickory_resolver::Resolver::builder_with_config(servers.clone(), provider);
    builder.with_options(resolver_options(options)).build().map(Some).map_err(DnsError::system)
}

impl<T> Answer<T> {
    /// The first so many records of it.
    fn cut_to(mut self, most: usize) -> Self {
        self.records.truncate(most);
        self
    }
}

impl Dns {
    /// Like [`Self::mx`], with DNSSEC's word on the MX records. That there are none ([`MailHosts::Implicit`])
    /// counts as secure: the name's address records stand in the same zone, and decide.
    ///
    /// # Errors
    /// As [`Self::mx`].
    pub async fn mx_secured(&self, domain: &Domain) -> Result<(MailHosts, Security), DnsError> {
        match self.look_up_secured(absolute(domain.as_str())?, RecordType::MX, mail_hosts::exchange).await {
            Ok(answer) => {
                Ok((mail_hosts::select(domain, answer.records, &mut rand::rng())?, answer.security))
            }
            Err(DnsError::NoRecords { .. }) => Ok((MailHosts::Implicit(domain.clone()), Security::Secure)),
            Err(error) => Err(error),
        }
    }

    /// Like [`Self::ipv4`], with DNSSEC's word, for whoever connects: no more than [`MAX_ADDRESSES`].
    ///
    /// # Errors
    /// When there are none, or nobody knows.
    pub async fn ipv4_secured(&self, name: &str) -> Result<Answer<Ipv4Addr>, DnsError> {
        let answer = self.look_up_secured(absolute(name)?, RecordType::A, ipv4).await?;
        Ok(answer.cut_to(MAX_ADDRESSES))
    }

    /// Like [`Self::ipv6`], with DNSSEC's word, for whoever connects: no more than [`MAX_ADDRESSES`].
    ///
    /// # Errors
    /// When there are none, or nobody knows.
    pub async fn ipv6_secured(&self, name: &str) -> Result<Answer<Ipv6Addr>, DnsError> {
        let answer = self.look_up_secured(absolute(name)?, RecordType::AAAA, ipv6).await?;
        Ok(answer.cut_to(MAX_ADDRESSES))
    }

    /// The TLSA records of SMTP at a host, `_25._tcp.HOST` (RFC 7672 §3), with DNSSEC's word; no more than
    /// [`MAX_TLSA`].
    ///
    /// # Errors
    /// When there are none, or nobody knows: a bogus answer is one that nobody knows.
    pub async fn tlsa(&self, host: &str) -> Result<Answer<Tlsa>, DnsError> {
        let name = absolute(&format!("_25._tcp.{host}"))?;
        Ok(self.look_up_secured(name, RecordType::TLSA, tlsa).await?.cut_to(MAX_TLSA))
    }

    async fn look_up_secured<T>(
        &self,
        name: Name,
        record_type: RecordType,
        read: fn(&RData) -> Option<T>,
    ) -> Result<Answer<T>, DnsError> {
        let servers = self.shared.servers.load_full();
        let Some(resolver) = &servers.secured else { return self.look_up(name, record_type, read).await };
        let mut security = Security::Insecure;
        let lookup = async {
            let lookup = resolver.lookup(name.clone(), record_type).await?;
            security = vouched_for(&name, &lookup);
            Ok(lookup)
        };
        let mut answer = self.answer(&name, lookup, read).await;
        if let Ok(answer) = &mut answer {
            answer.security = security;
        }
        self.count(record_type, &answer);
        answer
    }
}

/// The AD bit speaks for one response; an answer that was put together from several, because a CNAME led
/// from one to the next, is not to the name that was asked for first, and carries the last one's bit only.
fn vouched_for(asked: &Name, lookup: &Lookup) -> Security {
    let whole = lookup.query().name() == asked;
    if whole && lookup.message().metadata.authentic_data { Security::Secure } else { Security::Insecure }
}

fn tlsa(data: &RData) -> Option<Tlsa> {
    let RData::TLSA(tlsa) = data else { return None };
    Some(Tlsa {
        usage: tlsa.cert_usage.into(),
        selector: tlsa.selector.into(),
        matching: tlsa.matching.into(),
        data: tlsa.cert_data.clone(),
    })
}

/// Connections like the runtime's own, but that every query asks for the AD bit.
#[derive(Clone)]
pub(super) struct AsksForAd(TokioRuntimeProvider);

impl ConnectionProvider for AsksForAd {
    type Conn = AdExchange;
    type FutureConn = Pin<Box<dyn Future<Output = Result<Self::Conn, NetError>> + Send>>;
    type RuntimeProvider = TokioRuntimeProvider;

    fn new_connection(
        &self,
        ip: IpAddr,
        config: &ConnectionConfig,
        context: &PoolContext,
    ) -> Result<Self::FutureConn, NetError> {
        let connecting = self.0.new_connection(ip, config, context)?;
        Ok(Box::pin(async move { connecting.await.map(AdExchange) }))
    }

    fn runtime_provider(&self) -> &Self::RuntimeProvider {
        &self.0
    }
}

/// One connection to a server.
#[derive(Clone)]
pub(super) struct AdExchange(DnsExchange<TokioRuntimeProvider>);

impl DnsHandle for AdExchange {
    type Response = <DnsExchange<TokioRuntimeProvider> as DnsHandle>::Response;
    type Runtime = TokioRuntimeProvider;

    fn send(&self, mut request: DnsRequest) -> Self::Response {
        request.metadata.authentic_data = true;
        self.0.send(request)
    }
}

#[cfg(test)]
#[path = "secured_tests.rs"]
mod tests;
