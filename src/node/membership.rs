//! A node's part in agreeing on the routing table: of its own, or as one of several.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use thiserror::Error;
use tokio::task::spawn_blocking;
use tracing::error;

use super::error::{NodeError, part};
use super::life::Life;
use crate::clock;
use crate::cluster::alone::Agreement;
use crate::cluster::disk::Place;
use crate::cluster::founding::Allowed;
use crate::cluster::member::{self, Member, Settings};
use crate::cluster::network::{Addresses, Report};
use crate::cluster::operate::Office;
use crate::cluster::part::Timing;
use crate::cluster::status::Shown;
use crate::config::{self, Cluster, Config, Live};
use crate::connections::Drain;
use crate::http::Readiness;
use crate::pipeline::inbound::Admission;
use crate::routing::Routing;
use crate::spool::Spool;
use crate::telemetry::Metrics;
use crate::tls::{ClusterFault, LinkFiles, LinkIdentity, LinkTls, TlsError, cluster_faults};

/// What is wrong with the section.
#[derive(Debug, Error)]
pub(super) enum Problem {
    /// With one of its files.
    #[error(transparent)]
    File(#[from] ClusterFault),
}

/// Everything that is wrong with the section, its files as they are now. Blocks.
pub(super) fn problems(config: &Config) -> Vec<Problem> {
    let Some(cluster) = &config.cluster else { return Vec::new() };
    let faults = cluster_faults(cluster.into(), &config.node.name, clock::now());
    faults.into_iter().map(Problem::from).collect()
}

/// Whether a node starts with its section. What a clock cures is said in the log, and bars no mail.
///
/// # Errors
/// All that is wrong, a line each, when it does not.
pub(super) fn admit(config: &Config) -> Result<(), NodeError> {
    let problems = problems(config);
    let is_of_time = |problem: &Problem| matches!(problem, Problem::File(fault) if fault.cause.is_of_time());
    if !problems.iter().all(is_of_time) {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        return Err(NodeError::Part(lines.join("\n")));
    }
    for problem in &problems {
        error!(%problem, "other nodes refuse this node's certificate");
    }
    Ok(())
}

/// What takes part.
pub(super) enum Agreeing {
    /// A node of its own.
    Alone(Agreement),
    /// One of several.
    Member(Box<Membership>),
}

/// A member, and what of it follows the configuration.
pub(super) struct Membership {
    member: Member,
    tls: LinkTls,
    digests: Digests,
}

/// Of what must be the same on every node.
type Digests = Arc<ArcSwap<BTreeMap<String, [u8; 32]>>>;

/// What a node says of itself comes from these.
pub(super) struct Reporting {
    pub(super) spool: Spool,
    pub(super) door: Door,
}

/// Who comes in, and whether new sessions are taken.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) admission: Admission,
    pub(super) drain: Drain,
}

impl Default for Door {
    fn default() -> Self {
        let drain = Drain::default();
        Self { admission: Admission::new(drain.clone()), drain }
    }
}

impl Reporting {
    fn shown(self, tls: Option<LinkTls>, digests: Digests) -> Shown {
        let Self { spool, door: Door { admission, drain } } = self;
        let report = move || {
            let counts = spool.counts();
            Report {
                software: env!("CARGO_PKG_VERSION").to_owned(),
                digests: BTreeMap::clone(&digests.load()),
                queue: counts.waiting + counts.awaiting_reply + counts.unknown,
                certificate_ends: tls.as_ref().and_then(|tls| tls.identity().not_after()),
                sessions: admission.sessions() as u64,
                ..Report::default()
            }
        };
        Shown { report: Box::new(report), drain }
    }
}

impl Agreeing {
    /// Begins, as the file says.
    pub(super) async fn begin(
        config: &Config,
        place: Place,
        reporting: Reporting,
        metrics: &Arc<Metrics>,
    ) -> Result<(Routing, Self), NodeError> {
        let unidentified = config.cluster.is_some()
            && member::is_unidentified(&place).await.map_err(|error| part(&error))?;
        if unidentified {
            error!(
                "this node does not know who it is in its cluster, and takes no part: it forwards by what it has of the routing \
                 table. Stop it, move raft/ aside and start it: it joins anew, and has the cluster's table"
            );
        }
        let Some(cluster) = config.cluster.as_ref().filter(|_| !unidentified) else {
            let shown = reporting.shown(None, Digests::default());
            let opened = Agreement::open(place, metrics.clone(), shown).await;
            let (routing, agreement) = opened.map_err(|error| part(&error))?;
            return Ok((routing, Self::Alone(agreement)));
        };
        let files = link_files(cluster);
        let identity = spawn_blocking(move || LinkIdentity::load(&files, None)).await;
        let tls = LinkTls::new(identity.map_err(|error| part(&error))?.map_err(|error| part(&error))?);
        let digests = Digests::default();
        digests.store(Arc::new(shared_digests(config)));
        let shown = reporting.shown(Some(tls.clone()), digests.clone());
        let settings = settings(config, cluster, tls.clone(), shown);
        let (routing, member) =
            Member::open(place, settings, metrics.clone()).await.map_err(|error| part(&error))?;
        Ok((routing, Self::Member(Box::new(Membership { member, tls, digests }))))
    }

