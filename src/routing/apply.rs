//! Applying a change to a table: pure and deterministic, so that a log of stamped changes makes the same
//! table wherever it is replayed. Nothing here looks at the clock or at a node's configuration.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use ulid::Ulid;

use super::change::{
    Change, Changed, DomainPatch, MAX_CHANGES_PER_BATCH, NewDomain, NewRule, RulePatch, RulesOfDeleted,
    Stamped, TempfailSetting,
};
use super::check::{check_label, checked_action, checked_destination, checked_matcher};
use super::error::RoutingError;
use super::history::{MAX_HISTORY_OCTETS, Revision};
use super::images::{Image, Place, encode_images};
use super::model::{
    Access, Destination, DomainEntry, MAX_DESTINATIONS, MAX_DOMAINS, MAX_RULES_PER_DOMAIN, Rule,
};
use super::requests::Request;
use super::summary::summary;
use super::table::{Coverage, Table};
use super::wire;
use crate::mail::{Address, Domain};

/// What applying a change gives.
pub(super) struct Applied {
    /// The next table.
    pub(super) table: Table,
    /// For the caller.
    pub(super) changed: Changed,
    /// Whether the table is another than before.
    pub(super) is_changed: bool,
    /// Domains that were added.
    pub(super) added_domains: Vec<Domain>,
    /// Rules that were added or changed, and may be gone again.
    pub(super) touched_rules: Vec<Ulid>,
    /// Where anything was written.
    touched: BTreeSet<Place>,
}

impl Applied {
    /// Something is written there.
    pub(super) fn touch(&mut self, place: Place) {
        self.is_changed = true;
        self.touched.insert(place);
    }

    /// What stood before, in another table, where this one is another; none where that is too much to be kept.
    fn before(&mut self, table: &Table) -> Option<Vec<u8>> {
        if self.table.coverage() != table.coverage() {
            self.touched.insert(Place::Coverage);
        }
        let images = std::mem::take(&mut self.touched).into_iter().map(|place| Image::of(table, place));
        encode_images(images.filter(|image| *image != image.now(&self.table)), MAX_HISTORY_OCTETS)
    }
}

/// Names listed in an error.
const MAX_NAMES_IN_ERROR: usize = 10;

/// Applies a change to a table, which stays as it is.
///
/// # Errors
/// When the change cannot be made; of a batch, then nothing is.
pub(super) fn apply(table: &Table, stamped: &Stamped) -> Result<Applied, RoutingError> {
    let at = wire::to_the_millisecond(stamped.at);
    let repeated = match &stamped.request_id {
        Some(id) => table.left_by(id, &stamped.change, at)?,
        None => None,
    };
    let mut editor = Editor {
        at,
        // A leader that stamps before it has applied what the last one left may use an id again.
        next_id: stamped.first_id.max(Ulid(table.greatest_id().0.saturating_add(1))),
        revision: table.revision() + 1,
        applied: Applied {
            table: table.clone(),
            changed: Changed::Removed,
            is_changed: false,
            added_domains: Vec::new(),
            touched_rules: Vec::new(),
            touched: BTreeSet::new(),
        },
    };
    if let Some(changed) = repeated {
        return Ok(Applied { changed: changed.clone(), ..editor.applied });
    }
    editor.applied.changed = if let Change::Batch(changes) = &stamped.change {
        editor.all(changes)?
    } else if let Change::RollBack(order) = &stamped.change {
        editor.roll_back(order)?
    } else {
        editor.one(&stamped.change)?
    };
    let mut applied = editor.applied;
    // Suspensions and listings say nothing of what there is to route.
    let routes = applied.table.domain_count() + applied.table.destination_count();
    if routes > 0 && applied.table.coverage() == Coverage::Empty {
        applied.table.set_coverage(Coverage::Whole);
    }
    applied.is_changed |= applied.table.coverage() != table.coverage();
    // A request that changed nothing is not remembered: that would be a change too, since at one revision there is one table.
    if applied.is_changed {
        let (number, what) = (table.revision() + 1, summary(&stamped.change, table));
        let (author, before) = (stamped.author.clone(), applied.before(table));
        applied.table.set_revision(number);
        applied.table.record(Revision { number, at, author, what, before });
        if let Some(id) = &stamped.request_id {
            applied.table.remember(Request::new(id, at, &stamped.change, &applied.changed));
        }
    }
    Ok(applied)
}

