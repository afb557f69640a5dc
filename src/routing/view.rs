//! The table as its readers see it, swapped as a whole by whoever changes it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::table::Table;

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
}

impl View {
    pub(super) fn new(table: Table) -> Self {
        let suspensions = watch::Sender::new(table.suspensions_revision());
        Self { shown: Arc::new(Shown { table: ArcSwap::from_pointee(table), suspensions }) }
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

    /// Shows a table in the place of the one before.
    pub(super) fn show(&self, table: Table) {
        let revision = table.suspensions_revision();
        self.shown.table.store(Arc::new(table));
        self.shown.suspensions.send_if_modified(|told| std::mem::replace(told, revision) != revision);
    }
}
