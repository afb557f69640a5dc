//! The threads of a spool, and the way to them.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Sender};
use std::thread::{Builder, JoinHandle};

use tokio::sync::{Semaphore, oneshot};

use super::Options;
use super::bodies::Bodies;
use super::committer::{Answer, Committer, Order, Pending, Queued, Status};
use super::compactor::Compactor;
use super::error::SpoolError;
use super::index::Index;
use super::indexer::{Indexer, MAX_NOTES};
use super::read::Reader;
use crate::telemetry::{Metrics, free_octets};
use crate::wal::{Log, Segments};

/// Orders in the committer's channel; who comes when it is full waits in front of it.
const MAX_ORDERS: usize = 4096;
/// Those of the compactor: a batch and then some.
const COMPACTOR_ORDERS: usize = 256;

/// What the threads work on.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) log: Log,
    pub(super) index: Arc<Index>,
    pub(super) segments: Segments,
    pub(super) bodies: Bodies,
    pub(super) metrics: Arc<Metrics>,
}

/// The way to the committer. A clone of it keeps the threads alive.
#[derive(Debug, Clone)]
pub(super) struct Orders {
    channel: Sender<Queued>,
    places: Arc<Semaphore>,
}

impl Orders {
    /// Gives an order and waits for the answer.
    pub(super) async fn ask(&self, order: impl FnOnce(Answer) -> Order) -> Result<(), SpoolError> {
        let place = self.places.clone().acquire_owned().await.map_err(|_| SpoolError::Stopped)?;
        let (answer, answered) = oneshot::channel();
        self.channel.send((order(answer), place)).map_err(|_| SpoolError::Stopped)?;
        answered.await.map_err(|_| SpoolError::Stopped)?
    }

    /// The same from a thread. Whoever uses it has places of his own, and never gives more orders than
    /// these without waiting.
    pub(super) fn ask_blocking(&self, order: impl FnOnce(Answer) -> Order) -> Result<(), SpoolError> {
        self.give(order)?.blocking_recv().map_err(|_| SpoolError::Stopped)?
    }

    /// Gives an order from a thread, as [`Orders::ask_blocking`], without waiting.
    pub(super) fn give(
        &self,
        order: impl FnOnce(Answer) -> Order,
    ) -> Result<oneshot::Receiver<Result<(), SpoolError>>, SpoolError> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| SpoolError::Stopped)?;
        let (answer, answered) = oneshot::channel();
        self.channel.send((order(answer), place)).map_err(|_| SpoolError::Stopped)?;
        Ok(answered)
    }
}

/// The threads. Dropping this ends them, and waits for them: the spool can be opened again then.
#[derive(Debug)]
pub(super) struct Threads {
    orders: Option<Orders>,
    status: Arc<Status>,
    dir: PathBuf,
    compactor: Option<(Sender<()>, JoinHandle<()>)>,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Starts them.
    pub(super) fn start(parts: Parts, reader: Reader, options: Options) -> io::Result<Self> {
        let Parts { log, index, segments, bodies, metrics } = parts;
        let status = Arc::new(Status::default());
        let dir = log.dir().to_owned();
        status.floor_octets.store(options.min_free_octets, Ordering::Release);
        status.measured(free_octets(&dir)?);
        let (channel, orders) = mpsc::channel();
        let (notes, noted) = mpsc::sync_channel(MAX_NOTES);
        let indexer = Indexer::new(index, segments, bodies.clone(), status.clone());
        let committer = Committer {
            log,
            bodies,
            status: status.clone(),
            metrics,
            notes,
            watched: HashMap::new(),
            pending: Pending::default(),
        };
        let committing = spawn("spool-committer", move || committer.run(&orders))?;
        let indexing = spawn("spool-indexer", move || indexer.run(&noted))?;
        let orders = Orders { channel, places: Arc::new(Semaphore::new(MAX_ORDERS)) };
        let (compactor_stop, stop) = mpsc::channel();
        let own = Orders { places: Arc::new(Semaphore::new(COMPACTOR_ORDERS)), ..orders.clone() };
        let compactor = Compactor { reader, orders: own, stop };
        let compacting = spawn("spool-compactor", move || compactor.run())?;
        let compactor = Some((compactor_stop, compacting));
        Ok(Self { orders: Some(orders), status, dir, compactor, handles: vec![committing, indexing] })
    }

    /// Gives an order and waits for the answer.
    pub(super) async fn ask(&self, order: impl FnOnce(Answer) -> Order) -> Result<(), SpoolError> {
        self.orders.as_ref().ok_or(SpoolError::Stopped)?.ask(order).await
    }

    /// Whether a new message would be taken now.
    pub(super) fn admit(&self) -> Result<(), SpoolError> {
        if self.status.failed.load(Ordering::Acquire) {
            return Err(SpoolError::Failed);
        }
        if self.status.full.load(Ordering::Acquire) { Err(SpoolError::NoRoom) } else { Ok(()) }
    }

    /// Moves the floor of free octets. Blocks on the disk.
    pub(super) fn set_floor(&self, octets: u64) {
        self.status.floor_octets.store(octets, Ordering::Release);
        match free_octets(&self.dir) {
            Ok(free) => self.status.measured(free),
            // The committer asks again within a second.
            Err(error) => tracing::warn!(%error, "the free space of the spool's disk is not known"),
        }
    }

    /// Whether the index is behind the log for good.
    pub(super) fn index_has_failed(&self) -> bool {
        self.status.index_failure.get().is_some()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // First the one that gives orders itself.
        if let Some((stop, handle)) = self.compactor.take() {
            drop(stop);
            let _ = handle.join();
        }
        self.orders = None;
        for handle in self.handles.drain(..) {
            // A panic in a thread has been told to everyone who waited, as a closed channel.
            let _ = handle.join();
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name.to_owned()).spawn(run)
}
