//! What a destination demands of one of its MX hosts: DANE before MTA-STS before nothing.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::RootCertStore;

use super::dane::Dane;
use super::sts::{Sts, StsMode};
use super::{Basis, ClientTls, Report, Reporter, Reports, StsPolicies, TlsError, TlsFailure};
use crate::dns::{Dns, Security};
use crate::mail::Domain;
use crate::store::Store;

/// What a host must show before it gets a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Demand {
    /// Nothing: encrypted if it can be, in the clear otherwise.
    Opportunistic,
    /// Nothing, but what is wrong with its certificate is looked at, for a report (MTA-STS `testing`).
    Tested,
    /// TLS, with any certificate: its TLSA records are secure, and none of them is usable (RFC 7672 §2.2).
    Encrypted,
    /// A certificate for its name by the Web's PKI (RFC 8461 §4.2).
    Verified,
    /// A certificate that a TLSA record names (RFC 7672).
    Dane(Arc<Dane>),
}

/// Why a host may not be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Barred {
    /// Whose rule it is.
    pub basis: Basis,
    /// For reports.
    pub failure: TlsFailure,
    /// For the log.
    pub detail: &'static str,
}

/// A host in question.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The destination's domain.
    pub domain: &'a Domain,
    /// The MX host's name.
    pub host: &'a str,
    /// Whether the MX records that name it and the addresses that it has are secure (RFC 7672 §2.2).
    pub security: Security,
}

/// A demand, and what of a policy failed though the host may be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// Whose rule it is.
    pub basis: Basis,
    /// What it must show.
    pub demand: Demand,
    /// What a policy in testing has against the host, or why the policy is not used.
    pub failure: Option<TlsFailure>,
}

impl Demand {
    /// Whether a host without TLS will not do.
    #[must_use]
    pub fn is_mandatory(&self) -> bool {
        match self {
            Self::Opportunistic | Self::Tested => false,
            Self::Encrypted | Self::Verified | Self::Dane(_) => true,
        }
    }

    /// Whether a host that met it is the one that the destination means.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        match self {
            Self::Opportunistic | Self::Tested | Self::Encrypted => false,
            Self::Verified | Self::Dane(_) => true,
        }
    }

    /// The word in logs.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Opportunistic => "opportunistic",
            Self::Tested => "testing",
            Self::Encrypted => "encrypted",
            Self::Verified => "verified",
            Self::Dane(_) => "dane",
        }
    }
}

/// TLS towards destinations: what each of them wants, from the DNS and from their policies, the client that
/// holds hosts to it, and the count of what came of it. A clone is the same.
#[derive(Clone)]
pub struct Policies {
    dns: Dns,
    sts: StsPolicies,
    client: ClientTls,
    reports: Reports,
}

impl Policies {
    /// Opens what the store has kept. `roots` are those of the Web's PKI, for the hosts of policies and of
    /// mail; policies are fetched from `port`, [`super::HTTPS_PORT`] on the Internet. Blocks for the disk.
    ///
    /// # Errors
    /// When the store cannot be read, or TLS cannot be set up.
    pub fn open(store: &Store, dns: Dns, roots: RootCertStore, port: u16) -> Result<Self, TlsError> {
        Ok(Self {
            sts: StsPolicies::open(store, dns.clone(), roots.clone(), port)?,
            client: ClientTls::new(roots)?,
            reports: Reports::open(store, dns.clone())?,
            dns,
        })
    }

    /// The resolver that policies are judged by.
    #[must_use]
    pub fn dns(&self) -> &Dns {
        &self.dns
    }

    /// The client that shakes hands with hosts.
    #[must_use]
    pub fn client(&self) -> &ClientTls {
        &self.client
    }

    /// The count of what came of policies.
    #[must_use]
    pub fn reports(&self) -> &Reports {
        &self.reports
    }

    /// The reports on days that are over, for the domains that ask for them (RFC 8460 §3); each is given out
    /// once. To be called some times a day. They go with the null reverse-path, signed by the reporter's domain.
    pub async fn due_reports(&self, now: SystemTime, reporter: &Reporter) -> Vec<Report> {
        self.reports.due(now, reporter, &self.sts).await
    }

    /// What the domain's MTA-STS policy says; bounded in time.
    pub async fn sts(&self, domain: &Domain) -> Sts {
        self.sts.of(domain).await
    }

    /// What a host must show.
    ///
    /// # Errors
    /// When it may not be tried at all: nobody can say what its TLSA records are (RFC 7672 §2.1.2: it must
    /// be treated as unreachable), or a policy in force does not name it (RFC 8461 §5.1).
    pub async fn judge(&self, candidate: Candidate<'_>, sts: &Sts) -> Result<Judgement, Barred> {
        let by_sts = by_sts(candidate.host, sts);
        // RFC 7672 §2.2.2: TLSA records are not even asked for where the addresses are insecure; servers
        // that do not know the type are many there.
        if candidate.security == Security::Insecure {
            return by_sts;
        }
        match self.dns.tlsa(candidate.host).await {
            Ok(answer) if answer.security == Security::Secure => {
                match Dane::of(answer.records, candidate.host, candidate.domain) {
                    Some(dane) => Ok(Judgement {
                        basis: Basis::Tlsa,
                        demand: Demand::Dane(Arc::new(dane)),
                        failure: None,
                    }),
                    None => by_sts.map(without_usable),
                }
            }
            Ok(_) => by_sts,
            Err(error) if error.is_temporary() => Err(Barred {
                basis: Basis::Tlsa,
                failure: TlsFailure::DnssecInvalid,
                detail: "nobody knows its TLSA records",
            }),
            Err(_) => by_sts,
        }
    }
}

/// RFC 7672 §2.2: TLS is mandatory where secure TLSA records exist, usable or not; an MTA-STS policy in force
/// asks for more.
fn without_usable(by_sts: Judgement) -> Judgement {
    let failure = Some(TlsFailure::TlsaInvalid);
    match by_sts.demand {
        Demand::Verified => Judgement { failure, ..by_sts },
        Demand::Opportunistic | Demand::Tested | Demand::Encrypted | Demand::Dane(_) => {
            Judgement { basis: Basis::Tlsa, demand: Demand::Encrypted, failure }
        }
    }
}

fn by_sts(host: &str, sts: &Sts) -> Result<Judgement, Barred> {
    let judgement = |demand, failure| Ok(Judgement { basis: Basis::Sts, demand, failure });
    let Some(policy) = &sts.policy else {
        // A policy that is announced and cannot be had is reported as the policy's own failure.
        let basis = if sts.trouble.is_some() { Basis::Sts } else { Basis::None };
        return Ok(Judgement { basis, demand: Demand::Opportunistic, failure: sts.trouble });
    };
    match (policy.mode, policy.names(host)) {
        (StsMode::Enforce, true) => judgement(Demand::Verified, None),
        (StsMode::Enforce, false) => Err(Barred {
            basis: Basis::Sts,
            failure: TlsFailure::ValidationFailure,
            detail: "the destination's MTA-STS policy does not name it",
        }),
        (StsMode::Testing, true) => judgement(Demand::Tested, None),
        (StsMode::Testing, false) => judgement(Demand::Tested, Some(TlsFailure::ValidationFailure)),
        (StsMode::None, _) => judgement(Demand::Opportunistic, None),
    }
}
