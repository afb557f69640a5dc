//! Owns the gRPC face of a node for operators: `postroad.admin.v1`, health and reflection on one listener.
//!
//! Every call goes through the guard: who calls ([`auth`]), may they ([`access`]), how many at once ([`permits`]), how
//! long, and a count of what came of it. Errors are canonical codes with `google.rpc` details ([`status`]). What
//! may change something leaves a line in the log ([`audit`]); what changes the routing table can be repeated ([`mod@write`]).
//! What is a matter of one node can be asked of any: it is passed on to the one that is meant ([`passing`]), over what the
//! nodes have between them.
//!
//! - Token file, certificate, key and client CA follow the configuration ([`terms`]): a token that is gone is refused at
//!   the next call, and ends its streams.
//! - Who has no business here cannot keep an operator out: a connection has 10 s for its first authenticated call, and
//!   makes room for newcomers until then ([`crate::connections`]); what strangers may call has places of its own.

mod access;
mod audit;
mod auth;
mod cluster;
mod convert;
mod destinations;
mod dnsbl;
mod documents;
mod domains;
mod events;
mod failures;
mod guard;
mod history;
mod listener;
mod mask;
mod names;
mod page;
mod passing;
mod permits;
mod queue;
mod resolve;
mod rules;
mod status;
mod terms;
mod traces;
mod write;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Router;
use tonic_reflection::pb::v1::server_reflection_server::ServerReflectionServer as V1;
use tonic_reflection::pb::v1alpha::server_reflection_server::ServerReflectionServer as V1Alpha;
use tonic_reflection::server::{v1, v1alpha};
use tower::Layer as _;

pub use access::Role;
pub use terms::{LiveTerms, TermsError};

use crate::blocklist::Blocklist;
use crate::cluster::operate::Office;
use crate::config;
use crate::journal::Journal;
use crate::pipeline::queue::Queue;
use crate::proto::admin::DESCRIPTOR_SET;
use crate::proto::admin::v1::cluster_service_server::ClusterServiceServer;
use crate::proto::admin::v1::destination_service_server::DestinationServiceServer;
use crate::proto::admin::v1::dnsbl_service_server::DnsblServiceServer;
use crate::proto::admin::v1::domain_service_server::DomainServiceServer;
use crate::proto::admin::v1::event_service_server::EventServiceServer;
use crate::proto::admin::v1::history_service_server::HistoryServiceServer;
use crate::proto::admin::v1::queue_service_server::QueueServiceServer;
use crate::proto::admin::v1::resolve_service_server::ResolveServiceServer;
use crate::proto::admin::v1::routing_service_server::RoutingServiceServer;
use crate::proto::admin::v1::rule_service_server::RuleServiceServer;
use crate::proto::admin::v1::trace_service_server::TraceServiceServer;
use crate::routing::{MAX_CHANGES_PER_BATCH, Routing};
use crate::telemetry::Metrics;
use failures::Failures;
use guard::{GuardLayer, Way};