/// A table that is being changed: domains, rules and destinations here, what else operators order in `orders`.
pub(super) struct Editor {
    pub(super) at: SystemTime,
    next_id: Ulid,
    pub(super) revision: u64,
    pub(super) applied: Applied,
}

impl Editor {
    fn all(&mut self, changes: &[Change]) -> Result<Changed, RoutingError> {
        if changes.len() > MAX_CHANGES_PER_BATCH {
            return Err(RoutingError::TooManyChanges(changes.len()));
        }
        let changed: Result<Vec<_>, _> = changes.iter().map(|change| self.one(change)).collect();
        changed.map(Changed::Batch)
    }

    fn one(&mut self, change: &Change) -> Result<Changed, RoutingError> {
        match change {
            Change::CreateDomain(new) => self.create_domain(new),
            Change::UpdateDomain { name, patch, etag } => self.update_domain(name, patch, *etag),
            Change::DeleteDomain { name, rules, etag } => self.delete_domain(name, *rules, *etag),
            Change::CreateRule(new) => self.create_rule(new),
            Change::UpdateRule { id, patch, etag } => self.update_rule(*id, patch, *etag),
            Change::DeleteRule { id, etag } => self.delete_rule(*id, *etag),
            Change::CreateDestination { address, verified } => self.create_destination(address, *verified),
            Change::UpdateDestination { address, verified, etag } => {
                self.update_destination(address, *verified, *etag)
            }
            Change::DeleteDestination { address, etag } => self.delete_destination(address, *etag),
            Change::Suspend { domain, until, reason } => self.suspend(domain, *until, reason),
            Change::Resume { domain, etag } => self.resume(domain, *etag),
            Change::EndSuspensions => Ok(self.end_suspensions()),
            Change::Block { network, until, reason } => self.list(*network, Access::Blocked, *until, reason),
            Change::Allow { network, until, reason } => self.list(*network, Access::Allowed, *until, reason),
            Change::Unlist { network, etag } => self.unlist(network, *etag),
            Change::BarNode { name } => self.bar_node(name),
            Change::AdmitNode { name } => self.admit_node(name),
            Change::DeclareWhole => {
                self.applied.table.set_coverage(Coverage::Whole);
                Ok(Changed::Whole)
            }
            Change::DeclareLost => {
                if self.applied.table.coverage() == Coverage::Empty {
                    self.applied.table.set_coverage(Coverage::Lost);
                }
                Ok(Changed::Whole)
            }
            Change::AgreeOnDeliveryKey(key) => {
                self.applied.is_changed |= self.applied.table.agree_on_delivery_key(key);
                Ok(Changed::Whole)
            }
            Change::Batch(_) | Change::RollBack(_) => Err(RoutingError::NestedBatch),
        }
    }

    fn id(&mut self) -> Ulid {
        let id = self.next_id;
        self.next_id = Ulid(id.0.saturating_add(1));
        id
    }

    fn create_domain(&mut self, new: &NewDomain) -> Result<Changed, RoutingError> {
        if new.name.is_literal() {
            return Err(RoutingError::DomainIsLiteral(new.name.clone()));
        }
        if self.applied.table.hosts(&new.name) {
            return Err(RoutingError::DomainExists(new.name.clone()));
        }
        if self.applied.table.domain_count() >= MAX_DOMAINS {
            return Err(RoutingError::TooManyDomains);
        }
        let entry = DomainEntry {
            id: self.id(),
            name: new.name.clone(),
            enabled: new.enabled,
            on_tempfail: new.on_tempfail,
            subaddressing: new.subaddressing,
            created_at: self.at,
            updated_at: self.at,
            revision: self.revision,
        };
        self.applied.added_domains.push(new.name.clone());
        Ok(self.put_domain(entry))
    }

