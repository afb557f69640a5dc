//! The routing table in memory: persistent maps, so that a snapshot is a handful of pointers.
//!
//! A look-up is one search in the domains (a tree), and one in the domain's local parts (a hash trie): a few
//! microseconds with a million rules (`benches/routing.rs`). A write to one resource copies the paths to it, some tens of
//! nodes, whatever the size of the table; within a batch a path is copied once. Memory is about 1 KB a rule.

use std::ops::Bound;
use std::sync::Arc;
use std::time::SystemTime;

use rpds::{HashTrieMapSync, RedBlackTreeMapSync, RedBlackTreeSetSync};
use ulid::Ulid;

use super::change::{Change, Changed};
use super::delivery_key::DeliveryKey;
use super::domain_rules::DomainRules;
use super::error::RoutingError;
use super::history::{History, Revision};
use super::listings::Listings;
use super::model::{Destination, DomainEntry, Rank, Rule, Suspension};
use super::requests::{Request, RequestId, Requests};
use crate::mail::{Address, Domain};

/// What the node's configuration says that routing must know. It is the node's, not a part of the state
/// that changes write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutingOptions {
    /// `service.domain`.
    pub service_domain: Domain,
    /// The host names of `service.mx`, and the node's own.
    pub mx_hosts: Vec<Domain>,
    /// `service.postmaster`.
    pub postmaster: Address,
}

/// What it means that a table does not hold something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coverage {
    /// Nothing: no domain and no destination has been added yet. The first one makes it [`Coverage::Whole`].
    Empty,
    /// Nothing: the table that was on this disk is gone, and what is here was added since. A document makes it
    /// [`Coverage::Whole`] ([`super::Change::DeclareWhole`]); one domain that comes back does not speak for
    /// all others.
    Lost,
    /// That there is no such thing.
    Whole,
}

/// An immutable snapshot of the routing table. Cloning it is cheap.
#[derive(Clone)]
pub struct Table {
    revision: u64,
    coverage: Coverage,
    greatest_id: Ulid,
    domains: RedBlackTreeMapSync<Domain, DomainRules>,
    rules: HashTrieMapSync<Ulid, Arc<Rule>>,
    destinations: RedBlackTreeMapSync<Address, Use>,
    suspensions: RedBlackTreeMapSync<Domain, Arc<Suspension>>,
    suspensions_revision: u64,
    pub(super) listings: Listings,
    barred: RedBlackTreeSetSync<Box<str>>,
    delivery_key: Option<DeliveryKey>,
    requests: Requests,
    pub(super) history: History,
    options: Arc<RoutingOptions>,
}

/// A destination and the rules that name it. The key is the address in lower case.
#[derive(Clone)]
struct Use {
    entry: Arc<Destination>,
    rules: RedBlackTreeSetSync<Ulid>,
}

impl Table {
    /// One that was never told anything.
    #[must_use]
    pub fn new(options: RoutingOptions) -> Self {
        Self {
            revision: 0,
            coverage: Coverage::Empty,
            greatest_id: Ulid::nil(),
            domains: RedBlackTreeMapSync::new_sync(),
            rules: HashTrieMapSync::new_sync(),
            destinations: RedBlackTreeMapSync::new_sync(),
            suspensions: RedBlackTreeMapSync::new_sync(),
            suspensions_revision: 0,
            listings: Listings::new(),
            barred: RedBlackTreeSetSync::new_sync(),
            delivery_key: None,
            requests: Requests::new(),
            history: History::new(),
            options: Arc::new(options),
        }
    }

    /// The table of a node that has lost its own.
    #[must_use]
    pub fn lost(options: RoutingOptions) -> Self {
        Self { coverage: Coverage::Lost, ..Self::new(options) }
    }

    /// This table as what is left of a later one.
    #[must_use]
    pub fn remains(self) -> Self {
        Self { coverage: Coverage::Lost, ..self }
    }

    /// This table as that of another cluster, from which nobody was removed.
    #[must_use]
    pub fn for_another_cluster(self) -> Self {
        Self { barred: RedBlackTreeSetSync::new_sync(), ..self }
    }

