//! Changes on their way to the disk or to a log: each is stamped, and tried on a copy of the table as the one before left
//! it.

use super::admit::admit;
use super::apply::{Applied, apply};
use super::author::Author;
use super::change::{Change, Ids, Stamped};
use super::error::RoutingError;
use super::requests::RequestId;
use super::rollback::planned;
use super::table::Table;
use crate::clock;

/// A copy of the table with what was tried on it. The ids that it hands out grow for as long as it lives, whatever becomes
/// of the changes.
#[derive(Debug)]
pub struct Draft {
    table: Table,
    ids: Ids,
}

impl Draft {
    /// Begins with this table.
    #[must_use]
    pub fn new(table: &Table) -> Self {
        Self { table: table.clone(), ids: Ids::above(table.greatest_id()) }
    }

    /// Begins again with this table.
    pub fn restart(&mut self, table: &Table) {
        self.ids.rise_above(table.greatest_id());
        self.table = table.clone();
    }

    /// Stamps a change and makes it on the copy: all is asked of it that is asked of a change at all. Takes CPU in the
    /// measure of the change.
    ///
    /// # Errors
    /// With why it cannot be made: then the copy is as it was.
    pub fn attempt(
        &mut self,
        change: Change,
        request_id: Option<RequestId>,
        author: Option<Author>,
    ) -> Result<Stamped, RoutingError> {
        self.make(change, request_id, author).map(|(stamped, _)| stamped)
    }

    pub(super) fn make(
        &mut self,
        change: Change,
        request_id: Option<RequestId>,
        author: Option<Author>,
    ) -> Result<(Stamped, Applied), RoutingError> {
        let at = clock::now();
        let first_id = self.ids.take(at, change.creations());
        let change = planned(change, request_id.as_ref(), &self.table, at)?;
        let stamped = Stamped { at, first_id, request_id, author, change };
        let applied = apply(&self.table, &stamped)?;
        admit(&applied)?;
        self.table = applied.table.clone();
        Ok((stamped, applied))
    }
}

#[cfg(test)]
#[path = "draft_tests.rs"]
mod tests;
