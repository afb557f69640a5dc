//! What can be done to the table. A [`Change`] is what a caller wants; a [`Stamped`] one carries the time and
//! the ids too, so that whoever applies it, now or from a log, gets the same table.

use std::sync::Arc;
use std::time::SystemTime;

use ipnet::IpNet;
use ulid::Ulid;

use super::author::Author;
use super::delivery_key::DeliveryKey;
use super::model::{Destination, DomainEntry, Listing, Matcher, Rule, RuleAction, Suspension};
use super::requests::RequestId;
use super::rollback::RollBack;
use super::wire;
use crate::config::OnTempfail;
use crate::mail::{Address, Domain};

/// Changes in one [`Change::Batch`]; more are several batches.
pub const MAX_CHANGES_PER_BATCH: usize = 100_000;

/// The version of what changes can say: [`Change::version`] of the latest kind. Another is one more.
pub const CHANGES_VERSION: u32 = 2;

/// One change of the routing table. An `etag` is the revision of the resource as the caller last saw it:
/// with another one the change is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Adds a domain.
    CreateDomain(NewDomain),
    /// Changes the fields of a domain that the patch names.
    UpdateDomain {
        /// Which.
        name: Domain,
        /// To what.
        patch: DomainPatch,
        /// As last seen.
        etag: Option<u64>,
    },
    /// Removes a domain.
    DeleteDomain {
        /// Which.
        name: Domain,
        /// What becomes of its rules.
        rules: RulesOfDeleted,
        /// As last seen.
        etag: Option<u64>,
    },
    /// Adds a rule, and the destinations that it names and that do not exist, unverified.
    CreateRule(NewRule),
    /// Changes the fields of a rule that the patch names; destinations as for [`Change::CreateRule`].
    UpdateRule {
        /// Which.
        id: Ulid,
        /// To what.
        patch: RulePatch,
        /// As last seen.
        etag: Option<u64>,
    },
    /// Removes a rule. Its destinations stay.
    DeleteRule {
        /// Which.
        id: Ulid,
        /// As last seen.
        etag: Option<u64>,
    },
    /// Adds a destination.
    CreateDestination {
        /// The address; its case is kept, and compared without.
        address: Address,
        /// Whether its owner has confirmed it.
        verified: bool,
    },
    /// Confirms a destination, or takes the confirmation back.
    UpdateDestination {
        /// Which.
        address: Address,
        /// Whether its owner has confirmed it.
        verified: bool,
        /// As last seen.
        etag: Option<u64>,
    },
    /// Removes a destination that no rule names.
    DeleteDestination {
        /// Which.
        address: Address,
        /// As last seen.
        etag: Option<u64>,
    },
    /// Suspends deliveries to a destination domain, from now on; in the place of what suspended them before.
    Suspend {
        /// The destination domain, whether any rule leads there or not.
        domain: Domain,
        /// Until when; `None`: until it is resumed.
        until: Option<SystemTime>,
        /// See [`Suspension::reason`].
        reason: String,
    },
    /// Takes deliveries to a destination domain up again.
    Resume {
        /// Which.
        domain: Domain,
        /// As last seen.
        etag: Option<u64>,
    },
    /// Takes the suspensions out of the table whose time is over at that of the change, up to 1,000 of them: none that an
    /// operator has renewed, and the same ones wherever it is applied.
    EndSuspensions,
    /// Blocks a network of clients, in the place of what was said of it before.
    Block {
        /// See [`Listing::network`].
        network: IpNet,
        /// See [`Listing::until`].
        until: Option<SystemTime>,
        /// See [`Listing::reason`].
        reason: String,
    },
    /// Allows a network of clients, in the place of what was said of it before.
    Allow {
        /// See [`Listing::network`].
        network: IpNet,
        /// See [`Listing::until`].
        until: Option<SystemTime>,
        /// See [`Listing::reason`].
        reason: String,
    },
    /// Takes back what was said of a network of clients.
    Unlist {
        /// Which.
        network: IpNet,
        /// As last seen.
        etag: Option<u64>,
    },
    /// Bars a node from the cluster: whoever leads takes it out of the membership, and nobody of its name comes back until it
    /// is admitted.
    BarNode {
        /// `node.name`.
        name: String,
    },
    /// Lets a node of a name that was barred into the cluster again.
    AdmitNode {
        /// `node.name`.
        name: String,
    },
    /// Says that what the table holds is all there is: ends [`super::Coverage::Lost`] and [`super::Coverage::Empty`].
    DeclareWhole,
    /// Says that there was a table, and that it is lost: makes [`super::Coverage::Empty`] [`super::Coverage::Lost`].
    DeclareLost,
    /// Gives the table a key for the names of deliveries, if it has none.
    AgreeOnDeliveryKey(DeliveryKey),
    /// Makes the table what it was right after a revision.
    RollBack(RollBack),
    /// All of these in order, or none: up to [`MAX_CHANGES_PER_BATCH`]. Cycles are looked for at its end, so
    /// rules may change places within it. A batch in a batch is refused, and so is a rollback.
    Batch(Vec<Self>),
}