    /// How many changes made this table: each adds one.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The version of changes that who reads the table must know: see [`Change::version`].
    #[must_use]
    pub fn version(&self) -> u32 {
        if self.delivery_key.is_some() { 2 } else { 1 }
    }

    /// What it means that the table does not hold something.
    #[must_use]
    pub fn coverage(&self) -> Coverage {
        self.coverage
    }

    /// The greatest id that a resource of this table has, or had: new ones are greater, whatever the clock says.
    #[must_use]
    pub fn greatest_id(&self) -> Ulid {
        self.greatest_id
    }

    /// What the node's configuration says.
    #[must_use]
    pub fn options(&self) -> &RoutingOptions {
        &self.options
    }

    /// Whether we route for the domain, enabled or not.
    #[must_use]
    pub fn hosts(&self, domain: &Domain) -> bool {
        self.domains.contains_key(domain)
    }

    /// A domain.
    #[must_use]
    pub fn domain(&self, name: &Domain) -> Option<&Arc<DomainEntry>> {
        self.domains.get(name).map(|domain| &domain.entry)
    }

    /// Every domain by name.
    pub fn domains(&self) -> impl Iterator<Item = &Arc<DomainEntry>> {
        self.domains.values().map(|domain| &domain.entry)
    }

    /// The domains behind this name, which need not exist: the next page.
    pub fn domains_after<'a>(&'a self, name: &'a Domain) -> impl Iterator<Item = &'a Arc<DomainEntry>> {
        self.domains.range::<Domain, _>(behind(name)).map(|(_, domain)| &domain.entry)
    }

    /// How many domains there are.
    #[must_use]
    pub fn domain_count(&self) -> usize {
        self.domains.size()
    }

    /// A rule.
    #[must_use]
    pub fn rule(&self, id: &Ulid) -> Option<&Arc<Rule>> {
        // A new one is looked for each time that it is made, and found to be new without a search.
        if *id > self.greatest_id { None } else { self.rules.get(id) }
    }

    /// A domain's rules in the order of matching; none for a domain that does not exist.
    pub fn rules(&self, domain: &Domain) -> impl Iterator<Item = &Arc<Rule>> {
        self.domains.get(domain).into_iter().flat_map(|domain| domain.order.values())
    }

    /// The rules of a domain behind this rank, which need not be a rule's any more: the next page.
    pub fn rules_after<'a>(&'a self, domain: &Domain, rank: &'a Rank) -> impl Iterator<Item = &'a Arc<Rule>> {
        let domain = self.domains.get(domain);
        domain
            .into_iter()
            .flat_map(|domain| domain.order.range::<Rank, _>(behind(rank)).map(|(_, rule)| rule))
    }

    /// How many rules a domain has.
    #[must_use]
    pub fn rule_count(&self, domain: &Domain) -> usize {
        self.domains.get(domain).map_or(0, |domain| domain.order.size())
    }

    /// How many rules there are.
    #[must_use]
    pub fn rules_count(&self) -> usize {
        self.rules.size()
    }

    /// A destination, whatever the case of its local part.
    #[must_use]
    pub fn destination(&self, address: &Address) -> Option<&Arc<Destination>> {
        self.destinations.get(&address.folded()).map(|found| &found.entry)
    }

    /// Every destination, by address.
    pub fn destinations(&self) -> impl Iterator<Item = &Arc<Destination>> {
        self.destinations.values().map(|found| &found.entry)
    }

