//! The node without `[cluster]` in its file: a cluster of one, by the same code as any other. What it keeps stands under
//! `raft/` in the data directory ([`super::disk`]).
//!
//! - A node that has nothing there founds itself, from the table that an earlier version left in the store, once.
//! - Whether it did is noted in the store, so that a folder `raft/` that is gone is a lost table, and not an old one.
//! - It takes mail when it leads and has applied all that was agreed on: no mail is judged by half a table.
//! - Where it cannot take part, at its start or from then on, it goes on forwarding by the table that it has, and refuses
//!   changes with [`RoutingError::ClusterStopped`]. A table that may lack
//!   entries says of nothing that it does not exist ([`Coverage::Lost`](crate::routing::Coverage::Lost)).
//! - Where the disk refuses, for want of room for one, it tries again until it takes part: nothing is wrong with what is
//!   there. What is damaged stays as it is, for an operator to look at.

mod handle;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use openraft::Raft;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

pub use self::handle::Handle;
use super::disk::{
    Adopted, Again, Contents, Damage, DiskError, Found, Identity, Mark, Place, Remains, Standing, Stands,
    Whole, before, left, read, renew, stands,
};
use super::founding::{ClusterId, Origin};
use super::nobody::Nobody;
use super::part::{self, Keeper, MAX_LOG_ENTRIES, Part, Timing, end};
use super::propose::{Proposer, refuse};
use super::status::Shown;
use super::types::StoredMembership;
use crate::routing::{Orders, Routing, RoutingError, View};
use crate::telemetry::Metrics;

/// How long a start may take from when its log and its snapshot are read.
pub const LEADS_WITHIN: Duration = Duration::from_secs(10);

/// Why a node does not begin.
#[derive(Debug, Error)]
pub enum AloneError {
    /// What it keeps cannot be read or written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It is a member of a cluster of several.
    #[error(
        "raft/ is that of a member of a cluster of several nodes, and the file has no [cluster]: put it back"
    )]
    OtherMembers,
    /// The Raft engine refuses.
    #[error("Raft does not start: {0}")]
    Raft(String),
    /// The Raft engine ended.
    #[error("Raft has stopped: its log says why")]
    Stopped,
    /// The disk is too slow, or the log too long.
    #[error("the routing table was not ready within {LEADS_WITHIN:?}")]
    NotReady,
    /// A bug of ours.
    #[error(transparent)]
    Panicked(#[from] JoinError),
}

/// A node's part in agreeing on the table, until it is shut down.
pub struct Agreement {
    stop: CancellationToken,
    work: JoinHandle<()>,
    took_part: bool,
    handle: Handle,
}

/// What stays, however often the node begins to take part.
struct Site {
    place: Place,
    view: View,
    metrics: Arc<Metrics>,
    lock: Arc<File>,
    /// Who this node is, once that is known.
    known: Arc<ArcSwapOption<Identity>>,
}

/// Whether a node takes part.
enum Condition {
    Agreeing(Part),
    Refusing(Again),
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
    pub async fn open(
        place: Place,
        metrics: Arc<Metrics>,
        shown: Shown,
    ) -> Result<(Routing, Self), AloneError> {
        let lock = place.lock().await?;
        let view = View::empty(place.options.clone());
        let known = Arc::new(ArcSwapOption::empty());
        let handle = Handle {
            name: place.name.clone(),
            known: known.clone(),
            view: view.clone(),
            metrics: metrics.clone(),
            shown: Arc::new(shown),
        };
        let site = Site { place, view: view.clone(), metrics, lock, known };
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
        Ok((routing, Self { stop, work, took_part, handle }))
    }

    /// Whether it took part from its beginning; where it did not, the log says why.
    #[must_use]
    pub fn took_part(&self) -> bool {
        self.took_part
    }

