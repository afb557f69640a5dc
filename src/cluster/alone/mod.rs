//! The node without `[cluster]` in its file: a cluster of one, by the same code as any other. What it keeps stands under
//! `raft/` in the data directory: `identity`, and in the folder that this names by a number, `log/` and `snapshot`.
//!
//! - A node that has none founds itself ([`found`]), from the table that an earlier version left in the store, once.
//! - Whether it did is noted in the store, so that a folder `raft/` that is gone is a lost table, and not an old one.
//! - It takes mail when it leads and has applied all that was agreed on: no mail is judged by half a table.
//! - Where it cannot take part, at its start or from then on, it goes on forwarding by the table that it has, and refuses
//!   changes with [`RoutingError::ClusterStopped`](crate::routing::RoutingError::ClusterStopped). A table that may lack
//!   entries says of nothing that it does not exist ([`Coverage::Lost`](crate::routing::Coverage::Lost)).
//! - Where the disk refuses, for want of room for one, it tries again until it takes part: nothing is wrong with what is
//!   there. What is damaged stays as it is, for an operator to look at.

mod compact;
mod error;
mod found;
mod lock;
mod mark;
pub(super) mod nobody;
mod read;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use openraft::{Config, Raft, SnapshotPolicy};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

pub use error::{AloneError, Damage};

use self::compact::Keeper;
use self::mark::Mark;
use self::nobody::Nobody;
use self::read::{Again, Found, Remains, Whole};
use super::founding::NodeName;
use super::identity::{Identity, IdentityError};
use super::log::{self, LogStore};
use super::propose::{Proposer, refuse};
use super::snapshot;
use super::types::{StoredMembership, Types};
use crate::routing::{Orders, Routing, RoutingOptions, View};
use crate::store::Store;
use crate::telemetry::Metrics;

/// How long a start may take from when its log and its snapshot are read.
pub const LEADS_WITHIN: Duration = Duration::from_secs(10);
/// How often a node tries to take part whose disk refused, where nothing else is said.
pub const TRIED_EVERY: Duration = Duration::from_secs(10);
/// How long the end of its part is waited for: that of a change in flight.
const ENDS_WITHIN: Duration = Duration::from_secs(20);
/// How often a leader says that it leads, in milliseconds: more than a round trip and the sync of a batch.
const HEARTBEAT_MILLIS: u64 = 250;
/// How long nobody is heard before somebody asks to lead, in milliseconds.
const ELECTION_MILLIS: (u64, u64) = (500, 1000);

/// Where a node keeps what it keeps of the cluster, and what it begins with.
pub struct Place {
    /// The node's data directory.
    pub data_dir: PathBuf,
    /// `node.name`.
    pub name: NodeName,
    /// Where an earlier version kept the table.
    pub store: Store,
    /// What the table is shown with.
    pub options: RoutingOptions,
    /// How often a node tries to take part whose disk refused.
    pub tried_every: Duration,
}

/// A node's part in agreeing on the table, until it is shut down.
pub struct Agreement {
    stop: CancellationToken,
    work: JoinHandle<()>,
    took_part: bool,
}

/// What stays, however often the node begins to take part.
struct Site {
    place: Place,
    view: View,
    metrics: Arc<Metrics>,
    lock: Arc<File>,
}

/// Whether a node takes part.
enum Condition {
    Agreeing(Part),
    Refusing(Again),
}

/// What it takes part with.
struct Part {
    raft: Raft<Types>,
    log: LogStore,
    unwritten: watch::Receiver<u64>,
}

/// How a beginning ends.
enum Begun {
    Part(Part),
    Stopped(Box<Remains>),
}

