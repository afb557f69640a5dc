//! The other nodes, as the owners of facts see them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use futures_util::future::{BoxFuture, join_all};

use super::kinds::{About, Fact, Found, Lasted};
use super::link::{Answer, Link};
use super::{Facts, Patience, wire};
use crate::aliases::{self, Elsewhere};
use crate::blocklist::{self, Finding, Question};
use crate::cluster::founding::NodeName;
use crate::ledger::{self, Key, Told};
use crate::mail::Address;
use crate::srs::AliasToken;
use crate::telemetry::labels::FactEvent;

/// What peers may take for what a return address stands for: the client waits at RCPT.
const ORIGINAL: Patience = Patience { sign: Duration::from_secs(1), answer: Duration::from_secs(3) };

impl Facts {
    /// The link to the owner of a question; none where that is this node.
    fn owner(&self, question: &Question) -> Option<Arc<Link>> {
        let links = self.shared.links.lock();
        let own = (weight(&self.shared.name, question), None);
        let others = links.iter().filter(|(_, link)| link.is_heard());
        let weighed = others.map(|(name, link)| (weight(name, question), Some(link)));
        let (_, owner) = weighed.chain([own]).max_by_key(|(weight, _)| *weight)?;
        owner.cloned()
    }

    /// Keeps what this node tells, and has it told.
    fn tell_all(&self, fact: Fact) {
        let kind = fact.kind();
        let dropped = self.shared.kept.lock().keep(fact);
        self.count(kind, FactEvent::Dropped, dropped);
        for link in self.shared.links.lock().values() {
            link.has_news();
        }
    }

    async fn ask_one(&self, link: &Link, about: About, patience: Patience) -> Option<Answer> {
        let kind = about.kind();
        let answer = link.ask(about, patience).await;
        let is_answered = matches!(answer, Some(Answer::Found(_)));
        self.count(kind, if is_answered { FactEvent::Answered } else { FactEvent::Unanswered }, 1);
        answer
    }
}

impl blocklist::Others for Facts {
    fn tell(&self, question: Question, finding: Finding) {
        self.tell_all(Fact::Verdict(question, finding));
    }

    fn ask(&self, question: Question) -> BoxFuture<'_, Option<Finding>> {
        Box::pin(async move {
            let owner = self.owner(&question)?;
            match self.ask_one(&owner, About::Verdict(question), self.shared.patience).await? {
                Answer::Found(Found::Verdict(finding)) => Some(finding),
                Answer::Found(Found::Original(_)) | Answer::Unknown | Answer::NotLooked => None,
            }
        })
    }
}

impl ledger::Others for Facts {
    fn tell(&self, key: Key, told: Told) {
        self.tell_all(Fact::Delivery(key, told));
    }
}

impl aliases::Others for Facts {
    fn tell(&self, token: AliasToken, original: Address, lasts: Duration) {
        if let Some(lasted) = Lasted::new(original, lasts) {
            self.tell_all(Fact::Original(token, lasted));
        }
    }

    fn ask(&self, token: AliasToken) -> BoxFuture<'_, Elsewhere> {
        Box::pin(async move {
            let links: BTreeMap<_, _> = self.shared.links.lock().clone();
            let asked =
                links.values().map(|link| self.ask_one(link, About::Original(token.clone()), ORIGINAL));
            let answers = join_all(asked).await;
            let is_unknown = |answer: &Option<Answer>| matches!(answer, Some(Answer::Unknown));
            let all_were_asked = self.shared.peers.load().iter().all(|peer| links.contains_key(peer));
            let nowhere = all_were_asked && answers.iter().all(is_unknown);
            let found = answers.into_iter().find_map(|answer| match answer? {
                Answer::Found(Found::Original(original)) => Some(original),
                Answer::Found(Found::Verdict(_)) | Answer::Unknown | Answer::NotLooked => None,
            });
            match found {
                Some(original) => Elsewhere::Found(original),
                None if nowhere => Elsewhere::Nowhere,
                None => Elsewhere::Silent,
            }
        })
    }
}

/// What a node weighs for a question: the heaviest owns it. The same on all nodes, of any version.
pub(super) fn weight(name: &NodeName, question: &Question) -> [u8; 32] {
    let mut octets = name.to_string().into_bytes();
    octets.push(0);
    octets.extend(question.zone.0);
    octets.extend(wire::address(question.ip));
    digest(&SHA256, &octets).as_ref().try_into().unwrap_or_default()
}
