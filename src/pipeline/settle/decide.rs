//! One reply for several outcomes: the pure heart of settling (conventions: RFC 5321 §4.2, §6.1).
//!
//! | outcomes of the copies | the sender hears | what happens with the rest |
//! | --- | --- | --- |
//! | none: every rule drops | 250 | – |
//! | all delivered | 250, the first upstream's words | – |
//! | some delivered, open or unknown | 250 | 4xx, no answer, open, unknown: queued; 5xx: bounced, or untold |
//! | none of these, all refused for good | the first 5xx in RCPT order | – |
//! | none of these, all others may be queued | 250 | queued; 5xx: bounced |
//! | none of these, one of the others may not | the first 4xx in RCPT order | the sender keeps all |
//!
//! What may be queued though nobody has it: mail of a sender that SPF or DKIM vouches for, because a bounce
//! can be sent back safely; where no upstream answered, always; where one said 4xx, by `on_tempfail`. An
//! unvouched or null sender hears the 4xx and keeps its message; `queue` and `verified` differ in nothing.
//!
//! Untold is a refusal that the reply does not tell of, and no DSN may: the sender is unvouched or null, and
//! somebody else has the message. `inbound` sees to it that its recipients go in one upstream transaction
//! (`smtp.split_unvouched`), but even there one may be refused. The operator is told.
//!
//! Where the queue is needed and cannot take the message, nothing has changed hands that was not delivered:
//! the sender hears 4xx, and records (see [`crate::ledger`]) keep its retry from reaching those who have it.
//! A copy whose outcome is unknown has no record: twice is better than never.

use crate::config::OnTempfail;
use crate::mail::TraceId;
use crate::pipeline::deferred::NotQueued;
use crate::pipeline::parcel::{Delivery, Fate, Outcome, Recorded, Target, UpstreamReply, Vouched};
use crate::pipeline::relay;
use crate::smtp::reply::{self, Reply, Row};

/// The one reply, what became of the message, and what must be done before it is given.
#[derive(Debug, PartialEq, Eq)]
pub struct Decision {
    /// What the client hears.
    pub reply: Reply,
    /// For metrics and log.
    pub fate: Fate,
    /// By index of the delivery: what a retry is answered with. Written durably before the reply.
    pub records: Vec<(usize, Recorded)>,
    /// By index of the delivery: the copies that the queue takes. Durable before the reply.
    pub queued: Vec<usize>,
    /// By index of the delivery: the copies whose refusal the sender must be told in a DSN, because the
    /// reply is 250. Durable before the reply; none for a sender that nobody vouches for.
    pub bounced: Vec<usize>,
    /// By index of the delivery: the copies whose refusal the sender is told neither by the reply nor in a DSN,
    /// and the words that it would have heard of them.
    pub untold: Vec<(usize, Reply)>,
}

/// What a decision depends on besides the outcomes.
#[derive(Debug, Clone, Copy)]
pub struct Policy<'a> {
    /// Whether the queue takes messages.
    pub queue: Queue,
    /// Whether a bounce to the sender is safe.
    pub vouched: Vouched,
    /// For each delivery, what an upstream 4xx becomes.
    pub on_tempfail: &'a [OnTempfail],
    /// Where refusals point to.
    pub postmaster_url: &'a str,
    /// The trace id in replies.
    pub trace: TraceId,
}

/// Whether the queue takes this message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// As far as is known.
    Takes,
    /// It was asked, and has no room or a disk that fails.
    Refuses(NotQueued),
}

/// How a copy stands, as far as the reply depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Delivered,
    Permanent,
    /// The upstream's 4xx.
    Tempfailed,
    /// No upstream had a word on it.
    Unanswered,
    /// A 4xx of our own.
    Ours,
    Unknown,
    Open,
    /// Open since an earlier transaction, which could not be queued.
    OpenEarlier,
}

impl Standing {
    /// Whether the upstream has the copy, or may have it: then the sender must not retry.
    fn may_be_delivered(self) -> bool {
        matches!(self, Self::Delivered | Self::Unknown | Self::Open)
    }

    /// Whether the queue may take a copy of a message that nobody has.
    fn may_be_queued(self, on_tempfail: OnTempfail) -> bool {
        match self {
            Self::Unanswered => true,
            Self::Tempfailed => on_tempfail != OnTempfail::Relay,
            Self::Delivered
            | Self::Permanent
            | Self::Ours
            | Self::Unknown
            | Self::Open
            | Self::OpenEarlier => false,
        }
    }
}