    /// The destinations behind this address in lower case, which need not exist: the next page.
    pub fn destinations_after<'a>(
        &'a self,
        folded: &'a Address,
    ) -> impl Iterator<Item = &'a Arc<Destination>> {
        self.destinations.range::<Address, _>(behind(folded)).map(|(_, found)| &found.entry)
    }

    /// How many destinations there are.
    #[must_use]
    pub fn destination_count(&self) -> usize {
        self.destinations.size()
    }

    /// The rules that forward to a destination, oldest first.
    pub fn users(&self, address: &Address) -> impl Iterator<Item = &Arc<Rule>> {
        let found = self.destinations.get(&address.folded());
        found.into_iter().flat_map(|found| found.rules.iter()).filter_map(|id| self.rules.get(id))
    }

    /// How many rules forward to a destination.
    #[must_use]
    pub fn user_count(&self, address: &Address) -> usize {
        self.destinations.get(&address.folded()).map_or(0, |found| found.rules.size())
    }

    /// The suspension of a destination domain, over or not.
    #[must_use]
    pub fn suspension(&self, domain: &Domain) -> Option<&Arc<Suspension>> {
        self.suspensions.get(domain)
    }

    /// Every suspension by domain, over or not.
    pub fn suspensions(&self) -> impl Iterator<Item = &Arc<Suspension>> {
        self.suspensions.values()
    }

    /// How many suspensions there are.
    #[must_use]
    pub fn suspension_count(&self) -> usize {
        self.suspensions.size()
    }

    /// The revision that changed the suspensions last.
    pub(super) fn suspensions_revision(&self) -> u64 {
        self.suspensions_revision
    }

    /// Whether a node of this name may not be a member of the cluster.
    #[must_use]
    pub fn is_barred(&self, node: &str) -> bool {
        self.barred.contains(node)
    }

    /// The names of the nodes that may not be members of the cluster.
    pub fn barred(&self) -> impl Iterator<Item = &str> {
        self.barred.iter().map(AsRef::as_ref)
    }

    /// What the names of deliveries are made with, so that all nodes know them.
    #[must_use]
    pub fn delivery_key(&self) -> Option<&DeliveryKey> {
        self.delivery_key.as_ref()
    }

    /// What a request for this change left behind that was carried out within [`super::REQUEST_REMEMBERED`] before this
    /// time, and is still remembered.
    ///
    /// # Errors
    /// [`RoutingError::RequestIdReused`] when it was for another change.
    pub fn left_by(
        &self,
        id: &RequestId,
        change: &Change,
        at: SystemTime,
    ) -> Result<Option<&Changed>, RoutingError> {
        self.requests.find(id, change, at)
    }

    /// As [`Self::left_by`] of a request that tells what was asked ([`RequestId::of`]), before its change is known; nothing of
    /// another.
    ///
    /// # Errors
    /// As for [`Self::left_by`].
    pub fn left_by_asked(&self, id: &RequestId, at: SystemTime) -> Result<Option<&Changed>, RoutingError> {
        self.requests.find_asked(id, at)
    }

    /// The requests that are remembered, the oldest first.
    pub(super) fn requests(&self) -> impl Iterator<Item = &Arc<Request>> {
        self.requests.all()
    }

    /// How many requests are remembered.
    #[must_use]
    pub fn request_count(&self) -> usize {
        self.requests.len()
    }

    /// Whether the rule waits: one of its destinations, or more, is not verified.
    #[must_use]
    pub fn is_waiting(&self, rule: &Rule) -> bool {
        let verified = |address| self.destination(address).is_some_and(|found| found.verified_at.is_some());
        !rule.destinations().iter().all(verified)
    }

    /// The first enabled rule for a local part in its look-up form.
    pub(super) fn exact(&self, domain: &Domain, sought: &str) -> Option<&Arc<Rule>> {
        self.domains.get(domain)?.exact(sought)
    }

    /// The first enabled catch-all of a domain.
    pub(super) fn catch_all(&self, domain: &Domain) -> Option<&Arc<Rule>> {
        self.domains.get(domain)?.catch_all()
    }
}

/// What loading and applying do. None of these check anything.
impl Table {
    pub(super) fn set_revision(&mut self, revision: u64) {
        self.revision = revision;
    }

    pub(super) fn set_coverage(&mut self, coverage: Coverage) {
        self.coverage = coverage;
    }

    /// An id that a resource has, or had.
    pub(super) fn raise_greatest_id(&mut self, id: Ulid) {
        self.greatest_id = self.greatest_id.max(id);
    }

    pub(super) fn set_options(&mut self, options: RoutingOptions) {
        self.options = Arc::new(options);
    }

    /// Adds a domain, or replaces its entry.
    pub(super) fn put_domain(&mut self, entry: Arc<DomainEntry>) {
        self.raise_greatest_id(entry.id);
        if let Some(domain) = self.domains.get_mut(&entry.name) {
            domain.entry = entry;
            return;
        }
        self.domains.insert_mut(entry.name.clone(), DomainRules::new(entry));
    }

