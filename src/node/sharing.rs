//! What the nodes of a cluster share beside the routing table, and the key that it takes: idempotence records are of use to
//! others only where all make the same names ([`crate::ledger`]). The table has the key, so that it is agreed on: the first
//! that a node offers. A cluster of one needs none, and gets none: one that founded itself and was never told anything gives way
//! to another, and a change would make it one that does not.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::life::Life;
use crate::cluster::facts::{Exchange, Owners};
use crate::cluster::member::Handle;
use crate::ledger::{Ledger, LedgerError};
use crate::routing::{Change, DeliveryKey, Routing};

/// How often it is looked whether there is a key.
const LOOKED_EVERY: Duration = Duration::from_secs(1);

/// Shares until the node's background ends.
pub(super) fn start((exchange, member): (Exchange, Handle), owners: Owners, routing: &Routing, life: &Life) {
    let agreeing = Agreeing { ledger: owners.ledger.clone(), routing: routing.clone(), member };
    life.tasks.spawn(agreeing.run(life.background.clone()));
    life.tasks.spawn(exchange.run(owners, life.background.clone()));
}

/// Makes names with the key that the table has, and offers it this node's own while it has none.
struct Agreeing {
    ledger: Ledger,
    routing: Routing,
    member: Handle,
}

impl Agreeing {
    async fn run(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOKED_EVERY);
        let mut made_with = None;
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let agreed = self.routing.snapshot().delivery_key().map(|key| *key.as_bytes());
            if agreed.is_some() && agreed == made_with {
                continue;
            }
            let done = match agreed {
                Some(key) => self.ledger.agree(key).await,
                None if self.member.voters().len() > 1 => self.offer().await,
                None => continue,
            };
            match done {
                Ok(()) if agreed.is_some() => {
                    made_with = agreed;
                    tracing::info!("the names of deliveries are those of all nodes");
                }
                Ok(()) => {}
                Err(error) => tracing::error!(%error, "the key of idempotence records cannot be agreed on"),
            }
        }
    }

    async fn offer(&self) -> Result<(), LedgerError> {
        let key = DeliveryKey::new(self.ledger.secret().await?);
        // While nobody leads, or this node is behind, it is tried again.
        if let Err(error) = self.routing.change(Change::AgreeOnDeliveryKey(key)).await {
            tracing::debug!(%error, "no key of idempotence records is agreed on yet");
        }
        Ok(())
    }
}
