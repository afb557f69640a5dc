//! A peer that facts are shared with, as questions see it: what it was asked and has not answered, and whether it is heard.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::super::founding::NodeName;
use super::Patience;
use super::kinds::{About, Found};

/// Questions that a peer has not answered: past them it is asked none.
const MAX_WAITING: usize = 4096;

/// A link, for as long as its stream is there.
pub(super) struct Link {
    pub(super) peer: NodeName,
    ended: CancellationToken,
    news: Notify,
    questions: Mutex<Questions>,
}

struct Questions {
    /// Not on the wire yet.
    unsent: VecDeque<u64>,
    waiting: HashMap<u64, (About, watch::Sender<Progress>)>,
    last: u64,
    heard_at: Instant,
    /// It gave no sign when one was due, and has not since.
    is_silent: bool,
}

/// How far a question is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Progress {
    /// It may not have arrived.
    Asked,
    /// The peer asks the DNS.
    UnderWay,
    /// The answer.
    Answered(Answer),
}

/// What a peer answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Found(Found),
    /// It has looked, and does not know.
    Unknown,
    /// It has not looked.
    NotLooked,
}

impl Link {
    pub(super) fn new(peer: NodeName, ended: CancellationToken) -> Self {
        let questions = Questions {
            unsent: VecDeque::new(),
            waiting: HashMap::new(),
            last: 0,
            heard_at: Instant::now(),
            is_silent: false,
        };
        Self { peer, ended, news: Notify::new(), questions: Mutex::new(questions) }
    }

    /// Asks the peer; nothing where it does not answer in time.
    pub(super) async fn ask(&self, about: About, patience: Patience) -> Option<Answer> {
        let mut waiting = self.put(about)?;
        let asked_at = Instant::now();
        let end = asked_at + patience.answer;
        loop {
            let sign_by = || (self.questions.lock().heard_at.max(asked_at) + patience.sign).min(end);
            let has_begun = waiting.progress.wait_for(|progress| *progress != Progress::Asked);
            match timeout_at(sign_by(), has_begun).await {
                Ok(begun) => break drop(begun.ok()?),
                // Others were answered meanwhile: it is busy.
                Err(_) if sign_by() > Instant::now() => {}
                Err(_) => {
                    self.questions.lock().is_silent = true;
                    return None;
                }
            }
        }
        let is_answered = |progress: &Progress| matches!(progress, Progress::Answered(_));
        let answered = timeout_at(end, waiting.progress.wait_for(is_answered)).await;
        match &*answered.ok()?.ok()? {
            Progress::Answered(answer) => Some(answer.clone()),
            Progress::Asked | Progress::UnderWay => None,
        }
    }

    /// Has a question sent; none where too many are, or the stream has ended.
    fn put(&self, about: About) -> Option<Waiting<'_>> {
        let mut questions = self.questions.lock();
        let count = questions.waiting.len().max(questions.unsent.len());
        if self.ended.is_cancelled() || count >= MAX_WAITING {
            return None;
        }
        questions.last += 1;
        let number = questions.last;
        let (sender, progress) = watch::channel(Progress::Asked);
        questions.waiting.insert(number, (about, sender));
        questions.unsent.push_back(number);
        drop(questions);
        self.has_news();
        Some(Waiting { link: self, number, progress })
    }

    /// The next questions to be sent, for which somebody waits.
    pub(super) fn unsent(&self, most: usize) -> Vec<(u64, About)> {
        let mut questions = self.questions.lock();
        let count = questions.unsent.len().min(most);
        let numbers: Vec<u64> = questions.unsent.drain(..count).collect();
        let asked = |number| Some((number, questions.waiting.get(&number)?.0.clone()));
        numbers.into_iter().filter_map(asked).collect()
    }

    /// Whether there are any.
    pub(super) fn has_unsent(&self) -> bool {
        !self.questions.lock().unsent.is_empty()
    }

    /// The peer says how far a question is.
    pub(super) fn tell(&self, number: u64, progress: Progress) {
        if let Some((_, waiting)) = self.questions.lock().waiting.get(&number) {
            waiting.send_replace(progress);
        }
    }

    /// Something came of the peer.
    pub(super) fn hear(&self) {
        let mut questions = self.questions.lock();
        (questions.heard_at, questions.is_silent) = (Instant::now(), false);
    }

    /// Whether it is asked.
    pub(super) fn is_heard(&self) -> bool {
        !self.questions.lock().is_silent
    }

    /// Says that there is something to be sent.
    pub(super) fn has_news(&self) {
        self.news.notify_one();
    }

    /// Waits for that.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// The stream ends, and nobody waits for an answer.
    pub(super) fn end(&self) {
        self.ended.cancel();
        self.questions.lock().waiting.clear();
    }

    /// Waits for that.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

/// A question that somebody waits for.
struct Waiting<'a> {
    link: &'a Link,
    number: u64,
    progress: watch::Receiver<Progress>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut questions = self.link.questions.lock();
        questions.waiting.remove(&self.number);
        // To a peer that reads nothing: they are gone with who waited.
        if questions.waiting.is_empty() {
            questions.unsent.clear();
        }
    }
}
