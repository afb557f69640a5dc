//! SPF (RFC 7208) of one identity, by mail-auth, with what it leaves out: the limit on void look-ups, several
//! records, and a time limit on the whole.
//!
//! mail-auth keeps TXT answers by name alone, whatever they were asked for: with a shared cache a sender
//! could have `exp=victim.example` or MAIL FROM `<x@selector._domainkey.victim.example>` put the wrong kind
//! of entry under somebody's name. So no cache is given to it; the resolver has one, negative answers too.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mail_auth::common::cache::NoCache;
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{MX, MessageAuthenticator, Parameters, RecordSet, ResolverCache, SpfResult, Txt};
use parking_lot::Mutex;

use crate::dns::Dns;
use crate::mail::Domain;
use crate::pipeline::parcel::SpfVerdict;

/// For one identity (RFC 7208 §4.6.4 recommends "at least 20 seconds"; differs: 10 s, as two identities, DKIM
/// and DMARC share the time that the client waits).
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// RFC 7208 §4.6.4: more void look-ups than this make a permerror.
const MAX_VOID_LOOKUPS: u32 = 2;

/// Which identity is checked, and for whom.
pub(super) struct Identity<'a> {
    /// The client.
    pub(super) ip: IpAddr,
    /// Its HELO name.
    pub(super) helo: &'a str,
    /// The domain whose record counts.
    pub(super) domain: &'a Domain,
    /// `local@domain`, for macros.
    pub(super) sender: &'a str,
    /// Our host name, for macros.
    pub(super) receiver: &'a str,
}

/// Evaluates `check_host()` (RFC 7208 §4).
pub(super) async fn check(
    authenticator: &MessageAuthenticator,
    dns: &Dns,
    identity: Identity<'_>,
) -> SpfVerdict {
    if !is_checkable(identity.domain) {
        return SpfVerdict::None;
    }
    if has_several_records(dns, identity.domain).await {
        return SpfVerdict::PermError;
    }
    let Identity { ip, helo, sender, receiver, .. } = identity;
    let voids = Voids::new(ip);
    let parameters = Parameters {
        params: SpfParameters::verify_mail_from(ip, helo, receiver, sender),
        cache_txt: None::<&NoCache<Box<str>, Txt>>,
        cache_mx: Some(&voids),
        cache_ptr: None::<&NoCache<IpAddr, RecordSet<Box<str>>>>,
        cache_ipv4: Some(&voids),
        cache_ipv6: Some(&voids),
    };
    match tokio::time::timeout(TIME_LIMIT, authenticator.verify_spf(parameters)).await {
        Ok(output) => voids.limit(verdict(output.result())),
        Err(_elapsed) => SpfVerdict::TempError,
    }
}

/// RFC 7208 §4.3: an address literal, or a name that is not fully qualified, has no policy.
fn is_checkable(domain: &Domain) -> bool {
    !domain.is_literal() && domain.as_str().contains('.')
}

/// RFC 7208 §4.5: "If the resultant record set includes more than one record, check_host() produces the
/// "permerror" result." Not done for the domains of `include` and `redirect`, which mail-auth asks for itself.
async fn has_several_records(dns: &Dns, domain: &Domain) -> bool {
    let is_spf = |record: &Vec<u8>| {
        let version = record.get(..6).is_some_and(|version| version.eq_ignore_ascii_case(b"v=spf1"));
        version && record.get(6).is_none_or(|next| *next == b' ')
    };
    dns.txt(domain.as_str()).await.is_ok_and(|answer| answer.records.iter().filter(|r| is_spf(r)).count() > 1)
}

fn verdict(result: SpfResult) -> SpfVerdict {
    match result {
        SpfResult::Pass => SpfVerdict::Pass,
        SpfResult::Fail => SpfVerdict::Fail,
        SpfResult::SoftFail => SpfVerdict::SoftFail,
        SpfResult::Neutral => SpfVerdict::Neutral,
        SpfResult::TempError => SpfVerdict::TempError,
        SpfResult::PermError => SpfVerdict::PermError,
        SpfResult::None => SpfVerdict::None,
    }
}

/// A cache that keeps nothing, and counts for one evaluation how many questions had no records for answer.
///
/// Counted are the `a` and `mx` terms. Not counted are the addresses of MX hosts, since hosts without AAAA
/// records would make most records a permerror for clients that come by IPv6, and `exists`, whose purpose
/// is to ask for names that may not be there.
struct Voids {
    client_is_ipv4: bool,
    mx: Tally,
    ipv4: Tally,
    ipv6: Tally,
    exchanges: Mutex<HashSet<Box<str>>>,
}

#[derive(Default)]
struct Tally {
    asked: AtomicU32,
    answered: AtomicU32,
}

impl Tally {
    fn unanswered(&self) -> u32 {
        self.asked.load(Ordering::Relaxed).saturating_sub(self.answered.load(Ordering::Relaxed))
    }
}

impl Voids {
    fn new(ip: IpAddr) -> Self {
        Self {
            client_is_ipv4: ip.is_ipv4(),
            mx: Tally::default(),
            ipv4: Tally::default(),
            ipv6: Tally::default(),
            exchanges: Mutex::default(),
        }
    }

    /// The verdict, or a permerror when the limit was passed on the way to it.
    fn limit(&self, verdict: SpfVerdict) -> SpfVerdict {
        // `a` asks for the client's family alone; `exists` is known by asking for both.
        let (own, other) =
            if self.client_is_ipv4 { (&self.ipv4, &self.ipv6) } else { (&self.ipv6, &self.ipv4) };
        let exists = other.asked.load(Ordering::Relaxed);
        let voids = self.mx.unanswered() + own.unanswered().saturating_sub(exists);
        if voids > MAX_VOID_LOOKUPS && verdict != SpfVerdict::TempError {
            SpfVerdict::PermError
        } else {
            verdict
        }
    }

    fn count<Q>(&self, counter: &AtomicU32, name: &Q)
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if !self.exchanges.lock().contains(name) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl ResolverCache<Box<str>, RecordSet<MX>> for Voids {
    fn get<Q>(&self, name: &Q) -> Option<RecordSet<MX>>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.count(&self.mx.asked, name);
        None
    }

    fn remove<Q>(&self, _name: &Q) -> Option<RecordSet<MX>>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        None
    }

    fn insert(&self, name: Box<str>, value: RecordSet<MX>, _valid_until: Instant) {
        self.count::<str>(&self.mx.answered, &name);
        let hosts = value.rrset.iter().flat_map(|mx| mx.exchanges.iter());
        self.exchanges.lock().extend(hosts.cloned());
    }
}

macro_rules! count_addresses {
    ($address:ty, $tally:ident) => {
        impl ResolverCache<Box<str>, RecordSet<$address>> for Voids {
            fn get<Q>(&self, name: &Q) -> Option<RecordSet<$address>>
            where
                Box<str>: Borrow<Q>,
                Q: Hash + Eq + ?Sized,
            {
                self.count(&self.$tally.asked, name);
                None
            }

            fn remove<Q>(&self, _name: &Q) -> Option<RecordSet<$address>>
            where
                Box<str>: Borrow<Q>,
                Q: Hash + Eq + ?Sized,
            {
                None
            }

            fn insert(&self, name: Box<str>, _value: RecordSet<$address>, _valid_until: Instant) {
                self.count::<str>(&self.$tally.answered, &name);
            }
        }
    };
}

count_addresses!(Ipv4Addr, ipv4);
count_addresses!(Ipv6Addr, ipv6);
