//! Applying what operators order beside the routes: suspensions of destinations. As pure as [`super::apply`], which
//! calls this.

use std::sync::Arc;
use std::time::SystemTime;

use super::apply::{Editor, check_etag};
use super::change::Changed;
use super::check::check_reason;
use super::error::RoutingError;
use super::model::{MAX_SUSPENSIONS, Suspension};
use super::wire;
use crate::mail::Domain;

impl Editor {
    pub(super) fn suspend(
        &mut self,
        domain: &Domain,
        until: Option<SystemTime>,
        reason: &str,
    ) -> Result<Changed, RoutingError> {
        check_reason(reason)?;
        let until = until.map(wire::to_the_millisecond);
        let table = &self.applied.table;
        match table.suspension(domain) {
            Some(old) if old.until == until && old.reason == reason => {
                return Ok(Changed::Suspension(old.clone()));
            }
            None if table.suspension_count() >= MAX_SUSPENSIONS => {
                return Err(RoutingError::TooManySuspensions);
            }
            Some(_) | None => {}
        }
        let (since, revision) = (self.at, self.revision);
        let entry = Suspension { domain: domain.clone(), since, until, reason: reason.to_owned(), revision };
        let entry = Arc::new(entry);
        self.applied.writes.put_suspension(&entry)?;
        self.applied.table.put_suspension(entry.clone());
        self.applied.table.set_suspensions_revision(revision);
        Ok(Changed::Suspension(entry))
    }

    pub(super) fn resume(&mut self, domain: &Domain, etag: Option<u64>) -> Result<Changed, RoutingError> {
        let table = &mut self.applied.table;
        let old = table.suspension(domain).ok_or_else(|| RoutingError::SuspensionNotFound(domain.clone()))?;
        check_etag(etag, old.revision, || old.resource_name())?;
        table.remove_suspension(domain);
        table.set_suspensions_revision(self.revision);
        self.applied.writes.remove_suspension(domain);
        Ok(Changed::Removed)
    }
}

#[cfg(test)]
#[path = "orders_tests.rs"]
mod tests;
