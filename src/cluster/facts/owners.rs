//! What peers tell and ask, for those whose facts they are.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::task::spawn_blocking;

use super::Facts;
use super::kinds::{About, Fact, Found, Lasted};
use super::link::Answer;
use crate::aliases::Aliases;
use crate::blocklist::Blocklist;
use crate::cluster::founding::NodeName;
use crate::ledger::{Ledger, Teller};
use crate::mail::Address;
use crate::srs::AliasToken;
use crate::store::off_runtime;
use crate::telemetry::labels::FactEvent;

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

impl Facts {
    /// Finds out what a peer asks.
    pub(super) async fn find(&self, about: About) -> Answer {
        let Some(owners) = self.shared.owners.get() else { return Answer::NotLooked };
        let found = match about {
            About::Verdict(question) => {
                let blocklist = owners.blocklist.load_full();
                blocklist.find(question).await.map(Found::Verdict)
            }
            About::Original(token) => {
                let aliases = owners.aliases.clone();
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

    /// Takes what a peer tells. What another process of its name had under way is over.
    pub(super) fn hear(&self, peer: &NodeName, process: u64, facts: Vec<Fact>) {
        let Some(owners) = self.shared.owners.get() else { return };
        let before = self.shared.processes.lock().insert(peer.clone(), process);
        if let Some(ended) = before.filter(|before| *before != process) {
            owners.ledger.hear_death(Teller(ended));
        }
        let mut originals = Vec::new();
        for fact in facts {
            let kind = fact.kind();
            let is_of_use = match fact {
                Fact::Verdict(question, finding) => owners.blocklist.load().hear(question, &finding),
                Fact::Delivery(key, told) => owners.ledger.hear(key, told, Teller(process)),
                Fact::Original(token, Lasted { original, .. }) => {
                    originals.push((token, original));
                    true
                }
            };
            self.count(kind, if is_of_use { FactEvent::Received } else { FactEvent::Ignored }, 1);
        }
        if !originals.is_empty() {
            let aliases = owners.aliases.clone();
            spawn_blocking(move || keep_originals(&aliases, originals));
        }
    }
}

/// Blocks on the disk.
fn keep_originals(aliases: &Aliases, originals: Vec<(AliasToken, Address)>) {
    for (token, original) in originals {
        if let Err(error) = aliases.hear(&token, &original) {
            tracing::warn!(%error, "what peers tell of return addresses is not kept");
            return;
        }
    }
}
