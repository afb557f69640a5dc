//! What must hold when all is over: whatever was answered 250 arrived whole, and whatever arrived twice did so
//! for a reason.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use super::clients::Told;
use super::sink::Copy;

/// When a node was killed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kill {
    /// Nothing was done to it yet.
    pub(super) before: Instant,
    /// It was gone.
    pub(super) after: Instant,
}

/// Everything that was seen.
pub(super) struct Seen {
    pub(super) told: HashMap<u64, Told>,
    pub(super) copies: Vec<Copy>,
    pub(super) kills: Vec<Kill>,
    /// How long before a kill the upstream may have said 250 to a copy that is sent again after it.
    pub(super) done_may_lag: Duration,
}

/// The counts, and what is wrong.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) wrong: Vec<String>,
    messages: usize,
    copies: usize,
    reply_lost: usize,
    killed_before_our_reply: usize,
    done_not_synced: usize,
    longest_lag: Duration,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} messages answered 250, {} copies, duplicates: {} reply_lost, {} killed_before_our_reply, {} \
             done_not_synced (longest {:?} before the kill), {} without a cause or otherwise wrong",
            self.messages,
            self.copies,
            self.reply_lost,
            self.killed_before_our_reply,
            self.done_not_synced,
            self.longest_lag,
            self.wrong.len(),
        )
    }
}

impl Seen {
    pub(super) fn judge(&self) -> Verdict {
        let mut verdict = Verdict { copies: self.copies.len(), ..Verdict::default() };
        let mut arrived: BTreeMap<u64, BTreeMap<&str, Vec<&Copy>>> = BTreeMap::new();
        for copy in &self.copies {
            arrived.entry(copy.number).or_default().entry(&copy.trace).or_default().push(copy);
            if !copy.whole || copy.trace.is_empty() {
                verdict.wrong.push(format!("corrupt: {copy:?}"));
            }
        }
        for (number, told) in &self.told {
            let submissions = arrived.get(number);
            if told.accepted {
                verdict.messages += 1;
                if submissions.is_none() {
                    verdict.wrong.push(format!("lost: message {number}, {told:?}"));
                }
            }
            let again = submissions.map_or(0, |submissions| submissions.len() - 1);
            verdict.killed_before_our_reply += again;
            if again > told.unheard {
                verdict.wrong.push(format!("message {number}: taken {} times, {told:?}", again + 1));
            }
        }
        for copies in arrived.values().flat_map(BTreeMap::values) {
            for pair in copies.windows(2) {
                self.explain(pair[0], pair[1], &mut verdict);
            }
        }
        verdict
    }

    /// Why a copy that the upstream had was sent again.
    fn explain(&self, first: &Copy, again: &Copy, verdict: &mut Verdict) {
        let Some(replied_at) = first.replied_at else {
            verdict.reply_lost += 1;
            return;
        };
        if self.kills.iter().any(|kill| first.dot_at <= kill.after && replied_at >= kill.before) {
            verdict.reply_lost += 1;
            return;
        }
        let later = self.kills.iter().filter(|kill| replied_at < kill.before && kill.before < again.dot_at);
        match later.map(|kill| kill.before - replied_at).min() {
            Some(lag) if lag <= self.done_may_lag => {
                verdict.done_not_synced += 1;
                verdict.longest_lag = verdict.longest_lag.max(lag);
            }
            lag => verdict.wrong.push(format!("no cause (killed {lag:?} later): {first:?}, again {again:?}")),
        }
    }
}