impl Agreement {
    /// Begins, or goes on, as a cluster of one. Returns when the table has all that was agreed on, or what is left of it.
    ///
    /// # Errors
    /// When another process has it, it cannot be read, a later version wrote what is there, or there are other members.
    /// Damage is none, nor is a disk that cannot be written to.
    pub async fn open(place: Place, metrics: Arc<Metrics>) -> Result<(Routing, Self), AloneError> {
        let data_dir = place.data_dir.clone();
        let lock = spawn_blocking(move || lock::take(&data_dir)).await??;
        let view = View::empty(place.options.clone());
        let site = Site { place, view: view.clone(), metrics, lock: Arc::new(lock) };
        let condition = match site.begin().await? {
            Begun::Part(part) => Condition::Agreeing(part),
            Begun::Stopped(remains) => {
                let Remains { damage, table, again } = *remains;
                view.show(table);
                site.refuses(&damage, again);
                Condition::Refusing(again)
            }
        };
        view.release();
        let (routing, orders) = Routing::agreed(view);
        let (took_part, stop) = (matches!(condition, Condition::Agreeing(_)), CancellationToken::new());
        let work = tokio::spawn(site.work(condition, orders, stop.clone()));
        Ok((routing, Self { stop, work, took_part }))
    }

    /// Whether it took part from its beginning; where it did not, the log says why.
    #[must_use]
    pub fn took_part(&self) -> bool {
        self.took_part
    }

    /// Takes no more part. What was answered is durable already.
    pub async fn shut_down(self) {
        let Self { stop, mut work, .. } = self;
        stop.cancel();
        match timeout(ENDS_WITHIN, &mut work).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the node's part in the cluster did not end well"),
            Err(_) => {
                tracing::warn!(limit = ?ENDS_WITHIN, "the node's part in the cluster is not waited for")
            }
        }
    }
}

impl Site {
    /// Carries out what is ordered, until told to stop, or until nobody can order any more.
    async fn work(self, mut condition: Condition, mut orders: Orders, stop: CancellationToken) {
        loop {
            let next = match condition {
                Condition::Agreeing(part) => self.agree(part, &mut orders, &stop).await,
                Condition::Refusing(again) => self.wait(again, &mut orders, &stop).await,
            };
            match next {
                Some(next) => condition = next,
                None => return,
            }
        }
    }

    /// Reads what is there, and takes part with it. Readers keep what they see until the table has all that was agreed on.
    async fn begin(&self) -> Result<Begun, AloneError> {
        self.view.hold();
        let found = match self.identify().await? {
            Identified::As(identity) => {
                let dir = identity.dir(&folder(&self.place.data_dir));
                let (view, lock) = (self.view.clone(), self.lock.clone());
                spawn_blocking(move || read::read(dir, identity, &view, lock)).await??
            }
            Identified::Not(remains) => Found::Stopped(remains),
        };
        match found {
            Found::Whole(whole) => self.start(*whole).await,
            Found::Stopped(remains) => Ok(Begun::Stopped(remains)),
        }
    }

    /// Who this node is, founding it first where it is nobody yet.
    async fn identify(&self) -> Result<Identified, AloneError> {
        let (place, folder) = (&self.place, folder(&self.place.data_dir));
        let (store, options) = (place.store.clone(), place.options.clone());
        let dir = folder.clone();
        let (mark, stands) = spawn_blocking(move || {
            let mark = Mark::open(&store)?;
            Ok::<_, AloneError>((mark.clone(), found::stands(&dir, &mark, options)?))
        })
        .await??;
        let identity = match stands {
            found::Stands::As(identity) => identity,
            found::Stands::Unknown(remains) => return Ok(Identified::Not(remains)),
            found::Stands::Nobody(standing) => match found::found(place, &folder, &mark, standing).await {
                Ok(identity) => identity,
                Err(error) if error.is_of_the_disk() => {
                    let table = found::before(place, standing).await?;
                    let damage = Damage::NotFounded(error.to_string());
                    return Ok(Identified::Not(Box::new(Remains { damage, table, again: Again::Later })));
                }
                Err(error) => return Err(error),
            },
        };
        if identity.name != place.name {
            tracing::warn!(founded_as = %identity.name, "node.name has changed since this node founded itself");
        }
        spawn_blocking(move || mark.take_over()).await??;
        Ok(Identified::As(identity))
    }