/// Decides for all copies of one transaction.
#[must_use]
pub fn decide(deliveries: &[Delivery], policy: Policy<'_>) -> Decision {
    let standings: Vec<Standing> = deliveries.iter().map(|delivery| standing(&delivery.outcome)).collect();
    let cases = Cases { deliveries, standings, policy };
    if deliveries.is_empty() {
        let reply = reply::ACCEPTED.with(&[&policy.trace.to_string()]);
        Decision { fate: Fate::Dropped, ..cases.plain(reply) }
    } else if cases.any(Standing::OpenEarlier) {
        cases.keep_with_sender(reply::LATE_ANSWER)
    } else if cases.all(Standing::Permanent) {
        cases.plain(cases.first(Standing::Permanent))
    } else if cases.standings.iter().any(|standing| standing.may_be_delivered()) {
        cases.settle_what_was_delivered()
    } else {
        cases.settle_what_was_not()
    }
}

/// The outcomes of one transaction, and what applies to them.
struct Cases<'a> {
    deliveries: &'a [Delivery],
    standings: Vec<Standing>,
    policy: Policy<'a>,
}

impl Cases<'_> {
    fn any(&self, wanted: Standing) -> bool {
        self.standings.contains(&wanted)
    }

    fn all(&self, wanted: Standing) -> bool {
        self.standings.iter().all(|standing| *standing == wanted)
    }

    fn which(&self, wanted: impl Fn(Standing) -> bool) -> Vec<usize> {
        let found = self.standings.iter().enumerate().filter(|(_, standing)| wanted(**standing));
        found.map(|(index, _)| index).collect()
    }

    /// Something is with its upstream, or may be: 250, so that the sender does not double it.
    fn settle_what_was_delivered(&self) -> Decision {
        let rest = self.which(|standing| !matches!(standing, Standing::Delivered | Standing::Permanent));
        let bounced = self.bounces();
        if rest.is_empty() && bounced.is_empty() {
            return self.with_untold(self.plain(self.first(Standing::Delivered)));
        }
        match self.policy.queue {
            Queue::Takes if self.any(Standing::Delivered) => {
                self.with_untold(self.queue(self.first(Standing::Delivered), rest, bounced))
            }
            Queue::Takes => self.with_untold(self.queue(self.queued_reply(), rest, bounced)),
            Queue::Refuses(_) if self.any(Standing::Open) => self.keep_with_sender(reply::LATE_ANSWER),
            Queue::Refuses(_) if self.any(Standing::Unknown) => self.keep_with_sender(reply::NO_ANSWER),
            Queue::Refuses(_) => self.keep_with_sender(reply::PARTLY_DELIVERED),
        }
    }

    /// Nobody has the message, and somebody may take it later.
    fn settle_what_was_not(&self) -> Decision {
        let on_tempfail = |index: usize| self.policy.on_tempfail.get(index).copied();
        let rest = self.which(|standing| standing != Standing::Permanent);
        let may_be_queued = |index: &usize| {
            let standing = self.standings.get(*index);
            standing.zip(on_tempfail(*index)).is_some_and(|(standing, rule)| standing.may_be_queued(rule))
        };
        if self.policy.vouched == Vouched::No || !rest.iter().all(may_be_queued) {
            let words = rest.first().and_then(|first| self.deliveries.get(*first));
            return self.plain(words.map_or_else(|| self.refer(reply::INTERNAL), |first| self.words(first)));
        }
        match self.policy.queue {
            Queue::Takes => self.queue(self.queued_reply(), rest, self.bounces()),
            Queue::Refuses(NotQueued::NoRoom) => self.keep_with_sender(reply::NO_STORAGE),
            Queue::Refuses(NotQueued::Failed) => self.keep_with_sender(reply::INTERNAL),
        }
    }

    /// The copies that were refused for good though the sender hears 250, and may not be sent a DSN.
    fn untold(&self) -> Vec<(usize, Reply)> {
        match self.policy.vouched {
            Vouched::Yes => Vec::new(),
            Vouched::No => {
                let permanent = self.which(|standing| standing == Standing::Permanent).into_iter();
                let words = |index| Some((index, self.words(self.deliveries.get(index)?)));
                permanent.filter_map(words).collect()
            }
        }
    }

    /// The copies that were refused for good, where the sender may be told so.
    fn bounces(&self) -> Vec<usize> {
        match self.policy.vouched {
            Vouched::Yes => self.which(|standing| standing == Standing::Permanent),
            Vouched::No => Vec::new(),
        }
    }

    fn queue(&self, reply: Reply, queued: Vec<usize>, bounced: Vec<usize>) -> Decision {
        let fate = if queued.is_empty() { Fate::Forwarded } else { Fate::Queued };
        Decision { queued, bounced, fate, ..self.plain(reply) }
    }

    /// The same of a message that somebody has, or may have.
    fn with_untold(&self, decision: Decision) -> Decision {
        let untold = self.untold();
        let fate = if untold.is_empty() { decision.fate } else { Fate::PartlyRefused };
        Decision { untold, fate, ..decision }
    }

    fn queued_reply(&self) -> Reply {
        reply::QUEUED.with(&[&self.policy.trace.to_string()])
    }

    /// The sender tries again; records answer for what it must not double.
    fn keep_with_sender(&self, row: &'static Row) -> Decision {
        let delivered =
            [Standing::Delivered, Standing::Open, Standing::OpenEarlier].into_iter().any(|s| self.any(s));
        let records = if delivered { records(self.deliveries) } else { Vec::new() };
        Decision { records, ..self.plain(self.refer(row)) }
    }

    fn plain(&self, reply: Reply) -> Decision {
        let fate = match reply.code / 100 {
            2 => Fate::Forwarded,
            5 => Fate::Rejected,
            _ => Fate::Tempfailed,
        };
        Decision {
            reply,
            fate,
            records: Vec::new(),
            queued: Vec::new(),
            bounced: Vec::new(),
            untold: Vec::new(),
        }
    }

    /// The words for the first copy that stands so.
    fn first(&self, wanted: Standing) -> Reply {
        let found = self.deliveries.iter().zip(&self.standings).find(|(_, standing)| **standing == wanted);
        found.map_or_else(|| self.refer(reply::INTERNAL), |(delivery, _)| self.words(delivery))
    }

    fn refer(&self, row: &'static Row) -> Reply {
        row.refer(&[], self.policy.postmaster_url, self.policy.trace)
    }

    /// What the sender hears of one copy, were it the only one.
    fn words(&self, delivery: &Delivery) -> Reply {
        let Policy { postmaster_url, trace, .. } = self.policy;
        let relay =
            |upstream: &UpstreamReply, target: &Target| relay::relay(upstream, target, postmaster_url, trace);
        match &delivery.outcome {
            Outcome::Delivered(upstream)
            | Outcome::Refused(upstream)
            | Outcome::Recorded(Recorded::Delivered(upstream) | Recorded::Refused(upstream)) => {
                relay(upstream, &delivery.target)
            }
            Outcome::Recorded(Recorded::Queued) => self.queued_reply(),
            Outcome::Undeliverable(refusal) => refusal.reply(postmaster_url, trace),
            Outcome::NoAnswer(_) | Outcome::Unknown { .. } => self.refer(reply::NO_ANSWER),
            Outcome::AwaitingReply { .. } | Outcome::Recorded(Recorded::Open) => {
                self.refer(reply::LATE_ANSWER)
            }
        }
    }
}

