//! A changed configuration, taken by the parts that can while the node runs. What cannot be taken (a key
//! that does not parse any more) leaves that part as it was, with an error in the log.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::build::routing_options;
use super::stages::Contexts;
use crate::blocklist::Blocklist;
use crate::config::{Config, OnTempfail, Reloader};
use crate::dns::Dns;
use crate::pipeline::chronicle::Chronicle;
use crate::pipeline::deliver::Upstreams;
use crate::pipeline::queue::Queue;
use crate::routing::Routing;
use crate::telemetry::{LogLevel, Metrics};

/// The parts that follow the configuration.
pub(super) struct Live {
    pub(super) blocklist: Arc<ArcSwap<Blocklist>>,
    pub(super) contexts: Contexts,
    pub(super) chronicle: Chronicle,
    pub(super) routing: Routing,
    pub(super) log_level: Option<LogLevel>,
    pub(super) dns: Dns,
    pub(super) metrics: Arc<Metrics>,
    pub(super) queueing: Queueing,
}

/// What of the queue follows the configuration.
pub(super) struct Queueing {
    pub(super) queue: Queue,
    pub(super) on_tempfail: Arc<ArcSwap<OnTempfail>>,
}

/// Reads the file again when it changes.
pub(super) async fn read(reloader: Reloader, stop: CancellationToken) {
    if let Err(error) = reloader.run(stop).await {
        tracing::error!(%error, "the configuration is not watched");
    }
}

/// Hands each new configuration to the parts, until told to stop.
pub(super) async fn follow(
    live: Live,
    upstreams: Arc<Upstreams>,
    mut config: watch::Receiver<Arc<Config>>,
    blocklist: Arc<Blocklist>,
    stop: CancellationToken,
) {
    let mut watching = stop.child_token();
    tokio::spawn(blocklist.watch(watching.clone()));
    let mut zones = config.borrow().dnsbl.clone();
    while let Some(Ok(())) = stop.run_until_cancelled(config.changed()).await {
        let next = config.borrow_and_update().clone();
        upstreams.reconfigure(&next);
        live.chronicle.reconfigure((&*next).into());
        live.queueing.queue.reconfigure((&*next).into());
        live.queueing.on_tempfail.store(Arc::new(next.delivery.on_tempfail));
        if let Err(error) = live.routing.configure(routing_options(&next)).await {
            tracing::error!(%error, "the routing table keeps its options");
        }
        if let Some(Err(error)) = live.log_level.as_ref().map(|level| level.set(&next.log.level)) {
            tracing::error!(%error, "log.level stays as it was");
        }
        if let Err(error) = live.contexts.reconfigure(&next) {
            tracing::error!(%error, "keys and secrets stay as they were");
        }
        if next.dnsbl != zones {
            match Blocklist::new(&next.dnsbl, live.dns.clone(), live.metrics.clone()) {
                Ok(blocklist) => {
                    watching.cancel();
                    watching = stop.child_token();
                    tokio::spawn(blocklist.clone().watch(watching.clone()));
                    live.blocklist.store(blocklist);
                    zones.clone_from(&next.dnsbl);
                }
                Err(error) => tracing::error!(%error, "the DNSBL zones stay as they were"),
            }
        }
    }
}
