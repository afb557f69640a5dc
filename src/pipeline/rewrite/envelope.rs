//! The envelope of what is sent on: reverse-paths rewritten by SRS into the forwarding domain, and copies grouped
//! into shipments.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::future::BoxFuture;
use thiserror::Error;
use tracing::error;

use crate::mail::{Address, Domain, ReversePath};
use crate::pipeline::parcel::{Shipment, Target, TargetKind};
use crate::pipeline::refusal::Refusal;
use crate::srs::{AliasToken, Srs, SrsTooLong};
use crate::telemetry::Metrics;
use crate::telemetry::labels::SrsOperation;

/// Makes it durable that a token stands for an original whose SRS form is too long; for as long as SRS addresses are
/// good. Resolves when a bounce to the alias would find it.
pub type KeepAlias =
    Arc<dyn Fn(AliasToken, Address) -> BoxFuture<'static, Result<(), AliasNotKept>> + Send + Sync>;

/// The store has no room or no disk for an alias.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the original of an SRS alias cannot be kept: {0}")]
pub struct AliasNotKept(pub String);

/// Rewrites reverse-paths.
pub(super) struct Rewriter<'a> {
    pub(super) srs: &'a Srs,
    pub(super) keep_alias: &'a KeepAlias,
    pub(super) metrics: &'a Metrics,
    pub(super) now: SystemTime,
}

impl Rewriter<'_> {
    /// Groups the copies by rewritten reverse-path and destination domain; groups, and the copies in each, in the
    /// order of the targets. Reverse-paths known by forwarding domain are used, and new ones added to them.
    ///
    /// # Errors
    /// When a reverse-path cannot be rewritten for want of disk.
    pub(super) async fn shipments(
        &self,
        reverse_path: &ReversePath,
        targets: Vec<Target>,
        rewritten: &mut HashMap<Domain, ReversePath>,
    ) -> Result<Vec<Shipment>, Refusal> {
        let mut shipments: Vec<Shipment> = Vec::new();
        let mut places: HashMap<(ReversePath, Domain), usize> = HashMap::new();
        for target in targets {
            let forwarding = target.alias.domain();
            let path = match (target.kind, reverse_path, rewritten.get(forwarding)) {
                // Bounces are never bounced (RFC 5321 §4.5.5).
                (TargetKind::Return, _, _) | (_, ReversePath::Null, _) => ReversePath::Null,
                (TargetKind::Forward, _, Some(path)) => path.clone(),
                (TargetKind::Forward, ReversePath::Mailbox(mailbox), None) => {
                    let path = ReversePath::Mailbox(self.rewrite(mailbox, forwarding).await?);
                    rewritten.insert(forwarding.clone(), path.clone());
                    path
                }
            };
            let domain = target.destination.domain().clone();
            let place = *places.entry((path.clone(), domain.clone())).or_insert(shipments.len());
            match shipments.get_mut(place) {
                Some(shipment) => shipment.targets.push(target),
                None => shipments.push(Shipment { reverse_path: path, domain, targets: vec![target] }),
            }
        }
        Ok(shipments)
    }

    async fn rewrite(&self, mailbox: &Address, forwarding: &Domain) -> Result<Address, Refusal> {
        let original = match self.srs.encode(mailbox, forwarding, self.now) {
            Ok(address) => {
                self.count(SrsOperation::Encoded);
                return Ok(address);
            }
            Err(SrsTooLong { original }) => original,
        };
        let Some((address, token)) = self.srs.alias(&original, forwarding, self.now) else {
            self.count(SrsOperation::AliasFailed);
            return Err(Refusal::Internal);
        };
        match (self.keep_alias)(token, original).await {
            Ok(()) => {
                self.count(SrsOperation::AliasKept);
                Ok(address)
            }
            Err(cause) => {
                error!(%cause, "reverse-path not rewritten");
                self.count(SrsOperation::AliasFailed);
                Err(Refusal::NoStorage)
            }
        }
    }

    fn count(&self, operation: SrsOperation) {
        self.metrics.srs_operations_total.of(operation).inc();
    }
}

#[cfg(test)]
#[path = "envelope_tests.rs"]
mod tests;
