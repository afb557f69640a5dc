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
pub(crate) struct Kill {
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
    pub(super) disk: Disk,
}

/// Whether the disk takes what the queue needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disk {
    Well,
    /// It refuses now and then: a message that the upstream took without saying so in time cannot be kept
    /// then, and its client hears 4yz.
    Failing,
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
    refused_unknown: usize,
    longest_lag: Duration,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} messages answered 250, {} copies, duplicates: {} reply_lost, {} killed_before_our_reply, {} \
             done_not_synced (longest {:?} before the kill), {} refused_unknown, {} without a cause or otherwise wrong",
            self.messages,
            self.copies,
            self.reply_lost,
            self.killed_before_our_reply,
            self.done_not_synced,
            self.longest_lag,
            self.refused_unknown,
            self.wrong.len(),
        )
    }
}

/// Why a copy that the upstream had was sent again.
enum Cause {
    /// Its 250 did not reach the node.
    ReplyLost,
    /// It did, this long before a kill that took what the node had made of it.
    DoneNotSynced(Duration),
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
            let pairs = submissions.map(again).unwrap_or_default();
            let caused = |pair: &&(&Copy, &Copy)| self.cause(pair.0, pair.1).is_ok();
            let caused = pairs.iter().filter(|_| self.disk == Disk::Failing).filter(caused).count();
            let unheard = pairs.len().min(told.unheard);
            verdict.killed_before_our_reply += unheard;
            verdict.refused_unknown += pairs.len() - unheard;
            if pairs.len() - caused > told.unheard {
                verdict.wrong.push(format!("message {number}: {told:?}, yet again {pairs:?}"));
            }
        }
        for copies in arrived.values().flat_map(BTreeMap::values) {
            for pair in copies.windows(2) {
                self.explain(pair[0], pair[1], &mut verdict);
            }
        }
        verdict
    }

    fn explain(&self, first: &Copy, again: &Copy, verdict: &mut Verdict) {
        match self.cause(first, again) {
            Ok(Cause::ReplyLost) => verdict.reply_lost += 1,
            Ok(Cause::DoneNotSynced(lag)) => {
                verdict.done_not_synced += 1;
                verdict.longest_lag = verdict.longest_lag.max(lag);
            }
            Err(lag) => {
                verdict.wrong.push(format!("no cause (killed {lag:?} later): {first:?}, again {again:?}"));
            }
        }
    }

    /// Without one, how long after its reply the node was killed.
    fn cause(&self, first: &Copy, again: &Copy) -> Result<Cause, Option<Duration>> {
        let Some(replied_at) = first.replied_at else { return Ok(Cause::ReplyLost) };
        if self.kills.iter().any(|kill| first.dot_at <= kill.after && replied_at >= kill.before) {
            return Ok(Cause::ReplyLost);
        }
        let later = self.kills.iter().filter(|kill| replied_at < kill.before && kill.before < again.dot_at);
        let lag = later.map(|kill| kill.before - replied_at).min();
        lag.filter(|lag| *lag <= self.done_may_lag).map(Cause::DoneNotSynced).ok_or(lag)
    }
}

/// The last copy of each submission, with the first of the next: its client came again.
fn again<'a>(submissions: &BTreeMap<&str, Vec<&'a Copy>>) -> Vec<(&'a Copy, &'a Copy)> {
    let ends = |copies: &Vec<&'a Copy>| Some((*copies.first()?, *copies.last()?));
    let mut submissions: Vec<_> = submissions.values().filter_map(ends).collect();
    submissions.sort_by_key(|(first, _)| first.dot_at);
    submissions.windows(2).map(|pair| (pair[0].1, pair[1].0)).collect()
}
