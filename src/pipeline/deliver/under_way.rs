//! A message that takes its time: once its client has gone, or an upstream has not answered for a while, its copies are
//! known to be under way, here and on the other nodes. A retry waits then, and does not double them.

use std::time::Duration;

use futures_util::future::join;
use tokio::time::sleep;

use crate::ledger::{Key, Ledger, UnderWay};
use crate::mail::{Address, Message, ReversePath};
use crate::pipeline::fingerprint::fingerprint;
use crate::pipeline::parcel::{Shipment, Transaction};

/// How long copies may be under way before other nodes are told: most upstreams have answered then, and nobody needs to be.
const TOLD_AFTER: Duration = Duration::from_millis(200);

/// The copies of a message that are to be offered.
pub(super) struct Copies {
    message: Message,
    reverse_path: ReversePath,
    /// Alias and destination of each.
    targets: Vec<(Address, Address)>,
}

impl Copies {
    pub(super) fn of(transaction: &Transaction, message: &Message, shipments: &[Shipment]) -> Self {
        let targets = shipments.iter().flat_map(|shipment| &shipment.targets);
        Self {
            message: message.clone(),
            reverse_path: transaction.envelope.reverse_path.clone(),
            targets: targets.map(|target| (target.alias.clone(), target.destination.clone())).collect(),
        }
    }

    async fn begin(self, ledger: &Ledger) -> Option<UnderWay> {
        let content = fingerprint(&self.message).await?;
        let key = |(alias, to): &(Address, Address)| ledger.key(&content, &self.reverse_path, alias, to);
        let keys: Vec<Key> = self.targets.iter().map(key).collect();
        Some(ledger.begin(keys))
    }
}

/// Waits for what comes of copies. With it what says that they are under way, if that was to be said.
pub(super) async fn watched<T>(
    offering: impl Future<Output = T>,
    copies: Copies,
    gone: impl Future<Output = ()>,
    ledger: &Ledger,
) -> (T, Option<UnderWay>) {
    let mut offering = std::pin::pin!(offering);
    let is_slow = async {
        // On its own a node learns of a client that retries by its end, and needs nobody told.
        if ledger.is_shared() { sleep(TOLD_AFTER).await } else { std::future::pending().await }
    };
    tokio::select! {
        biased;
        done = &mut offering => return (done, None),
        () = is_slow => {}
        () = gone => {}
    }
    join(offering, copies.begin(ledger)).await
}