fn standing(outcome: &Outcome) -> Standing {
    match outcome {
        Outcome::Delivered(_) | Outcome::Recorded(Recorded::Delivered(_) | Recorded::Queued) => {
            Standing::Delivered
        }
        Outcome::Refused(upstream) | Outcome::Recorded(Recorded::Refused(upstream)) => {
            if relay::relayed_code(&upstream.reply) / 100 == 5 {
                Standing::Permanent
            } else {
                Standing::Tempfailed
            }
        }
        Outcome::Undeliverable(refusal) => {
            if refusal.is_permanent() {
                Standing::Permanent
            } else {
                Standing::Ours
            }
        }
        Outcome::NoAnswer(_) => Standing::Unanswered,
        Outcome::Unknown { .. } => Standing::Unknown,
        Outcome::AwaitingReply { .. } => Standing::Open,
        Outcome::Recorded(Recorded::Open) => Standing::OpenEarlier,
    }
}

/// Delivered, refused for good, and open copies; an older record stays as it is.
pub(super) fn records(deliveries: &[Delivery]) -> Vec<(usize, Recorded)> {
    let record = |delivery: &Delivery| match &delivery.outcome {
        Outcome::Delivered(upstream) => Some(Recorded::Delivered(upstream.clone())),
        Outcome::Refused(upstream) if relay::relayed_code(&upstream.reply) / 100 == 5 => {
            Some(Recorded::Refused(upstream.clone()))
        }
        Outcome::AwaitingReply { .. } => Some(Recorded::Open),
        Outcome::Recorded(Recorded::Queued) => Some(Recorded::Queued),
        Outcome::Refused(_)
        | Outcome::Undeliverable(_)
        | Outcome::NoAnswer(_)
        | Outcome::Unknown { .. }
        | Outcome::Recorded(Recorded::Delivered(_) | Recorded::Refused(_) | Recorded::Open) => None,
    };
    deliveries.iter().enumerate().filter_map(|(index, delivery)| Some((index, record(delivery)?))).collect()
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
