//! What a node keeps on disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::error::{NodeError, part};
use super::membership::{self, Agreeing, Door, Reporting};
use crate::aliases::Aliases;
use crate::check::nearest_folder;
use crate::cluster::alone::AloneError;
use crate::cluster::disk::{self, DiskError, Place};
use crate::config::Config;
use crate::error_text::error_text;
use crate::journal::{self, Journal};
use crate::ledger::Ledger;
use crate::private_files;
use crate::routing::{Coverage, Routing, RoutingOptions};
use crate::spool::{self, Spool, SpoolError};
use crate::store::{Committer, Store, StoreError};
use crate::telemetry::Metrics;

/// What owns the node's state on disk.
pub(super) struct State {
    /// What must not be lost, and is seldom written.
    pub(super) store: Store,
    /// What is written all the time, and begun anew where it is damaged.
    pub(super) history: Store,
    pub(super) ledger: Ledger,
    pub(super) aliases: Arc<Aliases>,
    pub(super) journal: Journal,
    pub(super) routing: Routing,
    pub(super) agreeing: Agreeing,
    pub(super) spool: Spool,
    pub(super) door: Door,
}

/// What of it is opened on one thread.
struct Opened {
    store: Store,
    history: Store,
    ledger: Ledger,
    aliases: Arc<Aliases>,
    journal: Journal,
    spool: Spool,
}

/// Opens everything on disk, and waits until the routing table has all that was agreed on.
pub(super) async fn open_state(config: Arc<Config>, metrics: Arc<Metrics>) -> Result<State, NodeError> {
    membership::admit(&config)?;
    let opened = {
        let (config, metrics) = (config.clone(), metrics.clone());
        spawn_blocking(move || open(&config, &metrics)).await.map_err(|error| part(&error))??
    };
    let Opened { store, history, ledger, aliases, journal, spool } = opened;
    let place = Place {
        data_dir: config.node.data_dir.clone(),
        name: config.node.name.as_str().into(),
        store: store.clone(),
        options: routing_options(&config),
        tried_every: disk::TRIED_EVERY,
    };
    let door = Door::default();
    let reporting = Reporting { spool: spool.clone(), door: door.clone() };
    let (routing, agreeing) = Agreeing::begin(&config, place, reporting, &metrics).await?;
    if agreeing.knows_table() {
        tell_coverage(&routing, &config.node.data_dir);
    }
    Ok(State { store, history, ledger, aliases, journal, routing, agreeing, spool, door })
}

/// Blocks for as long as sled recovers.
fn open(config: &Config, metrics: &Arc<Metrics>) -> Result<Opened, NodeError> {
    let data_dir = &config.node.data_dir;
    open_folders(data_dir)?;
    let store = Store::open(data_dir).map_err(|error| part(&error))?;
    let history = Store::open_or_renew(&data_dir.join("history")).map_err(|error| part(&error))?;
    for store in [&store, &history] {
        let flushes = metrics.clone();
        store.on_flush(move |took| flushes.storage_flush_duration_seconds.observe(took.as_secs_f64()));
    }
    let committer = Committer::start(store.clone())?;
    let aliases = Aliases::open(&store, committer, config.srs.max_age_days).map_err(|error| part(&error))?;
    Ok(Opened {
        ledger: Ledger::open(&history, Committer::start(history.clone())?).map_err(|error| part(&error))?,
        aliases: Arc::new(aliases),
        journal: Journal::open(&history, journal::Limits::default()).map_err(|error| part(&error))?,
        spool: open_spool(config, metrics)?,
        store,
        history,
    })
}

/// Whether the state on disk is there for the taking.
pub(super) enum Occupancy {
    /// It is.
    Free,
    /// Another process has it, or a node does that runs.
    Taken,
}

