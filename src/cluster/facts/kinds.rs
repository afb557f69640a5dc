//! The kinds of facts: each is owned by a module that knows nothing of nodes but that there are others.

use std::time::{Duration, Instant};

use super::kept::{Kept, Lasting};
use crate::blocklist::{Finding, Question};
use crate::ledger::{Key, Told};
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
        Some(self.valid_until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
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

impl Lasting for Told {
    fn remaining(&self) -> Option<Duration> {
        self.remaining()
    }

    fn octets(&self) -> usize {
        self.text_octets()
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
    deliveries: Kept<Key, Told>,
    originals: Kept<AliasToken, Lasted>,
}

/// How far a link was told of each kind.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Position {
    verdicts: u64,
    deliveries: u64,
    originals: u64,
}

impl Shelves {
    /// Keeps a fact. How many others made room before their time.
    pub(super) fn keep(&mut self, fact: Fact) -> usize {
        match fact {
            Fact::Verdict(question, finding) => self.verdicts.keep(question, finding),
            Fact::Delivery(key, told) => self.deliveries.keep(key, told),
            Fact::Original(token, lasted) => self.originals.keep(token, lasted),
        }
    }

    /// Whether there is anything behind a position.
    pub(super) fn has_after(&self, position: Position) -> bool {
        self.deliveries.has_after(position.deliveries)
            || self.originals.has_after(position.originals)
            || self.verdicts.has_after(position.verdicts)
    }

    /// The next facts, those first that cost most where they are missed, and the position behind them.
    pub(super) fn after(&self, position: Position, most: usize) -> (Vec<Fact>, Position) {
        let (deliveries, told) = self.deliveries.after(position.deliveries, most);
        let mut facts: Vec<Fact> =
            deliveries.into_iter().map(|(key, told)| Fact::Delivery(key, told)).collect();
        let (originals, kept) = self.originals.after(position.originals, most - facts.len());
        facts.extend(originals.into_iter().map(|(token, lasted)| Fact::Original(token, lasted)));
        let (verdicts, found) = self.verdicts.after(position.verdicts, most - facts.len());
        facts.extend(verdicts.into_iter().map(|(question, finding)| Fact::Verdict(question, finding)));
        (facts, Position { verdicts: found, deliveries: told, originals: kept })
    }
}