    /// What operators see of it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Takes no more part. What was answered is durable already.
    pub async fn shut_down(self) {
        part::wind_up(&self.stop, self.work).await;
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
                let dir = identity.dir(&self.place.folder());
                let (view, lock) = (self.view.clone(), self.lock.clone());
                spawn_blocking(move || read(dir, identity, &view, lock)).await??
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
        let place = &self.place;
        let (store, options, folder) = (place.store.clone(), place.options.clone(), place.folder());
        let (mark, stands) = spawn_blocking(move || {
            let mark = Mark::open(&store)?;
            let stands = stands(&folder, &mark, options)?;
            Ok::<_, DiskError>((mark, stands))
        })
        .await??;
        let identity = match stands {
            Stands::As(identity) => identity,
            Stands::Unknown(remains) => return Ok(Identified::Not(remains)),
            Stands::Nobody(standing) => match self.found(&mark, standing).await {
                Ok(identity) => identity,
                Err(error) if error.is_of_the_disk() => {
                    let table = before(place, standing).await?;
                    let damage = Damage::NotFounded(error.to_string());
                    return Ok(Identified::Not(Box::new(Remains { damage, table, again: Again::Later })));
                }
                Err(error) => return Err(error.into()),
            },
        };
        if identity.name != place.name {
            tracing::warn!(founded_as = %identity.name, "node.name has changed since this node founded itself");
        }
        // The table is under raft/: what the store cannot be told any more keeps no mail away.
        if let Err(error) = spawn_blocking(move || mark.take_over()).await? {
            tracing::error!(%error, "it cannot be noted in store/ that raft/ has taken the place of its table");
        }
        self.known.store(Some(Arc::new(identity.clone())));
        Ok(Identified::As(identity))
    }

    /// Founds a cluster of one, with the table that is in the store, or the knowledge that it is lost.
    async fn found(&self, mark: &Mark, standing: Standing) -> Result<Identity, DiskError> {
        let place = &self.place;
        if standing != Standing::InStore {
            let mark = mark.clone();
            spawn_blocking(move || mark.lose()).await??;
        }
        let adopted = Adopted { cluster: ClusterId(rand::random()), origin: Origin::Alone };
        let identity = Identity { adopted: Some(adopted), ..Identity::draw(place.name.clone()) };
        let contents = Contents { vote: None, table: Some(before(place, standing).await?) };
        let identity = renew(&place.folder(), identity, contents).await?;
        tracing::info!(cluster = %adopted.cluster, node = %identity.node, "founded a cluster of one");
        Ok(identity)
    }

    async fn start(&self, whole: Whole) -> Result<Begun, AloneError> {
        let Whole { identity, dir, log, machine } = whole;
        let (unwritten, unreadable) = (machine.unwritten(), machine.unreadable());
        let config = Timing::LAN.engine_config().map_err(AloneError::Raft)?;
        let raft = match Raft::new(identity.node, config, Nobody, log.clone(), machine).await {
            Ok(raft) => raft,
            Err(fatal) => {
                end(log).await;
                return self.without(dir, Damage::Raft(fatal.to_string()), Again::Never).await;
            }
        };
        let part = Part { raft, log, unwritten, unreadable };
        match ready(&part, &identity).await {
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
                let again = if matches!(error, AloneError::NotReady) { Again::Later } else { part.again() };
                part.shut_down().await;
                self.without(dir, Damage::Raft(error.to_string()), again).await
            }
        }
    }

    /// What a node goes on with whose Raft does not run.
    async fn without(&self, dir: PathBuf, damage: Damage, again: Again) -> Result<Begun, AloneError> {
        let options = self.place.options.clone();
        let table = spawn_blocking(move || left(&dir, options)).await?;
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
            never = Keeper::new(&part, MAX_LOG_ENTRIES).run() => match never {},
        };
        let (cause, again) = (part.cause(), part.again());
        part.shut_down().await;
        if stop.is_cancelled() || !goes_on {
            return None;
        }
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
            () = refuse(orders, &self.view, || RoutingError::ClusterStopped) => return None,
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

/// Waits until this node, the only member, leads, and the table has all that was agreed on.
async fn ready(part: &Part, identity: &Identity) -> Result<(), AloneError> {
    let leads = async {
        let mut metrics = part.raft.metrics();
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
        let leads = part.raft.ensure_linearizable().await;
        leads.map(drop).map_err(|error| AloneError::Raft(error.to_string()))
    };
    timeout(LEADS_WITHIN, leads).await.map_err(|_| AloneError::NotReady)?
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod work_tests;