/// Looks for what [`open_state`] would refuse, and changes nothing. Blocks.
pub(super) fn inspect(config: &Config) -> Result<Occupancy, NodeError> {
    let data_dir = &config.node.data_dir;
    for folder in all_folders(data_dir).iter().chain([&data_dir.to_owned()]) {
        let nearest = nearest_folder(folder);
        tempfile::tempfile_in(nearest).map_err(|cause| {
            let nearest = nearest.display();
            NodeError::Part(format!("node.data_dir: nothing can be written in {nearest}: {cause}"))
        })?;
    }
    let stores = [data_dir.to_owned(), data_dir.join("history")].map(|folder| Store::inspect(&folder));
    for store in stores {
        match store {
            Err(StoreError::Locked { .. }) => return Ok(Occupancy::Taken),
            // It would be put aside and begun anew.
            Err(StoreError::Damaged { path, .. }) if path.starts_with(data_dir.join("history")) => {}
            Err(error) => return Err(NodeError::Part(format!("node.data_dir: {}", error_text(&error)))),
            Ok(()) => {}
        }
    }
    match disk::inspect(data_dir, routing_options(config)) {
        Err(DiskError::Locked(_)) => return Ok(Occupancy::Taken),
        Err(error) => return Err(NodeError::Part(format!("node.data_dir: {}", error_text(&error)))),
        Ok(2..) if config.cluster.is_none() => {
            let refused = AloneError::OtherMembers;
            return Err(NodeError::Part(format!("node.data_dir: {refused}")));
        }
        Ok(_) => {}
    }
    match Spool::inspect(&data_dir.join("spool")) {
        Err(SpoolError::Locked { .. }) => Ok(Occupancy::Taken),
        Err(error) => Err(NodeError::Part(format!("node.data_dir: {}", error_text(&error)))),
        Ok(()) => Ok(Occupancy::Free),
    }
}

/// Our own folders beside those of the state's owners.
fn folders(data_dir: &Path) -> [PathBuf; 3] {
    [temporary(data_dir), poison(data_dir), data_dir.join("history")]
}

/// Those and the state's owners'.
fn all_folders(data_dir: &Path) -> Vec<PathBuf> {
    folders(data_dir).into_iter().chain(["store", "spool", "raft"].map(|name| data_dir.join(name))).collect()
}

/// The folders that others than this user may look into, as a start finds them; a sentence each. Blocks.
pub(super) fn open_to_others(data_dir: &Path) -> Vec<String> {
    let named = private_files::open_to_everybody(data_dir).map(|mode| {
        let (path, mode) = (data_dir.display(), private_files::shown(mode));
        format!("everybody on this host may look into node.data_dir {path} (mode {mode})")
    });
    let ours = all_folders(data_dir).into_iter().filter_map(|path| {
        let (mode, path) = (private_files::shown(private_files::open_to_others(&path)?), path.display());
        Some(format!(
            "others on this host may look into {path} (mode {mode}): a start closes it if its user owns it, else chown \
             it to that user, or chmod go-rwx"
        ))
    });
    named.into_iter().chain(ours).collect()
}

/// Makes the folder that the operator names and those of ours in it, but for what the owners of the state make.
fn open_folders(data_dir: &Path) -> Result<(), NodeError> {
    let failed = |path: &Path, cause: std::io::Error| {
        NodeError::Part(format!("node.data_dir: cannot make {}: {cause}", path.display()))
    };
    private_files::named_folder(data_dir).map_err(|cause| failed(data_dir, cause))?;
    for folder in folders(data_dir) {
        private_files::folder(&folder).map_err(|cause| failed(&folder, cause))?;
    }
    Ok(())
}

/// Says so when the node starts without its whole routing table, which defers mail rather than refuse it.
fn tell_coverage(routing: &Routing, data_dir: &Path) {
    let data_dir = data_dir.display();
    match routing.snapshot().coverage() {
        Coverage::Whole => {}
        Coverage::Empty => tracing::warn!(
            %data_dir,
            "no routing table yet: recipients hear 451 until a domain is added or a routing document applied"
        ),
        Coverage::Lost => tracing::error!(
            %data_dir,
            "the routing table is lost, with suspensions and blocked networks: the queue is delivered, and recipients \
             that are not known hear 451, until a routing document is applied (postroadctl apply), or the folder raft/ \
             is put back (stop the node first)"
        ),
    }
}

/// Opens the queue's messages, and says what was found.
fn open_spool(config: &Config, metrics: &Arc<Metrics>) -> Result<Spool, NodeError> {
    let options = spool::Options { min_free_octets: config.limits.min_free_octets, ..Default::default() };
    let opened = Spool::open(&config.node.data_dir.join("spool"), options, metrics.clone());
    let (spool, recovered) = opened.map_err(|error| part(&error))?;
    tracing::info!(?recovered, "queue opened");
    Ok(spool)
}

/// What the routing table must know of the configuration.
pub(super) fn routing_options(config: &Config) -> RoutingOptions {
    let hosts = config.service.mx.iter().map(|host| host.hostname.clone());
    RoutingOptions {
        service_domain: config.service.domain.clone(),
        mx_hosts: hosts.chain([config.node.hostname.clone()]).collect(),
        postmaster: config.service.postmaster.clone(),
    }
}

/// Where large messages are kept while in flight. The files have no names.
pub(super) fn temporary(data_dir: &Path) -> PathBuf {
    data_dir.join("temporary")
}

/// Where messages are kept for the operator whose processing panicked.
pub(super) fn poison(data_dir: &Path) -> PathBuf {
    data_dir.join("poison")
}
