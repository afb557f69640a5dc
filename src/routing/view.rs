//! The table as its readers see it, swapped as a whole by whoever changes it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::table::{RoutingOptions, Table};

/// Where readers take the table from. Clones show the same.
#[derive(Debug, Clone)]
pub struct View {
    shown: Arc<Shown>,
}

#[derive(Debug)]
struct Shown {
    table: ArcSwap<Table>,
    /// The revision that changed the suspensions last.
    suspensions: watch::Sender<u64>,
    /// Locked by whoever shows a table.
    showing: Mutex<Showing>,
}

#[derive(Debug)]
struct Showing {
    /// What each table is shown with.
    options: RoutingOptions,
    held: Held,
}

/// Whether readers keep the table that they have.
#[derive(Debug)]
enum Held {
    No,
    /// They do; and what would be shown, if anything would.
    Yes(Option<Box<Table>>),
}

impl View {
    pub(super) fn new(table: Table) -> Self {
        let suspensions = watch::Sender::new(table.suspensions_revision());
        let showing = Mutex::new(Showing { options: table.options().clone(), held: Held::No });
        Self { shown: Arc::new(Shown { table: ArcSwap::from_pointee(table), suspensions, showing }) }
    }

    /// Shows nothing yet.
    #[must_use]
    pub fn empty(options: RoutingOptions) -> Self {
        Self::new(Table::new(options))
    }

    /// The table as it is now. Take it once for what must fit together.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Table> {
        self.shown.table.load_full()
    }

    /// Tells when the suspensions have changed, once [`Self::snapshot`] has it: the value is the revision that did it.
    #[must_use]
    pub fn suspension_changes(&self) -> watch::Receiver<u64> {
        self.shown.suspensions.subscribe()
    }

    /// Has readers keep the table that they have, whatever is shown, until [`Self::release`]: while an older one than theirs
    /// is brought up to date, for one.
    pub fn hold(&self) {
        let mut showing = self.shown.showing.lock();
        if matches!(showing.held, Held::No) {
            showing.held = Held::Yes(None);
        }
    }

    /// Whether they do.
    #[must_use]
    pub fn is_held(&self) -> bool {
        !matches!(self.shown.showing.lock().held, Held::No)
    }

    /// Shows the last of the tables that were held back, and those to come.
    pub fn release(&self) {
        let mut showing = self.shown.showing.lock();
        if let Held::Yes(Some(table)) = std::mem::replace(&mut showing.held, Held::No) {
            self.swap(*table, &showing.options);
        }
    }

    /// Reads the table that is held back, or, where none is, the one that is shown.
    #[must_use]
    pub fn latest<T>(&self, read: impl FnOnce(&Table) -> T) -> T {
        match &self.shown.showing.lock().held {
            Held::Yes(Some(table)) => read(table),
            Held::Yes(None) | Held::No => read(&self.snapshot()),
        }
    }

    /// Shows a table in the place of the one before.
    pub fn show(&self, table: Table) {
        let mut showing = self.shown.showing.lock();
        match &mut showing.held {
            Held::Yes(held) => *held = Some(Box::new(table)),
            Held::No => self.swap(table, &showing.options),
        }
    }

    /// Shows a table even where readers keep what they have, and has them keep this one then.
    pub fn show_at_once(&self, table: Table) {
        let mut showing = self.shown.showing.lock();
        if let Held::Yes(held) = &mut showing.held {
            *held = None;
        }
        self.swap(table, &showing.options);
    }

    fn swap(&self, mut table: Table, options: &RoutingOptions) {
        table.set_options(options.clone());
        let revision = table.suspensions_revision();
        self.shown.table.store(Arc::new(table));
        self.shown.suspensions.send_if_modified(|told| std::mem::replace(told, revision) != revision);
    }

    /// Shows the table with what a new configuration says.
    pub(super) fn configure(&self, options: RoutingOptions) {
        let mut showing = self.shown.showing.lock();
        showing.options = options;
        let mut table = Table::clone(&self.snapshot());
        table.set_options(showing.options.clone());
        self.shown.table.store(Arc::new(table));
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
