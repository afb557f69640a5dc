//! The node with `[cluster]`: it hears its peers, asks the rules of [`super::founding`] what to do, and does it, one durable
//! write at a time.
//!
//! ```text
//! Hearing ─▶ what peers answered ─┐
//! Identity, Raft ─▶ what I am ────┼─▶ next_step ─▶ Writing (durable) │ a call to a peer │ a rest, and why
//! the leader: who is there ───────┴─▶ next_change ─▶ a change of the membership
//! ```
//!
//! - One task writes, the steward; what peers ask for that needs a write (a consent, the first entries of a cluster) is an
//!   order to it.
//! - Raft runs from the first Hello on, also with nothing in its log: a voter whose disk was wiped before the first entry
//!   reached it is asked under its id. It stops where the rules refuse, and where it fails; mail goes on by the table that
//!   is shown.
//! - Readers keep the table that they see until what this node has is what the cluster has: of a node that joins half a
//!   table is in its log for a while, and says of the other half that it does not exist.
//! - Whoever leads changes the membership, one change at a time.

mod electorate;
mod hearing;
mod local;
mod operate;
mod ordered;
mod seat;
mod standing;
mod steward;
mod telling;
mod writing;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;

use self::hearing::Hearing;
use self::local::Local;
use self::steward::Steward;
use super::disk::{Contents, DiskError, Identity, Mark, Place, Standing, Stands, before, renew, stands};
use super::facts::Exchange;
use super::founding::{Allowed, NodeId, Stage, Terms};
use super::network::{Addresses, ClusterServer, LocalNode as _, PassedCalls, Peers, ServerError};
use super::part::{self, Timing};
use super::status::Shown;
use crate::routing::{Routing, Table, View};
use crate::telemetry::Metrics;
use crate::tls::LinkTls;

/// Orders of peers that wait.
const MAX_ORDERS: usize = 64;

/// What `[cluster]` says.
pub struct Settings {
    /// Where peers connect.
    pub listen: SocketAddr,
    /// Where peers are; this node may be among them.
    pub peers: Addresses,
    /// SHA-256 of `service.domain`.
    pub domain: [u8; 32],
    /// How many may vote.
    pub voters: Allowed,
    /// How often a leader says that it leads, and how long nobody is heard before somebody asks to lead.
    pub timing: Timing,
    /// What the node shows, and what it holds others to.
    pub tls: LinkTls,
    /// What it shows of itself.
    pub shown: Shown,
}

/// Why a node does not begin.
#[derive(Debug, Error)]
pub enum MemberError {
    /// What it keeps cannot be read or written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It cannot listen.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A bug of ours.
    #[error(transparent)]
    Panicked(#[from] JoinError),
}

/// A node's part in a cluster, until it is shut down.
pub struct Member {
    stop: CancellationToken,
    work: JoinHandle<()>,
    address: SocketAddr,
    handle: Handle,
}

/// What may be done to a node's part while it works.
#[derive(Clone)]
pub struct Handle {
    peers: Peers,
    local: Arc<Local>,
    hearing: Hearing,
    passed: PassedCalls,
    metrics: Arc<Metrics>,
    reason: watch::Receiver<Option<String>>,
}

impl Handle {
    /// The peers are these from now on, and there.
    pub fn name_peers(&self, addresses: &Addresses) {
        self.peers.swap_addresses(addresses);
        self.local.name_peers(addresses);
    }

    /// What is to be shared with the peers beside what is agreed on; once.
    #[must_use]
    pub fn exchange(&self) -> Exchange {
        Exchange::new(self.peers.clone(), self.metrics.clone())
    }

