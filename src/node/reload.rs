//! What of a node follows its configuration, part by part. A part that is not here, and reads no configuration from
//! the channel, keeps what it began with: its keys are classed so in the schema.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::error::{NodeError, part};
use super::life::Life;
use super::stages::{Contexts, Prepared};
use super::state::routing_options;
use crate::blocklist::{Blocklist, Others};
use crate::config::files::{Secret, dnsbl_key};
use crate::config::{Config, Dnsbl, Live, OnTempfail, Reloader, taking};
use crate::dns::Dns;
use crate::pipeline::chronicle::{Chronicle, Manner};
use crate::pipeline::deliver::Upstreams;
use crate::pipeline::queue::{self, Queue};
use crate::routing::Routing;
use crate::spool::Spool;
use crate::telemetry::{LogLevel, Metrics};

/// Reads the file again when it changes, until told to stop.
pub(super) async fn read(reloader: Reloader, stop: CancellationToken) {
    if let Err(error) = reloader.run(stop).await {
        tracing::error!(%error, "the configuration is not watched");
    }
}

impl Live for Contexts {
    type Prepared = Prepared;
    type Error = NodeError;

    fn prepare(&self, next: &Arc<Config>) -> Result<Prepared, NodeError> {
        self.read(next)
    }

    fn swap(&self, prepared: Prepared) {
        self.take(prepared);
    }
}

/// What deliver knows.
pub(super) fn upstreams(upstreams: Arc<Upstreams>) -> impl Live {
    taking(Arc::clone, move |next: Arc<Config>| upstreams.reconfigure(&next))
}

/// How things are told.
pub(super) fn chronicle(chronicle: Chronicle) -> impl Live {
    taking(|next| Manner::from(&**next), move |manner| chronicle.reconfigure(manner))
}

/// What the queue knows.
pub(super) fn queue(queue: Queue) -> impl Live {
    taking(|next| queue::Settings::from(&**next), move |settings| queue.reconfigure(settings))
}

/// `delivery.on_tempfail`, as settle reads it.
pub(super) fn on_tempfail(current: Arc<ArcSwap<OnTempfail>>) -> impl Live {
    taking(|next| next.delivery.on_tempfail, move |next| current.store(Arc::new(next)))
}

/// `limits.min_free_octets` of the spool.
pub(super) fn floor(spool: Spool) -> impl Live {
    taking(|next| next.limits.min_free_octets, move |octets| spool.set_floor(octets))
}

/// What the routing table knows.
pub(super) fn routing(routing: Routing) -> impl Live {
    taking(|next| routing_options(next), move |options| routing.configure(options))
}

/// `log.level`.
pub(super) fn log_level(level: LogLevel) -> impl Live {
    taking(
        |next| next.log.level.clone(),
        move |next| {
            // The configuration has parsed it already.
            if let Err(error) = level.set(&next) {
                tracing::error!(%error, "log.level stays as it was");
            }
        },
    )
}

/// The DNSBL zones in force, tested for as long as they are.
pub(super) struct Blocklists {
    current: Arc<ArcSwap<Blocklist>>,
    zones: Mutex<Zones>,
    made_with: MadeWith,
    stop: CancellationToken,
}

/// What zones work with.
struct MadeWith {
    dns: Dns,
    metrics: Arc<Metrics>,
    others: Option<Arc<dyn Others>>,
}

impl MadeWith {
    fn blocklist(&self, zones: &[Dnsbl]) -> Result<Arc<Blocklist>, NodeError> {
        let (dns, metrics) = (self.dns.clone(), self.metrics.clone());
        let made = match &self.others {
            Some(others) => Blocklist::among(others.clone(), zones, dns, metrics),
            None => Blocklist::new(zones, dns, metrics),
        };
        made.map_err(|error| part(&error))
    }
}

/// What is around the zones.
pub(super) struct Around {
    pub(super) dns: Dns,
    pub(super) metrics: Arc<Metrics>,
    /// The other nodes, of a cluster.
    pub(super) others: Option<Arc<dyn Others>>,
}

/// Zones with their subscribers' keys.
pub(super) type Keyed = Vec<(Dnsbl, Option<Secret>)>;

/// What the zones were made from, and what ends their tests.
struct Zones {
    made_from: Keyed,
    testing: CancellationToken,
}

/// New zones, where anything about them is new.
pub(super) struct PreparedZones(Option<(Arc<Blocklist>, Keyed)>);

impl Blocklists {
    /// Reads keys, and has the zones tested until told to stop.
    pub(super) fn start(config: &Config, around: Around, life: &Life) -> Result<Self, NodeError> {
        let Around { dns, metrics, others } = around;
        let made_from = keyed(&config.dnsbl)?;
        let made_with = MadeWith { dns, metrics, others };
        let first = made_with.blocklist(&config.dnsbl)?;
        let stop = life.background.clone();
        let testing = stop.child_token();
        tokio::spawn(first.clone().watch(testing.clone()));
        let current = Arc::new(ArcSwap::from(first));
        Ok(Self { current, zones: Mutex::new(Zones { made_from, testing }), made_with, stop })
    }

    /// Where sessions find the zones.
    pub(super) fn reader(&self) -> Arc<ArcSwap<Blocklist>> {
        self.current.clone()
    }
}

impl Live for Blocklists {
    type Prepared = PreparedZones;
    type Error = NodeError;

    fn prepare(&self, next: &Arc<Config>) -> Result<PreparedZones, NodeError> {
        let made_from = keyed(&next.dnsbl)?;
        if made_from == self.zones.lock().made_from {
            return Ok(PreparedZones(None));
        }
        Ok(PreparedZones(Some((self.made_with.blocklist(&next.dnsbl)?, made_from))))
    }

    fn swap(&self, PreparedZones(prepared): PreparedZones) {
        let Some((blocklist, made_from)) = prepared else { return };
        let testing = self.stop.child_token();
        tokio::spawn(blocklist.clone().watch(testing.clone()));
        self.current.store(blocklist);
        let before = std::mem::replace(&mut *self.zones.lock(), Zones { made_from, testing });
        before.testing.cancel();
    }
}

/// The zones with their subscribers' keys.
pub(super) fn keyed(zones: &[Dnsbl]) -> Result<Keyed, NodeError> {
    let key = |at: usize, path: &Path| {
        dnsbl_key(path)
            .map_err(|error| NodeError::Part(format!("dnsbl[{at}].key_file: {}: {error}", path.display())))
    };
    let keyed = |(at, zone): (usize, &Dnsbl)| {
        Ok((zone.clone(), zone.key_file.as_deref().map(|path| key(at, path)).transpose()?))
    };
    zones.iter().enumerate().map(keyed).collect()
}

#[cfg(test)]
#[path = "reload_tests.rs"]
mod tests;
