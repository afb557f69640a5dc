//! A table that is changed by what was agreed on elsewhere: nothing is admitted here, and nothing written.

use super::apply::apply;
use super::change::{Changed, Stamped};
use super::error::RoutingError;
use super::table::{RoutingOptions, Table};
use super::view::View;

/// A table, and what its readers see of it, which is the table as it was published last. A clone has a table of its own,
/// and publishes to the same readers.
#[derive(Debug, Clone)]
pub struct Replica {
    table: Table,
    view: View,
}

impl Replica {
    /// Nothing yet.
    #[must_use]
    pub fn new(options: RoutingOptions) -> Self {
        Self::of(Table::new(options))
    }

    /// What stood in a snapshot.
    #[must_use]
    pub fn of(table: Table) -> Self {
        Self { view: View::new(table.clone()), table }
    }

    /// A table that is published to the readers of another that was here before.
    #[must_use]
    pub fn onto(table: Table, view: View) -> Self {
        Self { table, view }
    }

    /// The table as it is, published or not.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// What readers see.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Applies a change. Takes CPU in the measure of the change: off the runtime's threads.
    ///
    /// # Errors
    /// With why nothing was changed, which is the same for equal tables.
    pub fn apply(&mut self, stamped: &Stamped) -> Result<Changed, RoutingError> {
        let applied = apply(&self.table, stamped)?;
        self.table = applied.table;
        Ok(applied.changed)
    }

    /// Takes a snapshot's table in the place of this one.
    pub fn replace(&mut self, table: Table) {
        self.table = table;
    }

    /// Shows the table to its readers.
    pub fn publish(&self) {
        self.view.show(self.table.clone());
    }
}

#[cfg(test)]
#[path = "replica_tests.rs"]
mod tests;
