//! Builds every part of a node, lowest floor first, and starts them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::background::Background;
use super::error::{NodeError, part};
use super::faces::{Faces, Shown};
use super::life::{DRAIN_LIMIT, Life};
use super::octets::Memory;
use super::reload::{self, Around, Blocklists};
use super::sharing;
use super::stages::{self, Contexts, Ends, FromInbound, Running};
use super::state::{State, open_state, poison, temporary};
use crate::blocklist::Others;
use crate::cluster::facts::Owners;
use crate::cluster::member::Handle;
use crate::config::{Config, Parts as Following, Reading, Reloader};
use crate::dns::Dns;
use crate::http::{Phase, Readiness};
use crate::pipeline::chronicle::Chronicle;
use crate::pipeline::deliver::Upstreams;
use crate::pipeline::inbound::{self, Connected, Temporary};
use crate::pipeline::joint::{Handoff, Joints};
use crate::pipeline::queue::Queue;
use crate::telemetry::{Addresses, LogLevel, Metrics, log_ready};
use crate::tls::{HTTPS_PORT, Policies, StartTls, trusted_roots};

/// How long a drain waits for late replies once the transactions are over.
const LATE_LIMIT: Duration = Duration::from_secs(30);
/// How long a drain waits for what goes on beside the mail.
const BACKGROUND_LIMIT: Duration = Duration::from_secs(30);

/// What owns the node's sides of the network.
struct Network {
    dns: Dns,
    blocklists: Blocklists,
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    certificate: StartTls,
    upstreams: Arc<Upstreams>,
}

/// What a node starts from.
pub struct Start {
    /// The checked configuration.
    pub config: Config,
    /// The file that it was read from, with the environment that was in force: watched, and read again.
    pub file: Option<(PathBuf, Vec<(String, String)>)>,
    /// Where everything is counted.
    pub metrics: Arc<Metrics>,
    /// The handle on the log, for a reload.
    pub log_level: Option<LogLevel>,
}

/// A running node's parts, as far as its end concerns them.
pub(super) struct Parts {
    pub(super) addresses: Addresses,
    pub(super) state: State,
    pub(super) life: Life,
    readiness: Readiness,
    upstreams: Arc<Upstreams>,
    pub(super) queue: Queue,
    joints: Joints,
}

/// Builds and starts a node.
pub(super) async fn build(start: Start, runtime: Arc<Runtime>) -> Result<Parts, NodeError> {
    let Start { config, file, metrics, log_level } = start;
    let life = Life::default();
    let (reloader, config) = watched(config, file, &metrics);
    let first = config.borrow().clone();

    let state = open_state(first.clone(), metrics.clone()).await?;
    let network = open_network(&first, &state, &metrics, &life)?;
    let readiness = Readiness::new(state.door.drain.clone());
    let faces = Faces::bind(&config, &state, &metrics, &readiness, network.shown()).await?;
    let chronicle = chronicle(&first, &state, &metrics);
    let memory = Memory::new(&first);
    let contexts = Contexts::new(&first, &state, &network.dns, &chronicle, memory.contiguous.permits())?;

    let inbound = |handoffs: FromInbound| inbound::Surroundings {
        config: config.clone(),
        metrics: metrics.clone(),
        admission: state.door.admission.clone(),
        guesses: inbound::Guesses::default(),
        certificate: network.certificate.clone(),
        routing: state.routing.clone(),
        blocklist: network.blocklists.reader(),
        memory: memory.in_flight.clone(),
        temporary: Arc::new(Temporary::new(temporary(&first.node.data_dir))),
        chronicle: chronicle.clone(),
        opened: handoffs.opened,
        addressed: handoffs.addressed,
        admitted: handoffs.admitted,
        accepted: handoffs.accepted,
        draining: life.draining.clone(),
        sessions: life.sessions.clone(),
    };
    let on_tempfail = Arc::new(ArcSwap::from_pointee(first.delivery.on_tempfail));
    let ends = Ends {
        state: &state,
        chronicle: chronicle.clone(),
        metrics: metrics.clone(),
        on_tempfail: on_tempfail.clone(),
        queueing: (&*first).into(),
        settling: life.settling.clone(),
        late: life.late.clone(),
        upstreams: network.upstreams.clone(),
        broken: life.broken.clone(),
    };
    let Running { joints, connected, queue } = stages::start(&runtime, &contexts, ends, inbound)?;

    let (addresses, upstreams) =
        (faces.addresses(network.addresses.clone(), state.agreeing.address()), network.upstreams.clone());
    Background { state: &state, metrics: &metrics, queue: &queue, upstreams: &upstreams, config: &config }
        .start(faces.endings(), &life);
    let following = state.following().with(memory).with(reload::chronicle(chronicle)).with(contexts);
    let following = following.with(reload::queue(queue.clone())).with(reload::on_tempfail(on_tempfail));
    let following = network.serve(faces.following(following), &connected, &life);
    if let Some(reloader) = reloader {
        let following = log_level.map(reload::log_level).into_iter().fold(following, Following::with);
        life.tasks.spawn(reload::read(reloader.leading(following), life.background.clone()));
    }
    faces.serve(queue.clone(), &life.tasks, &life.background);
    state.agreeing.tell(&readiness, &life);
    readiness.set(Phase::Serving);
    log_ready(&first.node.name, &addresses);
    Ok(Parts { addresses, state, life, readiness, upstreams, queue, joints })
}

impl State {
    /// What of it follows the configuration.
    fn following(&self) -> Following {
        let following = Following::default()
            .with(reload::routing(self.routing.clone()))
            .with(self.aliases.clone())
            .with(reload::floor(self.spool.clone()));
        self.agreeing.following().into_iter().fold(following, Following::with)
    }
}

