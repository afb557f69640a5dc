//! Domains, rules, destinations: which mail goes where; the destinations to which none goes for now, and the networks that
//! operators block and allow. One writer, immutable snapshots to readers.
//!
//! ```text
//! change ─▶ writer: stamp ─▶ apply (pure) ─▶ admit ─▶ store, flush ─▶ snapshot swapped ─▶ answer
//!                   time, ids                cycles, our own hosts
//! ```
//!
//! - A change that was answered is durable, and every snapshot taken from then on has it.
//! - [`apply`] sees only the table and a [`Stamped`] change: a log of these, replayed anywhere, gives the
//!   same table. What depends on a node's configuration is asked in [`admit`], once, by who stamps it.
//! - A [`Replica`] is changed by a log of such changes, in the place of the writer; then somebody takes the [`Orders`] and
//!   puts into the log what a [`Draft`] has stamped and admitted.
//! - A request that is repeated under its id is answered, and not carried out again ([`RequestId`]).
//! - After a failed write the store takes no more, and the table stays as it was shown last.
//! - A table that was never told anything, or was lost, says of nothing that it does not exist: [`Coverage`].
//! - [`Stamped::encode`] is a change in a log, [`Table::records`] a table in a snapshot; two nodes that are at the same
//!   revision have the same [`Table::digest`].
//! - [`Document`] is the whole table as a file, and [`plan()`] the changes that lead to it.

mod admit;
mod apply;
mod change;
mod check;
mod document;
mod draft;
mod encoding;
mod error;
mod explain;
mod listings;
mod model;
mod orders;
mod persist;
mod plan;
mod records;
mod replica;
mod requests;
mod resolve;
mod table;
mod view;
mod waiting;
mod wire;
mod writer;

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::watch;

pub use change::{
    Change, Changed, DomainPatch, MAX_CHANGES_PER_BATCH, NewDomain, NewRule, RulePatch, RulesOfDeleted,
    Stamped, TempfailSetting,
};
pub use document::{DestinationDocument, Document, DocumentError, DomainDocument, RuleDocument};
pub use draft::Draft;
pub use encoding::{EncodingError, MAX_STAMPED_OCTETS};
pub use error::{ErrorKind, RoutingError};
pub use explain::{Explanation, Step};
pub use model::{
    Access, Destination, DomainEntry, Listing, MAX_DESTINATIONS, MAX_DESTINATIONS_PER_RULE, MAX_DOMAINS,
    MAX_LABEL_OCTETS, MAX_LISTINGS, MAX_REASON_CHARS, MAX_REJECT_OCTETS, MAX_RULES_PER_DOMAIN,
    MAX_SUSPENSIONS, Matcher, Rank, Rule, RuleAction, Suspension,
};
pub use plan::{Prune, plan};
pub use records::{MAX_RECORD_OCTETS, Rebuilt};
pub use replica::Replica;
pub use requests::{MAX_REQUEST_ID_OCTETS, MAX_REQUESTS, REQUEST_REMEMBERED, RequestId};
pub use resolve::{MAX_DEPTH, MatchedBy, Resolution, is_role};
pub use table::{Coverage, RoutingOptions, Table};
pub use view::View;
pub use waiting::{Answer, Order, Orders};

use self::waiting::Desk;
use self::writer::Writer;
use crate::store::Store;

/// The routing table, and where changes of it are ordered. Clones share both; when the last is dropped, whoever carries the
/// orders out hears of it.
#[derive(Debug, Clone)]
pub struct Routing {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    view: View,
    desk: Option<Desk>,
    /// The thread that [`Routing::open`] starts.
    writer: Option<JoinHandle<()>>,
}

