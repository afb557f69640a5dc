//! What is said on a link: answers and questions first, then facts that were not told yet. Nothing is put together before
//! the stream takes it, so nothing waits in a queue; what comes is always read, so two that talk never wait for each other.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::mpsc;
use tokio::time::{Interval, interval};
use tonic::Streaming;

use super::Facts;
use super::kinds::{About, Position};
use super::link::{Answer, Link, Progress};
use super::wire::{MAX_ANSWERS, MAX_FACTS, MAX_QUESTIONS, Part, decode, encode};
use crate::proto::cluster::v1;
use crate::telemetry::labels::FactEvent;

/// Questions of a peer that this node finds out at once; past them it knows nothing.
const MAX_SOUGHT: usize = 2048;
/// Answers that wait for a peer to read them; past them it is given none.
const MAX_UNTOLD: usize = 8192;
/// How often it is looked whether the peer is still the one that was linked.
const LOOKED_EVERY: Duration = Duration::from_secs(1);

/// A stream between two nodes that know each other.
pub(in super::super) struct Stream {
    /// To the peer.
    pub(in super::super) told: mpsc::Sender<v1::FactsPart>,
    /// From the peer.
    pub(in super::super) heard: Streaming<v1::FactsPart>,
    /// Whether the peer is still who it was: a node of that name under another id has streams of its own.
    pub(in super::super) is_current: Box<dyn Fn() -> bool + Send + Sync>,
}

/// An answer to a peer that is being found.
type Sought = BoxFuture<'static, (u64, Answer)>;

/// One side of a conversation.
struct Talk<'a> {
    facts: &'a Facts,
    link: &'a Link,
    /// Whether anything was said: the peer is to know which process it talks to.
    has_begun: bool,
    /// That of the peer.
    process: Option<u64>,
    /// How far facts were told.
    told_up_to: Position,
    untold: VecDeque<(u64, Progress)>,
    sought: FuturesUnordered<Sought>,
}

/// Talks until the stream ends, or is to end.
pub(super) async fn run(facts: &Facts, link: &Link, stream: Stream) {
    let Stream { told, mut heard, is_current } = stream;
    let (untold, sought) = (VecDeque::new(), FuturesUnordered::new());
    let mut talk = Talk {
        facts,
        link,
        has_begun: false,
        process: None,
        told_up_to: Position::default(),
        untold,
        sought,
    };
    let mut ticks: Interval = interval(LOOKED_EVERY);
    loop {
        tokio::select! {
            () = link.ended() => return,
            place = told.reserve(), if talk.has_something() => {
                let Ok(place) = place else { return };
                if let Some(part) = talk.next() {
                    place.send(part);
                }
            }
            () = link.news() => {}
            part = heard.message() => {
                let Ok(Some(part)) = part else { return };
                if !is_current() || !talk.hear(part) {
                    return;
                }
            }
            Some((number, found)) = talk.sought.next(), if !talk.sought.is_empty() => {
                talk.answer(number, Progress::Answered(found));
            }
            _ = ticks.tick() => {
                if !is_current() {
                    return;
                }
            }
        }
    }
}

impl Talk<'_> {
    fn has_something(&self) -> bool {
        let has_facts = || self.facts.shared.kept.lock().has_after(self.told_up_to);
        !self.has_begun || !self.untold.is_empty() || self.link.has_unsent() || has_facts()
    }

    /// What is said next; nothing where all of it is over by now.
    fn next(&mut self) -> Option<v1::FactsPart> {
        let (facts, up_to) = self.facts.shared.kept.lock().after(self.told_up_to, MAX_FACTS);
        self.told_up_to = up_to;
        facts.iter().for_each(|fact| self.facts.count(fact.kind(), FactEvent::Sent, 1));
        let answers = self.untold.len().min(MAX_ANSWERS);
        let answers = self.untold.drain(..answers).collect();
        let (questions, process) = (self.link.unsent(MAX_QUESTIONS), self.facts.shared.process);
        let part = Part { facts, questions, answers, process };
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        (is_first || !part.is_empty()).then(|| encode(&part))
    }

    /// Takes what the peer says; whether it can be.
    fn hear(&mut self, part: v1::FactsPart) -> bool {
        let is_first = self.process.is_none();
        let part = match decode(part) {
            Ok(part) => part,
            Err(error) => {
                tracing::warn!(peer = %self.link.peer, %error, "no more facts are shared with a peer for now");
                return false;
            }
        };
        if *self.process.get_or_insert(part.process) != part.process {
            tracing::warn!(peer = %self.link.peer, "a peer says that it is another process within a stream");
            return false;
        }
        if is_first {
            self.facts.meet(&self.link.peer, part.process);
        }
        self.link.hear();
        for (number, progress) in part.answers {
            self.link.tell(number, progress);
        }
        self.facts.hear(part.process, part.facts);
        for (number, about) in part.questions {
            self.find(number, about);
        }
        true
    }

    fn find(&mut self, number: u64, about: Option<About>) {
        let Some(about) = about.filter(|_| self.sought.len() < MAX_SOUGHT) else {
            return self.answer(number, Progress::Answered(Answer::NotLooked));
        };
        let facts = self.facts.clone();
        let mut sought: Sought = Box::pin(async move { (number, facts.find(about).await) });
        match (&mut sought).now_or_never() {
            Some((_, found)) => self.answer(number, Progress::Answered(found)),
            None => {
                self.answer(number, Progress::UnderWay);
                self.sought.push(sought);
            }
        }
    }

    fn answer(&mut self, number: u64, progress: Progress) {
        if self.untold.len() < MAX_UNTOLD {
            self.untold.push_back((number, progress));
        }
    }
}
