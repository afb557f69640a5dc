//! Applying what operators order beside the routes: suspensions of destinations, listings of clients, nodes of the cluster. As pure as [`super::apply`], which
//! calls this.

use std::sync::Arc;
use std::time::SystemTime;

use ipnet::IpNet;

use super::apply::{Editor, check_etag};
use super::change::Changed;
use super::check::check_reason;
use super::error::RoutingError;
use super::images::Place;
use super::listings::canonical;
use super::model::{Access, Listing, MAX_BARRED, MAX_LISTINGS, MAX_SUSPENSIONS, Suspension};
use super::wire;
use crate::mail::Domain;

/// Suspensions that one change ends: what it writes stays small.
const MAX_SUSPENSIONS_ENDED: usize = 1000;
/// Listings that are over, and that one change of listings removes.
const MAX_SWEPT: usize = 100;

impl Editor {
    pub(super) fn suspend(
        &mut self,
        domain: &Domain,
        until: Option<SystemTime>,
        reason: &str,
    ) -> Result<Changed, RoutingError> {
        check_reason(reason)?;
        let table = &self.applied.table;
        if table.suspension(domain).is_none() && table.suspension_count() >= MAX_SUSPENSIONS {
            return Err(RoutingError::TooManySuspensions);
        }
        let (since, until) = (wire::to_the_second(self.at), until.map(wire::to_the_second));
        let revision = self.revision;
        let entry = Suspension { domain: domain.clone(), since, until, reason: reason.to_owned(), revision };
        let entry = Arc::new(entry);
        self.put_suspension(domain, Some(&entry));
        Ok(Changed::Suspension(entry))
    }

    pub(super) fn resume(&mut self, domain: &Domain, etag: Option<u64>) -> Result<Changed, RoutingError> {
        let table = &self.applied.table;
        let old = table.suspension(domain).ok_or_else(|| RoutingError::SuspensionNotFound(domain.clone()))?;
        check_etag(etag, old.revision, || old.resource_name())?;
        self.put_suspension(domain, None);
        Ok(Changed::Removed)
    }

    pub(super) fn end_suspensions(&mut self) -> Changed {
        let over = self.applied.table.suspensions().filter(|suspension| suspension.is_over(self.at));
        let over: Vec<_> = over.take(MAX_SUSPENSIONS_ENDED).cloned().collect();
        over.iter().for_each(|suspension| self.put_suspension(&suspension.domain, None));
        Changed::Removed
    }

    /// Puts what suspends a destination in the place of what did, or nothing.
    pub(super) fn put_suspension(&mut self, domain: &Domain, entry: Option<&Arc<Suspension>>) {
        self.applied.touch(Place::Suspension(domain.clone()));
        match entry {
            Some(entry) => self.applied.table.put_suspension(entry.clone()),
            None => self.applied.table.remove_suspension(domain),
        }
        self.applied.table.set_suspensions_revision(self.revision);
    }

    pub(super) fn list(
        &mut self,
        network: IpNet,
        access: Access,
        until: Option<SystemTime>,
        reason: &str,
    ) -> Result<Changed, RoutingError> {
        check_reason(reason)?;
        check_form(network)?;
        self.sweep_listings();
        let until = until.map(wire::to_the_millisecond);
        let table = &self.applied.table;
        match table.listing_of(&network) {
            Some(old) if old.access == access && old.until == until && old.reason == reason => {
                return Ok(Changed::Listing(old.clone()));
            }
            None if table.listing_count() >= MAX_LISTINGS => return Err(RoutingError::TooManyListings),
            Some(_) | None => {}
        }
        let (since, revision) = (self.at, self.revision);
        let reason = reason.to_owned();
        let entry = Arc::new(Listing { network, access, reason, since, until, revision });
        self.put_listing(network, Some(&entry));
        Ok(Changed::Listing(entry))
    }

    pub(super) fn unlist(&mut self, network: &IpNet, etag: Option<u64>) -> Result<Changed, RoutingError> {
        check_form(*network)?;
        let table = &self.applied.table;
        let old = table.listing_of(network).ok_or(RoutingError::ListingNotFound(*network))?;
        check_etag(etag, old.revision, || old.resource_name())?;
        self.put_listing(*network, None);
        self.sweep_listings();
        Ok(Changed::Removed)
    }

    pub(super) fn bar_node(&mut self, name: &str) -> Result<Changed, RoutingError> {
        let table = &mut self.applied.table;
        if !table.is_barred(name) {
            if table.barred().count() >= MAX_BARRED {
                return Err(RoutingError::TooManyBarred);
            }
            table.bar(name);
            self.applied.is_changed = true;
        }
        Ok(Changed::Whole)
    }

    pub(super) fn admit_node(&mut self, name: &str) -> Result<Changed, RoutingError> {
        let table = &mut self.applied.table;
        if !table.is_barred(name) {
            return Err(RoutingError::NodeNotBarred(name.to_owned()));
        }
        table.unbar(name);
        self.applied.is_changed = true;
        Ok(Changed::Whole)
    }

    /// Removes listings that are over, so that they do not take the place of others for good. By the time of the change,
    /// which is the same wherever it is applied.
    fn sweep_listings(&mut self) {
        for network in self.applied.table.listings_over(self.at, MAX_SWEPT) {
            self.put_listing(network, None);
        }
    }

    /// Puts what is said of a network in the place of what was, or nothing.
    pub(super) fn put_listing(&mut self, network: IpNet, entry: Option<&Arc<Listing>>) {
        self.applied.touch(Place::Listing(network));
        match entry {
            Some(entry) => self.applied.table.put_listing(entry.clone()),
            None => self.applied.table.remove_listing(&network),
        }
    }
}

fn check_form(given: IpNet) -> Result<(), RoutingError> {
    let canonical = canonical(given);
    if given != canonical {
        return Err(RoutingError::NetworkForm { given, canonical });
    }
    Ok(())
}

#[cfg(test)]
#[path = "orders_tests.rs"]
mod tests;