impl Network {
    fn shown(&self) -> Shown {
        Shown { certificate: self.certificate.clone(), blocklist: self.blocklists.reader() }
    }

    /// Takes connections, and keeps what it owns fresh. Returns what follows the configuration, its own parts too.
    fn serve(self, following: Following, connected: &Handoff<Connected>, life: &Life) -> Following {
        let Life { tasks, background, draining, .. } = life;
        tasks.spawn(self.upstreams.clone().watch(background.clone()));
        for listener in self.listeners {
            tasks.spawn(inbound::accept(listener, connected.clone(), draining.clone()));
        }
        let following = following.with(self.dns).with(reload::upstreams(self.upstreams));
        following.with(self.blocklists).with(self.certificate)
    }
}

/// The configuration as a channel; with a file behind it, also what reads it again.
fn watched(
    config: Config,
    file: Option<(PathBuf, Vec<(String, String)>)>,
    metrics: &Arc<Metrics>,
) -> (Option<Reloader>, watch::Receiver<Arc<Config>>) {
    config.warn_of_exposed_secrets();
    let metrics = metrics.clone();
    let observe = move |reading| {
        let (successful, restart_required) = match reading {
            Reading::Taken => (1, Some(0)),
            Reading::TakenInPart => (1, Some(1)),
            Reading::Refused => (0, None),
        };
        metrics.config_last_reload_successful.set(successful);
        if let Some(required) = restart_required {
            metrics.config_restart_required.set(required);
        }
    };
    match file {
        Some((path, variables)) => {
            let (reloader, receiver) = Reloader::new(path, variables, config, observe);
            (Some(reloader), receiver)
        }
        None => {
            observe(Reading::Taken);
            (None, watch::channel(Arc::new(config)).1)
        }
    }
}

fn open_network(
    config: &Config,
    state: &State,
    metrics: &Arc<Metrics>,
    life: &Life,
) -> Result<Network, NodeError> {
    let dns = Dns::new(&config.dns, metrics.clone()).map_err(|error| part(&error))?;
    let member = state.agreeing.member();
    let exchange = member.as_ref().map(Handle::exchange);
    let others = exchange.as_ref().map(|exchange| Arc::new(exchange.facts()) as Arc<dyn Others>);
    let around = Around { dns: dns.clone(), metrics: metrics.clone(), others };
    let blocklists = Blocklists::start(config, around, life)?;
    if let Some(shared) = exchange.zip(member) {
        let (ledger, aliases) = (state.ledger.clone(), state.aliases.clone());
        let owners = Owners { blocklist: blocklists.reader(), ledger, aliases };
        sharing::start(shared, owners, &state.routing, life);
    }
    let listeners =
        config.smtp.listen.iter().map(|address| inbound::bind(*address)).collect::<Result<Vec<_>, _>>()?;
    let addresses = listeners.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
    let certificate = StartTls::new(config, metrics.clone()).map_err(|error| part(&error))?;
    let policies = Policies::open(&state.history, dns.clone(), trusted_roots(), HTTPS_PORT)
        .map_err(|error| part(&error))?;
    let upstreams = Upstreams::new(config, &addresses, policies, state.ledger.clone(), metrics.clone());
    Ok(Network { dns, blocklists, listeners, addresses, certificate, upstreams })
}

fn chronicle(config: &Config, state: &State, metrics: &Arc<Metrics>) -> Chronicle {
    Chronicle::new(state.journal.clone(), metrics.clone(), config.into(), poison(&config.node.data_dir))
}

impl Parts {
    /// Takes nothing new, finishes what is in flight, and closes.
    pub(super) async fn drain(self) {
        let Life { draining, sessions, settling, late, background, tasks, .. } = self.life;
        tracing::info!("draining");
        self.readiness.set(Phase::Draining);
        draining.cancel();
        sessions.close();
        if tokio::time::timeout(DRAIN_LIMIT, sessions.wait()).await.is_err() {
            tracing::warn!(sessions = sessions.len(), "sessions cut off at the end of the drain");
        }
        settling.close();
        if tokio::time::timeout(LATE_LIMIT, settling.wait()).await.is_err() {
            tracing::warn!(
                messages = settling.len(),
                "messages not settled to the end: a retry may double them"
            );
        }
        late.close();
        if tokio::time::timeout(LATE_LIMIT, late.wait()).await.is_err() {
            tracing::warn!(replies = late.len(), "upstream replies not waited for: their outcome is unknown");
        }
        if tokio::time::timeout(LATE_LIMIT, self.queue.idle()).await.is_err() {
            let attempts = self.queue.under_way();
            tracing::warn!(attempts, "attempts not waited for: they are made again after the start");
        }
        self.upstreams.drain().await;
        background.cancel();
        tasks.close();
        if tokio::time::timeout(BACKGROUND_LIMIT, tasks.wait()).await.is_err() {
            tracing::warn!(tasks = tasks.len(), "background work not waited for");
        }
        let State { store, history, journal, agreeing, spool, .. } = self.state;
        agreeing.shut_down().await;
        journal.settled().await;
        for store in [store, history] {
            if let Ok(Err(error)) = spawn_blocking(move || store.flush_durably()).await {
                tracing::error!(%error, "the store could not be flushed");
            }
        }
        if let Err(error) = spool.sync().await {
            tracing::error!(%error, "the spool could not be flushed");
        }
        self.joints.stop().await;
        tracing::info!("drained");
    }
}
