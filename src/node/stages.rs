//! The pipeline's wiring: what each stage knows, and which hands on to which.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::error::{NodeError, part};
use super::state::State;
use crate::aliases::Aliases;
use crate::clock;
use crate::config::{Config, OnTempfail, files};
use crate::dns::Dns;
use crate::mail::loop_token::LoopKey;
use crate::pipeline::authenticate::{self, Authenticate, Early};
use crate::pipeline::chronicle::Chronicle;
use crate::pipeline::cores::Cores;
use crate::pipeline::deliver::{Ask, Deliver, Redeliver, Upstreams};
use crate::pipeline::inbound::{self, Connected, Inbound};
use crate::pipeline::joint::{Handoff, Joints};
use crate::pipeline::parcel::{Accepted, Addressed, Admitted, Attempted, Opened};
use crate::pipeline::queue::{self, AwaitReply, Enqueue, Queue};
use crate::pipeline::rewrite::{self, Readdress, Rewrite, Sign};
use crate::pipeline::route::{self, Route, Take};
use crate::pipeline::settle::{self, Settle};
use crate::routing::Routing;
use crate::srs::{Secret, Srs};
use crate::telemetry::Metrics;

/// What each stage knows, exchanged when the configuration changes.
pub(super) struct Contexts {
    authenticate: Arc<ArcSwap<authenticate::Context>>,
    route: Arc<ArcSwap<route::Context>>,
    rewrite: Arc<ArcSwap<rewrite::Context>>,
    lasting: Lasting,
}

/// What of the contexts outlives a configuration.
struct Lasting {
    routing: Routing,
    aliases: Arc<Aliases>,
    dns: Dns,
    chronicle: Chronicle,
    contiguous: Arc<Semaphore>,
    cores: Cores,
}

impl Contexts {
    /// Reads keys and secrets. `contiguous` holds a permit for each octet of bodies read back from files.
    pub(super) fn new(
        config: &Config,
        state: &State,
        dns: &Dns,
        chronicle: &Chronicle,
        contiguous: Arc<Semaphore>,
    ) -> Result<Self, NodeError> {
        let lasting = Lasting {
            routing: state.routing.clone(),
            aliases: state.aliases.clone(),
            dns: dns.clone(),
            chronicle: chronicle.clone(),
            contiguous,
            cores: Cores::of_machine().map_err(|error| part(&error))?,
        };
        let (authenticate, route, rewrite) = lasting.contexts(config, None)?;
        Ok(Self {
            authenticate: Arc::new(ArcSwap::from_pointee(authenticate)),
            route: Arc::new(ArcSwap::from_pointee(route)),
            rewrite: Arc::new(ArcSwap::from_pointee(rewrite)),
            lasting,
        })
    }

    /// Reads keys and secrets again.
    pub(super) fn read(&self, config: &Config) -> Result<Prepared, NodeError> {
        self.lasting.contexts(config, Some(&self.route.load().srs))
    }

    /// Works with these from now on.
    pub(super) fn take(&self, (authenticate, route, rewrite): Prepared) {
        self.authenticate.store(Arc::new(authenticate));
        self.route.store(Arc::new(route));
        self.rewrite.store(Arc::new(rewrite));
    }
}

/// What the stages are to know.
pub(super) type Prepared = (authenticate::Context, route::Context, rewrite::Context);

impl Lasting {
    /// `before` is what return addresses were made and read with until now.
    fn contexts(&self, config: &Config, before: Option<&Srs>) -> Result<Prepared, NodeError> {
        let Keys { secrets, signing } = Keys::read(config)?;
        let first =
            secrets.first().ok_or_else(|| NodeError::Part("srs.secret_file holds no secret".to_owned()))?;
        let loop_key = || LoopKey::new(first.expose().as_bytes(), &config.service.domain);
        let keys = secrets.iter().map(|secret| Secret::new(secret.expose().as_bytes())).collect();
        let srs = Srs::new(keys, config.srs.max_age_days);
        let srs = Arc::new(match before {
            Some(before) => srs.after(before, clock::now()),
            None => srs,
        });
        let authenticate = authenticate::Context::new(
            config.into(),
            self.dns.clone(),
            self.contiguous.clone(),
            self.cores.clone(),
            self.chronicle.clone(),
        );
        let route = route::Context {
            routing: self.routing.clone(),
            srs: srs.clone(),
            aliases: self.aliases.clone(),
            loop_key: loop_key(),
            hops: config.limits.hops,
            chronicle: self.chronicle.clone(),
        };
        let secrets = rewrite::Secrets { keys: signing, srs, loop_key: loop_key() };
        let aliases = self.aliases.clone();
        let keep_alias: rewrite::KeepAlias = Arc::new(move |token, original| {
            let aliases = aliases.clone();
            Box::pin(async move {
                let kept = aliases.keep(token, original).await;
                kept.map_err(|error| rewrite::AliasNotKept(error.to_string()))
            })
        });
        let (cores, chronicle) = (self.cores.clone(), self.chronicle.clone());
        let rewrite = rewrite::Context::new(config.into(), secrets, keep_alias, cores, chronicle);
        Ok((authenticate, route, rewrite))
    }
}