impl Routing {
    /// Reads the table from the store, and starts its writer. Blocks while every record is read: never
    /// on a runtime's thread.
    ///
    /// # Errors
    /// [`RoutingError::Store`] when the disk fails, [`RoutingError::Damaged`] when what it holds is no
    /// table, [`RoutingError::Stopped`] when there is no thread for the writer.
    pub fn open(store: &Store, options: RoutingOptions) -> Result<Self, RoutingError> {
        let table = read_store(store, options)?;
        let trees = persist::Trees::open(store)?;
        let draft = Draft::new(&table);
        let view = View::new(table);
        let writer = Writer { store: store.clone(), trees, view: view.clone(), draft };
        let (desk, orders) = waiting::waiting();
        let writer = std::thread::Builder::new()
            .name("routing-writer".to_owned())
            .spawn(move || writer.run(orders))
            .map_err(|_| RoutingError::Stopped)?;
        Ok(Self { shared: Arc::new(Shared { view, desk: Some(desk), writer: Some(writer) }) })
    }

    /// A table that somebody else changes, who carries these orders out.
    #[must_use]
    pub fn agreed(view: View) -> (Self, Orders) {
        let (desk, orders) = waiting::waiting();
        (Self { shared: Arc::new(Shared { view, desk: Some(desk), writer: None }) }, orders)
    }

    /// The table as it is now. Take it once for what must fit together.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Table> {
        self.shared.view.snapshot()
    }

    /// See [`View::suspension_changes`].
    #[must_use]
    pub fn suspension_changes(&self) -> watch::Receiver<u64> {
        self.shared.view.suspension_changes()
    }

    /// Changes the table. When this returns, the change is durable and in every new snapshot.
    ///
    /// # Errors
    /// With why nothing was changed; after [`RoutingError::Store`] a restart may still find the change, and after
    /// [`RoutingError::Unconfirmed`] it may still be made.
    pub async fn change(&self, change: Change) -> Result<Changed, RoutingError> {
        self.order(change, None).await
    }

    /// Changes the table as [`Self::change`] does, unless that was done for this request within
    /// [`REQUEST_REMEMBERED`]: then the answer is what it left behind, without what a batch made.
    ///
    /// # Errors
    /// As for [`Self::change`].
    pub async fn change_once(&self, request_id: RequestId, change: Change) -> Result<Changed, RoutingError> {
        self.order(change, Some(request_id)).await
    }

    /// What a change would leave behind: all is asked of it that [`Routing::change`] asks, and nothing is kept.
    /// Times and ids are not those that the change would get. Takes CPU in the measure of the change: off the
    /// runtime's threads for a large one.
    ///
    /// # Errors
    /// With why the change would be refused.
    pub fn rehearse(&self, change: Change) -> Result<Changed, RoutingError> {
        let mut draft = Draft::new(&self.snapshot());
        draft.make(change, None).map(|(_, applied)| applied.changed)
    }

    /// Takes over what a new configuration says.
    pub fn configure(&self, options: RoutingOptions) {
        self.shared.view.configure(options);
    }

    async fn order(&self, change: Change, request_id: Option<RequestId>) -> Result<Changed, RoutingError> {
        let desk = self.shared.desk.as_ref().ok_or(RoutingError::Stopped)?;
        desk.order(change, request_id).await
    }
}

/// The table that an earlier version kept in the store: as it was written last, or lost with the store. Blocks while every
/// record is read.
///
/// # Errors
/// [`RoutingError::Store`] when the disk fails, [`RoutingError::Damaged`] when what it holds is no table.
pub fn read_store(store: &Store, options: RoutingOptions) -> Result<Table, RoutingError> {
    let empty = if store.replaces_lost() { Coverage::Lost } else { Coverage::Empty };
    persist::Trees::open(store)?.load(options, empty)
}

/// Waits for the writer to end, so that the store can be opened again.
impl Drop for Shared {
    fn drop(&mut self) {
        self.desk = None;
        if let Some(writer) = self.writer.take() {
            // A panic in the writer has been told to every waiter as a closed channel.
            let _ = writer.join();
        }
    }
}

#[cfg(test)]
mod test_table;
#[cfg(test)]
mod tests;
