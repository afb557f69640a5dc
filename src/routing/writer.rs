//! The one writer of the table: a thread, since each write ends in a flush. It takes what is waiting, applies
//! each change to what the one before left, writes all with one flush, and then shows the new table. Which requests it
//! carried out is forgotten with the process.

use tracing::error;

use super::change::Changed;
use super::draft::Draft;
use super::persist::{Trees, Writes};
use super::view::View;
use super::waiting::{Answer, Order, Orders};
use crate::store::Store;

/// Changes that share a flush.
const MAX_CHANGES_PER_FLUSH: usize = 64;

/// The writer's state, which lives in its thread.
pub(super) struct Writer {
    pub(super) store: Store,
    pub(super) trees: Trees,
    pub(super) view: View,
    pub(super) draft: Draft,
}

/// A change that was applied, and who waits for it to be durable.
type Pending = (Changed, Answer);

impl Writer {
    /// Works until no one can ask any more.
    pub(super) fn run(mut self, mut orders: Orders) {
        loop {
            let waiting = orders.blocking_take(MAX_CHANGES_PER_FLUSH);
            if waiting.is_empty() {
                return;
            }
            self.work(waiting);
        }
    }

    fn work(&mut self, orders: Vec<Order>) {
        self.draft.restart(&self.view.snapshot());
        let mut writes = Writes::default();
        let mut pending: Vec<Pending> = Vec::new();
        for Order { change, request_id, answer, .. } in orders {
            match self.draft.make(change, request_id) {
                Ok((_, applied)) => {
                    writes.append(applied.writes);
                    pending.push((applied.changed, answer));
                }
                Err(error) => answer.give(Err(error)),
            }
        }
        self.publish(writes, pending);
    }

    /// Durable first, then visible, then answered.
    fn publish(&self, writes: Writes, pending: Vec<Pending>) {
        let written = if writes.is_empty() {
            Ok(())
        } else {
            self.trees.write(writes).and_then(|()| self.store.flush_durably())
        };
        match written {
            Ok(()) => {
                self.view.show(self.draft.table().clone());
                pending.into_iter().for_each(|(changed, answer)| answer.give(Ok(changed)));
            }
            Err(cause) => {
                error!(%cause, "the routing table cannot be written");
                pending.into_iter().for_each(|(_, answer)| answer.give(Err(cause.clone().into())));
            }
        }
    }
}