    async fn start(&self, whole: Whole) -> Result<Begun, AloneError> {
        let Whole { identity, dir, log, machine } = whole;
        let unwritten = machine.unwritten();
        let config = Arc::new(config()?);
        let raft = match Raft::new(identity.node, config, Nobody, log.clone(), machine).await {
            Ok(raft) => raft,
            Err(fatal) => {
                let again = Again::after(&log);
                end(log).await;
                return self.without(dir, Damage::Raft(fatal.to_string()), again).await;
            }
        };
        let part = Part { raft, log, unwritten };
        match part.ready(&identity).await {
            Ok(()) => {
                self.metrics.cluster_stopped.set(0);
                self.view.release();
                Ok(Begun::Part(part))
            }
            Err(error @ AloneError::OtherMembers) => {
                part.shut_down().await;
                Err(error)
            }
            Err(error) => {
                let again = part.again(&error);
                part.shut_down().await;
                self.without(dir, Damage::Raft(error.to_string()), again).await
            }
        }
    }

    /// What a node goes on with whose Raft does not run.
    async fn without(&self, dir: PathBuf, damage: Damage, again: Again) -> Result<Begun, AloneError> {
        let options = self.place.options.clone();
        let table = spawn_blocking(move || read::left(&dir, options)).await?;
        Ok(Begun::Stopped(Box::new(Remains { damage, table, again })))
    }

    /// Agrees on what is ordered. None: that is the end. Else Raft has stopped.
    async fn agree(&self, part: Part, orders: &mut Orders, stop: &CancellationToken) -> Option<Condition> {
        let view = self.view.clone();
        // There is nobody who could be silent.
        let silent = watch::channel(Vec::new()).1;
        let proposer = Proposer::new(part.raft.clone(), view, silent);
        let goes_on = tokio::select! {
            goes_on = proposer.run(orders, stop) => goes_on,
            never = Keeper::new(&part).run() => match never {},
        };
        let cause = part.raft.metrics().borrow().running_state.clone().err();
        let again = Again::after(&part.log);
        part.shut_down().await;
        if stop.is_cancelled() || !goes_on {
            return None;
        }
        let cause = cause.map_or_else(|| "its task has ended".to_owned(), |fatal| fatal.to_string());
        self.refuses(&Damage::Raft(cause), again);
        Some(Condition::Refusing(again))
    }

    /// Refuses what is ordered, until it takes part again. None: that is the end.
    async fn wait(&self, again: Again, orders: &mut Orders, stop: &CancellationToken) -> Option<Condition> {
        let pause = async {
            match again {
                Again::Later => sleep(self.place.tried_every).await,
                Again::Never => std::future::pending().await,
            }
        };
        tokio::select! {
            () = refuse(orders, &self.view) => return None,
            () = stop.cancelled() => return None,
            () = pause => {}
        }
        // Whoever of the last time still applies, or writes a snapshot, has the lock too.
        if Arc::strong_count(&self.lock) > 1 {
            return Some(Condition::Refusing(again));
        }
        match self.begin().await {
            Ok(Begun::Part(part)) => {
                tracing::info!("this node takes changes again");
                Some(Condition::Agreeing(part))
            }
            // What readers see is what there was before, and all of it.
            Ok(Begun::Stopped(remains)) => {
                let Remains { damage, again, .. } = *remains;
                self.refuses(&damage, again);
                Some(Condition::Refusing(again))
            }
            Err(error) => {
                tracing::warn!(%error, "this node cannot take changes yet");
                Some(Condition::Refusing(Again::Later))
            }
        }
    }

    /// Says that changes are refused from now on.
    fn refuses(&self, damage: &Damage, again: Again) {
        self.metrics.cluster_stopped.set(1);
        match again {
            Again::Later => tracing::error!(
                %damage,
                tried_every = ?self.place.tried_every,
                "this node takes no changes for now, and forwards by the routing table that it has: it tries again"
            ),
            Again::Never => tracing::error!(
                %damage,
                "this node takes no changes, and forwards by what it has of the routing table; recipients that this lacks \
                 hear 451. Export what is left (postroadctl export --partial), stop the node, move raft/ aside, start it, \
                 and apply the routing document exported last, or what is left"
            ),
        }
    }
}