/// A domain to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDomain {
    /// Its name; no address literal.
    pub name: Domain,
    /// See [`DomainEntry::enabled`].
    pub enabled: bool,
    /// See [`DomainEntry::on_tempfail`].
    pub on_tempfail: Option<OnTempfail>,
    /// See [`DomainEntry::subaddressing`].
    pub subaddressing: bool,
}

impl NewDomain {
    /// A domain with the defaults: enabled, with subaddressing, and the node's `on_tempfail`.
    #[must_use]
    pub fn new(name: Domain) -> Self {
        Self { name, enabled: true, on_tempfail: None, subaddressing: true }
    }
}

/// Fields of a domain to change; `None` leaves one as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DomainPatch {
    /// See [`DomainEntry::enabled`].
    pub enabled: Option<bool>,
    /// See [`DomainEntry::on_tempfail`].
    pub on_tempfail: Option<TempfailSetting>,
    /// See [`DomainEntry::subaddressing`].
    pub subaddressing: Option<bool>,
}

/// Where a domain's `on_tempfail` comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TempfailSetting(
    /// The domain's own, or `None` for the node's.
    pub Option<OnTempfail>,
);

/// What becomes of the rules of a domain that is deleted (AIP-135 `force`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RulesOfDeleted {
    /// A domain with rules is not deleted.
    Keep,
    /// They are deleted with it.
    Delete,
}

/// A rule to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRule {
    /// The domain, which exists.
    pub domain: Domain,
    /// Which mail; a local part is lower-cased.
    pub matcher: Matcher,
    /// What happens; destinations that are the same but for case stand once.
    pub action: RuleAction,
    /// See [`Rule::priority`].
    pub priority: i32,
    /// See [`Rule::label`].
    pub label: String,
    /// See [`Rule::enabled`].
    pub enabled: bool,
}

impl NewRule {
    /// A rule with the defaults: priority 0, no label, enabled.
    #[must_use]
    pub fn new(domain: Domain, matcher: Matcher, action: RuleAction) -> Self {
        Self { domain, matcher, action, priority: 0, label: String::new(), enabled: true }
    }
}

/// Fields of a rule to change; `None` leaves one as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RulePatch {
    /// See [`Rule::matcher`].
    pub matcher: Option<Matcher>,
    /// See [`Rule::action`].
    pub action: Option<RuleAction>,
    /// See [`Rule::priority`].
    pub priority: Option<i32>,
    /// See [`Rule::label`].
    pub label: Option<String>,
    /// See [`Rule::enabled`].
    pub enabled: Option<bool>,
}

/// A change with what must not be made up anew when it is applied again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamped {
    /// The wall time, to the millisecond.
    pub at: SystemTime,
    /// The id of the first resource that is created; the next has the next id, and so on. Ids of later
    /// changes are greater, so their order is that of creation.
    pub first_id: Ulid,
    /// What its client calls it.
    pub request_id: Option<RequestId>,
    /// Who asked for it; `None`: a node did, or it is not known.
    pub author: Option<Author>,
    /// The change.
    pub change: Change,
}

