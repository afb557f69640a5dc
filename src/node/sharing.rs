//! What the nodes of a cluster share beside the routing table, and the key that it takes: idempotence records are of use to
//! others only where all make the same names ([`crate::ledger`]). The table has the key, so that it is agreed on: the first
//! that a node offers.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::life::Life;
use crate::cluster::facts::{Exchange, Owners};
use crate::ledger::Ledger;
use crate::routing::{Change, DeliveryKey, Routing};

/// How often it is looked whether there is a key.
const LOOKED_EVERY: Duration = Duration::from_secs(1);

/// Shares until the node's background ends.
pub(super) fn start(exchange: Exchange, owners: Owners, routing: &Routing, life: &Life) {
    let agreeing = agree_on_key(owners.ledger.clone(), routing.clone(), life.background.clone());
    life.tasks.spawn(agreeing);
    life.tasks.spawn(exchange.run(owners, life.background.clone()));
}

/// Makes names with the key that the table has, and offers it this node's own while it has none.
async fn agree_on_key(ledger: Ledger, routing: Routing, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(LOOKED_EVERY);
    let mut has_agreed = false;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let agreed = routing.snapshot().delivery_key().map(|key| *key.as_bytes());
        let done = match agreed {
            Some(key) => {
                let agreed = ledger.agree(key).await;
                if agreed.is_ok() && !std::mem::replace(&mut has_agreed, true) {
                    tracing::info!("the names of deliveries are those of all nodes");
                }
                agreed
            }
            None => offer(&ledger, &routing).await,
        };
        if let Err(error) = done {
            tracing::error!(%error, "the key of idempotence records cannot be agreed on");
        }
    }
}

async fn offer(ledger: &Ledger, routing: &Routing) -> Result<(), crate::ledger::LedgerError> {
    let key = DeliveryKey::new(ledger.secret().await?);
    // While nobody leads, or this node is behind, it is tried again.
    if let Err(error) = routing.change(Change::AgreeOnDeliveryKey(key)).await {
        tracing::debug!(%error, "no key of idempotence records is agreed on yet");
    }
    Ok(())
}