/// Who a node is.
enum Identified {
    As(Identity),
    /// It is not known, or it could not be founded.
    Not(Box<Remains>),
}

impl Again {
    /// After Raft has stopped: it may have been the disk that refused.
    fn after(log: &LogStore) -> Self {
        let is_of_the_disk = log.failure().is_some_and(|failure| failure.is_of_the_disk());
        if is_of_the_disk { Self::Later } else { Self::Never }
    }
}

impl Part {
    /// Waits until this node, the only member, leads, and the table has all that was agreed on.
    async fn ready(&self, identity: &Identity) -> Result<(), AloneError> {
        let leads = async {
            let mut metrics = self.raft.metrics();
            let others = |members: &StoredMembership| members.voter_ids().any(|id| id != identity.node);
            let told = metrics.wait_for(|now| {
                now.running_state.is_err()
                    || now.current_leader == Some(identity.node)
                    || others(&now.membership_config)
            });
            let told = told.await.map_err(|_| AloneError::Stopped)?.clone();
            if others(&told.membership_config) {
                return Err(AloneError::OtherMembers);
            }
            self.raft
                .ensure_linearizable()
                .await
                .map(drop)
                .map_err(|error| AloneError::Raft(error.to_string()))
        };
        timeout(LEADS_WITHIN, leads).await.map_err(|_| AloneError::NotReady)?
    }

    /// Whether a part that did not become ready may do so later.
    fn again(&self, error: &AloneError) -> Again {
        if matches!(error, AloneError::NotReady) { Again::Later } else { Again::after(&self.log) }
    }

    async fn shut_down(self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::error!(%error, "Raft did not end well");
        }
        drop(self.raft);
        end(self.log).await;
    }
}

/// Waits for the log's thread, which ends with the last who has the log.
async fn end(log: LogStore) {
    if let Err(error) = spawn_blocking(move || drop(log)).await {
        tracing::error!(%error, "the cluster's log did not end well");
    }
}

fn config() -> Result<Config, AloneError> {
    let (election_timeout_min, election_timeout_max) = ELECTION_MILLIS;
    let config = Config {
        cluster_name: "postroad".to_owned(),
        heartbeat_interval: HEARTBEAT_MILLIS,
        election_timeout_min,
        election_timeout_max,
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: 0,
        ..Config::default()
    };
    config.validate().map_err(|error| AloneError::Raft(error.to_string()))
}

/// The folder of what a node keeps of the cluster.
#[must_use]
pub fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("raft")
}

/// Looks for what [`Agreement::open`] would refuse, and for damage; changes nothing. Blocks while log and snapshot are read.
///
/// # Errors
/// As [`Agreement::open`], and for damage.
pub fn inspect(data_dir: &Path, options: RoutingOptions) -> Result<(), AloneError> {
    lock::look(data_dir)?;
    let folder = folder(data_dir);
    let identity = match Identity::read(&folder) {
        Ok(Some(identity)) => identity,
        Ok(None) => return Ok(()),
        Err(IdentityError::Damaged(_)) => return Err(Damage::NoIdentity.into()),
        Err(error) => return Err(error.into()),
    };
    let dir = identity.dir(&folder);
    let snapshot = match snapshot::look(&dir, options) {
        Ok(Some(meta)) => meta.last_log_id,
        Ok(None) => return Err(Damage::NoSnapshot.into()),
        Err(error) if error.is_damage() => return Err(Damage::Snapshot(error).into()),
        Err(error) => return Err(error.into()),
    };
    let log = log::look(&dir.join("log"));
    match log.whole {
        Err(error) if error.is_damage() => Err(Damage::Log(error).into()),
        Err(error) => Err(error.into()),
        Ok(()) if log.purged > snapshot => Err(Damage::Gap.into()),
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
