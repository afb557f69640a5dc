//! Domains, rules, destinations: which mail goes where; the destinations to which none goes for now, and the networks that
//! operators block and allow. One writer, immutable snapshots to readers.
//!
//! ```text
//! change ─▶ order ─▶ draft: stamp ─▶ apply (pure) ─▶ admit ─▶ log ─▶ replica: apply ─▶ snapshot swapped ─▶ answer
//!                           time, ids                cycles, our own hosts
//! ```
//!
//! - A change that was answered is durable, and every snapshot taken from then on has it. Both are the care of whoever
//!   takes the [`Orders`], puts into a log what a [`Draft`] has stamped and admitted, and has a [`Replica`] changed by that
//!   log.
//! - [`apply`] sees only the table and a [`Stamped`] change: a log of these, replayed anywhere, gives the
//!   same table. What depends on a node's configuration is asked in [`admit`], once, by who stamps it.
//! - The last changes are known ([`Table::history`]), and can be undone: [`Change::RollBack`].
//! - A request that is repeated under its id is answered, and not carried out again ([`RequestId`]).
//! - A table that was never told anything, or was lost, says of nothing that it does not exist: [`Coverage`].
//! - [`Stamped::encode`] is a change in a log, [`Table::records`] a table in a snapshot; two nodes that are at the same
//!   revision have the same [`Table::digest`]. [`read_store`] reads the table that an earlier version kept.
//! - [`Document`] is the whole table as a file, and [`plan()`] the changes that lead to it.

mod admit;
mod apply;
mod author;
mod change;
mod check;
mod delivery_key;
mod document;
mod domain_rules;
mod draft;
mod earlier;
mod encoding;
mod error;
mod explain;
mod history;
mod images;
mod listings;
mod model;
mod orders;
mod passed;
mod plan;
mod records;
mod replica;
mod requests;
mod resolve;
mod rollback;
mod summary;
mod table;
mod view;
mod waiting;
mod wire;

use std::sync::Arc;

use tokio::sync::watch;

pub use author::{Asker, Author, MAX_AUTHOR_OCTETS};
pub use change::{
    CHANGES_VERSION, Change, Changed, DomainPatch, MAX_CHANGES_PER_BATCH, NewDomain, NewRule, RulePatch,
    RulesOfDeleted, Stamped, TempfailSetting,
};
pub use delivery_key::DeliveryKey;
pub use document::{DestinationDocument, Document, DocumentError, DomainDocument, RuleDocument};
pub use draft::Draft;
pub use earlier::{Fingerprint, fingerprint, read_store};
pub use encoding::{EncodingError, MAX_STAMPED_OCTETS};
pub use error::{ErrorKind, RoutingError};
pub use explain::{Explanation, Step};
pub use history::{MAX_HISTORY_OCTETS, MAX_REVISION_OCTETS, MAX_REVISIONS, Revision};
pub use images::Image;
pub use model::{
    Access, Destination, DomainEntry, Listing, MAX_DESTINATIONS, MAX_DESTINATIONS_PER_RULE, MAX_DOMAINS,
    MAX_LABEL_OCTETS, MAX_LISTINGS, MAX_REASON_CHARS, MAX_REJECT_OCTETS, MAX_RULES_PER_DOMAIN,
    MAX_SUSPENSIONS, Matcher, Rank, Rule, RuleAction, Suspension,
};
pub use passed::{MAX_TOLD_OCTETS, Told};
pub use plan::{Prune, plan};
pub use records::{Decoded, MAX_RECORD_OCTETS, Rebuilt};
pub use replica::Replica;
pub use requests::{MAX_REQUEST_ID_OCTETS, MAX_REQUESTS, REQUEST_REMEMBERED, RequestId};
pub use resolve::{MAX_DEPTH, MatchedBy, Resolution, is_role};
pub use rollback::RollBack;
pub use table::{Coverage, RoutingOptions, Table};
pub use view::View;
pub use waiting::{Answer, Order, Orders, Reach};

use self::waiting::Desk;

/// The routing table, and where changes of it are ordered. Clones share both; when the last is dropped, whoever carries the
/// orders out hears of it.
#[derive(Debug, Clone)]
pub struct Routing {
    view: View,
    desk: Desk,
    asker: Asker,
}

impl Routing {
    /// A table that somebody else changes, who carries these orders out.
    #[must_use]
    pub fn agreed(view: View) -> (Self, Orders) {
        let (desk, orders) = waiting::waiting();
        (Self { view, desk, asker: Asker::default() }, orders)
    }

    /// The same, changed by this author.
    #[must_use]
    pub fn by(&self, author: Option<Author>) -> Self {
        self.asked_by(Asker { author, request_id: None })
    }

    /// The same, changed for this client; a change is made once for a request with an id, as [`Self::change_once`] has it.
    #[must_use]
    pub fn asked_by(&self, asker: Asker) -> Self {
        Self { asker, ..self.clone() }
    }

    /// The table as it is now. Take it once for what must fit together.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Table> {
        self.view.snapshot()
    }

    /// See [`View::suspension_changes`].
    #[must_use]
    pub fn suspension_changes(&self) -> watch::Receiver<u64> {
        self.view.suspension_changes()
    }

    /// Changes the table. When this returns, the change is durable and in every new snapshot.
    ///
    /// # Errors
    /// With why nothing was changed; after [`RoutingError::Unconfirmed`] it may still be made.
    pub async fn change(&self, change: Change) -> Result<Changed, RoutingError> {
        let Asker { author, request_id } = self.asker.clone();
        self.desk.order(change, request_id, author, Reach::Cluster).await
    }

    /// Changes the table as [`Self::change`] does, unless that was done for this request within
    /// [`REQUEST_REMEMBERED`]: then the answer is what it left behind, without what a batch made.
    ///
    /// # Errors
    /// As for [`Self::change`].
    pub async fn change_once(&self, request_id: RequestId, change: Change) -> Result<Changed, RoutingError> {
        self.desk.order(change, Some(request_id), self.asker.author.clone(), Reach::Cluster).await
    }

    /// Changes the table as [`Self::change_once`] does, on this node or not at all: another one has passed the change on,
    /// and is to look again where it belongs.
    ///
    /// # Errors
    /// As for [`Self::change`]; [`RoutingError::NotLeader`] where another node takes changes.
    pub async fn change_here(&self, request_id: RequestId, change: Change) -> Result<Changed, RoutingError> {
        self.desk.order(change, Some(request_id), self.asker.author.clone(), Reach::Node).await
    }

    /// What a change would leave behind: all is asked of it that [`Routing::change`] asks, and nothing is kept.
    /// Times and ids are not those that the change would get. Takes CPU in the measure of the change: off the
    /// runtime's threads for a large one.
    ///
    /// # Errors
    /// With why the change would be refused.
    pub fn rehearse(&self, change: Change) -> Result<Changed, RoutingError> {
        let mut draft = Draft::new(&self.snapshot());
        draft.make(change, None, None).map(|(_, applied)| applied.changed)
    }

    /// Takes over what a new configuration says.
    pub fn configure(&self, options: RoutingOptions) {
        self.view.configure(options);
    }
}

#[cfg(test)]
pub(crate) mod test_table;
#[cfg(test)]
mod tests;