/// Largest request, in octets, but for a routing document. It is tonic's default, written out.
const MAX_REQUEST_OCTETS: usize = 4 << 20;
/// Largest request that carries a routing document of 64 MiB.
const MAX_DOCUMENT_REQUEST_OCTETS: usize = (64 << 20) + 1024;
/// Calls at once on one connection.
const MAX_STREAMS: u32 = 64;
/// Octets of a call's headers.
const MAX_HEADER_OCTETS: u32 = 16 * 1024;
/// A quiet connection is asked for a sign of life after this time, and given as long to answer.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// How long calls may take to finish after the node is told to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the admin listener could not be started or ended early.
#[derive(Debug, Error)]
pub enum AdminError {
    /// The address could not be bound.
    #[error("admin.listen {0} cannot be bound")]
    Bind(SocketAddr, #[source] std::io::Error),
    /// What the configuration says cannot be served.
    #[error("admin listener cannot be served")]
    Terms(#[from] TermsError),
    /// The transport failed.
    #[error("admin listener failed")]
    Transport(#[from] tonic::transport::Error),
    /// The thread that reads the files could not run.
    #[error("admin listener cannot read its files")]
    Thread(#[from] tokio::task::JoinError),
    /// The descriptors that reflection shows are damaged.
    #[error("admin reflection cannot be served")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// What the services answer from, but for the queue, which is built when the listener is bound already.
#[derive(Clone)]
pub struct Services {
    /// Domains, rules, destinations, listings of clients.
    pub routing: Routing,
    /// The node's part in the cluster.
    pub office: Office,
    /// The DNS blocklists in force.
    pub blocklist: Arc<ArcSwap<Blocklist>>,
    /// What became of transactions.
    pub journal: Journal,
    /// Where calls are counted.
    pub metrics: Arc<Metrics>,
}

/// The admin listener, bound.
pub struct AdminServer {
    listener: TcpListener,
    address: SocketAddr,
    terms: LiveTerms,
    services: Services,
}

impl AdminServer {
    /// Binds `admin.listen`, and reads the token file and the files of TLS.
    ///
    /// # Errors
    /// When either fails.
    pub async fn bind(config: &config::Admin, services: Services) -> Result<Self, AdminError> {
        let (owned, metrics) = (config.clone(), services.metrics.clone());
        let terms = tokio::task::spawn_blocking(move || LiveTerms::new(&owned, metrics)).await??;
        let bind_failed = |error| AdminError::Bind(config.listen, error);
        let listener = TcpListener::bind(config.listen).await.map_err(bind_failed)?;
        let address = listener.local_addr().map_err(bind_failed)?;
        Ok(Self { listener, address, terms, services })
    }

    /// The address really bound.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What of it follows the configuration.
    #[must_use]
    pub fn terms(&self) -> LiveTerms {
        self.terms.clone()
    }

    /// Serves, the queue with the rest, until `shutdown`, then lets calls finish for up to 5 s; streams end at once. What other
    /// nodes pass on is answered too from now on.
    ///
    /// # Errors
    /// When the transport fails.
    pub async fn serve(self, queue: Queue, shutdown: CancellationToken) -> Result<(), AdminError> {
        let failures = Arc::new(Failures::new());
        let Services { office, metrics, .. } = self.services.clone();
        let node = of_node(&self.services, queue, &shutdown);
        let passed = GuardLayer::new(Way::Node, metrics.clone()).layer(node.clone());
        office.answer_passed(passing::answer(passed));
        let way = Way::Listener {
            terms: self.terms.clone(),
            failures: failures.clone(),
            office,
            stop: shutdown.clone(),
        };
        let guard = GuardLayer::new(way, metrics);
        let builder = Server::builder()
            .max_concurrent_streams(MAX_STREAMS)
            .http2_max_header_list_size(MAX_HEADER_OCTETS)
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE));
        let router = routes(builder.layer(guard), self.services, node).await?;
        let stopped = shutdown.clone();
        let connections = listener::entrance(self.terms, failures).connections(self.listener);
        let serving =
            router.serve_with_incoming_shutdown(connections, async move { stopped.cancelled().await });
        let drained = async {
            shutdown.cancelled().await;
            tokio::time::sleep(DRAIN_TIMEOUT).await;
        };
        tokio::select! {
            served = serving => Ok(served?),
            () = drained => Ok(()),
        }
    }
}

/// The services that are about one node.
fn of_node(services: &Services, queue: Queue, shutdown: &CancellationToken) -> Routes {
    let (node, journal) = (services.office.name(), services.journal.clone());
    let events = events::Events { node: node.clone(), journal: journal.clone(), shutdown: shutdown.clone() };
    let events = EventServiceServer::new(events);
    let traces = TraceServiceServer::new(traces::Traces { node: node.clone(), journal });
    let queue = QueueServiceServer::new(queue::Queues { node, queue, routing: services.routing.clone() });
    Routes::new(queue.max_decoding_message_size(MAX_REQUEST_OCTETS))
        .add_service(traces.max_decoding_message_size(MAX_REQUEST_OCTETS))
        .add_service(events.max_decoding_message_size(MAX_REQUEST_OCTETS))
}

/// Every service of the listener.
async fn routes<L: Clone>(
    mut server: Server<L>,
    services: Services,
    node: Routes,
) -> Result<Router<L>, AdminError> {
    let Services { routing, office, blocklist, journal: _, metrics: _ } = services;
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_service_status("", tonic_health::ServingStatus::Serving).await;
    let (v1, v1alpha) = reflection()?;
    let domains = DomainServiceServer::new(domains::Domains { routing: routing.clone() });
    let rules = RuleServiceServer::new(rules::Rules { routing: routing.clone() });
    let destinations = DestinationServiceServer::new(destinations::Destinations { routing: routing.clone() });
    let resolve = ResolveServiceServer::new(resolve::Resolver { routing: routing.clone() });
    let dnsbl = DnsblServiceServer::new(dnsbl::Listings { routing: routing.clone(), blocklist });
    let cluster = ClusterServiceServer::new(cluster::Nodes { routing: routing.clone(), office });
    let history = HistoryServiceServer::new(history::Histories { routing: routing.clone() });
    let documents = RoutingServiceServer::new(documents::Documents { routing, step: MAX_CHANGES_PER_BATCH });
    Ok(server
        .add_routes(node)
        .add_service(domains.max_decoding_message_size(MAX_REQUEST_OCTETS))
        .add_service(rules.max_decoding_message_size(MAX_REQUEST_OCTETS))
        .add_service(destinations.max_decoding_message_size(MAX_REQUEST_OCTETS))
        .add_service(resolve.max_decoding_message_size(MAX_REQUEST_OCTETS))
        .add_service(cluster.max_decoding_message_size(MAX_REQUEST_OCTETS))
        .add_service(dnsbl.max_decoding_message_size(MAX_REQUEST_OCTETS))
        .add_service(history.max_decoding_message_size(MAX_REQUEST_OCTETS))
        .add_service(documents.max_decoding_message_size(MAX_DOCUMENT_REQUEST_OCTETS))
        .add_service(health_service)
        .add_service(v1)
        .add_service(v1alpha))
}

/// Reflection of both versions: older clients ask for v1alpha. It shows the health service too.
fn reflection() -> Result<(V1<impl v1::ServerReflection>, V1Alpha<impl v1alpha::ServerReflection>), AdminError>
{
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    Ok((builder().build_v1()?, builder().build_v1alpha()?))
}

#[cfg(test)]
mod test_log;
#[cfg(test)]
mod tests;
