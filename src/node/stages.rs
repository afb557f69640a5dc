//! The pipeline's actors: one of each stage, all on one arbiter, started last stage first. An actor only starts a task
//! for what it is handed, so that one thread has room for all of them; with one a core, more hops found theirs
//! asleep, and a message cost about 4 % more CPU.

use std::sync::Arc;

use actix::dev::ToEnvelope;
use actix::prelude::*;
use arc_swap::ArcSwap;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::NodeError;
use super::build::{State, part};
use crate::aliases::Aliases;
use crate::config::files::srs_secrets;
use crate::config::{Config, OnTempfail};
use crate::dns::Dns;
use crate::mail::loop_token::LoopKey;
use crate::pipeline::chronicle::Chronicle;
use crate::pipeline::deliver::{Deliver, Redeliver, Upstreams};
use crate::pipeline::handoff::Handoff;
use crate::pipeline::inbound::{self, Connected, Inbound};
use crate::pipeline::parcel::{Accepted, Addressed, Admitted, Opened};
use crate::pipeline::queue::{self, Enqueue, Queue};
use crate::pipeline::settle::{self, Settle};
use crate::pipeline::{authenticate, rewrite, route};
use crate::routing::Routing;
use crate::srs::{Secret, Srs};
use crate::telemetry::Metrics;

/// Parcels that wait in a stage's mailbox; past it whoever hands on waits.
const MAILBOX_PARCELS: usize = 256;

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
        };
        let (authenticate, route, rewrite) = lasting.contexts(config)?;
        Ok(Self {
            authenticate: Arc::new(ArcSwap::from_pointee(authenticate)),
            route: Arc::new(ArcSwap::from_pointee(route)),
            rewrite: Arc::new(ArcSwap::from_pointee(rewrite)),
            lasting,
        })
    }

    /// Reads keys and secrets again.
    pub(super) fn read(&self, config: &Config) -> Result<Prepared, NodeError> {
        self.lasting.contexts(config)
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
    fn contexts(&self, config: &Config) -> Result<Prepared, NodeError> {
        let secrets = srs_secrets(&config.srs.secret_file).map_err(|error| part(&error))?;
        let first =
            secrets.first().ok_or_else(|| NodeError::Part("srs.secret_file holds no secret".to_owned()))?;
        let loop_key = || LoopKey::new(first.expose().as_bytes(), &config.service.domain);
        let keys = secrets.iter().map(|secret| Secret::new(secret.expose().as_bytes())).collect();
        let srs = Arc::new(Srs::new(keys, config.srs.max_age_days));
        let authenticate = authenticate::Context::new(
            config.into(),
            self.dns.clone(),
            self.contiguous.clone(),
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
        let secrets = rewrite::Secrets {
            keys: rewrite::SigningKeys::load(&config.dkim).map_err(|error| part(&error))?,
            srs,
            loop_key: loop_key(),
        };
        let aliases = self.aliases.clone();
        let keep_alias: rewrite::KeepAlias = Arc::new(move |token, original| {
            let aliases = aliases.clone();
            Box::pin(async move {
                let kept = aliases.keep(&token, &original).await;
                kept.map_err(|error| rewrite::AliasNotKept(error.to_string()))
            })
        });
        let rewrite = rewrite::Context::new(config.into(), secrets, keep_alias, self.chronicle.clone());
        Ok((authenticate, route, rewrite))
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
    pub(super) actors: Actors,
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

/// The thread that the actors run on.
pub(super) struct Actors(Arbiter);

impl Actors {
    fn new(runtime: &Arc<Runtime>) -> Result<Self, NodeError> {
        let runtime = runtime.clone();
        Ok(Self(Arbiter::try_with_tokio_rt(move || Ok(runtime))?))
    }

    fn start<A>(&self, actor: A) -> Addr<A>
    where
        A: Actor<Context = Context<A>> + Send,
    {
        A::start_in_arbiter(&self.0.handle(), move |context| {
            context.set_mailbox_capacity(MAILBOX_PARCELS);
            actor
        })
    }

    /// Ends the thread.
    pub(super) async fn stop(self) {
        self.0.stop();
        let _joined = tokio::task::spawn_blocking(move || self.0.join()).await;
    }
}

/// Starts all stages.
pub(super) fn start(
    runtime: &Arc<Runtime>,
    contexts: &Contexts,
    ends: Ends<'_>,
    inbound: impl FnOnce(FromInbound) -> inbound::Surroundings,
) -> Result<Running, NodeError> {
    let actors = Actors::new(runtime)?;
    let queue = start_queue(&actors, contexts, &ends)?;
    let settle = start_settle(&actors, &queue, &ends);
    let Ends { upstreams, broken, .. } = ends;
    let attempted = handoff(&settle, &broken);
    let deliver = actors.start(Deliver::new(upstreams, attempted));
    let (readdressed, rewritten) = (handoff(&deliver, &broken), handoff(&deliver, &broken));
    let rewrite = actors.start(rewrite::Rewrite::new(contexts.rewrite.clone(), readdressed, rewritten));
    let routed = handoff(&rewrite, &broken);
    let route = actors.start(route::Route::new(contexts.route.clone(), routed));
    let authenticated = handoff(&route, &broken);
    let authenticate =
        actors.start(authenticate::Authenticate::new(contexts.authenticate.clone(), authenticated));
    let surroundings = Arc::new(inbound(FromInbound {
        opened: handoff(&authenticate, &broken),
        addressed: handoff(&route, &broken),
        admitted: handoff(&rewrite, &broken),
        accepted: handoff(&authenticate, &broken),
    }));
    let inbound = actors.start(Inbound::new(surroundings));
    let connected = handoff(&inbound, &broken);
    Ok(Running { actors, connected, queue })
}

/// The queue, with the parts of other stages that it hands to.
fn start_queue(actors: &Actors, contexts: &Contexts, ends: &Ends<'_>) -> Result<Queue, NodeError> {
    let redeliver = actors.start(Redeliver::new(ends.upstreams.clone()));
    let sign = actors.start(rewrite::Sign::new(contexts.rewrite.clone()));
    let around = queue::Surroundings {
        spool: ends.state.spool.clone(),
        store: ends.state.store.clone(),
        routing: ends.state.routing.clone(),
        journal: ends.state.journal.clone(),
        metrics: ends.metrics.clone(),
        deliver: handoff(&redeliver, &ends.broken),
        rewrite: handoff(&sign, &ends.broken),
        suspended: ends.upstreams.suspended(),
    };
    Queue::new(around, ends.queueing.clone()).map_err(|error| part(&error))
}

fn start_settle(actors: &Actors, queue: &Queue, ends: &Ends<'_>) -> Addr<Settle> {
    let enqueue = actors.start(Enqueue::new(queue.clone()));
    let surroundings = Arc::new(settle::Surroundings {
        ledger: ends.state.ledger.clone(),
        chronicle: ends.chronicle.clone(),
        settling: ends.settling.clone(),
        late: ends.late.clone(),
        on_tempfail: ends.on_tempfail.clone(),
        deferred: handoff(&enqueue, &ends.broken),
        late_replies: handoff(&enqueue, &ends.broken),
    });
    actors.start(Settle::new(surroundings))
}

/// A way to this actor for one type of parcel.
fn handoff<A, P>(actor: &Addr<A>, broken: &CancellationToken) -> Handoff<P>
where
    A: Actor + Handler<P>,
    A::Context: ToEnvelope<A, P>,
    P: Message<Result = ()> + Send + 'static,
{
    Handoff::new(actor.clone().recipient()).reporting_to(broken.clone())
}
