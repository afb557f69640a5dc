//! The one writer of the table: a thread, since each write ends in a flush. It takes what is waiting, applies
//! each change to what the one before left, writes all with one flush, and then shows the new table.

use tokio::sync::{mpsc, oneshot};
use tracing::error;

use super::admit::admit;
use super::apply::{Applied, apply};
use super::change::{Change, Changed, Ids, Stamped};
use super::error::RoutingError;
use super::persist::{Trees, Writes};
use super::table::{RoutingOptions, Table};
use super::view::View;
use crate::clock;
use crate::store::Store;

/// Orders that wait for the writer; more than this wait in front of the channel.
pub(super) const MAX_WAITING: usize = 256;
/// Changes that share a flush.
const MAX_CHANGES_PER_FLUSH: usize = 64;

/// What the writer is asked for.
pub(super) enum Order {
    /// Make this change durable and visible.
    Change(Change, oneshot::Sender<Result<Changed, RoutingError>>),
    /// Take the node's new configuration.
    Configure(RoutingOptions, oneshot::Sender<()>),
}

/// The writer's state, which lives in its thread.
pub(super) struct Writer {
    pub(super) store: Store,
    pub(super) trees: Trees,
    pub(super) view: View,
    pub(super) ids: Ids,
}

/// A change that was applied, and who waits for it to be durable.
type Pending = (Changed, oneshot::Sender<Result<Changed, RoutingError>>);

impl Writer {
    /// Works until no one can ask any more.
    pub(super) fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut waiting = Vec::new();
        while orders.blocking_recv_many(&mut waiting, MAX_CHANGES_PER_FLUSH) > 0 {
            self.work(std::mem::take(&mut waiting));
        }
    }

    fn work(&mut self, orders: Vec<Order>) {
        let mut table = Table::clone(&self.view.snapshot());
        let mut writes = Writes::default();
        let mut pending: Vec<Pending> = Vec::new();
        let mut configured = Vec::new();
        for order in orders {
            match order {
                Order::Configure(options, done) => {
                    table.set_options(options);
                    configured.push(done);
                }
                Order::Change(change, answer) => match self.accept(&table, change) {
                    Ok(applied) => {
                        table = applied.table;
                        writes.append(applied.writes);
                        pending.push((applied.changed, answer));
                    }
                    // A caller that has gone away does not need the answer.
                    Err(error) => drop(answer.send(Err(error))),
                },
            }
        }
        self.publish(table, writes, pending);
        for done in configured {
            // Nor does one that asked for a reload.
            let _ = done.send(());
        }
    }

    fn accept(&mut self, table: &Table, change: Change) -> Result<Applied, RoutingError> {
        let at = clock::now();
        let first_id = self.ids.take(at, change.creations());
        let applied = apply(table, &Stamped { at, first_id, change })?;
        admit(&applied)?;
        Ok(applied)
    }

    /// Durable first, then visible, then answered.
    fn publish(&self, table: Table, writes: Writes, pending: Vec<Pending>) {
        let written = if writes.is_empty() {
            Ok(())
        } else {
            self.trees.write(writes).and_then(|()| self.store.flush_durably())
        };
        match written {
            Ok(()) => {
                self.view.show(table);
                pending.into_iter().for_each(|(changed, answer)| drop(answer.send(Ok(changed))));
            }
            Err(cause) => {
                error!(%cause, "the routing table cannot be written");
                let refuse = |(_, answer): Pending| drop(answer.send(Err(cause.clone().into())));
                pending.into_iter().for_each(refuse);
            }
        }
    }
}
