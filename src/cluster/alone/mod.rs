//! The node without `[cluster]` in its file: a cluster of one, by the same code as any other. What it keeps stands under
//! `raft/` in the data directory: `identity`, `log/`, `snapshot`.
//!
//! - A node that has none founds itself ([`found`]), from the table that an earlier version left in the store, once.
//! - Whether it did is noted in the store, so that a folder `raft/` that is gone is a lost table, and not an old one.
//! - It takes mail when it leads and has applied all that was agreed on: no mail is judged by half a table.
//! - Where the folder cannot be read, and once Raft stops, the node goes on forwarding by the table that it has, and
//!   refuses changes with [`RoutingError::ClusterStopped`](crate::routing::RoutingError::ClusterStopped). A table that may
//!   lack entries says of nothing that it does not exist ([`Coverage::Lost`](crate::routing::Coverage::Lost)).

mod compact;
mod error;
mod found;
mod lock;
mod mark;
pub(super) mod nobody;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use openraft::storage::RaftLogStorage as _;
use openraft::{Config, Raft, SnapshotPolicy};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

pub use compact::Keeper;
pub use error::{AloneError, Damage};

use self::mark::{Mark, Standing};
use self::nobody::Nobody;
use super::founding::NodeName;
use super::identity::{Identity, IdentityError};
use super::log::LogStore;
use super::machine::Machine;
use super::propose::{Proposer, refuse};
use super::types::{StoredMembership, Types};
use crate::routing::{Replica, Routing, RoutingOptions, Table, View};
use crate::store::Store;
use crate::telemetry::Metrics;

/// How long a start may take from when its log and its snapshot are read.
pub const LEADS_WITHIN: Duration = Duration::from_secs(10);
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
}

/// A node's part in agreeing on the table.
pub struct Agreement {
    /// What it takes part with; none where what it kept cannot be read.
    part: Option<Part>,
    metrics: Arc<Metrics>,
    _lock: File,
}

struct Part {
    raft: Raft<Types>,
    log: LogStore,
}

/// What stands under `raft/`, as far as it can be read.
enum Found {
    /// All of it.
    Whole(Box<Whole>),
    /// Not all of it.
    Damaged(Box<Remains>),
}

/// What is left of a node that takes no part.
struct Remains {
    damage: Damage,
    /// By which mail is forwarded nevertheless.
    table: Table,
}

impl Found {
    fn damaged(damage: Damage, table: Table) -> Self {
        Self::Damaged(Box::new(Remains { damage, table }))
    }
}

struct Whole {
    identity: Identity,
    log: LogStore,
    machine: Machine,
}

impl Agreement {
    /// Begins, or goes on, as a cluster of one. Returns when the table has all that was agreed on.
    ///
    /// # Errors
    /// When another process has it, the node cannot found itself, a later version wrote what is there, there are other
    /// members, or it takes longer than [`LEADS_WITHIN`]. Damage is none.
    pub async fn open(place: Place, metrics: Arc<Metrics>) -> Result<(Routing, Self), AloneError> {
        let (dir, data_dir) = (folder(&place.data_dir), place.data_dir.clone());
        let lock = spawn_blocking(move || lock::take(&data_dir)).await??;
        let found = match stand(&place, &dir).await? {
            Some(identity) => read(dir, identity, place.options.clone()).await?,
            None => {
                let options = place.options.clone();
                let left = spawn_blocking(move || remains(&folder(&place.data_dir), options)).await?;
                Found::damaged(Damage::NoIdentity, left)
            }
        };
        let whole = match found {
            Found::Whole(whole) => *whole,
            Found::Damaged(remains) => return Ok(Self::stopped(*remains, metrics, lock)),
        };
        Self::start(whole, metrics, lock).await
    }

    async fn start(whole: Whole, metrics: Arc<Metrics>, lock: File) -> Result<(Routing, Self), AloneError> {
        let Whole { identity, log, machine } = whole;
        let view = machine.view().clone();
        let config = Arc::new(config()?);
        let raft = match Raft::new(identity.node, config, Nobody, log.clone(), machine).await {
            Ok(raft) => raft,
            Err(fatal) => {
                let table = Table::clone(&view.snapshot()).remains();
                let remains = Remains { damage: Damage::Raft(fatal), table };
                return Ok(Self::stopped(remains, metrics, lock));
            }
        };
        let part = Part { raft, log };
        if let Err(error) = part.ready(&identity).await {
            part.shut_down().await;
            return Err(error);
        }
        metrics.cluster_stopped.set(0);
        let routing = part.propose(view);
        Ok((routing, Self { part: Some(part), metrics, _lock: lock }))
    }

    /// Goes on without taking part.
    fn stopped(remains: Remains, metrics: Arc<Metrics>, lock: File) -> (Routing, Self) {
        let Remains { damage, table } = remains;
        tracing::error!(
            %damage,
            revision = table.revision(),
            "what this node keeps in raft/ cannot be read: mail is forwarded by what is left of the routing table, \
             recipients that it lacks hear 451, and changes are refused. Restore the disk, or stop the node, move \
             raft/ aside, start it and apply the routing document exported last"
        );
        metrics.cluster_stopped.set(1);
        let (routing, orders) = Routing::agreed(Replica::of(table).view().clone());
        tokio::spawn(refuse(orders));
        (routing, Self { part: None, metrics, _lock: lock })
    }

