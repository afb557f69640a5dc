//! Makes a table again what it was right after a revision, as a new change.
//!
//! - Whoever leads looks up in the history what stood where the changes since then have written, and the change says it: so
//!   it is the same wherever it is applied, and refused by a table that has changed in between.
//! - Ids and times of creation are those of then. Etags are new, and so are the times of the last change.
//! - Whether a destination is verified is not rolled back, since that is its owner's word and no change of a route: one that
//!   is there keeps what it has, and one that has gone comes back as it was when it went. So what was confirmed since is not
//!   lost, and what was taken back since does not come again.
//! - A suspension or a listing whose time is over by now does not come back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use super::apply::{Editor, check_etag};
use super::change::{Change, Changed};
use super::error::RoutingError;
use super::images::{Image, Place};
use super::model::{Destination, DomainEntry, Rule};
use super::requests::RequestId;
use super::table::Table;
use crate::mail::{Address, Domain};

/// A table as it was, to be made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollBack {
    /// Right after which revision.
    pub revision: u64,
    /// The revision of the table as the caller last saw it: with another one it is refused.
    pub etag: Option<u64>,
    /// The revision of the table that the images are for: it is made to no other.
    pub(super) from: u64,
    /// What is restored. What a caller says of it does not count.
    pub(super) restored: Vec<Image>,
}

impl RollBack {
    /// An order.
    #[must_use]
    pub fn to(revision: u64, etag: Option<u64>) -> Self {
        Self { revision, etag, from: 0, restored: Vec::new() }
    }
}

/// The change with what it takes from the history of this table, if it takes anything. A repeat of a request takes nothing:
/// it is answered, and not made.
///
/// # Errors
/// When the history does not have it, or the table is another than the caller saw.
pub(super) fn planned(
    change: Change,
    request_id: Option<&RequestId>,
    table: &Table,
    at: SystemTime,
) -> Result<Change, RoutingError> {
    let Change::RollBack(RollBack { revision, etag, .. }) = change else { return Ok(change) };
    if let Some(id) = request_id
        && table.left_by(id, &change, at)?.is_some()
    {
        return Ok(change);
    }
    check_etag(etag, table.revision(), || TABLE.to_owned())?;
    let restored = table.undo(revision, at)?;
    Ok(Change::RollBack(RollBack { revision, etag, from: table.revision(), restored }))
}

/// What errors call it.
const TABLE: &str = "the routing table";

impl Table {
    /// What makes the table again what it was right after a revision, where it is another: what stood in these places.
    ///
    /// # Errors
    /// When that revision is not kept, or not there yet.
    pub fn undo(&self, revision: u64, at: SystemTime) -> Result<Vec<Image>, RoutingError> {
        let (latest, oldest) = (self.revision(), self.oldest_revision());
        if revision > latest {
            return Err(RoutingError::RevisionNotFound { revision, latest });
        }
        if revision < oldest {
            return Err(RoutingError::RevisionTooOld { revision, oldest });
        }
        // The oldest image of a place is what stood there then; the last of a destination that has gone, how it went.
        let mut found: BTreeMap<Place, Image> = BTreeMap::new();
        let mut last: BTreeMap<Address, Arc<Destination>> = BTreeMap::new();
        for later in self.revisions_since(revision) {
            for image in later.images().map_err(RoutingError::HistoryUnreadable)? {
                if let Image::Destination(folded, Some(entry)) = &image {
                    last.insert(folded.clone(), entry.clone());
                }
                found.entry(image.place()).or_insert(image);
            }
        }
        let settled = found.into_values().map(|image| match image {
            Image::Destination(folded, Some(entry)) => {
                let now = self.destination(&folded).or_else(|| last.get(&folded));
                let verified_at = now.and_then(|now| now.verified_at);
                Image::Destination(folded, Some(Arc::new(Destination { verified_at, ..(*entry).clone() })))
            }
            Image::Suspension(domain, entry) => {
                Image::Suspension(domain, entry.filter(|entry| !entry.is_over(at)))
            }
            Image::Listing(network, entry) => {
                Image::Listing(network, entry.filter(|entry| !entry.is_over(at)))
            }
            Image::Domain(..) | Image::Rule(..) | Image::Destination(_, None) | Image::Coverage(_) => image,
        });
        let bare = |image: &Image| image.clone().written(SystemTime::UNIX_EPOCH, 0);
        Ok(settled.filter(|image| bare(image) != bare(&image.now(self))).collect())
    }
}

impl Editor {
    /// Puts the images where they belong: rules go before what they need, and come after it.
    pub(super) fn roll_back(&mut self, order: &RollBack) -> Result<Changed, RoutingError> {
        check_etag(Some(order.from), self.applied.table.revision(), || TABLE.to_owned())?;
        let (at, revision) = (self.at, self.revision);
        let images: Vec<Image> =
            order.restored.iter().map(|image| image.clone().written(at, revision)).collect();
        for image in &images {
            if let Image::Rule(id, None) = image {
                self.remove_rule(id);
            }
        }
        for image in &images {
            self.restore_beside(image)?;
        }
        for image in images {
            match image {
                Image::Rule(_, Some(rule)) => self.restore_rule(&rule)?,
                Image::Destination(folded, None) => drop(self.delete_destination(&folded, None)?),
                Image::Rule(_, None)
                | Image::Destination(_, Some(_))
                | Image::Domain(..)
                | Image::Suspension(..)
                | Image::Listing(..)
                | Image::Coverage(_) => {}
            }
        }
        Ok(Changed::Batch(Vec::new()))
    }

    /// Restores what needs no rule to be there, and what no rule needs.
    fn restore_beside(&mut self, image: &Image) -> Result<(), RoutingError> {
        match image {
            Image::Domain(name, entry) => self.restore_domain(name, entry.as_deref())?,
            Image::Destination(_, Some(entry)) => drop(self.put_destination((**entry).clone())),
            Image::Suspension(domain, entry) => self.put_suspension(domain, entry.as_ref()),
            Image::Listing(network, entry) => self.put_listing(*network, entry.as_ref()),
            Image::Coverage(coverage) => self.applied.table.set_coverage(*coverage),
            Image::Rule(..) | Image::Destination(_, None) => {}
        }
        Ok(())
    }

    fn restore_domain(&mut self, name: &Domain, entry: Option<&DomainEntry>) -> Result<(), RoutingError> {
        let Some(entry) = entry else {
            return self.delete_domain(name, super::change::RulesOfDeleted::Keep, None).map(drop);
        };
        if !self.applied.table.hosts(name) {
            self.applied.added_domains.push(name.clone());
        }
        self.put_domain(entry.clone());
        Ok(())
    }

    fn restore_rule(&mut self, rule: &Rule) -> Result<(), RoutingError> {
        // One name for all rules of a domain, not a copy each.
        let domain = self.domain(&rule.domain)?.name.clone();
        self.put_rule(Rule { domain, ..rule.clone() }).map(drop)
    }
}

#[cfg(test)]
#[path = "rollback_tests.rs"]
mod tests;
