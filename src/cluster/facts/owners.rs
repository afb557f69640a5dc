//! What peers tell and ask, for those whose facts they are.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::Facts;
use super::kept::Lasting as _;
use super::kinds::{About, Fact, Found, Lasted};
use super::link::Answer;
use crate::aliases::Aliases;
use crate::blocklist::Blocklist;
use crate::cluster::founding::NodeName;
use crate::ledger::{Ledger, Teller};
use crate::srs::AliasToken;
use crate::store::off_runtime;
use crate::telemetry::labels::FactEvent;

/// Originals that wait for the disk.
const MAX_ORIGINALS_HEARD: usize = 4096;

/// Whom facts are for, and who answers for them.
#[derive(Clone)]
pub struct Owners {
    /// As the configuration says it now.
    pub blocklist: Arc<ArcSwap<Blocklist>>,
    /// Idempotence records.
    pub ledger: Ledger,
    /// Originals of return addresses.
    pub aliases: Arc<Aliases>,
}

/// Owners that are told and asked now.
pub(super) struct Served {
    owners: Owners,
    originals: mpsc::Sender<(AliasToken, Lasted)>,
}

/// For as long as they are, however that ends.
pub(super) struct Serving {
    facts: Facts,
    _keeping: AbortOnDropHandle<()>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.facts.shared.closed.cancel();
        self.facts.shared.served.store(None);
    }
}

/// Keeps the originals that peers tell, one after the other.
async fn keep_originals(aliases: Arc<Aliases>, mut originals: mpsc::Receiver<(AliasToken, Lasted)>) {
    while let Some((token, lasted)) = originals.recv().await {
        let aliases = aliases.clone();
        let Some(lasts) = lasted.remaining() else { continue };
        if let Err(error) = off_runtime(move || aliases.hear(&token, &lasted.original, lasts)).await {
            tracing::warn!(%error, "what peers tell of a return address is not kept");
        }
    }
}

impl Facts {
    /// Has these hear and be asked.
    pub(super) fn serve(self, owners: Owners) -> Serving {
        let (originals, heard) = mpsc::channel(MAX_ORIGINALS_HEARD);
        let keeping = tokio::spawn(keep_originals(owners.aliases.clone(), heard));
        self.shared.served.store(Some(Arc::new(Served { owners, originals })));
        Serving { facts: self, _keeping: AbortOnDropHandle::new(keeping) }
    }

    /// Finds out what a peer asks.
    pub(super) async fn find(&self, about: About) -> Answer {
        let Some(served) = self.shared.served.load_full() else { return Answer::NotLooked };
        let found = match about {
            About::Verdict(question) => {
                let blocklist = served.owners.blocklist.load_full();
                blocklist.find(question).await.map(Found::Verdict)
            }
            About::Original(token) => {
                let aliases = served.owners.aliases.clone();
                match off_runtime(move || aliases.find_here(&token)).await {
                    Ok(original) => original.map(Found::Original),
                    Err(error) => {
                        tracing::error!(%error, "a return address that a peer asks for cannot be looked up");
                        return Answer::NotLooked;
                    }
                }
            }
        };
        found.map_or(Answer::Unknown, Answer::Found)
    }

    /// A peer is this process. What another one of its name told is over, or is told anew.
    pub(super) fn meet(&self, peer: &NodeName, process: u64) {
        let Some(served) = self.shared.served.load_full() else { return };
        let before = self.shared.processes.lock().insert(peer.clone(), process);
        if let Some(ended) = before.filter(|before| *before != process) {
            served.owners.ledger.hear_death(Teller(ended));
        }
    }

    /// Takes what a peer tells.
    pub(super) fn hear(&self, process: u64, facts: Vec<Fact>) {
        let Some(served) = self.shared.served.load_full() else { return };
        for fact in facts {
            let kind = fact.kind();
            let is_of_use = match fact {
                Fact::Verdict(question, finding) => served.owners.blocklist.load().hear(question, &finding),
                Fact::Delivery(key, told) => served.owners.ledger.hear(key, told, Teller(process)),
                // Where it is full, the disk is slow: what is missed is asked for when it is needed.
                Fact::Original(token, lasted) => served.originals.try_send((token, lasted)).is_ok(),
            };
            self.count(kind, if is_of_use { FactEvent::Received } else { FactEvent::Ignored }, 1);
        }
    }
}