    /// Whether it began; where it did not, the log says why.
    #[must_use]
    pub fn takes_part(&self) -> bool {
        self.part.is_some()
    }

    /// What keeps the log small, and tells when Raft stops; none where it was not begun.
    #[must_use]
    pub fn keeper(&self) -> Option<Keeper> {
        let Part { raft, log } = self.part.as_ref()?;
        Some(Keeper::new(raft.clone(), log.clone(), self.metrics.clone()))
    }

    /// Takes no more part. What was answered is durable already.
    pub async fn shut_down(self) {
        if let Some(part) = self.part {
            part.shut_down().await;
        }
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

    /// Takes changes from now on.
    fn propose(&self, view: View) -> Routing {
        let (routing, orders) = Routing::agreed(view.clone());
        // There is nobody who could be silent.
        let silent = watch::channel(Vec::new()).1;
        tokio::spawn(Proposer::new(self.raft.clone(), view, orders, silent).run());
        routing
    }

    async fn shut_down(self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::error!(%error, "Raft did not end well");
        }
        // The log ends with the last who has it, and waits for its thread.
        let ended = spawn_blocking(move || drop(self)).await;
        if let Err(error) = ended {
            tracing::error!(%error, "the cluster's log did not end well");
        }
    }
}

/// Who this node is, founding it first where it is nobody yet; none where that is lost, and not all else is.
async fn stand(place: &Place, dir: &Path) -> Result<Option<Identity>, AloneError> {
    let (mark, standing, identity, is_empty) = {
        let (store, dir) = (place.store.clone(), dir.to_owned());
        spawn_blocking(move || -> Result<_, AloneError> {
            let mark = Mark::open(&store)?;
            let standing = mark.read()?;
            let identity = match Identity::read(&dir) {
                // What else is there may be read yet.
                Err(IdentityError::Damaged(path)) => {
                    tracing::error!(path = %path.display(), "the node's identity is damaged");
                    return Ok((mark, Standing::TakenOver, None, false));
                }
                read => read?,
            };
            Ok((mark, standing, identity, found::is_empty(&dir)?))
        })
        .await??
    };
    let identity = match (identity, standing) {
        (Some(identity), _) => identity,
        (None, Standing::TakenOver) if !is_empty => return Ok(None),
        (None, standing) => found::found(place, dir, &mark, standing).await?,
    };
    if identity.name != place.name {
        tracing::warn!(founded_as = %identity.name, "node.name has changed since this node founded itself");
    }
    spawn_blocking(move || mark.write(Standing::TakenOver)).await??;
    Ok(Some(identity))
}

/// Reads log and snapshot. Blocks a thread that may.
async fn read(dir: PathBuf, identity: Identity, options: RoutingOptions) -> Result<Found, AloneError> {
    let read = spawn_blocking(move || {
        let machine = match Machine::open(&dir, options.clone()) {
            Ok(machine) => machine,
            Err(error) => return Found::damaged(Damage::Snapshot(error), Table::lost(options)),
        };
        if machine.applied().is_none() {
            return Found::damaged(Damage::NoSnapshot, Table::lost(options));
        }
        match LogStore::open(&dir.join("log")) {
            Ok(log) => {
                let log = log.after_snapshots(machine.durable());
                Found::Whole(Box::new(Whole { identity, log, machine }))
            }
            Err(error) => Found::damaged(Damage::Log(error), left(&machine)),
        }
    });
    let found = read.await?;
    let Found::Whole(mut whole) = found else { return Ok(found) };
    match whole.log.get_log_state().await {
        Ok(state) if state.last_purged_log_id > whole.machine.applied() => {
            Ok(Found::damaged(Damage::Gap, left(&whole.machine)))
        }
        Ok(_) => Ok(Found::Whole(whole)),
        Err(error) => Ok(Found::damaged(Damage::Storage(error.to_string()), left(&whole.machine))),
    }
}

/// The table that a snapshot holds, if it can be read.
fn remains(dir: &Path, options: RoutingOptions) -> Table {
    match Machine::open(dir, options.clone()) {
        Ok(machine) if machine.applied().is_some() => left(&machine),
        Ok(_) | Err(_) => Table::lost(options),
    }
}

fn left(machine: &Machine) -> Table {
    Table::clone(&machine.view().snapshot()).remains()
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

/// Looks for what [`Agreement::open`] would refuse, as far as that shows without opening the log, and changes nothing.
///
/// # Errors
/// As [`Agreement::open`].
pub fn inspect(data_dir: &Path) -> Result<(), AloneError> {
    lock::look(data_dir)?;
    match Identity::read(&folder(data_dir)) {
        Ok(_) | Err(IdentityError::Damaged(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