/// What the stages read from files.
pub(super) struct Keys {
    secrets: Vec<files::Secret>,
    signing: rewrite::SigningKeys,
}

impl Keys {
    /// Reads the files. Blocks on the disk.
    pub(super) fn read(config: &Config) -> Result<Self, NodeError> {
        let path = &config.srs.secret_file;
        let secrets = files::srs_secrets(path)
            .map_err(|error| NodeError::Part(format!("srs.secret_file: {}: {error}", path.display())))?;
        let signing = rewrite::SigningKeys::load(&config.dkim).map_err(|error| part(&error))?;
        Ok(Self { secrets, signing })
    }
}

/// What the last stages work with.
pub(super) struct Ends<'a> {
    pub(super) state: &'a State,
    pub(super) chronicle: Chronicle,
    pub(super) metrics: Arc<Metrics>,
    pub(super) on_tempfail: Arc<ArcSwap<OnTempfail>>,
    pub(super) queueing: queue::Settings,
    pub(super) settling: TaskTracker,
    pub(super) late: TaskTracker,
    pub(super) upstreams: Arc<Upstreams>,
    pub(super) broken: CancellationToken,
}

/// The pipeline as it runs.
pub(super) struct Running {
    pub(super) joints: Joints,
    /// Where connections go.
    pub(super) connected: Handoff<Connected>,
    pub(super) queue: Queue,
}

/// Where the first stage hands on to.
pub(super) struct FromInbound {
    pub(super) opened: Handoff<Opened>,
    pub(super) addressed: Handoff<Addressed>,
    pub(super) admitted: Handoff<Admitted>,
    pub(super) accepted: Handoff<Accepted>,
}

/// Starts all stages, the last first.
pub(super) fn start(
    runtime: &Arc<Runtime>,
    contexts: &Contexts,
    ends: Ends<'_>,
    inbound: impl FnOnce(FromInbound) -> inbound::Surroundings,
) -> Result<Running, NodeError> {
    let joints = Joints::start(runtime, ends.chronicle.clone(), ends.broken.clone())?;
    let queue = start_queue(&joints, contexts, &ends);
    let attempted = start_settle(&joints, &queue, &ends);
    let rewritten = joints.link(Deliver(ends.upstreams.clone()), attempted);
    let routed = joints.link(Rewrite(contexts.rewrite.clone()), rewritten);
    let authenticated = joints.link(Route(contexts.route.clone()), routed);
    let readdressed = joints.end(Ask(ends.upstreams));
    let around = inbound(FromInbound {
        opened: joints.end(Early(contexts.authenticate.clone())),
        addressed: joints.end(Take(contexts.route.clone())),
        admitted: joints.link(Readdress(contexts.rewrite.clone()), readdressed),
        accepted: joints.link(Authenticate(contexts.authenticate.clone()), authenticated),
    });
    let connected = joints.end(Inbound(Arc::new(around)));
    Ok(Running { joints, connected, queue })
}

/// The queue, with the parts of other stages that it hands to.
fn start_queue(joints: &Joints, contexts: &Contexts, ends: &Ends<'_>) -> Queue {
    let around = queue::Surroundings {
        spool: ends.state.spool.clone(),
        routing: ends.state.routing.clone(),
        journal: ends.state.journal.clone(),
        metrics: ends.metrics.clone(),
        deliver: joints.end(Redeliver(ends.upstreams.clone())),
        rewrite: joints.end(Sign(contexts.rewrite.clone())),
        suspended: ends.upstreams.suspended(),
    };
    Queue::new(around, ends.queueing.clone())
}

fn start_settle(joints: &Joints, queue: &Queue, ends: &Ends<'_>) -> Handoff<Attempted> {
    joints.end(Settle(Arc::new(settle::Surroundings {
        ledger: ends.state.ledger.clone(),
        chronicle: ends.chronicle.clone(),
        settling: ends.settling.clone(),
        late: ends.late.clone(),
        on_tempfail: ends.on_tempfail.clone(),
        deferred: joints.end(Enqueue(queue.clone())),
        late_replies: joints.end(AwaitReply(queue.clone())),
    })))
}