    fn update_domain(
        &mut self,
        name: &Domain,
        patch: &DomainPatch,
        etag: Option<u64>,
    ) -> Result<Changed, RoutingError> {
        let old = self.domain(name)?;
        check_etag(etag, old.revision, || old.resource_name())?;
        let mut entry = (*old).clone();
        entry.enabled = patch.enabled.unwrap_or(entry.enabled);
        entry.subaddressing = patch.subaddressing.unwrap_or(entry.subaddressing);
        if let Some(TempfailSetting(on_tempfail)) = patch.on_tempfail {
            entry.on_tempfail = on_tempfail;
        }
        if entry == *old {
            return Ok(Changed::Domain(old));
        }
        entry.updated_at = self.at;
        entry.revision = self.revision;
        Ok(self.put_domain(entry))
    }

    pub(super) fn delete_domain(
        &mut self,
        name: &Domain,
        rules: RulesOfDeleted,
        etag: Option<u64>,
    ) -> Result<Changed, RoutingError> {
        let old = self.domain(name)?;
        check_etag(etag, old.revision, || old.resource_name())?;
        let ids: Vec<Ulid> = self.applied.table.rules(name).map(|rule| rule.id).collect();
        if rules == RulesOfDeleted::Keep && !ids.is_empty() {
            return Err(RoutingError::DomainNotEmpty { name: name.clone(), rules: ids.len() });
        }
        for id in ids {
            self.remove_rule(&id);
        }
        self.applied.touch(Place::Domain(name.clone()));
        self.applied.table.remove_domain(name);
        Ok(Changed::Removed)
    }

    fn create_rule(&mut self, new: &NewRule) -> Result<Changed, RoutingError> {
        let domain = self.domain(&new.domain)?;
        if self.applied.table.rule_count(&new.domain) >= MAX_RULES_PER_DOMAIN {
            return Err(RoutingError::TooManyRules(new.domain.clone()));
        }
        check_label(&new.label)?;
        let rule = Rule {
            id: self.id(),
            domain: domain.name.clone(),
            matcher: checked_matcher(&new.matcher, &new.domain)?,
            action: checked_action(&new.action)?,
            priority: new.priority,
            label: new.label.clone(),
            enabled: new.enabled,
            created_at: self.at,
            updated_at: self.at,
            revision: self.revision,
        };
        self.put_rule(rule)
    }

    fn update_rule(
        &mut self,
        id: Ulid,
        patch: &RulePatch,
        etag: Option<u64>,
    ) -> Result<Changed, RoutingError> {
        let old = self.rule(id)?;
        check_etag(etag, old.revision, || old.resource_name())?;
        let mut rule = (*old).clone();
        if let Some(matcher) = &patch.matcher {
            rule.matcher = checked_matcher(matcher, &rule.domain)?;
        }
        if let Some(action) = &patch.action {
            rule.action = checked_action(action)?;
        }
        if let Some(label) = &patch.label {
            check_label(label)?;
            rule.label.clone_from(label);
        }
        rule.priority = patch.priority.unwrap_or(rule.priority);
        rule.enabled = patch.enabled.unwrap_or(rule.enabled);
        if rule == *old {
            return Ok(Changed::Rule(old));
        }
        rule.updated_at = self.at;
        rule.revision = self.revision;
        self.put_rule(rule)
    }

    fn delete_rule(&mut self, id: Ulid, etag: Option<u64>) -> Result<Changed, RoutingError> {
        let old = self.rule(id)?;
        check_etag(etag, old.revision, || old.resource_name())?;
        self.remove_rule(&id);
        Ok(Changed::Removed)
    }

    fn create_destination(&mut self, address: &Address, verified: bool) -> Result<Changed, RoutingError> {
        if let Some(found) = self.applied.table.destination(address) {
            return Err(RoutingError::DestinationExists(found.address.clone()));
        }
        self.add_destination(address, verified)
    }

