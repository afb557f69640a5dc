//! What a node knows of upstreams, and keeps for more than one message.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use super::destinations::Destinations;
use super::open_transactions::OpenTransactions;
use super::options::Options;
use super::silent_hosts::SilentHosts;
use super::upstream::pool::Pool;
use crate::config::Config;
use crate::dns::Dns;
use crate::ledger::Ledger;
use crate::pipeline::deferred::Suspended;
use crate::telemetry::Metrics;
use crate::tls::Policies;

/// How often idle connections and remembered destinations are looked over.
const SWEEP: Duration = Duration::from_secs(1);
/// Sweeps between two savings of the counts for TLS reports.
const SWEEPS_A_SAVE: usize = 60;

/// All that a node knows of upstreams, shared by its deliver actors: idle connections, TLS sessions,
/// destinations that gave trouble.
pub struct Upstreams {
    pub(super) dns: Dns,
    pub(super) ledger: Ledger,
    pub(super) policies: Policies,
    pub(super) pool: Arc<Pool>,
    pub(super) destinations: Arc<Destinations>,
    pub(super) silent_hosts: SilentHosts,
    pub(super) transactions: Arc<OpenTransactions>,
    pub(super) options: Arc<ArcSwap<Options>>,
    pub(super) metrics: Arc<Metrics>,
    listening: Vec<SocketAddr>,
}

impl Upstreams {
    /// Sets up delivery. `listening` are the addresses that the node's own SMTP listeners really have:
    /// nothing is ever delivered to them. Destinations are looked up by the resolver of `policies`.
    #[must_use]
    pub fn new(
        config: &Config,
        listening: &[SocketAddr],
        policies: Policies,
        ledger: Ledger,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        Self::with(Options::new(config, listening), policies, ledger, metrics)
    }

    pub(super) fn with(
        options: Options,
        policies: Policies,
        ledger: Ledger,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let listening = options.listening.clone();
        let (pool, options) = (Arc::<Pool>::default(), Arc::new(ArcSwap::from_pointee(options)));
        let transactions = OpenTransactions::new(pool.clone(), options.clone(), metrics.clone());
        Arc::new(Self {
            dns: policies.dns().clone(),
            ledger,
            policies,
            pool,
            destinations: Arc::default(),
            silent_hosts: SilentHosts::default(),
            transactions: Arc::new(transactions),
            options,
            metrics,
            listening,
        })
    }

    /// Where the queue tells which destinations are suspended.
    #[must_use]
    pub fn suspended(&self) -> Suspended {
        self.destinations.suspended.clone()
    }

    /// The policies that hosts are held to, and the count of what came of them.
    #[must_use]
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    /// Takes a new configuration for messages that come from now on.
    pub fn reconfigure(&self, config: &Config) {
        self.options.store(Arc::new(Options::new(config, &self.listening)));
    }

    /// Ends idle connections in time and forgets what is over, until told to stop.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(SWEEP);
        let mut sweeps: usize = 0;
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.pool.sweep();
            self.transactions.sweep();
            self.destinations.sweep();
            self.silent_hosts.sweep();
            sweeps += 1;
            if sweeps.is_multiple_of(SWEEPS_A_SAVE) {
                self.save_reports().await;
            }
        }
        self.save_reports().await;
    }

    async fn save_reports(&self) {
        let reports = self.policies.reports().clone();
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || reports.save()).await {
            tracing::error!(%error, "counts for TLS reports not saved");
        }
    }

    /// Says QUIT on idle connections and keeps none from now on; returns within five seconds. Connections
    /// in use, and those that still owe a late reply, are not touched.
    pub async fn drain(&self) {
        self.pool.drain().await;
    }
}