/// What a change left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// The domain as it is now.
    Domain(Arc<DomainEntry>),
    /// The rule as it is now.
    Rule(Arc<Rule>),
    /// The destination as it is now.
    Destination(Arc<Destination>),
    /// The suspension as it is now.
    Suspension(Arc<Suspension>),
    /// The listing as it is now.
    Listing(Arc<Listing>),
    /// It is gone, or they are.
    Removed,
    /// The table as such.
    Whole,
    /// One for each change of the batch; none for a rollback.
    Batch(Vec<Self>),
}

/// Hands out ids that only grow, each the first of a run.
#[derive(Debug)]
pub(super) struct Ids {
    next: u128,
}

impl Ids {
    /// For a table whose greatest id this is: a clock that is behind it gives greater ids all the same.
    pub(super) fn above(greatest: Ulid) -> Self {
        Self { next: greatest.0.saturating_add(1) }
    }

    /// The table has got a greater one.
    pub(super) fn rise_above(&mut self, greatest: Ulid) {
        self.next = self.next.max(greatest.0.saturating_add(1));
    }

    /// The first of `count` ids made at this time.
    pub(super) fn take(&mut self, at: SystemTime, count: usize) -> Ulid {
        // One bit of the random part is left free, so that a run cannot carry into the time.
        let fresh = Ulid::from_parts(wire::to_millis(at), rand::random::<u128>() >> 49);
        let first = fresh.0.max(self.next);
        self.next = first.saturating_add(count as u128);
        Ulid(first)
    }
}

impl Change {
    /// Since which version there is such a change. One that not every node knows is not made: it would stop those that do not,
    /// or leave them another table.
    #[must_use]
    pub fn version(&self) -> u32 {
        match self {
            Self::AgreeOnDeliveryKey(_) => 2,
            Self::Batch(changes) => changes.iter().map(Self::version).max().unwrap_or(1),
            Self::CreateDomain(_)
            | Self::UpdateDomain { .. }
            | Self::DeleteDomain { .. }
            | Self::CreateRule(_)
            | Self::UpdateRule { .. }
            | Self::DeleteRule { .. }
            | Self::CreateDestination { .. }
            | Self::UpdateDestination { .. }
            | Self::DeleteDestination { .. }
            | Self::Suspend { .. }
            | Self::Resume { .. }
            | Self::EndSuspensions
            | Self::Block { .. }
            | Self::Allow { .. }
            | Self::Unlist { .. }
            | Self::BarNode { .. }
            | Self::AdmitNode { .. }
            | Self::DeclareWhole
            | Self::DeclareLost
            | Self::RollBack(_) => 1,
        }
    }

    /// The most resources that the change can create.
    pub(super) fn creations(&self) -> usize {
        match self {
            Self::CreateDomain(_) | Self::CreateDestination { .. } => 1,
            Self::CreateRule(new) => 1 + new.action.destinations().len(),
            Self::UpdateRule { patch, .. } => {
                patch.action.as_ref().map_or(0, |action| action.destinations().len())
            }
            Self::UpdateDomain { .. }
            | Self::DeleteDomain { .. }
            | Self::DeleteRule { .. }
            | Self::UpdateDestination { .. }
            | Self::DeleteDestination { .. }
            | Self::Suspend { .. }
            | Self::Resume { .. }
            | Self::EndSuspensions
            | Self::Block { .. }
            | Self::Allow { .. }
            | Self::Unlist { .. }
            | Self::BarNode { .. }
            | Self::AdmitNode { .. }
            | Self::DeclareWhole
            | Self::DeclareLost
            | Self::AgreeOnDeliveryKey(_)
            | Self::RollBack(_) => 0,
            Self::Batch(changes) => changes.iter().map(Self::creations).sum(),
        }
    }
}
