//! Which calls are answered. In this order: the certificate is that of the name that calls, the file lists the name, the
//! protocol is one that both speak, and the rules of founding.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tonic::Status;

use super::super::founding::{Call, ClusterId, NodeId, NodeName, admit_call};
use super::VERSIONS;
use super::peers::Peers;
use super::refusal::Refusal;
use super::wire::{Header, Malformed};
use crate::proto::cluster::v1;
use crate::telemetry::Seldom;

/// Lines in the log a minute about callers that are nobody of this cluster.
const MAX_LINES: u32 = 5;

/// The DNS names of the certificate of who is connected.
#[derive(Debug, Clone)]
pub(super) struct Certified(pub(super) Arc<[String]>);

/// Admits calls, and says in the log which it does not: once for each peer and reason, until the peer is admitted again.
#[derive(Debug)]
pub(super) struct Admission {
    refused: Mutex<BTreeMap<NodeName, Refusal>>,
    strangers: Seldom,
}

/// A call of a listed name that proved to be it.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) header: Header,
}

impl Admission {
    pub(super) fn new() -> Self {
        Self { refused: Mutex::default(), strangers: Seldom::new(MAX_LINES) }
    }

    /// Who calls, if it is one of ours.
    pub(super) fn know(
        &self,
        peers: &Peers,
        certified: Option<&Certified>,
        header: Option<v1::Header>,
    ) -> Result<Known, Status> {
        let header = Header::decode(header).map_err(|malformed| self.turn_away(malformed.into()))?;
        let is_named = |certified: &Certified| {
            let own = header.name.to_string();
            certified.0.iter().any(|name| name.eq_ignore_ascii_case(&own))
        };
        if !certified.is_some_and(is_named) {
            return Err(self.turn_away(Refusal::OtherCertificate(header.name)));
        }
        if !peers.is_listed(&header.name) {
            return Err(self.turn_away(Refusal::Unlisted(header.name)));
        }
        let (first, last) = header.versions;
        if first > VERSIONS.1 || last < VERSIONS.0 {
            let refusal = Refusal::Protocol { ours: VERSIONS, theirs: header.versions };
            return Err(self.refuse(&header.name, refusal));
        }
        Ok(Known { header })
    }

    /// Lets a call to a member pass, by the rules of founding: of which cluster, and from whom.
    pub(super) fn admit(&self, peers: &Peers, known: &Known) -> Result<Call, Status> {
        self::admit(peers, &known.header).map_err(|refusal| self.refuse(&known.header.name, refusal))
    }

    /// Says no to a peer.
    pub(super) fn refuse(&self, name: &NodeName, refusal: Refusal) -> Status {
        if self.is_news(name, &refusal) {
            tracing::warn!(peer = %name, reason = %refusal, "a peer's calls are refused");
        }
        refusal.into()
    }

    /// Whether a refusal is another than the last of this peer, since it was answered last.
    fn is_news(&self, name: &NodeName, refusal: &Refusal) -> bool {
        // That it has to say Hello first is nothing to tell.
        if matches!(refusal, Refusal::Ungreeted(_)) {
            return false;
        }
        let before = self.refused.lock().insert(name.clone(), refusal.clone());
        before.as_ref() != Some(refusal)
    }

    /// A peer had an answer.
    pub(super) fn answered(&self, name: &NodeName) {
        self.refused.lock().remove(name);
    }

    /// Says no to somebody who is no peer.
    fn turn_away(&self, refusal: Refusal) -> Status {
        if let Some(left_out) = self.strangers.due() {
            tracing::warn!(reason = %refusal, left_out, "a call from outside the cluster is refused");
        }
        refusal.into()
    }
}

/// See [`Admission::admit`]; says nothing in the log.
pub(super) fn admit(peers: &Peers, header: &Header) -> Result<Call, Refusal> {
    let (cluster, to) = meant(header)?;
    let greeted = peers.acquaintances().greeted(&header.name);
    let greeted = greeted.ok_or_else(|| Refusal::Ungreeted(header.name.clone()))?;
    let call = Call { cluster, from: header.from, to };
    admit_call(&peers.node().disk(), greeted, call)?;
    Ok(call)
}

/// The cluster and the node that a call is for.
pub(super) fn meant(header: &Header) -> Result<(ClusterId, NodeId), Refusal> {
    let cluster = header.cluster.ok_or(Malformed("the cluster of a call"))?;
    Ok((cluster, header.to.ok_or(Malformed("the receiver of a call"))?))
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