    fn add_destination(&mut self, address: &Address, verified: bool) -> Result<Changed, RoutingError> {
        if self.applied.table.destination_count() >= MAX_DESTINATIONS {
            return Err(RoutingError::TooManyDestinations);
        }
        let entry = Destination {
            id: self.id(),
            address: checked_destination(address)?.clone(),
            verified_at: verified.then_some(self.at),
            created_at: self.at,
            revision: self.revision,
        };
        Ok(self.put_destination(entry))
    }

    fn update_destination(
        &mut self,
        address: &Address,
        verified: bool,
        etag: Option<u64>,
    ) -> Result<Changed, RoutingError> {
        let old = self.destination(address)?;
        check_etag(etag, old.revision, || old.resource_name())?;
        if old.verified_at.is_some() == verified {
            return Ok(Changed::Destination(old));
        }
        let mut entry = (*old).clone();
        entry.verified_at = verified.then_some(self.at);
        entry.revision = self.revision;
        Ok(self.put_destination(entry))
    }

    pub(super) fn delete_destination(
        &mut self,
        address: &Address,
        etag: Option<u64>,
    ) -> Result<Changed, RoutingError> {
        let old = self.destination(address)?;
        check_etag(etag, old.revision, || old.resource_name())?;
        let table = &mut self.applied.table;
        let total = table.user_count(address);
        if total > 0 {
            let names = table.users(address).take(MAX_NAMES_IN_ERROR);
            let rules = names.map(|rule| rule.resource_name()).collect();
            return Err(RoutingError::DestinationInUse { address: old.address.clone(), rules, total });
        }
        table.remove_destination(address);
        self.applied.touch(Place::Destination(address.folded()));
        Ok(Changed::Removed)
    }

    pub(super) fn put_domain(&mut self, entry: DomainEntry) -> Changed {
        let entry = Arc::new(entry);
        self.applied.touch(Place::Domain(entry.name.clone()));
        self.applied.table.put_domain(entry.clone());
        Changed::Domain(entry)
    }

    pub(super) fn put_rule(&mut self, rule: Rule) -> Result<Changed, RoutingError> {
        for address in rule.destinations() {
            if self.applied.table.destination(address).is_none() {
                self.add_destination(address, false)?;
            }
        }
        let rule = Arc::new(rule);
        self.applied.touch(Place::Rule(rule.id));
        self.applied.table.put_rule(rule.clone());
        self.applied.touched_rules.push(rule.id);
        Ok(Changed::Rule(rule))
    }

    pub(super) fn put_destination(&mut self, entry: Destination) -> Changed {
        let entry = Arc::new(entry);
        self.applied.touch(Place::Destination(entry.address.folded()));
        self.applied.table.put_destination(entry.clone());
        Changed::Destination(entry)
    }

    pub(super) fn remove_rule(&mut self, id: &Ulid) {
        self.applied.touch(Place::Rule(*id));
        self.applied.table.remove_rule(id);
    }

    pub(super) fn domain(&self, name: &Domain) -> Result<Arc<DomainEntry>, RoutingError> {
        self.applied.table.domain(name).cloned().ok_or_else(|| RoutingError::DomainNotFound(name.clone()))
    }

    fn rule(&self, id: Ulid) -> Result<Arc<Rule>, RoutingError> {
        self.applied.table.rule(&id).cloned().ok_or(RoutingError::RuleNotFound(id))
    }

    fn destination(&self, address: &Address) -> Result<Arc<Destination>, RoutingError> {
        let found = self.applied.table.destination(address).cloned();
        found.ok_or_else(|| RoutingError::DestinationNotFound(address.clone()))
    }
}

pub(super) fn check_etag(
    given: Option<u64>,
    current: u64,
    resource: impl FnOnce() -> String,
) -> Result<(), RoutingError> {
    match given.filter(|given| *given != current) {
        Some(given) => Err(RoutingError::EtagMismatch { resource: resource(), current, given }),
        None => Ok(()),
    }
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;
