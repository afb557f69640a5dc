//! A node: builds every part, starts the pipeline last stage first, and drains it first stage first.
//!
//! A node runs in a thread of its own, which holds the actix system; all of it shares one multi-thread
//! runtime, so that sessions and deliveries run on all cores while the stage actors stay small. Several nodes may run in
//! one process: nothing here is global.
//!
//! Draining: listeners close, sessions hear 421 on their next command, transactions in flight finish, records
//! of clients that vanished are written, late replies are waited for within [`DRAIN_LIMIT`], idle upstream
//! connections get their QUIT, the store is flushed.

mod background;
mod build;
mod error;
mod faces;
mod life;
mod membership;
mod octets;
mod rehearsal;
mod reload;
mod sharing;
mod stages;
mod state;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use actix::System;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

pub use self::build::Start;
pub use self::error::NodeError;
pub use self::life::DRAIN_LIMIT;
pub use self::rehearsal::rehearse;
use crate::config::Config;
use crate::pipeline::queue::Queue;
use crate::routing::Routing;
pub use crate::telemetry::Addresses;
use crate::telemetry::{Metrics, start_logs};

/// How a node ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Drained,
    /// A stage of the pipeline was gone.
    Broken,
    /// The disk failed its databases, and is well again: a new start opens them anew.
    Stale,
}

/// A running node. Dropping it tells it to drain, and does not wait.
pub struct Node {
    addresses: Addresses,
    routing: Routing,
    queue: Queue,
    stop: CancellationToken,
    ended: oneshot::Receiver<Ended>,
    thread: Option<JoinHandle<()>>,
}

/// What the node's thread says once it runs.
struct Started {
    addresses: Addresses,
    routing: Routing,
    queue: Queue,
}

impl Node {
    /// Starts a node with a configuration that no file stands behind.
    ///
    /// # Errors
    /// When a part cannot be built.
    pub async fn start(config: Config) -> Result<Self, NodeError> {
        let metrics = Arc::new(Metrics::new().map_err(|error| NodeError::Part(error.to_string()))?);
        Self::start_from(Start { config, file: None, metrics, log_level: None }).await
    }

    /// Starts a node; it is ready to take mail when this returns.
    ///
    /// # Errors
    /// When a part cannot be built.
    pub async fn start_from(start: Start) -> Result<Self, NodeError> {
        start.metrics.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let (started, starting) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let thread = std::thread::Builder::new()
            .name("node".to_owned())
            .spawn(move || main(start, stopping, started, end))?;
        let running = starting.await.map_err(|_| NodeError::Part("the node's thread ended".to_owned()))??;
        let Started { addresses, routing, queue } = running;
        Ok(Self { addresses, routing, queue, stop, ended, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Its routing table.
    #[must_use]
    pub fn routing(&self) -> &Routing {
        &self.routing
    }

    /// Its queue.
    #[must_use]
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Waits until the node has ended by itself, which only a broken or stale one does.
    pub async fn ended(&mut self) -> Ended {
        (&mut self.ended).await.unwrap_or(Ended::Broken)
    }

    /// Drains and ends the node.
    pub async fn drain(mut self) -> Ended {
        self.stop.cancel();
        let ended = self.ended().await;
        if let Some(thread) = self.thread.take() {
            let _joined = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        ended
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Runs a node in this thread until SIGTERM or SIGINT, which drain it.
///
/// # Errors
/// When it does not start, when a stage of its pipeline is gone, or when its databases must be opened anew.
pub fn run(config: Config, path: PathBuf, variables: Vec<(String, String)>) -> Result<(), NodeError> {
    let metrics = Arc::new(Metrics::new().map_err(|error| NodeError::Part(error.to_string()))?);
    let log_level = start_logs(&config.log.level, &metrics).map_err(|error| error::part(&error))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let start = Start { config, file: Some((path, variables)), metrics, log_level: Some(log_level) };
        let mut node = Node::start_from(start).await?;
        let ended = tokio::select! {
            ended = node.ended() => ended,
            _ = terminate.recv() => node.drain().await,
            _ = tokio::signal::ctrl_c() => node.drain().await,
        };
        match ended {
            Ended::Drained => Ok(()),
            Ended::Broken => Err(NodeError::Part("a stage of the pipeline is gone, see the log".to_owned())),
            Ended::Stale => Err(NodeError::Part(
                "the disk failed the store or the queue's index, and is well again: start the node again"
                    .to_owned(),
            )),
        }
    })
}

/// The node's thread.
fn main(
    start: Start,
    stop: CancellationToken,
    started: oneshot::Sender<Result<Started, NodeError>>,
    end: oneshot::Sender<Ended>,
) {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("worker").build()
    {
        Ok(runtime) => Arc::new(runtime),
        Err(error) => {
            let _nobody_waits = started.send(Err(error.into()));
            return;
        }
    };
    let shared = runtime.clone();
    let system = System::with_tokio_rt(move || shared);
    let ended = system.block_on(live(start, runtime, stop, started));
    let _nobody_waits = end.send(ended);
}

async fn live(
    start: Start,
    runtime: Arc<tokio::runtime::Runtime>,
    stop: CancellationToken,
    started: oneshot::Sender<Result<Started, NodeError>>,
) -> Ended {
    let parts = match build::build(start, runtime).await {
        Ok(parts) => parts,
        Err(error) => {
            let _nobody_waits = started.send(Err(error));
            return Ended::Drained;
        }
    };
    let running = Started {
        addresses: parts.addresses.clone(),
        routing: parts.state.routing.clone(),
        queue: parts.queue.clone(),
    };
    let _nobody_waits = started.send(Ok(running));
    let ended = tokio::select! {
        () = stop.cancelled() => Ended::Drained,
        () = parts.life.broken.cancelled() => Ended::Broken,
        () = parts.life.stale.cancelled() => Ended::Stale,
    };
    let routing = parts.state.routing.clone();
    parts.drain().await;
    // To let go of a table of a million rules takes seconds, in which the next process could have opened the store.
    std::mem::forget(routing.snapshot());
    ended
}