    /// Who votes, by a membership that is agreed on, as far as this node knows.
    #[must_use]
    pub fn voters(&self) -> BTreeSet<NodeId> {
        let disk = self.local.disk();
        let agreed = disk.settled().filter(|state| state.membership.stage == Stage::Committed);
        agreed.map(|state| state.membership.voters.values().copied().collect()).unwrap_or_default()
    }
}

impl Member {
    /// Begins, or goes on, as a node of a cluster of several. Does not wait for the others.
    ///
    /// # Errors
    /// When it cannot listen, another process has the folder, or it cannot be read or written.
    pub async fn open(
        place: Place,
        settings: Settings,
        metrics: Arc<Metrics>,
    ) -> Result<(Routing, Self), MemberError> {
        let server = ClusterServer::bind(settings.listen).await?;
        let address = server.address();
        let lock = place.lock().await?;
        let view = View::empty(place.options.clone());
        let (routing, desk) = Routing::agreed(view.clone());
        let Known { identity, mark, table } = identify(&place).await?;
        let (orders, ordered) = mpsc::channel(MAX_ORDERS);
        let Settings { peers: addresses, domain, voters, timing, tls, shown, .. } = settings;
        let names = addresses.keys().cloned().chain([place.name.clone()]).collect();
        let owned = (routing.clone(), view.clone());
        let local = Local::new(identity.clone(), Terms { names, domain }, owned, orders, shown);
        let local = Arc::new(local);
        local.has_old_table.store(table.is_some(), Ordering::Release);
        // Peers ask before Raft runs: a node that has state is never called blank.
        local.read_log(place.folder()).await?;
        if let Some(table) = table {
            view.show(table);
        }
        view.hold();
        let peers = Peers::new(place.name.clone(), local.clone(), tls, &addresses);
        let (told, reason) = watch::channel(Some(steward::FETCHES.to_owned()));
        let (hearing, passed) = (Hearing::new(), PassedCalls::default());
        let handle = Handle { peers, local, hearing, passed: passed.clone(), metrics, reason };
        let steward = Steward::new(&handle, (place, lock), (identity, mark), (voters, timing), (view, told));
        let stop = CancellationToken::new();
        let serving = tokio::spawn(server.serve(handle.peers.clone(), passed, stop.clone()));
        let telling = tokio::spawn(handle.clone().tell_problems(stop.clone()));
        let stopped = stop.clone();
        let work = tokio::spawn(async move {
            steward.work(desk, ordered, &stopped).await;
            tell_end(serving.await);
            drop(telling.await);
        });
        Ok((routing, Self { stop, work, address, handle }))
    }

    /// Where peers connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What may be done to it while it works.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// What keeps this node's part from being as it should be, as that changes.
    #[must_use]
    pub fn reason(&self) -> watch::Receiver<Option<String>> {
        self.handle.reason.clone()
    }

    /// Takes no more part. What was answered is durable already.
    pub async fn shut_down(self) {
        part::wind_up(&self.stop, self.work).await;
    }
}

fn tell_end(served: Result<Result<(), ServerError>, JoinError>) {
    match served {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "the listener for peers has ended"),
        Err(error) => tracing::error!(%error, "the listener for peers did not end well"),
    }
}

/// Whether a node does not know who it is, and something of what it was is there: then it can take no part, and say nothing
/// to its peers.
///
/// # Errors
/// When that cannot be read, or a later version wrote it.
pub async fn is_unidentified(place: &Place) -> Result<bool, DiskError> {
    Ok(matches!(look(place).await?.1, Stands::Unknown(_)))
}

async fn look(place: &Place) -> Result<(Mark, Stands), DiskError> {
    let (store, options, folder) = (place.store.clone(), place.options.clone(), place.folder());
    spawn_blocking(move || {
        let mark = Mark::open(&store)?;
        let stood = stands(&folder, &mark, options)?;
        Ok((mark, stood))
    })
    .await?
}

/// What a node begins with.
struct Known {
    identity: Identity,
    mark: Mark,
    /// That of an earlier version, if it counts.
    table: Option<Table>,
}

/// Who this node is, drawn where it is nobody yet.
async fn identify(place: &Place) -> Result<Known, DiskError> {
    let (mark, stood) = look(place).await?;
    let identity = match stood {
        Stands::As(identity) => identity,
        Stands::Unknown(remains) => return Err(remains.damage.into()),
        Stands::Nobody(standing) => {
            if standing != Standing::InStore {
                let mark = mark.clone();
                spawn_blocking(move || mark.lose()).await??;
            }
            let contents = Contents { vote: None, table: None };
            renew(&place.folder(), Identity::draw(place.name.clone()), contents).await?
        }
    };
    let (standing, has_cluster) = (mark.clone(), identity.adopted.is_some());
    let standing = spawn_blocking(move || {
        // What was under way when the process ended: the table is under raft/.
        let stands = standing.read()?;
        if has_cluster && stands == Standing::InStore {
            standing.take_over()?;
            return standing.read();
        }
        Ok(stands)
    })
    .await??;
    let table = match standing {
        Standing::InStore => Some(before(place, standing).await?).filter(|table| table.revision() > 0),
        Standing::TakenOver | Standing::Lost => None,
    };
    Ok(Known { identity, mark, table })
}

#[cfg(test)]
mod tests;
