//! Copies that an earlier transaction with the same content settled are not offered again: a sender's
//! retry reaches only those who have not got the message.

use crate::ledger::Ledger;
use crate::mail::Message;
use crate::pipeline::fingerprint::fingerprint;
use crate::pipeline::parcel::{Delivery, Outcome, Shipment, Transaction};

/// The copies that have an answer already, and the shipments with those that do not. Costs nothing while
/// there are no records, which is nearly always.
pub(super) async fn recall(
    ledger: &Ledger,
    transaction: &Transaction,
    message: &Message,
    shipments: Vec<Shipment>,
) -> (Vec<Delivery>, Vec<Shipment>) {
    if ledger.is_empty() {
        return (Vec::new(), shipments);
    }
    let Some(content) = fingerprint(message).await else { return (Vec::new(), shipments) };
    let mut recorded = Vec::new();
    let mut open = Vec::new();
    for mut shipment in shipments {
        let mut targets = Vec::new();
        for target in shipment.targets {
            let reverse_path = &transaction.envelope.reverse_path;
            let key = ledger.key(&content, reverse_path, &target.alias, &target.destination);
            match ledger.recall(&key) {
                Some(answer) => {
                    let reverse_path = shipment.reverse_path.clone();
                    recorded.push(Delivery { target, reverse_path, outcome: Outcome::Recorded(answer) });
                }
                None => targets.push(target),
            }
        }
        shipment.targets = targets;
        if !shipment.targets.is_empty() {
            open.push(shipment);
        }
    }
    (recorded, open)
}