    /// Removes a domain that has no rules.
    pub(super) fn remove_domain(&mut self, name: &Domain) {
        self.domains.remove_mut(name);
    }

    /// Adds a rule to its domain, or replaces the one with its id. Domain and destinations exist.
    pub(super) fn put_rule(&mut self, rule: Arc<Rule>) {
        self.remove_rule(&rule.id);
        self.add_rule(rule);
    }

    /// Adds a rule that is not there to its domain. Domain and destinations exist.
    pub(super) fn add_rule(&mut self, rule: Arc<Rule>) {
        self.raise_greatest_id(rule.id);
        for address in rule.destinations() {
            if let Some(found) = self.destinations.get_mut(&address.folded()) {
                found.rules.insert_mut(rule.id);
            }
        }
        if let Some(domain) = self.domains.get_mut(&rule.domain) {
            domain.add(&rule);
        }
        self.rules.insert_mut(rule.id, rule);
    }

    /// Removes a rule.
    pub(super) fn remove_rule(&mut self, id: &Ulid) {
        let Some(rule) = self.rule(id).cloned() else { return };
        for address in rule.destinations() {
            if let Some(found) = self.destinations.get_mut(&address.folded()) {
                found.rules.remove_mut(id);
            }
        }
        if let Some(domain) = self.domains.get_mut(&rule.domain) {
            domain.remove(&rule);
        }
        self.rules.remove_mut(id);
    }

    /// Adds a destination, or replaces its entry.
    pub(super) fn put_destination(&mut self, entry: Arc<Destination>) {
        self.raise_greatest_id(entry.id);
        let key = entry.address.folded();
        match self.destinations.get_mut(&key) {
            Some(found) => found.entry = entry,
            None => self.destinations.insert_mut(key, Use { entry, rules: RedBlackTreeSetSync::new_sync() }),
        }
    }

    /// Removes a destination that no rule names.
    pub(super) fn remove_destination(&mut self, address: &Address) {
        self.destinations.remove_mut(&address.folded());
    }

    /// Adds a suspension, or replaces that of its domain.
    pub(super) fn put_suspension(&mut self, entry: Arc<Suspension>) {
        self.suspensions.insert_mut(entry.domain.clone(), entry);
    }

    /// Removes a suspension.
    pub(super) fn remove_suspension(&mut self, domain: &Domain) {
        self.suspensions.remove_mut(domain);
    }

    /// Keeps nodes of this name out of the cluster.
    pub(super) fn bar(&mut self, node: &str) {
        self.barred.insert_mut(node.into());
    }

    /// Keeps them out no more.
    pub(super) fn unbar(&mut self, node: &str) {
        self.barred.remove_mut(node);
    }

    /// Takes a key where there is none; whether it is taken.
    pub(super) fn agree_on_delivery_key(&mut self, key: &DeliveryKey) -> bool {
        let has_none = self.delivery_key.is_none();
        self.delivery_key.get_or_insert_with(|| key.clone());
        has_none
    }

    /// See [`Requests::remember`].
    pub(super) fn remember(&mut self, request: Request) {
        self.requests.remember(request);
    }

    /// See [`Requests::put`].
    pub(super) fn put_request(&mut self, request: Request) {
        self.requests.put(request);
    }

    /// See [`History::push`].
    pub(super) fn record(&mut self, revision: Revision) {
        self.history.push(revision);
    }

    /// By this revision the suspensions are others.
    pub(super) fn set_suspensions_revision(&mut self, revision: u64) {
        self.suspensions_revision = revision;
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table")
            .field("revision", &self.revision)
            .field("coverage", &self.coverage)
            .field("domains", &self.domains.size())
            .field("rules", &self.rules.size())
            .field("destinations", &self.destinations.size())
            .field("suspensions", &self.suspensions.size())
            .field("listings", &self.listings.len())
            .field("requests", &self.requests.len())
            .field("history", &self.history.len())
            .finish_non_exhaustive()
    }
}

fn behind<T: ?Sized>(key: &T) -> (Bound<&T>, Bound<&T>) {
    (Bound::Excluded(key), Bound::Unbounded)
}