    /// Whether what the table covers is known by now: of a node that waits for others it is not.
    pub(super) fn knows_table(&self) -> bool {
        matches!(self, Self::Alone(agreement) if agreement.took_part())
    }

    /// Where peers connect.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Alone(_) => None,
            Self::Member(membership) => Some(membership.member.address()),
        }
    }

    /// Its part among others, with whom it shares more than what is agreed on.
    pub(super) fn member(&self) -> Option<member::Handle> {
        match self {
            Self::Alone(_) => None,
            Self::Member(membership) => Some(membership.member.handle()),
        }
    }

    /// What operators see of it, and order.
    pub(super) fn office(&self) -> Office {
        match self {
            Self::Alone(agreement) => Office::Alone(agreement.handle()),
            Self::Member(membership) => Office::Member(membership.member.handle()),
        }
    }

    /// Has `/readyz` say what an operator is to know of its part, where that is not as it should be.
    pub(super) fn tell(&self, readiness: &Readiness, life: &Life) {
        if let Self::Member(membership) = self {
            let reason = membership.member.reason();
            life.tasks.spawn(readiness.clone().repeat(reason, life.background.clone()));
        }
    }

    /// What of it follows the configuration.
    pub(super) fn following(&self) -> Option<impl Live + use<>> {
        match self {
            Self::Alone(_) => None,
            Self::Member(membership) => Some(Following {
                member: membership.member.handle(),
                tls: membership.tls.clone(),
                digests: membership.digests.clone(),
            }),
        }
    }

    /// Takes no more part.
    pub(super) async fn shut_down(self) {
        match self {
            Self::Alone(agreement) => agreement.shut_down().await,
            Self::Member(membership) => membership.member.shut_down().await,
        }
    }
}

/// Certificates, and where peers are.
struct Following {
    member: crate::cluster::member::Handle,
    tls: LinkTls,
    digests: Digests,
}

impl Live for Following {
    type Prepared = Option<(Arc<LinkIdentity>, Addresses, BTreeMap<String, [u8; 32]>)>;
    type Error = TlsError;

    fn prepare(&self, next: &Arc<Config>) -> Result<Self::Prepared, TlsError> {
        let Some(cluster) = &next.cluster else { return Ok(None) };
        let identity = LinkIdentity::load(&link_files(cluster), Some(self.tls.identity()))?;
        Ok(Some((identity, addresses(cluster), shared_digests(next))))
    }

    fn swap(&self, prepared: Self::Prepared) {
        if let Some((identity, addresses, digests)) = prepared {
            self.tls.swap(identity);
            self.digests.store(Arc::new(digests));
            self.member.name_peers(&addresses);
        }
    }
}

fn link_files(cluster: &Cluster) -> LinkFiles {
    LinkFiles { pair: cluster.tls.clone(), ca_file: cluster.ca_file.clone() }
}

fn addresses(cluster: &Cluster) -> Addresses {
    cluster.peers.iter().map(|peer| (peer.name.as_str().into(), peer.address.to_string())).collect()
}

/// Digests of what must be the same on every node; without them other nodes compare nothing.
fn shared_digests(config: &Config) -> BTreeMap<String, [u8; 32]> {
    match config.shared_digests() {
        Ok(digests) => digests.by_key().clone(),
        Err(error) => {
            error!(%error, "the settings of this node cannot be compared with those of others");
            BTreeMap::new()
        }
    }
}

fn settings(config: &Config, cluster: &Cluster, tls: LinkTls, shown: Shown) -> Settings {
    let domain = digest(&SHA256, config.service.domain.to_string().as_bytes());
    Settings {
        listen: cluster.listen,
        peers: addresses(cluster),
        domain: domain.as_ref().try_into().unwrap_or_default(),
        voters: if cluster.voters == 5 { Allowed::Five } else { Allowed::Three },
        timing: match cluster.timing {
            config::Timing::Lan => Timing::LAN,
            config::Timing::Wan => Timing::WAN,
        },
        tls,
        shown,
    }
}
