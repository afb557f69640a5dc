//! The kinds of facts: each is owned by a module that knows nothing of nodes but that there are others.

use std::time::{Duration, Instant};

use super::kept::{Kept, Lasting};
use crate::blocklist::{Finding, Question};
use crate::clock;
use crate::ledger::{Key, Recorded, Told};
use crate::mail::Address;
use crate::srs::AliasToken;
use crate::telemetry::labels::FactKind;

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fact {
    /// What a DNS blocklist answered.
    Verdict(Question, Finding),
    /// What an earlier transaction came to.
    Delivery(Key, Told),
    /// What a return address stands for.
    Original(AliasToken, Lasted),
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum About {
    /// What a DNS blocklist answers.
    Verdict(Question),
    /// What a return address stands for.
    Original(AliasToken),
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    Verdict(Finding),
    Original(Address),
}

/// An original, and until when it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lasted {
    pub(super) original: Address,
    valid_until: Instant,
}

impl Lasted {
    /// Nothing where it counts no more.
    pub(super) fn new(original: Address, lasts: Duration) -> Option<Self> {
        (!lasts.is_zero()).then(|| Self { original, valid_until: Instant::now() + lasts.min(LONGEST) })
    }
}

/// Longest that `srs.max_age_days` may say.
const LONGEST: Duration = Duration::from_secs(1022 * 86_400);

impl Lasting for Lasted {
    fn remaining(&self) -> Option<Duration> {
        clock::until(self.valid_until)
    }

    fn octets(&self) -> usize {
        self.original.to_string().len()
    }
}

impl Lasting for Finding {
    fn remaining(&self) -> Option<Duration> {
        self.remaining()
    }

    fn octets(&self) -> usize {
        size_of_val(self.codes())
    }
}

impl Lasting for (Key, Told) {
    fn remaining(&self) -> Option<Duration> {
        self.1.remaining()
    }

    fn octets(&self) -> usize {
        self.1.text_octets()
    }
}

impl Fact {
    pub(super) fn kind(&self) -> FactKind {
        match self {
            Self::Verdict(..) => FactKind::Dnsbl,
            Self::Delivery(..) => FactKind::Delivery,
            Self::Original(..) => FactKind::ReturnAddress,
        }
    }
}

impl About {
    pub(super) fn kind(&self) -> FactKind {
        match self {
            Self::Verdict(_) => FactKind::Dnsbl,
            Self::Original(_) => FactKind::ReturnAddress,
        }
    }
}

/// All that this node tells.
#[derive(Debug, Default)]
pub(super) struct Shelves {
    verdicts: Kept<Question, Finding>,
    /// Records of deliveries, by their ids, and that they are over.
    records: Kept<u64, (Key, Told)>,
    /// Those that are open, which come and go with each slow message, and cost the others no room.
    open: Kept<u64, (Key, Told)>,
    originals: Kept<AliasToken, Lasted>,
}

/// How far a link was told of each kind.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Position {
    verdicts: u64,
    records: u64,
    open: u64,
    originals: u64,
}

impl Shelves {
    /// Keeps a fact. How many others made room before their time.
    pub(super) fn keep(&mut self, fact: Fact) -> usize {
        match fact {
            Fact::Verdict(question, finding) => self.verdicts.keep(question, finding),
            Fact::Delivery(key, told) => self.keep_delivery(key, told),
            Fact::Original(token, lasted) => self.originals.keep(token, lasted),
        }
    }

    fn keep_delivery(&mut self, key: Key, told: Told) -> usize {
        let id = told.id();
        let was_open = self.open.remove(&id);
        let is_open = match told.answer() {
            Some(Recorded::Open) => true,
            Some(Recorded::Delivered(_) | Recorded::Refused(_) | Recorded::Queued) => false,
            None => was_open,
        };
        if is_open { &mut self.open } else { &mut self.records }.keep(id, (key, told))
    }

    /// Whether there is anything behind a position.
    pub(super) fn has_after(&self, position: Position) -> bool {
        self.records.has_after(position.records)
            || self.open.has_after(position.open)
            || self.originals.has_after(position.originals)
            || self.verdicts.has_after(position.verdicts)
    }

    /// The next facts, those first that cost most where they are missed, and the position behind them.
    pub(super) fn after(&self, position: Position, most: usize) -> (Vec<Fact>, Position) {
        let (recorded, records) = self.records.after(position.records, most);
        let (offered, open) = self.open.after(position.open, most - recorded.len());
        let deliveries = recorded.into_iter().chain(offered);
        let mut facts: Vec<Fact> = deliveries.map(|(_, (key, told))| Fact::Delivery(key, told)).collect();
        let (originals, kept) = self.originals.after(position.originals, most - facts.len());
        facts.extend(originals.into_iter().map(|(token, lasted)| Fact::Original(token, lasted)));
        let (verdicts, found) = self.verdicts.after(position.verdicts, most - facts.len());
        facts.extend(verdicts.into_iter().map(|(question, finding)| Fact::Verdict(question, finding)));
        (facts, Position { verdicts: found, records, open, originals: kept })
    }
}
